"""CoAP, from datagrams to devices."""
