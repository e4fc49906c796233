"""`python -m gateway` does what the command `border-gateway` does."""

from gateway.cli import main

main()
