"""Replies as bytes, in RESP2 and RESP3, and the forms of messages for subscribers."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from logstore.broker.listeners import Match
from logstore.records.record import Record

Version = Literal[2, 3]

OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"
QUEUED: Final = b"+QUEUED\r\n"
NULL: Final[dict[Version, bytes]] = {2: b"$-1\r\n", 3: b"_\r\n"}

_COUNTS: Final = [b":%d\r\n" % number for number in range(10_001)]


def integer(number: int) -> bytes:
    return _COUNTS[number] if 0 <= number < len(_COUNTS) else b":%d\r\n" % number


def double(number: float, version: Version) -> bytes:
    """A double, or in RESP2 a text, in the shortest form."""
    text = b"%d" % number if number == int(number) else repr(number).encode()
    return b",%b\r\n" % text if version == 3 else bulk(text)


def simple(text: bytes) -> bytes:
    return b"+%b\r\n" % text


def error(text: bytes) -> bytes:
    """``text`` begins with its code: ``ERR``, ``EXECABORT``, ..."""
    # As in Redis: a client's text must not end the line.
    return b"-%b\r\n" % text.replace(b"\r", b" ").replace(b"\n", b" ")


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(items: Sequence[bytes]) -> bytes:
    """An array; ``items`` are encoded replies, as in the other functions here."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def bulks(items: Sequence[bytes]) -> bytes:
    """An array of bulk strings with these contents."""
    return b"*%d\r\n%b" % (len(items), b"".join([b"$%d\r\n%b\r\n" % (len(it), it) for it in items]))


def null_array(version: Version) -> bytes:
    """The null for an array, which is a null of its own in RESP2."""
    return b"_\r\n" if version == 3 else b"*-1\r\n"


def members(items: Sequence[bytes], version: Version) -> bytes:
    """A set; in RESP2 an array."""
    return b"%b%d\r\n%b" % (b"~" if version == 3 else b"*", len(items), b"".join(items))


def mapping(pairs: Mapping[bytes, bytes], version: Version) -> bytes:
    """Names to replies; in RESP2 an array of both."""
    flat = b"".join(bulk(name) + reply for name, reply in pairs.items())
    return b"%%%d\r\n%b" % (len(pairs), flat) if version == 3 else b"*%d\r\n%b" % (
        2 * len(pairs),
        flat,
    )  # fmt: skip


def push(items: Sequence[bytes], version: Version) -> bytes:
    """A push message; in RESP2 an ordinary array."""
    return b"%b%d\r\n%b" % (b">" if version == 3 else b"*", len(items), b"".join(items))


def entry(record: Record) -> list[bytes]:
    """A record of a history: its offset, its timestamp in ms, its value."""
    return [integer(record.offset), integer(record.timestamp_ms), bulk(record.value or b"")]


def verbatim(text: bytes, version: Version) -> bytes:
    """A text that is shown unchanged."""
    return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if version == 3 else bulk(text)


class RespForm:
    """A ``Form``: messages in RESP. An opening is everything before the payload."""

    def __init__(self, version: Version) -> None:
        self._mark = b">" if version == 3 else b"*"

    def opening(self, match: Match) -> bytes:
        """As Form.opening."""
        if match.pattern is not None:
            parts = [b"pmessage", match.pattern, match.channel]
        else:
            parts = [b"smessage" if match.apart else b"message", match.channel]
        return b"%b%d\r\n%b" % (self._mark, len(parts) + 1, b"".join(map(bulk, parts)))

    def chunk(self, openings: Sequence[bytes], payloads: Sequence[bytes]) -> bytes:
        """As Form.chunk."""
        if len(openings) == 1:
            size = len(payloads[0])
            opening = openings[0]
            if len(payloads) == 1:
                return b"%b$%d\r\n%b\r\n" % (opening, size, payloads[0])
            if (
                len(set(map(len, payloads))) == 1
            ):  # what lies between two of them is always the same
                head = b"%b$%d\r\n" % (opening, size)
                return b"%b%b\r\n" % (head, (b"\r\n" + head).join(payloads))
        return b"".join(
            [
                b"%b$%d\r\n%b\r\n" % (opening, len(payload), payload)
                for payload in payloads
                for opening in openings
            ]
        )

    def join(self, chunks: Sequence[bytes]) -> bytes:
        """As Form.join."""
        return b"".join(chunks)


FORMS: Final[dict[Version, RespForm]] = {2: RespForm(2), 3: RespForm(3)}
