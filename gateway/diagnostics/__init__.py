"""What goes wrong: the world looked at by `check`, and the bundle of a bug report."""
