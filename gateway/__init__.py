"""The core: one typed tree of IPSO objects between the radios and the servers."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("border-gateway")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"
