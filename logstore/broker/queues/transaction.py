"""A held transaction before it is written to the journal: its messages and settlements.

Nothing of it has happened yet. Either all of it becomes a part of one batch of the journal, or none
of it. Effects without durable storage (a channel), and effects whose repetition cannot be
recognised, happen first, before the journal's record: after a crash they may happen again, but they
are never lost.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from logstore.broker.queues.held import Body, Place, encode, held_key, producer_of
from logstore.broker.queues.journal import queue_key
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Content, Framed, batch_of
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.stock import Stock
from logstore.counts.queues import QueueCounts, QueueTotals
from logstore.errors import LogstoreError, Refused
from logstore.kept.queues import Lane
from logstore.log import Log
from logstore.records.batch import NO_PRODUCER, Batch, with_producer

Record = tuple[bytes, bytes, tuple[()], int]  # of the journal: value, key, headers, time (ms)
FORGOTTEN: Final = "what was to come with it was not sent after all: send it again"
Ahead = Callable[[Waiting], object]  # appends, and says what is to become safe, or has failed


class Holder(Protocol):
    """A queue as transactions see it."""

    @property
    def id(self) -> int: ...
    @property
    def facts(self) -> QueueFacts: ...
    @property
    def gone(self) -> bool: ...
    @property
    def kept(self) -> Pending | None: ...
    @property
    def stock(self) -> Stock: ...
    @property
    def counts(self) -> QueueCounts: ...
    @property
    def totals(self) -> QueueTotals: ...
    def wake(self) -> None: ...


class Target(NamedTuple):
    """A destination of messages."""

    queue: Holder
    lane: int


class Part(NamedTuple):
    """Messages with the same destination, in one batch."""

    targets: Sequence[Target]
    values: Sequence[Content]
    keys: Sequence[bytes]
    framed: Sequence[Framed]
    now_ms: int  # when they were published
    body_bytes: int
    expires: bool  # some have an expiration of their own


class Effect(NamedTuple):
    """The result of a part."""

    targets: Sequence[Target]
    batch: Batch
    lasts: bool  # it is a body in the journal
    body_bytes: int
    expires: bool


class Entry:
    """A batch for a partition of a topic, and its position once it was appended."""

    __slots__ = ("batch", "gone", "log", "mark", "place")

    def __init__(self, place: Place, batch: Batch) -> None:
        self.place = place
        self.batch = batch  # with its number, once the journal is told
        self.log: Log | None = None
        self.mark = 0
        self.gone = False  # it never will be appended by this process


class Ending(NamedTuple):
    """Delivered messages of one lane that are settled: ``first + n`` for each bit of bits."""

    queue: Holder
    lane: int
    first: int
    bits: int


class Remembered(Protocol):
    """Something that is written to the journal with the transaction, and takes effect with it."""

    @property
    def lasts(self) -> bool:
        """Whether it outlives the process."""

    def record(self, now_ms: int) -> Record:
        """Return the journal's record."""

    def came(self, error: LogstoreError | None) -> None:
        """Note that the transaction has happened, or has failed."""


class Commits(Protocol):
    """Offsets of a group, which take effect once the journal has them."""

    def record(self, now_ms: int) -> Record:
        """Return the journal's record."""

    def happened(self, place: int) -> None:
        """Note that the journal has the record safe, at this offset."""

    def failed(self, error: LogstoreError) -> None:
        """Note that the transaction has failed."""


class Transaction:
    """One held transaction while it is put together."""

    __slots__ = (
        "_within", "ahead", "body_bytes", "commits", "commits_at", "endings", "entries", "first",
        "in_hand", "parts", "refused", "remembered",
    )  # fmt: skip

    def __init__(self, within: "Transaction | None" = None) -> None:
        """``within``: the transaction that this one is to join."""
        self._within = within
        self.ahead: list[Ahead] = []  # called when it begins
        self.parts: list[Part] = []
        self.entries: list[Entry] = []
        self.endings: list[Ending] = []
        self.remembered: list[Remembered] = []
        self.commits: list[Commits] = []
        self.commits_at = 0  # of its records, the first of those: once it is told
        self.body_bytes = 0
        self.first = 0  # the number of its first body, once it is told
        self.refused: LogstoreError | None = None  # why it can't happen
        self.in_hand = False  # a thread waits for it, and syncs the journal itself

    @property
    def whole(self) -> "Transaction":
        """The transaction with all that joins it, which waits for none of its other parts."""
        return self if self._within is None else self._within.whole

    def __bool__(self) -> bool:
        """Whether the transaction contains anything."""
        brings = self.parts or self.entries or self.ahead
        return bool(brings or self.endings or self.remembered or self.commits or self.refused)

    def bring(self, part: Part) -> None:
        """Add messages. Their queues count them as coming from now on."""
        self.parts.append(part)
        self.body_bytes += part.body_bytes
        for queue, _ in part.targets:
            queue.stock.coming += len(part.values)
            queue.stock.coming_bytes += part.body_bytes

    def came(self, part: Part) -> None:
        """Note that these messages were appended, or have failed."""
        for queue, _ in part.targets:
            queue.stock.coming -= len(part.values)
            queue.stock.coming_bytes -= part.body_bytes

    def append(self, place: Place, batch: Batch) -> Entry:
        """Add records for a partition of a topic, already encoded."""
        entry = Entry(place, batch)
        self.entries.append(entry)
        self.body_bytes += batch.size
        return entry

    def before(self, call: Ahead, body_bytes: int) -> None:
        """Add a publish that goes ahead of the transaction."""
        self.ahead.append(call)
        self.body_bytes += body_bytes

    def failed(self, part: Part, error: LogstoreError) -> None:
        """Note that these messages will never be appended."""
        self.came(part)
        for queue, _ in part.targets:
            if queue.stock.repeats is not None:
                queue.stock.repeats.forget_framed(part.framed, error)

    def remember(self, it: Remembered) -> None:
        """Add a fact that the journal is to remember."""
        self.remembered.append(it)

    def join(self, other: "Transaction") -> None:
        """Move all parts of another transaction into this one."""
        self.ahead += other.ahead
        self.parts += other.parts
        self.entries += other.entries
        self.endings += other.endings
        self.remembered += other.remembered
        self.commits += other.commits
        self.body_bytes += other.body_bytes
        self.refused = self.refused or other.refused

    def forget(self) -> None:
        """Abandon the transaction."""
        for part in self.parts:
            self.failed(part, Refused(FORGOTTEN))
        for it in self.remembered:
            it.came(Refused(FORGOTTEN))
        for of_group in self.commits:
            of_group.failed(Refused(FORGOTTEN))
        self.ahead, self.parts, self.entries = [], [], []
        self.endings, self.remembered, self.commits = [], [], []
        self.body_bytes = 0

    def settle(self, queue: Holder, lane: int, first: int, bits: int) -> None:
        """Add a settlement of unacknowledged messages."""
        self.endings.append(Ending(queue, lane, first, bits))

    @property
    def lasts(self) -> bool:
        """Whether any part outlives the process."""
        return (
            bool(self.entries or self.commits)
            or any(it.queue.facts.lasts for it in self.endings)
            or any(queue.facts.lasts for part in self.parts for queue, _ in part.targets)
            or any(it.lasts for it in self.remembered)
        )

    def unkept(self) -> set[Pending]:
        """Return the declarations of its target queues that are not durable yet."""
        kept = {queue.kept for part in self.parts for queue, _ in part.targets}
        return {it for it in kept if it is not None}

    def tell(self, number: int, now_ms: int) -> tuple[list[Record], list[Effect], int]:
        """Return the journal's records, their effects, and the number of the next body."""
        self.first = number
        effects: list[Effect] = []
        bodies: list[Body] = []
        for part in self.parts:
            lanes = tuple([Lane(it.id, n) for it, n in part.targets if it.facts.lasts])
            producer = producer_of(number + len(bodies)) if lanes else NO_PRODUCER
            batch = batch_of(part.values, part.keys, part.framed, part.now_ms, producer)
            if lanes:
                bodies.append(Body(lanes, batch))
            effects.append(Effect(part.targets, batch, bool(lanes), part.body_bytes, part.expires))
        for entry in self.entries:
            entry.batch = with_producer(entry.batch, producer_of(number + len(bodies)))
            bodies.append(Body(entry.place, entry.batch))
        records = self._settled(now_ms)
        records += [it.record(now_ms) for it in self.remembered if it.lasts]
        self.commits_at = len(records)
        records += [it.record(now_ms) for it in self.commits]
        if bodies:
            records.append((encode(bodies), held_key(number), (), now_ms))
        return records, effects, number + len(bodies)

    def _settled(self, now_ms: int) -> list[Record]:
        told: dict[int, Settled] = {}
        for queue, lane, first, bits in self.endings:
            if queue.facts.lasts:
                told.setdefault(queue.id, Settled()).settle_bits(lane, first, bits)
        return [(it.encode(), queue_key(number), (), now_ms) for number, it in told.items()]
