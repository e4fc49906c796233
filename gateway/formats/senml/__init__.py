"""SenML packs (RFC 8428) in JSON, CBOR and XML, with LwM2M's `vlo`; knows no path and no object."""

from gateway.formats.senml.formats import (
    NAMESPACE,
    from_cbor,
    from_json,
    from_xml,
    to_cbor,
    to_json,
    to_xml,
)
from gateway.formats.senml.records import RELATIVE_BELOW_S, Pack, Record

__all__ = [
    "NAMESPACE",
    "RELATIVE_BELOW_S",
    "Pack",
    "Record",
    "from_cbor",
    "from_json",
    "from_xml",
    "to_cbor",
    "to_json",
    "to_xml",
]
