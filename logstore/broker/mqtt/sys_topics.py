"""The server's figures as topics below ``$SYS/broker/``, under mosquitto's names.

They exist in memory only: retained for new subscribers, and published every ten seconds if they
have changed. Rates are per minute, averaged over the last 1, 5 and 15 minutes with mosquitto's
decay.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Final, NamedTuple

from logstore.broker.mqtt.message import About, Message
from logstore.broker.mqtt.ordered import Ordered
from logstore.broker.mqtt.retained import LOOK_MAX, Portion
from logstore.broker.mqtt.walk import Walk

ROOT: Final = b"$SYS/"
EVERY_MS: Final = 10_000
_BROKER: Final = b"$SYS/broker/"
_MINUTES: Final = (1, 5, 15)
_MINUTE_S: Final = 60.0


class Seen(NamedTuple):
    """The figures. Counts are since the start."""

    version: str = ""
    uptime_s: int = 0
    connected: int = 0
    sessions: int = 0  # with those that are connected
    expired: int = 0  # sessions
    subscriptions: int = 0
    shared_subscriptions: int = 0
    retained: int = 0
    stored: int = 0  # messages in memory and on disk: retained, and those that wait in sessions
    stored_bytes: int = 0
    messages_received: int = 0  # packets of any kind
    messages_sent: int = 0
    publish_received: int = 0
    publish_sent: int = 0
    publish_dropped: int = 0
    publish_bytes_received: int = 0  # of payloads
    publish_bytes_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    connections: int = 0


_COUNTS: Final[Mapping[bytes, Callable[[Seen], int]]] = {
    b"clients/connected": lambda it: it.connected,
    b"clients/active": lambda it: it.connected,
    b"clients/disconnected": lambda it: it.sessions - it.connected,
    b"clients/inactive": lambda it: it.sessions - it.connected,
    b"clients/total": lambda it: it.sessions,
    b"clients/expired": lambda it: it.expired,
    b"subscriptions/count": lambda it: it.subscriptions,
    b"shared_subscriptions/count": lambda it: it.shared_subscriptions,
    b"retained messages/count": lambda it: it.retained,
    b"messages/stored": lambda it: it.stored,
    b"store/messages/count": lambda it: it.stored,
    b"store/messages/bytes": lambda it: it.stored_bytes,
    b"messages/received": lambda it: it.messages_received,
    b"messages/sent": lambda it: it.messages_sent,
    b"publish/messages/received": lambda it: it.publish_received,
    b"publish/messages/sent": lambda it: it.publish_sent,
    b"publish/messages/dropped": lambda it: it.publish_dropped,
    b"publish/bytes/received": lambda it: it.publish_bytes_received,
    b"publish/bytes/sent": lambda it: it.publish_bytes_sent,
    b"bytes/received": lambda it: it.bytes_received,
    b"bytes/sent": lambda it: it.bytes_sent,
}
_LOADS: Final[Mapping[bytes, Callable[[Seen], int]]] = {
    b"load/messages/received": lambda it: it.messages_received,
    b"load/messages/sent": lambda it: it.messages_sent,
    b"load/publish/received": lambda it: it.publish_received,
    b"load/publish/sent": lambda it: it.publish_sent,
    b"load/publish/dropped": lambda it: it.publish_dropped,
    b"load/bytes/received": lambda it: it.bytes_received,
    b"load/bytes/sent": lambda it: it.bytes_sent,
    b"load/connections": lambda it: it.connections,
}


class SysTopics:
    """The topics of one server. In the sessions' thread."""

    def __init__(self, look: Callable[[], Seen], clock: Callable[[], int]) -> None:
        """``clock`` returns ms, with the same zero as long as the server runs."""
        self._look = look
        self._clock = clock
        self._index = Ordered()
        self._loads: dict[bytes, float] = {}
        self._before = Seen()
        self._at_ms = clock()
        self._most = 0  # clients at once
        self._first = True
        self._changed: dict[bytes, None] = {}  # since it was published

    def tick(self) -> list[Message]:
        """Return the values that have changed since the last call, as messages to publish."""
        self._refresh()
        changed, self._changed = self._changed, {}
        return [Message(topic, self._index.get(topic) or b"", 0, True) for topic in changed]

    def _refresh(self) -> None:
        seen, now_ms = self._look(), self._clock()
        self._most = max(self._most, seen.connected)
        if self._first:
            self._first = False
        elif now_ms > self._at_ms:
            self._load(seen, (now_ms - self._at_ms) / 1000)
        self._before, self._at_ms = seen, now_ms
        for name, payload in self._rows(seen).items():
            topic = _BROKER + name
            if self._index.put(topic, payload) != payload:
                self._changed[topic] = None

    def _rows(self, seen: Seen) -> dict[bytes, bytes]:
        rows = {name: b"%d" % count(seen) for name, count in _COUNTS.items()}
        rows[b"clients/maximum"] = b"%d" % self._most
        rows[b"version"] = f"logstore version {seen.version}".encode()
        rows[b"uptime"] = b"%d seconds" % seen.uptime_s
        rows |= {name: b"%.2f" % load for name, load in self._loads.items()}
        return rows

    def _load(self, seen: Seen, elapsed_s: float) -> None:
        for name, count in _LOADS.items():
            rate = (count(seen) - count(self._before)) * _MINUTE_S / elapsed_s
            for minutes in _MINUTES:
                key = name + b"/%dmin" % minutes
                decay = exp(-elapsed_s / (_MINUTE_S * minutes))
                self._loads[key] = rate + decay * (self._loads.get(key, 0.0) - rate)

    def cursor(self, filter_: bytes) -> "SysCursor":
        """Return a cursor for a new subscriber to this filter, which begins with ROOT."""
        if self._first or self._clock() >= self._at_ms + EVERY_MS:
            self._refresh()
        return SysCursor(Walk(self._index, filter_), filter_)


class SysCursor:
    """A ``retained.Cursor`` over these topics."""

    def __init__(self, walk: Walk, filter_: bytes) -> None:
        self.filter = filter_
        self._walk = walk

    @property
    def over(self) -> bool:
        """As Cursor.over."""
        return self._walk.over

    def ready(self, wake: Callable[[], object]) -> bool:
        """As Cursor.ready."""
        return True

    def lost(self) -> None:
        """As Cursor.lost."""

    def some(self, bytes_max: int = 0) -> Portion:
        """As Cursor.some."""
        topics, payloads = self._walk.some(LOOK_MAX)
        nothing: Sequence[About | None] = [None] * len(topics)
        return Portion(topics, payloads, [0] * len(topics), list(nothing))

    def close(self) -> None:
        """As Cursor.close."""
