"""Each thing that can fail, in the whole daemon."""
