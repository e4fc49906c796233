"""What the 802.15.4 physical layer fixes for all layers above it (2.4 GHz, channel page 0)."""

FCS_SIZE = 2
"""Octets of checksum at the end of each frame on the air; no layer above the radio sees them."""

PSDU_LIMIT = 125
"""Octets of a frame without its FCS (aMaxPhyPacketSize is 127 with it)."""

CHANNELS = range(11, 27)
"""The channels of the band."""
