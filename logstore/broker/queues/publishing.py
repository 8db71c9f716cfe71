"""Publishes a run of messages to queues; what several queues receive is encoded once.

Each lane gets all its messages in one batch, even if messages for other lanes lie between them. A
batch's checksum does not cover its offset, so the same bytes are appended to each log.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from logstore.broker.queues.limits import REJECT_PUBLISH_DLX
from logstore.broker.queues.message import Content, Framed, batch_of
from logstore.broker.queues.opening import APPENDS_MAX, MAKE_COST
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.station import Intake, Parcel, Station
from logstore.broker.queues.transaction import Part, Target, Transaction
from logstore.errors import LogstoreError

if TYPE_CHECKING:
    from logstore.broker.queues.repeats import Admitted

T = TypeVar("T")

# Of one batch, beside its last message: what reads a message decodes all of its batch.
BATCH_BYTES: Final = 65_536
BATCH_MAX: Final = 1000

# Also told: the transaction that the run is a part of.
Refused = Callable[[Queue, bytes, Content, Framed, Transaction | None], None]
Numbers = tuple[range, ...]  # of messages within the run, ascending


_EXPIRATION = attrgetter("expiration_ms")


class Published(NamedTuple):
    """The result of publishing a run of messages, by their numbers in it."""

    unrouted: Sequence[int]  # neither a queue nor a station took them
    rejected: Sequence[int]  # a queue had no room for them, or its log failed
    waiting: Waiting
    error: LogstoreError | None = None  # the error of a log
    lasting: Collection[int] = ()  # in a transaction: those for a lasting queue


def of(column: Sequence[T], numbers: Sequence[int]) -> Sequence[T]:
    """The entries with these numbers."""
    if isinstance(numbers, range):  # in a row, as nearly always: a slice, for a tenth
        return column[numbers.start : numbers.stop]
    return [column[n] for n in numbers]


def in_batches(bodies: Sequence[Content], numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The messages with these numbers, divided into the sizes of batches."""
    ends = list(accumulate(map(len, of(bodies, numbers))))
    begin = 0
    while begin < len(ends):
        full = BATCH_BYTES + (ends[begin - 1] if begin else 0)
        end = min(bisect_left(ends, full, begin) + 1, begin + BATCH_MAX, len(ends))
        yield numbers[begin:end]
        begin = end


class Run(NamedTuple):
    """Messages in columns: the n-th entry of each belongs to the n-th message."""

    queues: Sequence[tuple[Queue, ...]]  # that it goes to
    keys: Sequence[bytes]
    bodies: Sequence[Content]
    framed: Sequence[Framed]
    stations: Mapping[Station, Sequence[int]] = {}  # and the numbers of those that go to these

    def stretches(self) -> Iterator[range]:
        """Consecutive messages with the same queues and priority."""
        begin, queues, framed = 0, self.queues[0], self.framed[0]
        for number, (to, its) in enumerate(zip(self.queues, self.framed, strict=True)):
            if to is queues and its is framed:
                continue
            if to != queues or its.priority != framed.priority:
                yield range(begin, number)
                begin = number
            queues, framed = to, its
        yield range(begin, len(self.queues))

    def batches(self, numbers: Numbers) -> Iterator[Sequence[int]]:
        """Divide the messages into batches."""
        flat = [n for it in numbers for n in it] if len(numbers) > 1 else numbers[0]
        return in_batches(self.bodies, flat)


class Publishing:
    """The publishing of one run. ``refused`` receives messages that die because a queue is full.

    ``held``: nothing is appended; everything becomes a part of this transaction.
    """

    def __init__(
        self,
        run: Run,
        now_ms: int,
        refused: Refused,
        held: Transaction | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """``waiting``: collects what must become safe, also for other appends."""
        self._run = run
        self._now_ms = now_ms
        self._refused = refused
        self._held = held
        self._lasting: set[int] = set()
        self._appended = 0  # logs, with what it costs to make one
        self._waiting = Waiting() if waiting is None else waiting
        self._unrouted: list[int] = []
        self._rejected: set[int] = set()
        self._error: LogstoreError | None = None
        self._admitted: dict[Queue, Admitted] = {}  # of queues that keep repeats out
        self._expires = not {None}.issuperset(map(_EXPIRATION, run.framed))

    def publish(self) -> Published:
        """Publish each message to its queues. Called once."""
        alike: dict[Numbers, list[tuple[Queue, int]]] = {}
        for target, numbers in self._by_lane().items():
            alike.setdefault(tuple(numbers), []).append(target)
        for those, targets in alike.items():
            for batch in self._run.batches(those) if those else ():
                self._put(targets, batch)
        if self._run.stations:
            self._to_stations()
        return Published(
            self._unrouted, sorted(self._rejected), self._waiting, self._error, self._lasting
        )

    def _to_stations(self) -> None:
        run = self._run
        taken: set[int] = set()
        for station, numbers in run.stations.items():
            if station.gone:  # since the messages were routed
                continue
            parcel = Parcel(of(run.keys, numbers), of(run.bodies, numbers), of(run.framed, numbers))
            intake = Intake(self._now_ms, self._waiting, self._held)
            station.take(parcel, intake)
            taken.update(it for n, it in enumerate(numbers) if n not in intake.unrouted)
            self._rejected.update(numbers[n] for n in intake.rejected)
            self._lasting.update(numbers[n] for n in intake.lasting)
            self._error = intake.error or self._error
        self._unrouted = [it for it in self._unrouted if it not in taken]

    def _by_lane(self) -> dict[tuple[Queue, int], list[range]]:
        """The messages for each lane of a queue."""
        run = self._run
        found: dict[tuple[Queue, int], list[range]] = {}
        may_refuse: dict[Queue, list[int]] = {}
        may_repeat: dict[Queue, list[int]] = {}
        for numbers in run.stretches() if run.queues else ():
            queues, priority = run.queues[numbers[0]], run.framed[numbers[0]].priority
            if not queues:
                self._unrouted += numbers
            for queue in queues:
                if queue.gone:  # since the messages were routed
                    continue
                lane = min(priority, queue.limits.max_priority or 0)
                found.setdefault((queue, lane), []).append(numbers)
                if queue.limits.rejects:
                    may_refuse.setdefault(queue, []).extend(numbers)
                if queue.repeats is not None:
                    may_repeat.setdefault(queue, []).extend(numbers)
        for queue, those in may_repeat.items():
            left = self._keep_out(queue, those, found)
            if queue in may_refuse:
                may_refuse[queue] = left
        for queue, those in may_refuse.items():
            if those:
                self._refuse(queue, those, found)
        return found

    def _keep_out(
        self, queue: Queue, those: list[int], found: dict[tuple[Queue, int], list[range]]
    ) -> list[int]:
        """Remove duplicates from the lanes' messages; returns those that are not duplicates."""
        repeats = queue.repeats
        assert repeats is not None
        if not repeats.known and not queue.is_open():  # publishers wait until it is
            self._failed(repeats.not_open(), those)
            _take_out(queue, set(those), found)
            return []
        repeats.known = True
        framed, now_ms = self._run.framed, self._now_ms
        admitted = repeats.admit(framed, those, now_ms, self._waiting, self._held)
        self._admitted[queue] = admitted
        if admitted.repeats:
            _take_out(queue, admitted.repeats.keys(), found)
            if self._held is not None and queue.facts.lasts:
                self._lasting.update(admitted.repeats)
        return [n for n in those if n not in admitted.repeats]

    def _not_stored(self, queue: Queue, numbers: Iterable[int], error: LogstoreError) -> None:
        """Refuse the duplicates of messages that a deduplicating queue did not store."""
        admitted = self._admitted.get(queue)
        if admitted is None or queue.repeats is None:
            return
        gone = {n: it for n in numbers if (it := admitted.ids.pop(n, None)) is not None}
        if gone:
            queue.repeats.forget(gone.values(), error)
            self._rejected |= {m for m, first in admitted.repeats.items() if first in gone}

    def _refuse(
        self, queue: Queue, those: list[int], found: dict[tuple[Queue, int], list[range]]
    ) -> None:
        """Remove messages for which the queue has no room from its lanes."""
        run = self._run
        accepted = queue.accepts([len(run.bodies[n]) for n in those])
        if accepted is None:
            return
        refused = {n for n, good in zip(those, accepted, strict=True) if not good}
        _take_out(queue, refused, found)
        self._rejected |= refused
        if queue.repeats is not None:
            self._not_stored(queue, refused, queue.repeats.not_stored())
        if queue.limits.overflow == REJECT_PUBLISH_DLX:
            for n in sorted(refused):
                self._refused(queue, run.keys[n], run.bodies[n], run.framed[n], self._held)

    def _put(self, targets: Sequence[tuple[Queue, int]], numbers: Sequence[int]) -> None:
        """Append these messages, as one batch, to each of these lanes."""
        run, now_ms = self._run, self._now_ms
        bodies = of(run.bodies, numbers)
        keys, framed = of(run.keys, numbers), of(run.framed, numbers)
        size = sum(map(len, bodies))
        if self._held is not None:
            good = [Target(*it) for it in targets if self._takes(it, numbers)]
            if good:
                part = Part(good, bodies, keys, framed, now_ms, size, self._expires)
                self._held.bring(part)
            return
        batch = batch_of(bodies, keys, framed, now_ms)
        for queue, lane in targets:
            self._appended += 1 if lane in queue.stock.lanes else MAKE_COST
            later = self._appended > APPENDS_MAX
            admitted = self._admitted.get(queue)
            if admitted is not None and queue.repeats is not None:
                queue.repeats.prepare(batch, framed, numbers, admitted.ids, now_ms)
            try:
                queue.stock.append(
                    lane, batch, size, self._waiting, expires=self._expires, later=later
                )
            except LogstoreError as error:
                self._failed(error, numbers)
                self._not_stored(queue, numbers, error)
                continue
            queue.counts.published += len(numbers)
            queue.totals.published += len(numbers)
            if queue.kept is not None:
                self._waiting.pending(queue.kept)
        if targets:
            targets[0][0].totals.sizes.add(size / len(numbers), len(numbers))

    def _takes(self, target: tuple[Queue, int], numbers: Sequence[int]) -> bool:
        """Whether it can become a part of a transaction; its lane may have failed."""
        queue, lane = target
        try:
            queue.stock.check(lane)
        except LogstoreError as error:
            self._failed(error, numbers)
            self._not_stored(queue, numbers, error)
            return False
        if queue.facts.lasts:
            self._lasting.update(numbers)
        return True

    def _failed(self, error: LogstoreError, numbers: Sequence[int]) -> None:
        self._error = error
        self._rejected.update(numbers)


def _take_out(
    queue: Queue, gone: Collection[int], found: dict[tuple[Queue, int], list[range]]
) -> None:
    """Remove these messages from the lanes of this queue."""
    for (holder, _), numbers in found.items():
        if holder is queue:
            numbers[:] = [range(n, n + 1) for it in numbers for n in it if n not in gone]
