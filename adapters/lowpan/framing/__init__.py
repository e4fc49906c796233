"""Serial framing: a byte stream to packets and back. It knows nothing of what packets mean."""
