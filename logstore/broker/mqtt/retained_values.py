"""The part of a retained message that is in memory: its position in the log, or all of it.

Each is one bytes object, because there may be a million:

    offset       64 bits: of its record
    flags        8 bits: its QoS, and what follows
    publisher    16 bits: the length of its client's id, or 0
    expires      64 bits, if EXPIRES: in ms since 1970
    about        16 bits, if ABOUT: the number of what it says beside (``Abouts``)
    publisher    the client's id
    payload      to the end, unless LOGGED: then the log has it, and what the message says beside
"""

from struct import Struct
from typing import Final, NamedTuple

from logstore.broker.mqtt.message import NOTHING, About

PAYLOAD_MAX: Final = 256  # bytes, in memory; a longer one is read where it is needed
ABOUTS_MAX: Final = 1024  # distinct ones in memory: most clients say the same of all they publish
ABOUT_BYTES_MAX: Final = 512

_HEAD: Final = Struct(">QBH")
_EXPIRES: Final = Struct(">Q")
_ABOUT: Final = Struct(">H")
_FLAGS_AT: Final = 8
_QOS_BITS: Final = 3
LOGGED, EXPIRES, ABOUT = 4, 8, 16


class Value(NamedTuple):
    """The decoded facts of one retained message."""

    offset: int
    qos: int
    publisher: bytes
    expires_at_ms: int | None
    about: About | None  # without its expiry
    payload: bytes | None  # None: the log has it, and what it says beside


class Abouts:
    """The properties of messages, each distinct set stored once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[About, int] = {}
        self._listed: list[About] = []

    def number(self, about: About) -> int | None:
        """Return the number of these properties; None: they are too long, or there are too many."""
        known = self._numbers.get(about)
        if known is None and len(self._listed) < ABOUTS_MAX and _size(about) <= ABOUT_BYTES_MAX:
            known = self._numbers[about] = len(self._listed)
            self._listed.append(about)
        return known

    def __getitem__(self, number: int) -> About:
        return self._listed[number]


def _size(about: About) -> int:
    texts = (about.content_type, about.response_topic, about.correlation)
    return sum(map(len, filter(None, texts))) + sum(len(a) + len(b) for a, b in about.user)


def packed(
    abouts: Abouts, offset: int, qos: int, publisher: bytes, about: About | None, payload: bytes
) -> bytes:
    """Pack what is retained of this message."""
    flags, fields = qos, b""
    logged = len(payload) > PAYLOAD_MAX
    if about is not None:
        if about.expires_at_ms is not None:
            flags |= EXPIRES
            fields = _EXPIRES.pack(about.expires_at_ms)
            about = about._replace(expires_at_ms=None)
        if not logged and about != NOTHING:
            number = abouts.number(about)
            if number is None:
                logged = True
            else:
                flags |= ABOUT
                fields += _ABOUT.pack(number)
    head = _HEAD.pack(offset, flags | LOGGED if logged else flags, len(publisher))
    return head + fields + publisher + (b"" if logged else payload)


def unpacked(abouts: Abouts, value: bytes) -> Value:
    """Unpack a value that ``packed`` returned."""
    offset, flags, length = _HEAD.unpack_from(value)
    at, expires_at_ms, about = _HEAD.size, None, None
    if flags & EXPIRES:
        (expires_at_ms,) = _EXPIRES.unpack_from(value, at)
        at += _EXPIRES.size
    if flags & ABOUT:
        about = abouts[_ABOUT.unpack_from(value, at)[0]]
        at += _ABOUT.size
    payload = None if flags & LOGGED else value[at + length :]
    return Value(offset, flags & _QOS_BITS, value[at : at + length], expires_at_ms, about, payload)


def plain(value: bytes) -> tuple[int, int, int] | None:
    """Return offset, QoS and the position of the payload; None: the value has more fields."""
    if value[_FLAGS_AT] > _QOS_BITS:
        return None
    offset, qos, length = _HEAD.unpack_from(value)
    return offset, qos, _HEAD.size + length


def expiry_of(value: bytes) -> int | None:
    """Return when the message expires, in ms since 1970; None: never."""
    if not value[_FLAGS_AT] & EXPIRES:
        return None
    found: int = _EXPIRES.unpack_from(value, _HEAD.size)[0]
    return found
