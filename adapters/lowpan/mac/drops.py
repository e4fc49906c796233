"""Why the MAC drops a frame: one name for each reason, so that an operator can count them."""

from __future__ import annotations

from enum import StrEnum

from gateway.errors import DecodeError


class Drop(StrEnum):
    """The reasons; the values are names of counters."""

    TRUNCATED = "mac_truncated"
    FRAME_TYPE = "mac_frame_type_unsupported"
    FRAME_VERSION = "mac_frame_version_unsupported"
    ADDRESSING = "mac_addressing_invalid"
    ELEMENTS = "mac_information_elements_invalid"
    ACKNOWLEDGEMENT = "mac_acknowledgement"
    NOT_FOR_US = "mac_not_for_us"
    OWN_ADDRESS = "mac_own_address_as_source"
    DUPLICATE = "mac_duplicate"
    NOT_SECURED = "mac_security_missing"
    SECURITY_HEADER = "mac_security_header_unsupported"
    SECURITY_TOO_WEAK = "mac_security_too_weak"
    UNKNOWN_KEY = "mac_security_key_unknown"
    UNKNOWN_SENDER = "mac_security_sender_unknown"
    MIC = "mac_security_mic_wrong"
    REPLAY = "mac_security_replay"
    COUNTER = "mac_security_counter_exhausted"


class Dropped(DecodeError):
    """A frame is not taken, for the given reason."""

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason.value)
        self.reason = reason
