"""The core: one typed tree of IPSO objects between the radios and the servers."""

__version__ = "0.1.0"
