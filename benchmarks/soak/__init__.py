"""Everything at once, for long: what must stay true meanwhile, and in the end."""
