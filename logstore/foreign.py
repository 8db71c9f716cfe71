"""Recognizes other protocols by the first bytes that a peer sends to a door of another protocol."""

from struct import Struct
from typing import Final

HEAD_BYTES: Final = 4  # are enough
KAFKA_BYTES: Final = 8  # are needed for Kafka, whose requests begin with their size

_METHODS: Final = frozenset(
    method[:HEAD_BYTES]
    for method in (
        b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ",
        b"PATCH ", b"PRI * HTTP/2.0",
    )
)  # fmt: skip
# RFC 8446 5.1: a record of a handshake, of version 3.0 to 3.4; and its length, at most 2^14.
_HANDSHAKE: Final = frozenset(bytes((0x16, 3, minor)) for minor in range(5))
# Of a client's first request: a size, the number of a request, its version.
_REQUEST: Final = Struct(">Ihh")
_FIRST_REQUESTS: Final = frozenset((3, 17, 18))  # Metadata, SaslHandshake, ApiVersions
_FIRST_BYTES: Final = range(8, 1 << 16)
_VERSIONS: Final = range(32)  # of any of these: Kafka 4 has 13


def speaks_tls(head: bytes) -> bool:
    """Whether the first bytes are those of a TLS client."""
    return head[:3] in _HANDSHAKE


def speaks_http(head: bytes) -> bool:
    """Whether the first bytes are those of an HTTP client."""
    return head[:HEAD_BYTES] in _METHODS


def asks_http(line: bytes) -> bool:
    """The same of a first line, where another protocol might begin in the same way."""
    return speaks_http(line) and b" HTTP/" in line


def speaks_kafka(head: bytes) -> bool:
    """Whether the first bytes are those of a Kafka client."""
    if len(head) < KAFKA_BYTES:
        return False
    size, key, version = _REQUEST.unpack_from(head)
    return size in _FIRST_BYTES and key in _FIRST_REQUESTS and version in _VERSIONS


def without_tls(protocol: str, setting: str) -> str:
    """What to say of a peer that speaks TLS to a door of this protocol.

    ``setting``: of the port where it should have come.
    """
    return f"the peer speaks TLS: {protocol} is served here, without TLS; see {setting}"


def not_http(protocol: str) -> str:
    """What to say of a peer that speaks HTTP to a door of this protocol."""
    return f"the peer speaks HTTP: {protocol} is served here"


def not_kafka(protocol: str) -> str:
    """What to say of a peer that speaks Kafka's protocol to a door of this protocol."""
    return f"the peer speaks the Kafka protocol: {protocol} is served here; see kafka.port"
