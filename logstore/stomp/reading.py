"""Parses the input of a connection into frames. No I/O.

The caller keeps the bytes that are not consumed, and passes them again together with the following
ones. An incomplete head is left; a body that is long or of unknown length is consumed as it
arrives, so that nothing is searched twice and no long body is copied at once.
"""

import re
from typing import Final, NamedTuple

from logstore.records.encode import Pieces
from logstore.stomp.faults import BadFrame
from logstore.stomp.frames import (
    COMMAND_BYTES_MAX,
    HEAD_BYTES_MAX,
    SEND,
    Body,
    Frame,
    read_head,
    shown,
    text,
)
from logstore.stomp.versions import FIRST, Rules

WHOLE_BYTES: Final = 1 << 20  # a longer body is taken as it comes, and stays in pieces
PIECE_BYTES: Final = 64 << 10  # smaller pieces are joined: else each would cost as much as a line
HEADS_MAX: Final = 64  # remembered: clients send the same again and again
HEAD_BYTES_KEPT: Final = 1024  # of one of them

# Between frames: heart-beats, and what careful clients end them with.
_NOISE: Final = re.compile(rb"[\r\n\0]*")


class _Head(NamedTuple):
    command: str
    headers: dict[str, str]
    length: int | None  # of the body; None: it ends at a NUL


class _Body:
    """A body that is arriving."""

    __slots__ = ("_last", "_parts", "head", "kept", "size")

    def __init__(self, head: _Head) -> None:
        self.head = head
        self.kept = head.command == SEND  # others have none that anybody asks for
        self.size = 0
        self._parts: list[bytes] = []
        self._last = bytearray()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if not self.kept:
            return
        if len(piece) >= PIECE_BYTES:
            self._close()
            self._parts.append(piece)
        else:
            self._last += piece
            if len(self._last) >= PIECE_BYTES:
                self._close()

    def _close(self) -> None:
        if self._last:
            self._parts.append(bytes(self._last))
            self._last = bytearray()

    def whole(self) -> Body:
        self._close()
        if self.size > WHOLE_BYTES and self.kept:
            return Pieces(self._parts)
        return b"".join(self._parts)


class Reader:
    """The reader of one connection."""

    __slots__ = (
        "_body", "_heads", "_rules", "_searched", "body_bytes_max", "head_bytes_max", "wants",
    )  # fmt: skip

    def __init__(self, body_bytes_max: int, head_bytes_max: int = HEAD_BYTES_MAX) -> None:
        self.body_bytes_max = body_bytes_max
        self.head_bytes_max = head_bytes_max
        self.wants = 0  # bytes of the frame that has begun, before there is any use in reading
        self._rules = FIRST
        self._searched = 0  # bytes of the head that has begun, without its end
        self._body: _Body | None = None
        self._heads: dict[bytes, _Head] = {}

    @property
    def held_bytes(self) -> int:
        """What it has taken of a body, and remembers of heads."""
        body = self._body.size if self._body is not None and self._body.kept else 0
        return body + HEAD_BYTES_KEPT * len(self._heads)

    @property
    def begun(self) -> bool:
        """Whether it has taken a part of a frame."""
        return self._body is not None

    def speak(self, rules: Rules) -> None:
        """What comes is of this version."""
        self._rules = rules
        self._heads.clear()

    def next(self, raw: bytes, at: int) -> tuple[Frame | None, int]:
        """The frame that begins at ``at``, or None where it is not whole; how far was taken.

        Raises BadFrame.
        """
        self.wants = 0
        if self._body is not None:
            return self._more(self._body, raw, at)
        found = _NOISE.match(raw, at)
        assert found is not None
        at = found.end()
        if at == len(raw):
            return None, at
        head, upto = self._head(raw, at)
        if head is None:
            return None, at
        if head.length is not None and head.length <= WHOLE_BYTES:
            end = upto + head.length
            if end >= len(raw):
                self.wants = end + 1 - at
                return None, at
            self._searched = 0
            _check_end(raw, end, head)
            return Frame(head.command, head.headers, raw[upto:end]), end + 1
        self._searched = 0
        self._body = _Body(head)
        return self._more(self._body, raw, upto)

    def _head(self, raw: bytes, at: int) -> tuple[_Head | None, int]:
        """What begins there, and where its body does; None: it is not whole."""
        begin = max(at, at + self._searched - 2)
        end = raw.find(b"\n\n", begin)
        upto = end + 2
        returned = raw.find(b"\n\r\n", begin, len(raw) if end < 0 else end + 1)
        if returned >= 0:
            end, upto = returned, returned + 3
        _check_begin(raw, at, len(raw) if end < 0 else end, begin)
        if (len(raw) if end < 0 else end) - at > self.head_bytes_max:
            raise BadFrame(f"a frame's headers take at most {self.head_bytes_max} bytes")
        if end < 0:
            self._searched = len(raw) - at
            return None, at
        given = raw[at:end]
        head = self._heads.get(given)
        if head is None:
            head = self._read(given)
            if len(given) <= HEAD_BYTES_KEPT:
                if len(self._heads) >= HEADS_MAX:
                    self._heads.clear()
                self._heads[given] = head
        return head, upto

    def _read(self, given: bytes) -> _Head:
        command, headers = read_head(given, self._rules)
        # Clients answer a MESSAGE with an ACK that has its length: only what is sent has one.
        length = _number(headers.get("content-length")) if command == SEND else None
        if length is not None and not 0 <= length <= self.body_bytes_max:
            raise self._too_long(length)
        return _Head(command, headers, length)

    def _too_long(self, length: int) -> BadFrame:
        most = self.body_bytes_max
        return BadFrame(f"a body of {length} bytes: at most {most} are allowed")

    def _more(self, body: _Body, raw: bytes, at: int) -> tuple[Frame | None, int]:
        length = body.head.length
        if length is None:
            end = raw.find(b"\0", at)
            known = end >= 0
        else:
            end = at + length - body.size
            known = end < len(raw)
        upto = end if known else len(raw)
        if length is not None:
            upto = min(upto, end)
        if body.size + upto - at > self.body_bytes_max:
            raise self._too_long(body.size + upto - at)
        body.add(raw[at:upto])
        if not known:
            return None, upto
        _check_end(raw, end, body.head)
        self._body = None
        return Frame(body.head.command, body.head.headers, body.whole()), end + 1


def _number(given: str | None) -> int | None:
    """None: no number, which is as if it were not said."""
    if given is None:
        return None
    given = given.strip()
    digits = given.removeprefix("-")
    return int(given[:20]) if digits.isascii() and digits.isdecimal() else None


def _check_begin(raw: bytes, at: int, end: int, searched: int) -> None:
    """Whether this can be the head of a frame. Raises BadFrame."""
    line = raw.find(b"\n", at, min(end, at + COMMAND_BYTES_MAX + 2))
    if line < 0 and end - at > COMMAND_BYTES_MAX + 1:
        raise BadFrame(f"no command of STOMP: '{shown(text(raw[at : at + COMMAND_BYTES_MAX]))}'")
    if raw.find(b"\0", searched, end) >= 0:
        raise BadFrame("a frame without an empty line behind its headers")


def _check_end(raw: bytes, end: int, head: _Head) -> None:
    if raw[end] != 0:
        raise BadFrame(
            f"no NUL behind the {head.length} bytes of a body: its content-length is wrong"
        )
