"""Channels that keep a history: each is a topic of one partition, and ends where its topic does.

A published message is appended, and reaches subscribers from the log once it is safe. So records
that a Kafka client produces to the topic reach them, too, and a subscriber that fell behind can
continue from the log.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from logstore.broker.committed import CommittedLog
from logstore.broker.reading import Chunk, chunks
from logstore.broker.start import offset_of
from logstore.broker.topic import Topic
from logstore.broker.topics import INTERNAL_TOPICS, Topics
from logstore.broker.unsafe import Unsafe
from logstore.errors import (
    CorruptBatch,
    Damaged,
    Failed,
    InvalidName,
    LogstoreError,
    OffsetBelowStart,
    OpensTooLarge,
    TopicExists,
)
from logstore.log import Log
from logstore.names import check_topic
from logstore.patterns import Pattern
from logstore.records.record import Record
from logstore.settings import ChannelRule

# Begins the names of channels on which a store tells of itself. They keep no history, whatever a
# rule says: what made the topic for it would be the next event.
EVENTS: Final = b"__logstore__:"
_INTERNAL: Final = frozenset(name.encode() for name in INTERNAL_TOPICS)
PULL_BYTES: Final = 1 << 20  # handed out before others have their turn
# Whole segments are deleted: with four, an hour's history keeps up to an hour and a quarter.
SEGMENTS: Final = 4
SEGMENT_MS_MIN: Final = 60_000
# A record that is larger, decompressed, is not handed out: it would be in memory several times.
RECORD_BYTES_MAX: Final = 64 << 20
REFUSED_MAX: Final = 1000  # whose connections may be gone
TOLD_MAX: Final = 1000  # damaged batches that are remembered as told of

_log = logging.getLogger("logstore.channels")

CatchUp = Callable[[Log], object]  # may take long; raises LogstoreError


class Past(NamedTuple):
    """A part of a history."""

    records: list[Record]
    end: int  # where to read on


class History:
    """The history of one channel. Called with the channels' lock held."""

    def __init__(
        self,
        name: bytes,
        topic: Topic,
        wake: Callable[["History"], None],
        catch_up: CatchUp | None = None,
    ) -> None:
        """``wake(self)``: more records are safe; from any thread.

        ``catch_up``: as in Channels.keep.
        """
        self.name = name
        self.topic = topic
        self._catch_up = catch_up
        self._wake = wake
        self._open()
        self.next = self.log.safe  # what subscribers get next
        self._given = False  # whether they have got any
        self.followers: set[Callable[[], None]] = set()  # called when there is more
        self._told: set[str] = set()  # what was logged already

    def _open(self) -> None:
        self._whole = self.topic.partition(0)
        self.log: Log = CommittedLog(self._whole)
        self._stop = self.log.watch(lambda: self._wake(self))

    def append(self, payloads: Sequence[bytes], unsafe: Unsafe) -> None:
        """Append in one batch, if they fit; ``unsafe`` gets what must become safe.

        Raises InvalidRecord, StorageFull, LogFailed.
        """
        columns = self.topic.rules.columns([(payload, None, (), None) for payload in payloads])
        for batch in self.topic.rules.encode(columns):
            unsafe.add(self.log, self.log.append(batch) + batch.record_count)

    def read(
        self,
        at: int,
        bytes_max: int,
        records_max: int | None = None,
        *,
        large: bool = True,
        wait: bool = False,
    ) -> Past:
        """The safe records from ``at`` on, or from the start if those were deleted. Needs no lock.

        ``wait``: in a thread that may wait for records to be fetched.

        About a megabyte at most, decompressed, so perhaps fewer than ``records_max`` records; none
        at the end (``safe``), and where they are not here yet: ``followers`` are called then. What
        is damaged is left out, and logged once; so is a record over RECORD_BYTES_MAX, unless
        ``large`` asks for it: then it raises OpensTooLarge. Raises Damaged, OffsetAboveEnd.
        """
        at, safe = max(at, self.log.start), self.log.safe
        place, skip = (self.topic.name, 0), partial(self._told_of, large=large)
        while at < safe or at > self.log.end:
            before = at
            try:
                for chunk in chunks(
                    self.log, place, at, skip,
                    bytes_max=bytes_max, record_bytes_max=RECORD_BYTES_MAX, wait=wait,
                ):  # fmt: skip
                    if chunk.records:
                        return _first_of(chunk, records_max)
                    at = chunk.end
            except OffsetBelowStart:  # trimmed just now
                at = self.log.start
            if at == before:
                break
        return Past([], at)

    def _told_of(self, damage: CorruptBatch, *, large: bool) -> None:
        if large and isinstance(damage, OpensTooLarge):
            raise damage
        if str(damage) not in self._told:
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told.add(str(damage))
            _log.warning("channel %s: left out of its history: %s", self.topic.name, damage)

    def pull(self) -> list[Record]:
        """The next part of the records that subscribers have not received yet."""
        records, end = self.read(self.next, PULL_BYTES, large=False)
        self.next = max(end, self.next)
        self._given = self._given or bool(records)
        return records

    def rewind(self) -> None:
        """Deliver a newly created history to its subscribers from its start.

        They continue where they are if they have already got a part of it.
        """
        if not self._given:
            self.next = self.log.start

    @property
    def is_current(self) -> bool:
        """Whether its topic still has this log, and no newer one after a failure."""
        return self.topic.at_hand(0) in (self._whole, None)

    def renew(self) -> None:
        """Continue in the topic's present log, where it was: the one before has failed."""
        self._stop()
        self._open()
        self.next = min(self.next, self.log.safe)  # a cluster may have lost records
        self._wake(self)

    def skip(self) -> None:
        """Pass over the records: there are no subscribers."""
        self.next = self.log.safe

    def place(self, start: int | datetime) -> int:
        """The offset for an offset, a time, or -N for the last N records.

        May take long. Needs no lock.
        """
        if isinstance(start, int):
            if start < 0:
                return max(self.log.start, self.log.safe + start)
            if start > self.log.end and self._catch_up is not None:
                self._catch_up(self._whole)  # another process may have shown more
        return offset_of(self.log, start, damaged=True)  # what can't be read is left out

    def close(self) -> None:
        self._stop()


def _first_of(chunk: Chunk, records_max: int | None) -> Past:
    if records_max is None or len(chunk.records) <= records_max:
        return Past(chunk.records, chunk.end)
    records = chunk.records[:records_max]
    return Past(records, records[-1].offset + 1)


def _is_topic(name: bytes) -> bool:
    """Whether a topic may have this name; otherwise, using the channel raises immediately."""
    try:
        check_topic(name.decode())
    except InvalidName:
        return False
    return True


def _settings(rule: ChannelRule) -> dict[str, str]:
    segment_ms = max(rule.history_ms // SEGMENTS, SEGMENT_MS_MIN)
    return {"retention.ms": str(rule.history_ms), "segment.ms": str(segment_ms)}


class Kept(NamedTuple):
    """Messages of a history that are handed out, and that can be read again from there."""

    history: History
    first: int  # offset


class Histories:
    """The channels with a history."""

    def __init__(
        self,
        rules: Sequence[ChannelRule],
        topics: Topics,
        wake: Callable[[History], None],
        catch_up: CatchUp | None = None,
    ) -> None:
        self._rules = [(Pattern(rule.pattern.encode()), rule) for rule in rules]
        self._topics = topics
        self._wake = wake
        self._catch_up = catch_up
        self._by_name: dict[bytes, History] = {}
        self._refused: dict[bytes, LogstoreError] = {}  # why it could not be opened just now

    def _rule(self, name: bytes) -> ChannelRule | None:
        """The first rule that matches the name."""
        if name.startswith(EVENTS) or name in _INTERNAL:
            return None
        return next((rule for pattern, rule in self._rules if pattern.matches(name)), None)

    def is_kept(self, name: str) -> bool:
        """Whether the topic of this name is, or would be, the history of a channel."""
        return self._rule(name.encode(errors="surrogatepass")) is not None

    def needs(self, name: bytes, *, make: bool) -> bool:
        """Whether ``open`` must come first: the log is not open, or the topic must be looked up.

        ``make``: also for a missing topic, if the channel keeps a history.
        """
        found = self._by_name.get(name)
        if found is None and (self._rule(name) is None or not name.isascii()):
            return False
        topic = self._topics.get(name.decode())
        if topic is None:
            return make and self._rule(name) is not None and _is_topic(name)
        return topic.at_hand(0) is None

    def unopened(self) -> list[bytes]:
        """The channels that keep a history whose log is not open."""
        names = (name.encode() for name in self._topics.names())
        return [name for name in names if self.needs(name, make=False)]

    def open(self, name: bytes, *, make: bool) -> None:
        """Create the topic if necessary, and open its log. May take long; without the lock.

        An error is raised by the next ``make`` of this name.
        """
        self._refused.pop(name, None)
        try:
            topic = self._topics.get(name.decode())
            rule = self._rule(name) if make and topic is None else None
            if rule is not None:
                with suppress(TopicExists):  # another connection was quicker
                    self._topics.create(name.decode(), 1, _settings(rule))
                topic = self._topics.get(name.decode())
            if topic is not None:
                topic.partition(0)
        except LogstoreError as error:
            if len(self._refused) >= REFUSED_MAX:
                self._refused.clear()
            self._refused[name] = error

    def find(self, name: bytes) -> History | None:
        """The history of a channel in use, if it keeps one."""
        found = self._by_name.get(name)
        if found is None and (self._rule(name) is None or not name.isascii()):
            return None
        topic = self._topics.get(name.decode())
        if found is not None:
            if topic is found.topic:
                if not found.is_current:
                    found.renew()
                return found
            found.close()  # deleted, and perhaps made again
            del self._by_name[name]
        return None if topic is None else self._add(name, topic)

    def make(self, name: bytes) -> History | None:
        """Find the history of a channel; creates a missing topic. Raises InvalidName, Failed,
        ReadOnly.
        """
        refusal = self._refused.pop(name, None)
        if refusal is not None:
            raise refusal
        found = self.find(name)
        rule = self._rule(name) if found is None else None
        if rule is None:
            return found
        if not name.isascii():
            raise InvalidName(
                f"channel {name!r} keeps a history (pattern {rule.pattern}), so its name must be "
                f"allowed for a topic: use letters, digits, '.', '_', '-'"
            )
        return self._add(name, self._topics.create(name.decode(), 1, _settings(rule)))

    def _add(self, name: bytes, topic: Topic) -> History:
        history = self._by_name[name] = History(name, topic, self._wake, self._catch_up)
        return history

    def look(self) -> None:
        """Find out which topics exist: clients of other doors may have created some."""
        for name in self._topics.names():
            with suppress(Damaged, Failed):  # a user of that one gets the error
                self.find(name.encode())

    def close(self) -> None:
        for history in self._by_name.values():
            history.close()
        self._by_name.clear()
