"""Encodings of values, paths and links, as octets or text. Pure."""
