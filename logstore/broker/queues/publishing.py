"""A run of messages on its way into queues: those that go the same way are encoded once.

A batch's checksum does not cover where it stands, so the same bytes are appended to each log that
is to have them.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from logstore.broker.queues.limits import REJECT_PUBLISH_DLX
from logstore.broker.queues.message import Content, Framed, batch_of
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.stock import APPENDS_MAX, MAKE_COST
from logstore.broker.queues.transaction import Part, Target, Transaction
from logstore.errors import LogstoreError
from logstore.records.batch import Batch

# Of one batch, beside its first message: what reads a message decodes all of its batch.
BATCH_BYTES: Final = 65_536
BATCH_MAX: Final = 1000

# Also told: the transaction that the run is a part of.
Refused = Callable[[Queue, bytes, Content, Framed, Transaction | None], None]


class Published(NamedTuple):
    """What became of a run of messages, by their numbers in it."""

    unrouted: Sequence[int]  # no queue took them
    rejected: Sequence[int]  # some queue had no room for them, or its log takes no more
    waiting: Waiting
    error: LogstoreError | None = None  # why a log takes no more
    lasting: Collection[int] = ()  # in a transaction: those that some queue gets which lasts


class Publishing:
    """One run. ``refused`` is told of what a queue has no room for, if it is to die there.

    ``held``: nothing is appended, all of it becomes a part of this transaction.
    """

    def __init__(self, now_ms: int, refused: Refused, held: Transaction | None = None) -> None:
        self.unrouted: list[int] = []
        self.rejected: dict[int, None] = {}
        self.waiting = Waiting()
        self.error: LogstoreError | None = None
        self._now_ms = now_ms
        self._refused = refused
        self._held = held
        self._lasting: set[int] = set()
        self._queues: tuple[Queue, ...] = ()
        self._priority = 0
        self._numbers: list[int] = []
        self._keys: list[bytes] = []
        self._values: list[Content] = []
        self._framed: list[Framed] = []
        self._bytes = 0
        self._last: Framed | None = None
        self._expires = False
        self._appended = 0

    def add(
        self,
        number: int,
        queues: tuple[Queue, ...],
        key: bytes,
        body: Content,
        framed: Framed,
    ) -> None:
        """The next message of the run."""
        if not queues:
            self.unrouted.append(number)
            return
        if (
            queues is not self._queues
            or (framed is not self._last and framed.priority != self._priority)
            or self._bytes >= BATCH_BYTES
            or len(self._numbers) >= BATCH_MAX
        ):
            self._go()
            self._queues, self._priority = queues, framed.priority
        if framed is not self._last:
            self._last = framed
            self._expires = self._expires or framed.expiration_ms is not None
        self._numbers.append(number)
        self._keys.append(key)
        self._values.append(body)
        self._framed.append(framed)
        self._bytes += len(body)

    def finish(self) -> Published:
        """All were added."""
        self._go()
        return Published(
            self.unrouted, list(self.rejected), self.waiting, self.error, self._lasting
        )

    def _go(self) -> None:
        if not self._numbers:
            return
        whole: Batch | None = None
        all_of_it = range(len(self._numbers))
        targets: list[Target] = []  # of all of it, in a transaction
        for queue in self._queues:
            if queue.gone:  # since the message was routed
                continue
            accepted = queue.accepts(list(map(len, self._values))) if queue.limits.rejects else None
            if accepted is not None:
                self._part(queue, accepted)
            elif self._held is not None:
                if (target := self._target(queue, all_of_it)) is not None:
                    targets.append(target)
            else:
                batch = whole = self._encoded() if whole is None else whole
                self._append(queue, batch, self._bytes)
        if self._held is not None and targets:
            self._held.bring(self._held_part(targets, all_of_it))
        self._numbers, self._keys, self._values, self._framed = [], [], [], []
        self._bytes = 0

    def _lane(self, queue: Queue) -> int:
        most = queue.limits.max_priority
        return 0 if not most else min(self._priority, most)

    def _append(self, queue: Queue, batch: Batch, size: int) -> None:
        lane = self._lane(queue)
        self._appended += 1 if lane in queue.stock.lanes else MAKE_COST
        later = self._appended > APPENDS_MAX
        try:
            queue.stock.append(lane, batch, size, self.waiting, expires=self._expires, later=later)
        except LogstoreError as error:
            self.error = error
            self.rejected.update(dict.fromkeys(self._numbers))
            return
        if queue.kept is not None:
            self.waiting.pending(queue.kept)

    def _target(self, queue: Queue, which: Sequence[int]) -> Target | None:
        """Where these go in this queue; None, and they are rejected, where its lane has failed."""
        lane = self._lane(queue)
        try:
            queue.stock.check(lane)
        except LogstoreError as error:
            self.error = error
            self.rejected.update(dict.fromkeys([self._numbers[n] for n in which]))
            return None
        if queue.facts.lasts:
            self._lasting.update([self._numbers[n] for n in which])
        return Target(queue, lane)

    def _held_part(self, targets: Sequence[Target], which: Sequence[int]) -> Part:
        values = [self._values[n] for n in which]
        return Part(
            targets, values, [self._keys[n] for n in which], [self._framed[n] for n in which],
            self._now_ms, sum(map(len, values)), self._expires,
        )  # fmt: skip

    def _encoded(self) -> Batch:
        return batch_of(self._values, self._keys, self._framed, self._now_ms)

    def _part(self, queue: Queue, accepted: Sequence[bool]) -> None:
        """Those that are accepted; the others are refused."""
        good = [n for n, it in enumerate(accepted) if it]
        for n, it in enumerate(accepted):
            if not it:
                self.rejected[self._numbers[n]] = None
                if queue.limits.overflow == REJECT_PUBLISH_DLX:
                    self._refused(
                        queue, self._keys[n], self._values[n], self._framed[n], self._held
                    )
        if not good:
            return
        if self._held is not None:
            if (target := self._target(queue, good)) is not None:
                self._held.bring(self._held_part([target], good))
            return
        values = [self._values[n] for n in good]
        batch = batch_of(
            values, [self._keys[n] for n in good], [self._framed[n] for n in good], self._now_ms
        )
        self._append(queue, batch, sum(map(len, values)))
