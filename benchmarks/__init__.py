"""What the gateway's promises about speed are held against; each runs with `python -m`."""
