"""The thread that moves delayed records to their topics when they are due, in a writing process.

It runs if a topic has ``delivery.schedule=true``, in a server as in any program that opens the
store. It reads new records of companion topics, moves due records, and sleeps until the next one is
due or a new one arrives. While records are delayed, it checks the clock every second, because the
clock may be set.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from logstore.broker.committed import CommittedLog
from logstore.broker.delivery import Mover, entry_of
from logstore.broker.here import records_at
from logstore.broker.rules import Rules
from logstore.broker.schedules.companion import companion_of
from logstore.broker.topic import Topic
from logstore.broker.topics import Change, Scheduled
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import (
    Closed,
    LogstoreError,
    NotWaiting,
    UnknownPartition,
    UnknownTopic,
)
from logstore.kept.schedules import Entry, Moving, of_partition, partition_of
from logstore.log import Wake
from logstore.open_topics import OpenTopics
from logstore.storage.environment import Environment, Transaction
from logstore.storage.schedules import ScheduleTable

CLOCK_S: Final = 1.0  # between looks at the clock while anything waits
RETRY_S: Final = 1.0  # after which what has failed is tried again
OPENED_WITHIN_S: Final = 10.0  # whoever cancels waits so long for a partition to be opened
TRIM_S: Final = 60.0  # between trims of what was moved
FORGOTTEN_AT_ONCE: Final = 4096
COUNTED_AT_ONCE: Final = 10_000

log: Final = logging.getLogger("logstore.delivery")


class Waits:
    """The ``delivery.Waits`` in LMDB: each change is one transaction, durable on return."""

    def __init__(self, table: ScheduleTable) -> None:
        self._table = table
        self.mark, self.page, self.moving = table.mark, table.page, table.moving

    def index(self, log: bytes, put: Sequence[Entry], mark: int) -> None:
        """As Waits.index."""
        self._table.environment.check_room()
        self._table.change(lambda it: self._table.write(it, log, put, (), mark))

    def moved(self, log: bytes, gone: Sequence[Entry], moving: Moving | None) -> None:
        """As Waits.moved."""

        def work(transaction: Transaction) -> None:
            self._table.write(transaction, log, (), gone)
            self._table.move(transaction, log, moving)

        self._table.change(work)

    def drop(self, log: bytes, gone: Sequence[Entry]) -> None:
        """As Waits.drop."""
        self._table.change(lambda it: self._table.write(it, log, (), gone))

    def clip(self, log: bytes, gone: Sequence[Entry], mark: int) -> None:
        """As Waits.clip."""
        self._table.change(lambda it: self._table.write(it, log, (), gone, mark))


@dataclass(slots=True)
class _Served:
    """A mover, and the time of its next turn."""

    mover: Mover
    stop: Wake
    news: bool = True
    opened: bool = False
    ready: threading.Event = field(default_factory=threading.Event)  # once that was tried
    next_ms: int | None = None
    again_s: float = 0.0  # not before
    told: str = ""  # the last error that was logged

    def put_off(self, again_s: float) -> None:
        """Look at it then, and not when its next record is due, which may be now."""
        self.news, self.next_ms, self.again_s = True, None, again_s


class Deliveries:
    """The delayed records of one store. From any thread."""

    def __init__(
        self, topics: OpenTopics, environment: Environment, clock: Callable[[], int]
    ) -> None:
        self.counted = ScheduleCounts()
        self._topics = topics
        self._table = ScheduleTable(environment)
        self._waits = Waits(self._table)
        self._clock = clock
        self._lock = threading.Lock()  # who begins the thread
        self._thread: threading.Thread | None = None
        self._news = threading.Event()
        self._over = False
        self._changed = True  # which topics are scheduled
        self._served: dict[tuple[str, int], _Served] = {}  # by the companion's id and partition
        self._trim_s = 0.0
        self._stop_telling: Callable[[], None] = lambda: None

    # Its thread

    def begin(self) -> None:
        """Move records from now on, where any topic asks for it."""
        self._stop_telling = self._topics.tell(self._told)
        if self._topics.scheduled():
            self._start()

    def _told(self, change: Change) -> None:
        if self._thread is not None or change.topic.name in self._topics.scheduled():
            self._changed = True
            self._news.set()
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """What is under way is done; no more."""
        self._stop_telling()
        with self._lock:
            self._over = True
            thread = self._thread
        self._news.set()
        if thread is not None:
            thread.join()
        for served in self._served.values():
            served.stop()

    def forked(self) -> None:
        """As Forkable.forked: the thread is the parent's."""
        self._lock = threading.Lock()
        self._over, self._thread = True, None

    def _run(self) -> None:
        try:
            self._tidy()
            while True:
                self._news.clear()  # first: ``close`` sets it once this is over
                if self._over:
                    return
                if self._changed:
                    self._changed = False
                    self._find()
                if not self._round():
                    self._news.wait(self._left_s())
        except Closed:  # the store, while this was under way
            return
        except Exception:
            log.exception(
                "a bug in the delivery of scheduled records: it goes on at the next start"
            )

    def _tidy(self) -> None:
        """Make companions that are missing: a process that made one may have died."""
        try:
            self._topics.mend_companions()
        except LogstoreError as error:
            log.warning("a topic lacks where its records wait: %s", error)

    def _find(self) -> None:
        """Serve each partition of each companion, and no other."""
        wanted: dict[tuple[str, int], tuple[Topic, Topic]] = {}
        for name in self._topics.scheduled():
            topic, companion = self._topics.get(name), self._topics.get(companion_of(name))
            if topic is None or companion is None:
                continue
            for number in range(min(len(topic.partitions), len(companion.partitions))):
                wanted[companion.id, number] = topic, companion
        for place in [it for it in self._served if it not in wanted]:
            self._served.pop(place).stop()
        self._forget()
        for place, (topic, companion) in wanted.items():
            if place not in self._served:
                self._serve(place, topic, companion)

    def _forget(self) -> None:
        """What is known of topics that are gone."""
        for key in self._table.logs():
            known = partition_of(key)
            if known is not None and self._topics.by_uuid(known[0]) is None:
                while not self._over and not self._table.forget_some(key, FORGOTTEN_AT_ONCE):
                    pass

    def _serve(self, place: tuple[str, int], topic: Topic, companion: Topic) -> None:
        number = place[1]
        try:
            source, target = CommittedLog(companion.partition(number)), topic.partition(number)
        except LogstoreError as error:
            name = companion.name
            log.error("records of %s-%d can't be delivered: %s", name, number, error)  # noqa: TRY400
            return

        def rules() -> Rules:
            return topic.rules

        key = of_partition(companion.uuid, number)
        mover = Mover(key, source, target, rules, self._waits, self.counted)
        served = _Served(mover, lambda: None)

        def wake() -> None:
            served.news = True
            self._news.set()

        served.stop = source.watch(wake)
        self._served[place] = served

    def _round(self) -> bool:
        """One step of each that has something to do; whether some may go on at once."""
        now_ms, now_s, more = self._clock(), monotonic(), False
        for served in list(self._served.values()):
            if self._over:
                return False
            due = served.next_ms is not None and served.next_ms <= now_ms
            if (served.news or due) and served.again_s <= now_s:
                more = self._step(served, now_ms) or more
        if now_s >= self._trim_s:
            self._trim_s = now_s + TRIM_S
            self._trim()
        return more

    def _step(self, served: _Served, now_ms: int) -> bool:
        try:
            if not served.opened:
                try:
                    served.mover.open()
                    served.opened = True
                finally:
                    served.ready.set()
            served.news = False
            more = served.mover.look()
            moved = served.mover.move(now_ms)
            served.next_ms = served.mover.next_ms()
            served.news = served.news or more
            served.told = ""
        except Closed:
            raise
        except UnknownPartition:  # its topic is being deleted
            self._changed = True
            served.put_off(monotonic() + RETRY_S)
            return False
        except LogstoreError as error:
            if str(error) != served.told:  # it is tried again and again
                name = served.mover.source.name
                log.error("what waits in %s is not delivered: %s", name, error)  # noqa: TRY400
            served.told = str(error)
            served.put_off(monotonic() + RETRY_S)
            return False
        return more or bool(moved)

    def _trim(self) -> None:
        for served in self._served.values():
            if not served.opened or self._over:
                continue
            try:
                served.mover.trim()
            except LogstoreError as error:
                log.warning("what was delivered takes room still: %s", error)

    def _left_s(self) -> float | None:
        """How long to sleep; None: until there is news."""
        times = [it.next_ms for it in self._served.values() if it.next_ms is not None]
        left = [CLOCK_S, (min(times) - self._clock()) / 1000] if times else []
        now_s = monotonic()
        left += [it.again_s - now_s for it in self._served.values() if it.news]
        return max(0.0, min(left)) if left else None

    # What others ask

    def waiting(self) -> dict[str, int]:
        """How many records wait for each topic, as far as they were looked at."""
        counts: Counter[str] = Counter()  # by the companion's id
        for (companion_id, _), served in list(self._served.items()):
            counts[companion_id] += served.mover.waiting
        found: dict[str, int] = {}
        for name in self._topics.scheduled():
            companion = self._topics.get(companion_of(name))
            if companion is not None:
                found[name] = counts[companion.id]
        return found

    def cancel(self, topic: str, partition: int, offset: int) -> None:
        """Take out one that waits. Raises NotWaiting, UnknownTopic, UnknownPartition."""
        companion = companion_for(self._topics, topic)
        found = records_at(companion.partition(partition), [offset]).get(offset)
        if found is None:
            raise NotWaiting(f"no record waits at offset {offset} of {companion.name}-{partition}")
        entry, _ = entry_of(found)
        key = of_partition(companion.uuid, partition)
        served = self._served.get((companion.id, partition))
        if served is not None:
            served.ready.wait(OPENED_WITHIN_S)
        if served is not None and served.opened:
            gone = served.mover.cancel(entry)
        else:
            gone = entry in self._table.page(key, entry, 1)[0]
            if gone:
                self._waits.drop(key, [entry])
        if not gone:
            raise NotWaiting(
                f"the record at offset {offset} of {companion.name}-{partition} does not wait: it "
                f"was delivered, or cancelled"
            )


def companion_for(topics: OpenTopics, topic: str) -> Topic:
    """Where records of this topic wait. Raises UnknownTopic."""
    topics.topic(topic)
    companion = topics.get(companion_of(topic))
    if companion is None:
        raise UnknownTopic(
            f"topic {topic!r} has no {companion_of(topic)!r}: set delivery.schedule=true", topic
        )
    return companion


def listed(
    topics: OpenTopics,
    environment: Environment,
    topic: str,
    after: tuple[int, int, int] | None = None,
    most: int = 100,
) -> Iterator[Scheduled]:
    """What waits for a topic, in the order in which it is due; ``after``: due, partition, offset of
    the one before. Raises UnknownTopic, Failed.
    """
    companion = companion_for(topics, topic)
    table = ScheduleTable(environment)
    found: list[tuple[int, int, int]] = []
    for number in range(len(companion.partitions)):
        key = of_partition(companion.uuid, number)
        entries, _ = table.page(key, _first_behind(after, number), most)
        found += [(it.due_ms, number, it.offset) for it in entries]
    for due_ms, number, offset in sorted(found)[:most]:
        records = records_at(companion.partition(number), [offset])
        yield Scheduled(topic, number, offset, due_ms, records.get(offset))


def _first_behind(after: tuple[int, int, int] | None, number: int) -> Entry:
    """The first entry that partition ``number`` may have behind a place of any partition."""
    if after is None:
        return Entry(0, 0)
    due_ms, partition, offset = after
    if number < partition:
        return Entry(due_ms + 1, 0)
    return Entry(due_ms, offset + 1 if number == partition else 0)


def count_waiting(topics: OpenTopics, environment: Environment, topic: str) -> int:
    """How many records wait for a topic, as far as they were looked at. Raises UnknownTopic."""
    companion, table, total = companion_for(topics, topic), ScheduleTable(environment), 0
    for number in range(len(companion.partitions)):
        first, more = Entry(0, 0), True
        while more:
            key = of_partition(companion.uuid, number)
            entries, more = table.page(key, first, COUNTED_AT_ONCE)
            total += len(entries)
            if entries:
                first = Entry(entries[-1].due_ms, entries[-1].offset + 1)
    return total
