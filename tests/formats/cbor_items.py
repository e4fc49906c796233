"""CBOR as peers may send it: any key, any tag, numbers of any length."""

import cbor2
from hypothesis import strategies as st

LONG = st.just(15_000).map(lambda bits: 1 << bits)
"""Longer than Python writes as text."""

NUMBERS = st.integers() | st.sampled_from([2**64, -(2**64)]) | LONG
TEXTS = st.text(max_size=5) | st.sampled_from(["a", "/3/0", "1:2", "sNaN", "1e999", "[[a]"])
TAGS = st.sampled_from([0, 1, 2, 3, 4, 5, 25, 28, 29, 256, 264, 55799]) | st.integers(30, 320)


def _tagged(items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.builds(cbor2.CBORTag, TAGS, items)


SCALARS: st.SearchStrategy[object] = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.floats()
    | st.decimals(allow_nan=False)
    | TEXTS
    | st.binary(max_size=5)
)
KEYS = SCALARS | _tagged(SCALARS) | st.tuples(SCALARS) | st.tuples(NUMBERS, NUMBERS, SCALARS)
ITEMS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3) | _tagged(inner)
    ),
    max_leaves=8,
)
OCTETS = ITEMS.map(cbor2.dumps)
