"""The real daemon on devices that change all the time, and a client that asks it."""
