"""The state database on disk."""
