"""The edges: one sub-package for each radio and each server."""
