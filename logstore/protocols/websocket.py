"""A session of any protocol within a WebSocket connection: unwraps its input, wraps its output."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from logstore.protocols.session import About, Buffer, Link, Session
from logstore.websocket.frames import (
    BINARY,
    GOING_AWAY,
    NORMAL,
    POLICY,
    TEXT,
    close,
    head,
)
from logstore.websocket.reading import FRAMES_AT_ONCE, BadWebSocket, Reader

if TYPE_CHECKING:
    from logstore.subject import Certificate

# Taken off its frames before the inner session has had it: what a connection without them keeps.
ROOM_BYTES: Final = 256 << 10
MORE_BYTES: Final = 64 << 10  # beyond what that wants
BYTES_AT_ONCE: Final = 256 << 10
DISCARD_S: Final = 2.0  # that a client has to hear why its connection ends
WRAPPER_BYTES: Final = 1024


class Framed:
    """The last pushed chunk with its frame: many connections get the same one in a row."""

    def __init__(self) -> None:
        self._chunk, self._whole = b"", b""

    def of(self, chunk: bytes, opcode: int) -> bytes:
        """As one message."""
        if chunk is not self._chunk:
            self._chunk, self._whole = chunk, head(opcode, len(chunk)) + chunk
        return self._whole


_framed: Final = Framed()


class WithinLink:
    """The inner session's ``Link``."""

    def __init__(self, link: Link, opcode: Callable[[bytes], int]) -> None:
        self._link = link
        self._opcode = opcode

    @property
    def id(self) -> int:
        return self._link.id

    @property
    def peer(self) -> str:
        return self._link.peer

    @property
    def peer_address(self) -> tuple[str, int]:
        return self._link.peer_address

    @property
    def address(self) -> tuple[str, int]:
        return self._link.address

    @property
    def secure(self) -> bool:
        return self._link.secure

    @property
    def certificate(self) -> "Certificate | None":
        return self._link.certificate

    @property
    def unsent(self) -> int:
        return self._link.unsent

    @property
    def unread(self) -> int:
        return self._link.unread

    def wake(self) -> None:
        """As Link.wake."""
        self._link.wake()

    def push(self, data: bytes) -> int:
        """As Link.push."""
        return self._link.push(_framed.of(data, self._opcode(data)))

    def let_be(self) -> None:
        """As Link.let_be: it is let be already."""

    def cut(self, reason: str) -> None:
        """As Link.cut."""
        self._link.cut(reason)


class WebSocketSession:
    """A ``Session`` that wraps the inner one."""

    def __init__(
        self,
        new_session: Callable[[Link], Session],
        link: Link,
        *,
        text: bool = False,
        first: bytes = b"",
        early: bytes = b"",
    ) -> None:
        """``text``: what travels within is text as a rule; else all messages are binary.

        ``first``: what the client is to get before any frame. ``early``: that has come already.
        """
        self.kept = False
        self.busy = True  # while its client is there
        self.closed: str | None = None
        self._link = link
        self._text = text
        self._reader = Reader(text=text)
        self._first = first
        self._early = early
        self._parts: list[bytes] = []  # off their frames, and not taken by the inner session
        self._size = 0
        self._full = False  # the inner session takes nothing now
        self._bad: BadWebSocket | None = None  # why nothing more is read
        self._until: float | None = None  # what comes is thrown away
        self._said_close = False
        self._leaving = False
        self._now = 0.0
        self._inner: Any = new_session(WithinLink(link, self._opcode))
        link.let_be()  # by the rules of the protocol within
        link.wake()

    def _opcode(self, data: bytes) -> int:
        """Text where it can be: what is no UTF-8 would end the connection at its client."""
        if not self._text:
            return BINARY
        if data.isascii():
            return TEXT
        try:
            data.decode()
        except UnicodeDecodeError:
            return BINARY
        return TEXT

    def about(self) -> About:
        """As Doorway.about."""
        found: About = self._inner.about()
        return found._replace(facts={**found.facts, "websocket": True})

    # The session of the server

    @property
    def wants(self) -> int:
        return 0  # a frame's head is a few bytes, and the rest is taken as it comes

    @property
    def deadline(self) -> float | None:
        due: float | None = self._inner.deadline
        if self._until is None:
            return due
        return self._until if due is None else min(due, self._until)

    @property
    def held_bytes(self) -> int:
        own = WRAPPER_BYTES + self._size + self._reader.held_bytes + len(self._early)
        return own + int(self._inner.held_bytes)

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._now = now
        if self._until is not None:
            return len(data)
        early = len(self._early)
        raw = self._early + bytes(data[:BYTES_AT_ONCE])
        self._reader.frames_left = FRAMES_AT_ONCE
        taken = self._take(raw)
        self._early = raw[taken:early]
        if self._reader.frames_left <= 0:
            self._link.wake()  # others first
        return max(taken - early, 0)

    def _take(self, raw: bytes) -> int:
        """How much of it was taken."""
        at = 0
        self._feed()
        while self._bad is None and self._reader.closed is None and self._inner.closed is None:
            room = max(self._wanted() - self._size, 0) if not self._full else 0
            try:
                piece, upto = self._reader.take(raw, at, room)
            except BadWebSocket as error:
                self._end(error)
                return len(raw)
            if piece:
                self._parts.append(piece)
                self._size += len(piece)
            went_on, at = upto > at, upto
            self._feed()
            if not went_on:
                break
        if self._reader.closed is not None:
            self._closed_by_client()
            return len(raw)
        return len(raw) if self._inner.closed is not None else at

    def _wanted(self) -> int:
        return max(int(self._inner.wants) + MORE_BYTES, ROOM_BYTES)

    def _feed(self) -> None:
        """Give the inner session what is here, once it is as much as it wants."""
        while self._size and self._size >= self._inner.wants and self._inner.closed is None:
            whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            taken = int(self._inner.receive(memoryview(whole), self._now))
            self._parts = [whole[taken:]] if taken < len(whole) else []
            self._size -= taken
            if not taken:
                self._full = self._size >= self._wanted()
                return
        self._full = False

    def _closed_by_client(self) -> None:
        if not self._said_close:
            self._inner.finish(self._now)
        if self._inner.closed is None and not self._inner.busy:
            self._end(None)

    def _end(self, error: BadWebSocket | None) -> None:
        """Nothing more is read."""
        self._bad = error
        self._until = self._now + DISCARD_S
        self._inner.finish(self._now)
        self._link.wake()

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self._now = now
        self._inner.wake(now)
        self._feed()
        if self._early and not self._full:
            self.receive(memoryview(b""), now)
        if self._until is not None and now >= self._until:
            self.closed = self._why()

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        out: list[Buffer] = []
        if self._first:
            out.append(self._first)
            self._first = b""
        if self._said_close:
            return out
        for data in self._inner.outgoing(bytes_max):
            out.append(head(self._opcode(bytes(data)) if self._text else BINARY, len(data)))
            out.append(data)
        if self._reader.replies:
            out += self._reader.replies
            self._reader.replies = []
        self._judge(out)
        return out

    def _judge(self, out: list[Buffer]) -> None:
        """Say that it ends, and end it, where it does."""
        if self._bad is not None:
            self._say(out, self._bad.code, str(self._bad))
        elif self._inner.closed is not None:
            why = str(self._inner.closed)
            code = POLICY if why else NORMAL
            self._say(out, GOING_AWAY if self._leaving else code, why)
        elif self._reader.closed is not None:
            self._say(out, self._reader.closed, "")

    def _say(self, out: list[Buffer], code: int, reason: str) -> None:
        self._said_close = True
        out.append(close(code, reason))
        if not self._link.unread or self._reader.closed is not None:
            self.closed = self._why()
        elif self._until is None:
            self._until = self._now + DISCARD_S

    def _why(self) -> str:
        if self._bad is not None:
            return f"WebSocket: {self._bad}"
        return str(self._inner.closed or "")

    def finish(self, now: float) -> None:
        """As Session.finish."""
        self._now, self.busy = now, False
        self._inner.finish(now)

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        self._now, self._leaving = now, True
        left = bool(self._inner.leave(now))
        if not left:
            self.busy = False
        return left

    def close(self) -> None:
        """As Session.close."""
        self._inner.close()
