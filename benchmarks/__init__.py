"""Measures against other programs; nothing here is installed or tested for speed."""
