"""IPv6 and what rides directly on it: extension headers, ICMPv6, UDP."""
