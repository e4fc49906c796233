"""The 6LoWPAN adaptation layer (RFC 4944, 6282, 8025): frames to IPv6 datagrams and back."""
