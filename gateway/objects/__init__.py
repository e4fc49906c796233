"""The object definitions, and what is held against them."""
