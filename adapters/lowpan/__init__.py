"""6LoWPAN devices behind an 802.15.4 radio: framing, radio, MAC, 6LoWPAN, IPv6, CoAP client."""
