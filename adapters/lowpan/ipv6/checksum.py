"""The internet checksum over pseudo-header and payload (RFC 8200 8.1)."""


def checksum(source: bytes, destination: bytes, number: int, payload: bytes) -> int:
    """The checksum of a payload in which its field is 0; `destination` is the final one.

    0 if a payload that holds its checksum is right.
    """
    octets = source + destination + payload
    total = int.from_bytes(octets, "big") << 8 * (len(octets) & 1)
    return -(total + len(payload) + number) % 0xFFFF
