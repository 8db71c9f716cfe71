"""Remembers what a SEND's headers mean, because clients send the same headers again and again."""

from typing import Final, NamedTuple

from logstore.broker.queues.limits import QueueFacts
from logstore.stomp.frames import Headers

KNOWN_MAX: Final = 64  # remembered; most clients have one or two
KNOWN_BYTES_MAX: Final = 1024  # of headers that are

# Headers that differ per frame; the others often equal those of the frame before.
OWN: Final = frozenset({"receipt", "transaction", "content-length"})

Key = tuple[tuple[str, str], ...]


class Prepared(NamedTuple):
    """The destination of a message, and its properties."""

    exchange: bytes
    key: bytes
    properties: bytes
    declares: QueueFacts | None  # the queue that must be there


class Known:
    """The recent headers of one connection with their meaning. Emptied when rules change."""

    __slots__ = ("_found", "_last", "_version")

    def __init__(self) -> None:
        self._found: dict[Key, Prepared] = {}
        self._last: tuple[Headers, Prepared] | None = None
        self._version = -1

    def __len__(self) -> int:
        return len(self._found)

    def of(self, headers: Headers, version: int) -> tuple[Prepared | None, Key]:
        """The remembered result for these headers, and its key. ``version``: of the rules."""
        if version != self._version:
            self._found.clear()
            self._last, self._version = None, version
        if self._last is not None and self._last[0] is headers:
            return self._last[1], ()
        key = tuple([it for it in headers.items() if it[0] not in OWN])
        found = self._found.get(key)
        if found is not None:
            self._last = headers, found
        return found, key

    def add(self, headers: Headers, key: Key, prepared: Prepared) -> None:
        """Remember the result for these headers."""
        if len(prepared.properties) > KNOWN_BYTES_MAX:
            return
        if len(self._found) >= KNOWN_MAX:
            self._found.clear()
        self._found[key] = prepared
        self._last = headers, prepared
