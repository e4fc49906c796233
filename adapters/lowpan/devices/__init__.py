"""Nodes as devices: what they have, in which formats, how they are followed and commanded."""
