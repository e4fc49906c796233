"""What a frame is, by its first octets."""

import pytest

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.sixlowpan.dispatch import Dispatch, classify

IPHC = bytes.fromhex("7e33f3a1abcd")


@pytest.mark.parametrize(
    ("octets", "kind", "skipped"),
    [
        ("7e33", Dispatch.IPHC, 0),
        ("6000", Dispatch.IPHC, 0),
        ("7f00", Dispatch.IPHC, 0),  # RFC 4944's escape, long obsolete
        ("4160", Dispatch.IPV6, 1),
        ("c028", Dispatch.FIRST_FRAGMENT, 0),
        ("e728", Dispatch.NEXT_FRAGMENT, 0),
        ("f07e33", Dispatch.IPHC, 1),
        ("f17e33", Dispatch.IPHC, 1),
        ("f1f07e33", Dispatch.IPHC, 2),
        ("f1a005" + "7e33", Dispatch.IPHC, 3),  # elective 6LoRH of no octets
        ("f1a305aabbcc" + "7e33", Dispatch.IPHC, 6),
        ("f1a305aabbcca10542" + "7e33", Dispatch.IPHC, 9),
        ("f1a305aabbccf041", Dispatch.IPV6, 8),
        ("5042" + "7e33", Dispatch.IPHC, 2),
        ("5042" + "c028", Dispatch.FIRST_FRAGMENT, 2),
    ],
)
def test_what_follows_is_found(octets: str, kind: Dispatch, skipped: int) -> None:
    payload = bytes.fromhex(octets)
    assert classify(payload) == (kind, payload[skipped:])


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", Drop.EMPTY),
        ("00", Drop.NOT_LOWPAN),
        ("3f7e33", Drop.NOT_LOWPAN),
        ("40", Drop.UNKNOWN_DISPATCH),
        ("42", Drop.HC1),
        ("5f", Drop.UNKNOWN_DISPATCH),
        ("80", Drop.MESH),
        ("b1aabbccdd7e33", Drop.MESH),
        ("c8", Drop.UNKNOWN_DISPATCH),
        ("e8", Drop.RECOVERABLE_FRAGMENT),
        ("eb", Drop.RECOVERABLE_FRAGMENT),
        ("ec", Drop.UNKNOWN_DISPATCH),
        ("f2", Drop.PAGE),
        ("ff", Drop.PAGE),
        ("f0", Drop.EMPTY),
        ("50", Drop.EMPTY),
        ("f1" + "8005" + "7e33", Drop.CRITICAL_6LORH),
        ("f1" + "a305aa", Drop.EMPTY),  # longer than the frame
        ("f1" + "c028", Drop.UNKNOWN_DISPATCH),  # fragments are outside of pages
        ("f1" + "41", Drop.UNKNOWN_DISPATCH),
    ],
)
def test_what_is_not_for_us_is_named(octets: str, reason: Drop) -> None:
    with pytest.raises(Dropped) as caught:
        classify(bytes.fromhex(octets))
    assert caught.value.reason == reason
