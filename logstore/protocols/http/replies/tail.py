"""Follows a channel or a pattern as events: twice a second, the latest messages.

If messages arrive faster than a person can read, only some are shown: the last ones of each half
second, and the number of the others.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from logstore.amqp import fields
from logstore.broker.history import Kept
from logstore.broker.listeners import Match
from logstore.http.bodies import encode
from logstore.protocols.http.replies.contents import PREVIEW_BYTES, preview
from logstore.protocols.http.replies.events import Events

BATCH_S: Final = 0.5
BATCH_MAX: Final = 200  # messages: half a millisecond to write them
TAILS_MAX: Final = 100  # at one time
ROOM_BYTES: Final = 200  # for what is around them
NAME, REFUSED = "messages", "refused"  # of events


class Heard(NamedTuple):
    """One message, shortened to the part that is shown."""

    channel: bytes
    pattern: bytes | None
    beginning: bytes
    size: int
    time_ms: int = 0


class _Listed:
    """A ``Form`` whose chunks are lists of the latest messages, with the number of others."""

    def opening(self, match: Match) -> Match:
        """As Form.opening."""
        return match

    def chunk(self, openings: Sequence[Match], payloads: Sequence[bytes]) -> "_Chunk":
        """As Form.chunk."""
        last = payloads[-BATCH_MAX:]
        heard = [
            Heard(match.channel, match.pattern, bytes(payload[:PREVIEW_BYTES]), len(payload))
            for payload in last
            for match in openings
        ]
        return _Chunk(heard, (len(payloads) - len(last)) * len(openings))

    def join(self, chunks: "Sequence[_Chunk]") -> "_Chunk":
        """As Form.join."""
        heard = [it for chunk in chunks for it in chunk.heard]
        return _Chunk(heard, sum(chunk.more for chunk in chunks))


class _Chunk(NamedTuple):
    heard: Sequence[Heard]
    more: int  # that came before these, and are not among them


_LISTED: Final = _Listed()  # one for all, who share their chunks


class Tail:
    """A browser as a ``Subscriber``. Used in the sessions' thread."""

    form: Any = _LISTED

    def __init__(
        self,
        clock: Callable[[], int],
        later: Callable[[Callable[[], None]], object],
        allowed: Callable[[], bool],
        leave: Callable[[], None],
    ) -> None:
        """``clock``: ms since 1970. ``later``: makes a call when a batch is to be sent.

        ``allowed``: whether it may hear that still. ``leave``: it listens no more.
        """
        self.leave = leave
        self._clock = clock
        self._later = later
        self._allowed = allowed
        self._events: Events | None = None
        self._heard: deque[Heard] = deque(maxlen=BATCH_MAX)
        self._dropped = 0
        self._waits = False

    def begin(self, events: Events) -> None:
        """Here they go."""
        self._events = events

    def deliver(self, chunk: _Chunk) -> None:
        """As Subscriber.deliver."""
        now_ms = self._clock()
        heard, before = self._heard, len(self._heard)
        heard.extend([it._replace(time_ms=now_ms) for it in chunk.heard])
        self._dropped += chunk.more + before + len(chunk.heard) - len(heard)
        if not self._waits:
            self._waits = True
            self._later(self._send)

    def deliver_kept(self, chunk: _Chunk, kept: Kept) -> None:
        """As Subscriber.deliver_kept."""
        self.deliver(chunk)

    def _send(self) -> None:
        self._waits = False
        if self._events is not None and self._events.open and self._events.unread_bytes:
            self._waits = True  # what is not read yet is not added to: the last ones stay
            self._later(self._send)
            return
        heard, dropped = list(self._heard), self._dropped
        self._heard.clear()
        self._dropped = 0
        if self._events is None or not self._events.open:
            return
        if not self._allowed():
            self.leave()
            self._events.send(encode({"error": "you may not listen to this any more"}), REFUSED)
            return
        last = _last_rows(heard, self._events.room_bytes - ROOM_BYTES)
        dropped += len(heard) - len(last)
        self._events.send(b'{"messages":[%b],"dropped":%d}' % (b",".join(last), dropped), NAME)


def _last_rows(heard: Sequence[Heard], bytes_max: int) -> list[bytes]:
    """As JSON, as many of the last ones as fit."""
    found: deque[bytes] = deque()
    size = 0
    for it in reversed(heard):
        row = encode(_shown(it))
        size += len(row) + 1
        if size > bytes_max:
            break
        found.appendleft(row)
    return list(found)


def _shown(it: Heard) -> dict[str, Any]:
    return {
        "channel": fields.text(it.channel),
        "pattern": None if it.pattern is None else fields.text(it.pattern),
        "time_ms": it.time_ms,
        "body": preview(it.beginning),
        "body_bytes": it.size,
        "truncated": it.size > len(it.beginning),
    }
