"""802.15.4 radios behind one interface: Spinel RCPs, slip-radios and ZEP over UDP."""
