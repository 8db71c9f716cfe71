"""Replies that are sent in parts: lines, a stream of parts, events.

The connection takes a part when the peer has read the previous ones, so a slow peer holds little
memory. A part is at most a millisecond of work or some kilobytes; other clients have their turn in
between.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Final, Protocol

from logstore.http.bodies import LINES
from logstore.http.event_stream import EVENTS, KEEP_ALIVE, RETRY, event

PIECE_BYTES: Final = 16 << 10  # of a stream; large enough that a system call costs little of it
PIECE_S: Final = 0.001
UNREAD_BYTES_MAX: Final = 256 << 10  # of events; then they are dropped
UNREAD_S: Final = 30.0  # that a peer reads nothing of them; then it is cut off
LOOK_S: Final = 5.0  # between looks at whether it does
KEEP_ALIVE_S: Final = 15.0  # proxies close what is silent for a minute; a peer that is gone is told


class Flow(Protocol):
    """One reply that is being sent."""

    content_type: str

    @property
    def ended(self) -> bool:
        """Whether all that there is was taken."""

    @property
    def held_bytes(self) -> int:
        """That wait to be taken."""

    @property
    def deadline(self) -> float | None:
        """When ``look`` must be called at the latest."""

    def take(self, bytes_max: int) -> bytes:
        """The next piece; b"" : nothing now."""

    def look(self, now: float, *, unsent: bool) -> str | None:
        """``unsent``: the peer has not read all it was sent. Why it is to be cut off, if it is."""

    def close(self) -> None:
        """Nobody takes anything any more."""


class Lines:
    """Lines of JSON, sent as they are added."""

    content_type = LINES
    deadline = None

    def __init__(self) -> None:
        self.given_all = False
        self._lines: deque[bytes] = deque()
        self._skippable = b""  # the last of them, where another may take its place
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        return self._bytes + len(self._skippable)

    @property
    def ended(self) -> bool:
        return self.given_all and not self._lines and not self._skippable

    def add(self, data: bytes, *, skip: bool) -> None:
        """``skip``: the next one may take its place."""
        if not skip:
            self._lines += [self._skippable, data] if self._skippable else [data]
            self._bytes += len(self._skippable) + len(data)
        self._skippable = data if skip else b""

    def take(self, bytes_max: int) -> bytes:
        """As Flow.take."""
        pieces, size = [], 0
        while self._lines and size < bytes_max:
            pieces.append(self._lines.popleft())
            size += len(pieces[-1])
        self._bytes -= size
        if not self._lines:
            pieces.append(self._skippable)
            self._skippable = b""
        return b"".join(pieces)

    def look(self, now: float, *, unsent: bool) -> str | None:
        """As Flow.look."""
        return None

    def close(self) -> None:
        """As Flow.close."""
        self._lines.clear()
        self._skippable, self._bytes = b"", 0


class Parts:
    """The parts that an iterator yields, requested only as fast as the peer reads.

    Each step of the iterator takes at most a millisecond. It yields b"" if it must wait for
    something, and continues once ``go_on`` is called.
    """

    deadline = None
    held_bytes = 0

    def __init__(
        self, content_type: str, parts: Iterator[bytes], stopwatch: Callable[[], float]
    ) -> None:
        self.content_type = content_type
        self.ended = self.waits = False
        self._parts = parts
        self._stopwatch = stopwatch

    def take(self, bytes_max: int) -> bytes:
        """As Flow.take. Raises what the iterator raises."""
        pieces, size, until = [], 0, self._stopwatch() + PIECE_S
        while not (self.waits or self.ended) and size < PIECE_BYTES:
            part = next(self._parts, None)
            if part is None:
                self.ended = True
            elif not part:
                self.waits = True
            else:
                pieces.append(part)
                size += len(part)
                if self._stopwatch() > until:
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def look(self, now: float, *, unsent: bool) -> str | None:
        """As Flow.look."""
        return None

    def close(self) -> None:
        """As Flow.close."""
        self.ended = True
        if isinstance(self._parts, Generator):
            self._parts.close()


class Unread:
    """Events that the peer has not read yet, bounded in bytes."""

    content_type = EVENTS

    def __init__(self, now: float, unread_bytes_max: Callable[[], int]) -> None:
        """``unread_bytes_max``: bytes that one of all there are now may hold."""
        self.ended = False
        self.dropped = 0  # events, since the last gap that the peer was told of
        self._bytes_max = unread_bytes_max
        self._first = RETRY  # what is said before the next event
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._taken = False  # something was, since ``look`` was called
        self._looked_at = self._silent_since = self._unread_since = now

    @property
    def held_bytes(self) -> int:
        return self._bytes

    @property
    def room_bytes(self) -> int:
        return max(self._bytes_max() - self._bytes, 0)

    @property
    def deadline(self) -> float:
        return self._looked_at + LOOK_S

    def add(self, data: bytes) -> None:
        """One event, as it is sent."""
        if self.dropped or len(data) > self.room_bytes:
            self.dropped += 1 + len(self._events)
            self._events.clear()
            self._bytes = 0
            return
        self._events.append(data)
        self._bytes += len(data)

    def take(self, bytes_max: int) -> bytes:
        """As Flow.take. A gap is told of when the peer reads again."""
        if self.dropped:
            self._first += event(b'{"dropped":%d}' % self.dropped, "gap")
            self.dropped = 0
        taken = b"".join([self._first, *self._events])
        self._events.clear()
        self._first, self._bytes = b"", 0
        self._taken = True
        return taken

    def look(self, now: float, *, unsent: bool) -> str | None:
        """As Flow.look."""
        self._looked_at = now
        reads, self._taken = self._taken or not unsent, False
        if reads:
            self._unread_since = now
        elif now - self._unread_since >= UNREAD_S:
            return f"its events were not read for {UNREAD_S:.0f} s"
        if now - self._silent_since >= KEEP_ALIVE_S:
            self._silent_since = now
            if reads:
                self._first += KEEP_ALIVE
        return None

    def close(self) -> None:
        """As Flow.close."""
        self.ended = True
        self._events.clear()
        self._bytes = 0
