"""What makes nodes join and stay reachable: neighbour discovery, the RPL root, their tables."""
