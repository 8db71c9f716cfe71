"""A consumer of a share group in the process that has the store: receives and acknowledges records.

It has a session, as a client's connection has, and reads all partitions of its topics in turn, as
the other members of its group do. If no other thread uses the model, its work is done in the
caller's thread.
"""

import logging
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, Self, TypeVar
from uuid import uuid4

from logstore.broker.queues.share_groups import Place
from logstore.broker.reading import records_of
from logstore.broker.shared.shared_partition import SharedPartition, Taken
from logstore.broker.shared.shares import Shares
from logstore.broker.shares.acknowledgement import Said, Type
from logstore.broker.shares.partition import Acquired
from logstore.broker.shares.sessions import TopicPartition as ById
from logstore.broker.topic import Topic
from logstore.errors import (
    Closed,
    CorruptBatch,
    Forked,
    InvalidRecordState,
    LogstoreError,
    Refused,
    UnknownTopic,
)
from logstore.log import TopicPartition, Wake
from logstore.records.batch import Batch
from logstore.records.record import Headers

_T = TypeVar("_T")

PREFETCH: Final = 100
PREFETCH_MAX: Final = 10_000
TAKE_BYTES: Final = 1 << 20  # of batches at once, but for a first that is larger
# How long acknowledgements may wait for the journal while more records are at hand.
UNTOLD_MS: Final = 1000

log: Final = logging.getLogger("logstore.shares")

_offset: Final = attrgetter("offset")


class ShareRecord(NamedTuple):
    """A record that a consumer of a share group holds for a limited time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    delivery_count: int  # 1: this is the first delivery


class Home(Protocol):
    """The process of a consumer. ``run``, ``wait``, ``sync_journal``: from any thread."""

    shares: Shares

    def topic(self, topic_id: bytes) -> Topic | None:
        """The present topic with that id."""

    def run(self, call: Callable[[], _T]) -> _T:
        """Make a call in the model, and end the turn. Raises its errors; Closed, Forked."""

    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """As Desk.wait."""

    def sync_journal(self) -> None:
        """Sync the journal's entries in this thread, which waits for that."""


class Saying:
    """The acknowledgements of some records; each partition replies separately."""

    def __init__(self) -> None:
        self.error: LogstoreError | None = None  # the first
        self._left = 0

    @property
    def done(self) -> bool:
        return not self._left

    def asked(self) -> Callable[[LogstoreError | None], None]:
        """The function that each partition calls with its reply."""
        self._left += 1
        return self._answered

    def _answered(self, error: LogstoreError | None) -> None:
        self._left -= 1
        self.error = self.error or error


class ShareConsumer:
    """Records of topics that a share group's members share; iterating waits for the next one.

    Any thread may use it; several at once only if it is ``explicit``.
    """

    def __init__(
        self, topics: Iterable[Topic], group: str, home: Home, prefetch: int, *, explicit: bool
    ) -> None:
        self.group = group
        self._names = {it.uuid: it.name for it in topics}
        self.home = home
        self._prefetch = prefetch
        self._explicit = explicit
        sessions = home.shares.sessions
        self._session = home.run(lambda: sessions.begin(group, uuid4().hex, object(), ()))
        self._partitions: dict[TopicPartition, SharedPartition] = {}
        self._by_id: dict[ById, SharedPartition] = {}
        self._opening: set[ById] = set()
        self._came: deque[ShareRecord] = deque()
        self._came_until_ms = 0  # then others may have them
        self._damage: CorruptBatch | None = None  # behind those
        self._handed: list[ShareRecord] = []  # and to be accepted by themselves
        self._done: list[ShareRecord] = []  # likewise, and more was asked for
        self._done_ms = 0  # the first of those
        self._accepting = Saying()
        self._error: LogstoreError | None = None
        self._listeners: dict[object, Callable[[], None]] = {}
        self._watched: dict[SharedPartition, list[Wake]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<ShareConsumer of group {self.group!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Its partitions, in the model

    def follow(self) -> None:
        """Open partitions that the consumer does not read yet. Raises UnknownTopic, Refused."""
        for topic_id, name in self._names.items():
            topic = self.home.topic(topic_id)
            if topic is None:
                raise UnknownTopic(f"topic {name!r} was deleted")
            every = ((topic_id, number) for number in range(len(topic.partitions)))
            new = [it for it in every if it not in self._session.places]
            self._session.change(new, ())
            self._opening.update(new)
            for it in new:
                self.home.shares.find(Place(self.group, *it), partial(self._found, it))

    @property
    def opened(self) -> bool:
        """Whether all known partitions are open, or cannot be opened."""
        return not self._opening

    def check(self) -> None:
        """Check the partitions. Raises the error of one of them."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _found(self, place: ById, found: SharedPartition | LogstoreError) -> None:
        self._opening.discard(place)
        if self._closed:
            return
        if isinstance(found, LogstoreError):
            self._session.change((), [place])  # the next call tries again
            self._error = self._error or found
        else:
            self._by_id[place] = self._partitions[self._names[place[0]], place[1]] = found
            self.home.shares.use(self._session, found)
            if self._listeners:
                self._watch(found)
        self._tell()

    # News

    def listen(self, told: Callable[[], None]) -> Wake:
        """Call ``told`` in the model when ``take`` may return more. Returns "stop"."""
        key = object()
        self._listeners[key] = told
        for it in self._by_id.values():
            self._watch(it)

        def stop() -> None:
            self._listeners.pop(key, None)
            if not self._listeners:
                watched, self._watched = self._watched, {}
                for stops in watched.values():
                    for end in stops:
                        end()

        return stop

    def _watch(self, partition: SharedPartition) -> None:
        if partition not in self._watched:
            self._watched[partition] = [
                partition.watch(self._tell),
                partition.log.watch(partial(self.home.shares.soon, self._tell)),
            ]

    def _tell(self) -> None:
        for told in list(self._listeners.values()):
            told()

    # Records

    def __iter__(self) -> Iterator[ShareRecord]:
        """Iterate until the consumer is closed, here or elsewhere. Raises as ``get_many``."""
        while True:
            try:
                record = self.get()
            except Closed:
                return
            if record is not None:
                yield record

    def get(self, timeout_s: float | None = None) -> ShareRecord | None:
        """The next record; None if none arrives in time. Raises as ``get_many``."""
        found = self.get_many(1, timeout_s)
        return found[0] if found else None

    def get_many(self, most: int, timeout_s: float | None = None) -> list[ShareRecord]:
        """The next records, at least one; an empty list if none arrives in time.

        Unless the consumer is explicit, this call accepts the records returned before. Raises
        Closed; UnknownTopic if a topic was deleted; CorruptBatch for a batch that can't be read,
        which is delivered again until it reaches the delivery limit.
        """
        if most < 1:
            raise ValueError(f"{most} records: must be 1 or more")
        found = self.home.run(lambda: self.take(most))
        if found:
            return found

        def ready() -> bool:
            found.extend(self.take(most))
            return bool(found)

        stop = self.home.run(lambda: self.listen(_nobody))
        try:
            self.home.wait(ready, timeout_s)
        finally:
            with suppress(Closed, Forked):
                self.home.run(stop)
        return found

    def take(self, most: int) -> list[ShareRecord]:
        """As ``get_many`` within the model, without waiting."""
        self._check_open()
        if self._handed:
            if not self._done:
                self._done_ms = self._now_ms()
            self._done += self._handed
            self._handed = []
        if self._came and self._now_ms() >= self._came_until_ms:
            self._came.clear()
        if not self._came:
            self._next(most)
        if self._done and (not self._came or self._now_ms() - self._done_ms > UNTOLD_MS):
            self._accept_done()
        if not self._came and self._damage is not None:
            damage, self._damage = self._damage, None
            raise damage
        found = [self._came.popleft() for _ in range(min(most, len(self._came)))]
        if not self._explicit:
            self._handed += found
        return found

    def put_back(self, records: Sequence[ShareRecord]) -> None:
        """Return these records, the last taken, which no one has received. Within the model."""
        if not self._closed:
            those = set(records)
            self._handed = [it for it in self._handed if it not in those]
            self._came.extendleft(reversed(records))

    def _next(self, most: int) -> None:
        self._check_accepted()
        self.check()
        self.follow()
        self._accept_done()  # first: it may make room for more
        if self._damage is None:
            self._fetch(min(max(most, self._prefetch), PREFETCH_MAX))

    def _now_ms(self) -> int:
        return self.home.shares.now_ms()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the consumer of share group {self.group!r} is closed")

    def _check_accepted(self) -> None:
        """Check for a refused journal entry. Raises LogFailed, StorageFull."""
        error, self._accepting.error = self._accepting.error, None
        if isinstance(error, InvalidRecordState):
            self._too_late(error)
        elif error is not None:
            raise error

    def _too_late(self, error: LogstoreError) -> None:
        """Log that returned records were accepted too late: they are delivered again."""
        log.warning("share group %r: accepted too late, and comes again: %s", self.group, error)

    def _fetch(self, most: int) -> None:
        """Fetch records from the first partition that has any; it comes last the next time."""
        session, shares = self._session, self.home.shares
        for place in list(session.places):
            partition = self._by_id.get(place)
            if partition is None or not partition.available():
                continue
            taken = partition.take(session.owner, most, TAKE_BYTES, whole=False, first=True)
            if taken.more:
                shares.soon(self._tell)  # waiting callers look again after this turn
            if taken.acquired:
                session.served(place)
                lock_ms = shares.rules(self.group).limits.lock_ms
                self._came_until_ms = self._now_ms() + lock_ms
                self._decode((self._names[place[0]], place[1]), partition, taken)
                if self._came or self._damage is not None:
                    return

    def _decode(self, name: TopicPartition, partition: SharedPartition, taken: Taken) -> None:
        """Decode taken records.

        Offsets without a record (compaction leaves gaps) are settled; damaged ones are delivered
        again.
        """
        said: list[Said] = []
        lasts = [it.last for it in taken.acquired]
        for batch in taken.batches:
            its = list(_within(batch, taken.acquired[bisect_left(lasts, batch.base_offset) :]))
            try:
                records = records_of(partition.log, name, [batch], batch.base_offset)
            except CorruptBatch as error:
                said += [Said(it.first, it.last + 1, Type.RELEASE) for it in its]
                self._damage = self._damage or error
                continue
            for first, last, deliveries in its:
                begin = bisect_left(records, first, key=_offset)
                end = bisect_right(records, last, key=_offset)
                at = first
                for record in records[begin:end]:
                    if at < record.offset:
                        said.append(Said(at, record.offset, Type.GAP))
                    self._came.append(ShareRecord(*record, deliveries))
                    at = record.offset + 1
                if at <= last:
                    said.append(Said(at, last + 1, Type.GAP))
        if said:
            partition.acknowledge(self._session.owner, said, self._accepting.asked())

    # Acknowledgements

    def accept(self, *records: ShareRecord) -> None:
        """Accept records as done; durable on return.

        Raises InvalidRecordState if one of them may be held by another member by now, or was
        already acknowledged; then no record of that partition is accepted.
        """
        self._say(records, Type.ACCEPT)

    def release(self, *records: ShareRecord) -> None:
        """Release records: any member may receive them, and the delivery counts. As ``accept``."""
        self._say(records, Type.RELEASE)

    def reject(self, *records: ShareRecord) -> None:
        """Reject records: they are not delivered again. As ``accept``."""
        self._say(records, Type.REJECT)

    def renew(self, *records: ShareRecord) -> None:
        """Hold records for share.record.lock.duration.ms from now. As ``accept``."""
        self._say(records, Type.RENEW)

    def _say(self, records: Sequence[ShareRecord], kind: Type) -> None:
        self.answered(self.home.run(lambda: self.say(records, kind)))

    def say(self, records: Sequence[ShareRecord], kind: Type) -> Saying:
        """As ``accept``, within the model: durable once the result is done without an error."""
        self._check_open()
        saying = Saying()
        self._tell_of(records, kind, saying)
        if self._handed and kind is not Type.RENEW:
            said = set(records)
            self._handed = [it for it in self._handed if it not in said]
        return saying

    def _tell_of(self, records: Sequence[ShareRecord], kind: Type, saying: Saying) -> None:
        """Acknowledge the records.

        Raises Refused, before anything is acknowledged, if this consumer does not hold some of
        them.
        """
        offsets: dict[SharedPartition, set[int]] = {}
        for it in records:
            partition = self._partitions.get((it.topic, it.partition))
            if partition is None:
                raise Refused(f"{it.topic}-{it.partition} is not read by this consumer")
            offsets.setdefault(partition, set()).add(it.offset)
        for partition, those in offsets.items():
            said = _said(sorted(those), kind)
            partition.acknowledge(self._session.owner, said, saying.asked())

    def answered(self, saying: Saying) -> None:
        """Wait for the result. Raises its error."""
        if not saying.done:
            self.home.sync_journal()
            self.home.wait(lambda: saying.done)
        if saying.error is not None:
            raise saying.error

    # Implicitly

    def _accept_done(self) -> None:
        done, self._done = self._done, []
        self._tell_of(done, Type.ACCEPT, self._accepting)

    def flush(self) -> None:
        """Accept all returned records, unless the consumer is explicit; durable on return. As
        ``accept``.
        """
        self.answered(self.home.run(self.flushing))

    def flushing(self) -> Saying:
        """As ``flush``, within the model."""
        self._check_open()
        self._done += self._handed
        self._handed = []
        return self._all_accepted()

    def _all_accepted(self) -> Saying:
        self._accept_done()
        accepting, self._accepting = self._accepting, Saying()
        return accepting

    # The end

    def close(self) -> None:
        """Stop reading. Records that were not acknowledged become available again.

        Unless the consumer is explicit, returned records except the last are accepted, durable on
        return. Raises LogFailed, StorageFull if that fails.
        """
        if not self._closed:
            accepting = self.home.run(self.end)
            try:
                self.answered(accepting)
            except InvalidRecordState as error:
                self._too_late(error)

    def end(self) -> Saying:
        """As ``close``, within the model."""
        if self._closed:
            return Saying()
        accepting = self._all_accepted()
        self._closed = True
        self._came.clear()
        self.home.shares.end(self._session)
        self._tell()
        return accepting


def _within(batch: Batch, acquired: Iterable[Acquired]) -> Iterator[Acquired]:
    """The part of these offsets within the batch; the first does not end before it."""
    for first, last, deliveries in acquired:
        if first >= batch.next_offset:
            return
        yield Acquired(max(first, batch.base_offset), min(last, batch.next_offset - 1), deliveries)


def _said(offsets: Sequence[int], kind: Type) -> list[Said]:
    """Return the same acknowledgement for all of these ascending offsets."""
    found: list[Said] = []
    for offset in offsets:
        if found and found[-1].upto == offset:
            found[-1] = found[-1]._replace(upto=offset + 1)
        else:
            found.append(Said(offset, offset + 1, kind))
    return found


def _nobody() -> None:
    """Do nothing: the waiting caller checks again after each turn."""
