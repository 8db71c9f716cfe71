"""A station receives messages in place of a queue: a topic, a channel, a delay, or a stream.

A run of messages is divided: messages for queues are published together (``publishing.py``), and
messages that arrive at an exchange with a station, or at a stream, go to it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from logstore.broker.queues.message import Content, Framed
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError


class Parcel(NamedTuple):
    """Messages for one station in columns: the n-th entry of each belongs to the n-th message."""

    keys: Sequence[bytes]
    bodies: Sequence[Content]
    framed: Sequence[Framed]


class Intake:
    """A station's reply to a parcel, and the facts that it needs for it."""

    def __init__(self, now_ms: int, waiting: Waiting, held: Transaction | None) -> None:
        """``waiting``: the marks that must be safe before the messages are confirmed.

        ``held``: the transaction of which the messages become a part; nothing may happen before it
        does.
        """
        self.now_ms, self.waiting, self.held = now_ms, waiting, held
        self.unrouted: set[int] = set()  # messages that go nowhere after all, by number
        self.rejected: set[int] = set()  # that could not be taken
        self.lasting: set[int] = set()  # in a transaction: those that outlive the process
        self.error: LogstoreError | None = None  # why some were not taken

    def refuse(self, numbers: Sequence[int] | set[int], error: LogstoreError | None = None) -> None:
        """Refuse these messages: their publisher gets a nack."""
        self.rejected.update(numbers)
        self.error = error or self.error


class Station(Protocol):
    """The station of one exchange; a stream is its own station. Used in the sessions' thread."""

    @property
    def gone(self) -> bool: ...
    def take(self, parcel: Parcel, intake: Intake) -> None:
        """Take the messages, except those that it refuses. Raises nothing."""

    def drop(self) -> None:
        """Handle the deletion of the exchange, or of the stream itself."""


class Parted(NamedTuple):
    """A divided run."""

    queues: Sequence[tuple[Queue, ...]]  # of each message
    stations: Mapping[Station, Sequence[int]]  # the numbers of the messages for each


def passes_on(station: object) -> bytes | None:
    """The exchange of a station that forwards messages immediately to all its bindings; otherwise
    None.
    """
    name: bytes | None = getattr(station, "passes_on", None)
    return name


Route = tuple[Named | Station, ...]  # queues, streams and stations


def part(routes: Sequence[Route]) -> Parted:
    """Separate stations from queues."""
    known: dict[Route, tuple[tuple[Queue, ...], list[Station]]] = {}
    queues: list[tuple[Queue, ...]] = []
    stations: dict[Station, list[int]] = {}
    for number, route in enumerate(routes):
        parted = known.get(route)
        if parted is None:
            plain = tuple([it for it in route if isinstance(it, Queue)])
            others = [cast(Station, it) for it in route if not isinstance(it, Queue)]
            parted = known[route] = plain, others
        queues.append(parted[0])
        for station in parted[1]:
            stations.setdefault(station, []).append(number)
    return Parted(queues, stations)
