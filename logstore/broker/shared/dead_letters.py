"""Moves dead records of share partitions to dead-letter topics (KIP-1191).

A few records of a partition are moved at a time, and few partitions at once, so that thousands of
deaths at the same moment delay no one and take little memory. A worker reads the records, if their
content is wanted, and makes the letters. A held transaction writes the letters and settles the
records. So after a crash a record is either still dead, or settled with its letter written exactly
once.

If a letter is impossible (no such topic, a topic that does not permit it, or the record's own
topic), the record is settled without one, as in Kafka; this is counted and logged. If the disk is
full, the letter is tried again. Such records stay dead until then, and block their partition once
it has the maximum number of records in flight.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from logstore.broker.here import looked_up
from logstore.broker.queues.bits import Bits, include, size
from logstore.broker.queues.held import Place as Target
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.share_groups import LANE, share_key
from logstore.broker.queues.transaction import Record as Told
from logstore.broker.queues.transaction import Transaction
from logstore.broker.shared.letter import Letter, Origin, circular, letter_of, path_of
from logstore.broker.shared.rules import Rules
from logstore.broker.shared.shared_partition import SharedPartition
from logstore.broker.shares.partition import Death
from logstore.broker.topic import Topic
from logstore.counts.shares import ShareCounts
from logstore.errors import (
    Closed,
    InvalidRecord,
    LogFailed,
    LogstoreError,
    RecordTooLarge,
    Refused,
    UnknownTopic,
)
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.record import Record

STEP_MAX: Final = 500  # letters that go at once: each takes 20 us of a worker
STEP_BYTES: Final = 1 << 20  # of what is copied into them, beside the last
STEPS_MAX: Final = 2  # that are on their way, of all partitions: each has a worker for a while
RETRY_MS: Final = 1000  # after which what could not go is tried again
SERVERS: Final = "__"  # names of topics begin so that no group's letters may go to
SAID_MAX: Final = 1000  # groups whose last logged reason is remembered

log: Final = logging.getLogger("logstore.shares")

Done = Callable[[LogstoreError | None], None]


class Around(Protocol):
    """The surroundings."""

    def rules(self, group: str) -> Rules:
        """Return the present rules of the group."""

    def by_id(self, topic_id: bytes) -> Topic | None:
        """Return the topic of that id, or None."""

    def by_name(self, name: str) -> Topic | None:
        """Return the topic of that name, or None."""

    def letters_prefix(self) -> str:
        """Return the prefix that the names of dead letter topics must have."""

    def tell(self, key: bytes, value: bytes, then: Callable[[int | LogstoreError], None]) -> None:
        """As Telling.tell."""

    def hold(self, held: Transaction, then: Done) -> None:
        """Begin ``held`` (``Holding.begin``); ``then`` is called once it is safe, or has failed."""

    def crowded(self) -> bool:
        """Whether too many dead letters are on their way."""

    def work(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """As house.Work."""


class _Step(NamedTuple):
    """Records that are moved together."""

    origin: Origin
    log: Log
    deaths: Sequence[Death]
    to: Topic
    copies: bool
    chained: bool  # they may be dead letters themselves

    @property
    def target(self) -> Target:
        """The partition of the dead letters, as in Kafka: by the partition of the records."""
        return Target(self.to.uuid, self.origin.partition % len(self.to.partitions))

    @property
    def can_be_brought(self) -> bool:
        """Whether the target log has not failed; if it has, the journal was told of
        none of them.
        """
        its = self.to.at_hand(self.target.partition)
        try:
            if its is not None:
                its.check_failure()
        except LogstoreError:
            return False
        return True


class _Written(NamedTuple):
    """The letters for the first records of a step."""

    batches: Sequence[Batch]
    upto: int
    dropped: int = 0  # of these
    why: str = ""  # they have no letter


class DeadLetters:
    """The dead letters of one process. Used in one thread."""

    def __init__(self, around: Around, again: Callable[[SharedPartition, int], object]) -> None:
        """``again``: schedules a look of a partition at its dead records, after a number of ms."""
        self.counts = ShareCounts()
        self._around = around
        self._again = again
        self._waiting: deque[SharedPartition] = deque()
        self._known: set[SharedPartition] = set()  # that wait, or have a step on its way
        self._steps = 0
        self._going = False
        self._lost = False  # the journal has failed: its state is known at the next start
        self._said: dict[str, str] = {}

    def add(self, partition: SharedPartition) -> None:
        """Note that the partition has dead records."""
        if partition not in self._known:
            self._known.add(partition)
            self._waiting.append(partition)
            self._go()

    def _go(self) -> None:
        if self._going or self._lost:
            return
        self._going = True
        try:
            while self._waiting and self._steps < STEPS_MAX:
                self._steps += 1
                self._begin(self._waiting.popleft())
        finally:
            self._going = False

    def _over(self, partition: SharedPartition, *, later: bool = False) -> None:
        """End a step; the next one of the same partition comes after those of others."""
        self._steps -= 1
        self._known.discard(partition)
        if later:
            self._again(partition, RETRY_MS)
        else:
            partition.look_at_dead()
        self._go()

    def _begin(self, partition: SharedPartition) -> None:
        if partition.gone:
            self._over(partition)
            return
        if self._around.crowded():
            self._over(partition, later=True)
            return
        place, deaths = partition.place, partition.deaths(STEP_MAX)
        assert deaths, "some are dead"
        rules = self._around.rules(place.group)
        assert place.topic_id is not None
        assert place.partition is not None
        topic = self._around.by_id(place.topic_id)
        if not rules.dead_letters or topic is None:  # the setting was withdrawn; or all is gone
            self._tell(partition, deaths, _Written((), len(deaths)), None)
            return
        try:
            to = self._topic(rules.dead_letters, topic)
        except LogstoreError as error:
            count = len(deaths)
            self._tell(partition, deaths, _Written((), count, count, str(error)), None)
            return
        origin = Origin(topic.name, place.partition, place.group)
        chained = topic.settings.errors_deadletterqueue_group_enable
        step = _Step(origin, partition.log, deaths, to, rules.copies, chained)
        self._around.work(partial(_or_error, step), partial(self._was_written, partition, step))

    def _topic(self, name: str, source: Topic) -> Topic:
        """Return the dead letter topic of this name. Raises UnknownTopic, Refused."""
        prefix, to = self._around.letters_prefix(), self._around.by_name(name)
        if to is None:
            raise UnknownTopic(f"topic {name!r} does not exist: create it", name)
        if name.startswith(SERVERS) or to.read_only:
            raise Refused(f"topic {name!r} is the server's own: name another topic")
        if not name.startswith(prefix):
            raise Refused(
                f"topic {name!r} lacks the prefix {prefix!r} "
                f"(errors.deadletterqueue.topic.name.prefix)"
            )
        if not to.settings.errors_deadletterqueue_group_enable:
            raise Refused(
                f"topic {name!r} does not permit it: set its errors.deadletterqueue.group.enable"
            )
        if to.uuid == source.uuid:
            raise Refused(f"topic {name!r} is the topic that they come from")
        return to

    def _was_written(
        self, partition: SharedPartition, step: _Step, written: "_Written | LogstoreError"
    ) -> None:
        if isinstance(written, LogstoreError):
            self._say(step.origin.group, f"{written}; it is tried again")
            self._over(partition, later=True)
        elif partition.gone:
            self._over(partition)
        else:
            self._tell(partition, step.deaths, written, step)

    def _tell(
        self,
        partition: SharedPartition,
        deaths: Sequence[Death],
        written: _Written,
        step: _Step | None,
    ) -> None:
        dead: Bits = {}
        for it in deaths[: written.upto]:
            include(dead, it.offset, 1)
        settled = Settled()
        settled.settle_set(LANE, dead)
        key, value = share_key(partition.place), settled.encode()
        moved = partial(self._moved, partition, dead, written, step)
        partition.move()
        if step is None or not written.batches:
            self._around.tell(
                key, value, lambda told: moved(told if isinstance(told, LogstoreError) else None)
            )
            return
        held = Transaction()
        for batch in written.batches:
            held.append(step.target, batch)
        held.remember(_Buried(key, value))
        self._around.hold(held, moved)

    def _moved(
        self,
        partition: SharedPartition,
        dead: Bits,
        written: _Written,
        step: _Step | None,
        error: LogstoreError | None,
    ) -> None:
        group = partition.place.group
        if error is not None:
            partition.moved({})
            failed = isinstance(error, LogFailed) and (step is None or step.can_be_brought)
            self._lost = failed or isinstance(error, Closed)
            self._say(group, str(error) if self._lost else f"{error}; it is tried again")
            self._over(partition, later=True)
            return
        partition.moved(dead)
        self.counts.dead_letters += size(dead) - written.dropped
        self.counts.dropped += written.dropped
        if written.dropped:
            self._say(group, written.why)
        self._over(partition)

    def _say(self, group: str, why: str) -> None:
        """Log the reason once, until it changes."""
        if self._said.get(group) != why:
            if len(self._said) >= SAID_MAX:
                self._said.clear()
            self._said[group] = why
            log.warning("share group %r: records that died have no dead letter: %s", group, why)


class _Buried:
    """A ``Remembered`` that settles the records in the journal."""

    lasts = True

    def __init__(self, key: bytes, value: bytes) -> None:
        self._key, self._value = key, value

    def record(self, now_ms: int) -> Told:
        """As Remembered.record."""
        return self._value, self._key, (), now_ms

    def came(self, error: LogstoreError | None) -> None:
        """As ``Remembered.came``. Calls the caller that has begun the transaction."""


def _or_error(step: _Step) -> _Written | LogstoreError:
    try:
        return _write(step)
    except LogstoreError as error:
        return error


def _write(step: _Step) -> _Written:
    """Write the dead letters. Runs in a worker. Raises LogstoreError."""
    letters = _Letters(step)
    if not (step.copies or step.chained):
        for death in step.deaths:
            letters.add(death, None)
    else:
        by_offset = {it.offset: it for it in step.deaths}
        for offsets, found in looked_up(step.log, list(by_offset)):
            if not letters.add_some([by_offset[it] for it in offsets], found):
                break
    return letters.written()


class _Letters:
    """The letters of one step while they are made."""

    def __init__(self, step: _Step) -> None:
        self._step = step
        self._count = self._bytes = self._dropped = 0
        self._why = ""
        self._letters: list[Letter] = []
        self._bare: list[Letter] = []  # the same without what is copied

    def add_some(self, deaths: Sequence[Death], records: Mapping[int, Record | None]) -> bool:
        """Add letters for these deaths; return whether there is room for more."""
        for death in deaths:
            self.add(death, records.get(death.offset))
            if self._bytes >= STEP_BYTES:
                return False
        return True

    def add(self, death: Death, record: Record | None) -> None:
        """Add a letter. ``record``: None if it cannot be read, or its contents are not copied."""
        step = self._step
        self._count += 1
        path = path_of(record) if step.chained and record is not None else ()
        if circular(path, step.to.name):
            self._drop(f"it would go round: a record has died in topic {step.to.name!r} before")
            return
        copied = record if step.copies else None
        if copied is not None:
            self._bytes += copied.content_bytes
        bare = letter_of(death, step.origin, None, path)
        self._bare.append(bare)
        self._letters.append(bare if copied is None else letter_of(death, step.origin, copied))

    def _drop(self, why: str) -> None:
        self._dropped += 1
        self._why = why

    def written(self) -> _Written:
        """Return the batches in the form that the topic accepts."""
        rules, letters = self._step.to.rules, self._letters
        try:
            batches = rules.encode(rules.columns(letters)) if letters else []
        except InvalidRecord:
            taken = [self._taken(*it) for it in zip(letters, self._bare, strict=True)]
            letters = [it for it in taken if it is not None]
            batches = rules.encode(rules.columns(letters)) if letters else []
        return _Written(batches, self._count, self._dropped, self._why)

    def _taken(self, letter: Letter, bare: Letter) -> Letter | None:
        """Return the letter as the topic accepts it: without the copied record if it is
        too large.
        """
        rules = self._step.to.rules
        try:
            rules.columns([letter])
        except RecordTooLarge as error:
            if letter is not bare:
                return self._taken(bare, bare)
            self._drop(str(error))
        except InvalidRecord as error:
            self._drop(str(error))
        else:
            return letter
        return None
