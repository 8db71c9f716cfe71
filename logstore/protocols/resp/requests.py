"""Parses requests as Redis does, one at a time: arrays of bulk strings, or inline commands.

This parser is authoritative. Complete arrays of bulk strings, which programs send, are parsed by
hiredis, many times as fast. Everything else comes here: an incomplete request at the end of a read,
inline commands, and invalid requests, which are refused in Redis's words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from logstore.errors import BrokenProtocol

LINE_BYTES_MAX: Final = 64 << 10  # of a line: a whole inline request, or a count
SHORT_BYTES: Final = 64  # of most lines: the search for the end copies this much
ARGUMENTS_AT_ONCE: Final = 10_000  # read before others have their turn: each takes a microsecond
ARGUMENTS_MAX: Final = 1 << 20  # Redis had it until 7; more take more memory than anyone needs

COUNT_MAX: Final = 2**31 - 1  # the limit in Redis

# As in Redis: the server holds little for a client before its login.
ARGUMENTS_BEFORE_LOGIN: Final = 10
BULK_BYTES_BEFORE_LOGIN: Final = 16 << 10

_ESCAPES: Final = {
    ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t", ord("b"): b"\b", ord("a"): b"\a",
}  # fmt: skip
_SPACE: Final = b" \t\n\v\f\r"
_WORD_END: Final = b" \t\n\r"  # Redis permits the other two spaces within a word
_SPECIAL: Final = frozenset(b"'\"\v\f")  # without these, words are what spaces part
_HEX: Final = b"0123456789abcdefABCDEF"
_QUOTE, _DOUBLE, _BACKSLASH = b"'\"\\"


@dataclass(slots=True)
class Begun:
    """An incomplete request: how far it was parsed, counted from its first byte."""

    at: int = 0
    left: int = -1  # arguments that are still to come; -1: not known
    wants: int = 0  # bytes of it that must be there before reading on gets anywhere
    room: int = 0  # expected size
    known: bool = True  # the client has logged in, or need not
    bytes_max: int = 1 << 30  # limit, as Redis's client-query-buffer-limit
    arguments: list[bytes] = field(default_factory=list)
    paused: bool = False  # more of it is there, and is read when others had their turn


def read(data: memoryview, begun: Begun, bulk_bytes_max: int) -> Sequence[bytes] | None:
    """The arguments of the request at the start of ``data``; None if it is incomplete.

    Pass a new ``begun`` at first, and then the same one, which remembers the progress; after a
    request ``begun.at`` is its size. An empty request has no arguments. Raises BrokenProtocol.
    """
    if begun.left < 0:
        if data[0] != 0x2A:  # *
            return _inline(data, begun)
        most = ARGUMENTS_MAX if begun.known else COUNT_MAX
        count = _number(data, begun, 1, most, "mbulk", "multibulk")
        if count is None:
            return None
        if not begun.known and count > ARGUMENTS_BEFORE_LOGIN:
            raise BrokenProtocol("Protocol error: unauthenticated multibulk length")
        begun.left = max(count, 0)
    begun.paused, enough = False, len(begun.arguments) + ARGUMENTS_AT_ONCE
    while begun.left:
        if len(begun.arguments) == enough:
            begun.paused = True
            _wait(data, begun, begun.at)
            return None
        if begun.at >= len(data):
            _wait(data, begun, begun.at + 1)
            return None
        if data[begun.at] != 0x24:  # $
            raise BrokenProtocol(f"Protocol error: expected '$', got '{chr(data[begun.at])}'")
        start = begun.at
        size = _number(data, begun, start + 1, bulk_bytes_max, "bulk", "bulk")
        if size is None:
            return None
        if not begun.known and size > BULK_BYTES_BEFORE_LOGIN:
            raise BrokenProtocol("Protocol error: unauthenticated bulk length")
        if size < 0:
            raise BrokenProtocol("Protocol error: invalid bulk length")
        first = begun.at
        if first + size + 2 > len(data):
            begun.at = start
            _wait(data, begun, first + size + 2)
            return None
        begun.arguments.append(bytes(data[first : first + size]))
        begun.at = first + size + 2
        begun.left -= 1
    return begun.arguments


def _wait(data: memoryview, begun: Begun, wants: int) -> None:
    if wants > begun.bytes_max:
        raise BrokenProtocol(
            f"a request of more than {begun.bytes_max} bytes: half of memory.clients.max.bytes"
        )
    begun.wants = wants
    # Doubled, so that a request of many small parts does not move to a larger room for each.
    begun.room = max(wants, min(2 * len(data), begun.bytes_max)) if begun.arguments else wants


def _number(
    data: memoryview, begun: Begun, start: int, most: int, line: str, what: str
) -> int | None:
    """The number in the line from ``start`` on; sets ``begun.at`` to the end of the line."""
    head = bytes(data[start : start + SHORT_BYTES])
    end = head.find(b"\r")
    if end < 0 and len(head) == SHORT_BYTES:
        head = bytes(data[start : start + LINE_BYTES_MAX + 1])
        end = head.find(b"\r")
    if end < 0:
        if len(head) > LINE_BYTES_MAX:
            raise BrokenProtocol(f"Protocol error: too big {line} count string")
        _wait(data, begun, len(data) + 1)
        return None
    if start + end + 2 > len(data):
        _wait(data, begun, start + end + 2)
        return None
    number = as_integer(head[:end])
    if number is None or number > most:
        raise BrokenProtocol(f"Protocol error: invalid {what} length")
    begun.at = start + end + 2
    return number


def as_integer(text: bytes) -> int | None:
    """Parse a 64-bit number in Redis's form: no sign but ``-``, no leading zeros, no spaces."""
    digits = text[1:] if text.startswith(b"-") else text
    if not digits.isdigit() or len(digits) > 19 or (digits[:1] == b"0" and text != b"0"):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _inline(data: memoryview, begun: Begun) -> Sequence[bytes] | None:
    head = bytes(data[:SHORT_BYTES])
    end = head.find(b"\n")
    if end < 0:
        head = bytes(data[: LINE_BYTES_MAX + 1])
        end = head.find(b"\n")
    nul = head.find(b"\0")
    if end < 0 or 0 <= nul < end:  # Redis looks no further than a NUL, and waits
        if len(head) > LINE_BYTES_MAX:
            raise BrokenProtocol("Protocol error: too big inline request")
        _wait(data, begun, len(data) + 1)
        return None
    line = head[: end - 1] if head[end - 1 : end] == b"\r" else head[:end]
    begun.at = end + 1
    words = split(line)
    if words is None:
        raise BrokenProtocol("Protocol error: unbalanced quotes in request")
    return words


def split(line: bytes) -> list[bytes] | None:
    """The words of a line with quotes and escapes as in redis-cli; None if a quote is open."""
    if _SPECIAL.isdisjoint(line):
        return line.split()
    words: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in _SPACE:
            at += 1
        if at == end:
            return words
        word = bytearray()
        while at < end and line[at] not in _WORD_END:
            if line[at] in (_DOUBLE, _QUOTE):
                after = _quoted(line, at, word)
                if after is None or (after < end and line[after] not in _SPACE):
                    return None
                at = after
                break
            word.append(line[at])
            at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int | None:
    """Append the quoted text to ``word``; returns its end, or None if the quote is open."""
    quote, end = line[at], len(line)
    at += 1
    while at < end:
        byte = line[at]
        if byte == quote:
            return at + 1
        if byte == _BACKSLASH and at + 1 < end:
            following = line[at + 1]
            if quote == _QUOTE:
                word += b"'" if following == _QUOTE else b"\\"
                at += 2 if following == _QUOTE else 1
            elif following == ord("x") and at + 3 < end and _is_hex(line[at + 2 : at + 4]):
                word.append(int(line[at + 2 : at + 4], 16))
                at += 4
            else:
                word += _ESCAPES.get(following, bytes((following,)))
                at += 2
        else:
            word.append(byte)
            at += 1
    return None


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(digit in _HEX for digit in digits)
