"""Virtual devices, radios and servers: for the demo, the tests, and a look without hardware."""
