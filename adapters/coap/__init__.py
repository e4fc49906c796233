"""CoAP for clients: read, write, execute and observe the bridged devices (RFC 7252, LwM2M)."""
