"""MQTT topics that are also records of a topic, by configured rules, in both directions.

    out   a published message that matches a rule's filter is appended to the rule's topic: key =
          MQTT topic, value = payload, headers as in ``record_headers.py``. The first matching rule
          applies. The message is acknowledged once it is safe there, too.
    in    a record that others append to the topic is published with QoS 1 to the MQTT topic that
          is its key, if one of the topic's rules matches that. A record with the header
          ``mqtt.qos`` was written by the outward direction, and does not go back.

The position of the inward direction is stored as a group's offsets, as for topic routes: each
record is published at least once, from the time when the rule was first seen.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from logstore.broker.committed import CommittedLog
from logstore.broker.mqtt.filters import is_topic, matches
from logstore.broker.mqtt.message import Message
from logstore.broker.mqtt.record_headers import QOS, headers_of, said_by
from logstore.broker.mqtt.retained import client_of
from logstore.broker.partitioner import Partitioner
from logstore.broker.queues.crossing.feed import Feed
from logstore.broker.queues.pending import Waiting
from logstore.broker.rules import Unstamped
from logstore.broker.topic import Topic
from logstore.broker.topics import Topics
from logstore.errors import CorruptBatch, Failed, LogstoreError, TopicExists
from logstore.kept.groups import GroupKeeper, OffsetToCommit
from logstore.kept.keeping import Keeping
from logstore.log import Log
from logstore.names import ROUTE_GROUPS
from logstore.records.record import Record
from logstore.settings import MqttRule

RUN_MAX: Final = 200  # records in a turn, of some 10 us each
COMMIT_MS: Final = 200  # between commits while records flow
RETRY_MS: Final = 1000
KNOWN_MAX: Final = 16_384  # topics of which it is known which rule they match
KNOWN_BYTES_MAX: Final = 1024  # of such a topic

log: Final = logging.getLogger("logstore.mqtt")


class MappedTopics:
    """The mapped topics of one process. In the sessions' thread, except ``open``."""

    def __init__(
        self,
        rules: Sequence[MqttRule],
        topics: Topics,
        positions: GroupKeeper,
        publish: Callable[[Sequence[Message]], Waiting | None],
    ) -> None:
        """``publish``: publishes to MQTT subscribers only, and returns what must become safe."""
        self._rules = [(it.pattern.encode(), it.topic) for it in rules]
        self._topics = topics
        self._known: dict[bytes, str | None] = {}
        self.ways = {
            name: MappedTopic(
                name, [it for it, topic in self._rules if topic == name], positions, publish
            )
            for name in dict.fromkeys(it.topic for it in rules)
        }

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def published(self) -> int:
        """The number of messages that were published from records."""
        return sum(it.published for it in self.ways.values())

    # Opened

    def open(self) -> None:
        """Create missing topics, and open their logs. May be called from any thread, and may take
        long.

        If a topic cannot be opened, messages for it are refused with the reason.
        """
        for way in self.ways.values():
            way.open(self._topics)

    def begin(self) -> None:
        """Start to read the topics, after ``open``."""
        for way in self.ways.values():
            way.begin(self._topics.get(way.name))

    def needs(self) -> bool:
        """Whether ``open`` and ``begin`` must be called again: a topic was replaced, or
        has grown.
        """
        return any(way.needs(self._topics.get(name)) for name, way in self.ways.items())

    # Out

    def rule_of(self, topic: bytes) -> str | None:
        """Return the name of the Kafka topic for messages of this MQTT topic, or None."""
        try:
            return self._known[topic]
        except KeyError:
            found = next((name for it, name in self._rules if matches(it, topic)), None)
            if len(topic) <= KNOWN_BYTES_MAX:
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[topic] = found
            return found

    def take(self, messages: Sequence[Message]) -> list[tuple[Log, int]]:
        """Append the messages that match a rule.

        Returns each log with the mark below which its records must become safe. Raises
        InvalidRecord, StorageFull, LogFailed, Failed.
        """
        if not self._rules:
            return []
        found: dict[str, list[Message]] = {}
        for it in messages:
            name = self.rule_of(it.topic)
            if name is not None:
                found.setdefault(name, []).append(it)
        marks: list[tuple[Log, int]] = []
        for name, those in found.items():
            marks += self.ways[name].append(those)
        return marks

    # In

    def step(self, now_ms: int, *, crowded: bool) -> int | None:
        """Read on, and commit positions; return when to call this next, in ms, or None.

        Called at the end of a turn in which records have come, and at the time that it returned.
        """
        due = [way.step(now_ms, crowded=crowded) for way in self.ways.values()]
        return min((it for it in due if it is not None), default=None)

    def close(self) -> None:
        """Commit the positions below which all is safe, at the end of the process."""
        for way in self.ways.values():
            way.close()


class MappedTopic:
    """One topic, and the filters of its rules."""

    def __init__(
        self,
        name: str,
        filters: Sequence[bytes],
        positions: GroupKeeper,
        publish: Callable[[Sequence[Message]], Waiting | None],
    ) -> None:
        self.name = name
        self.published = 0  # messages that came of it
        self.stuck: str | None = None  # why it does not go on
        self._filters = filters
        self._positions = positions
        self._publish = publish
        self.wake: Callable[[], object] = lambda: None  # has ``step`` called, from any thread
        self._topic: Topic | None = None
        self._error: LogstoreError | None = None  # why it is not open
        self._kept: dict[int, int] | None = None  # positions, by partition
        self._partitioner = Partitioner(1)
        self._feeds: list[Feed] = []
        self._committing = False
        self._commit_ms = 0
        self._again_ms = 0

    # Opened

    def open(self, topics: Topics) -> None:
        """As MappedTopics.open."""
        self._error = None
        try:
            topic = topics.get(self.name)
            if topic is None:
                try:
                    topic = topics.create(self.name, None, {})
                except TopicExists:
                    return self.open(topics)
            for number in range(len(topic.partitions)):
                topic.partition(number)
            kept = self._positions.fetch(_group_of(topic))
            self._kept = {place[1]: it.offset for place, it in kept.items()}
        except LogstoreError as error:
            log.warning("MQTT topics are no records of %s for now: %s", self.name, error)
            self._error = error
        return None

    def needs(self, topic: Topic | None) -> bool:
        """As MappedTopics.needs."""
        return topic is not self._topic or topic is None or not topic.all_at_hand

    def begin(self, topic: Topic | None) -> None:
        """As MappedTopics.begin."""
        if topic is None or self._error is not None or self._kept is None or not topic.all_at_hand:
            return
        if topic is not self._topic:
            self._leave()
            self._topic = topic
        self._partitioner = Partitioner(len(topic.partitions))
        for number in range(len(self._feeds), len(topic.partitions)):
            it = CommittedLog(topic.partition(number))
            at = min(self._kept.get(number, it.end), it.end)
            feed = Feed(self.name, number, it, at, self._woken)
            if number not in self._kept:  # earlier records are not for MQTT
                feed.committed = -1
            self._feeds.append(feed)
        self._woken()

    def _woken(self) -> None:
        self.wake()

    def _leave(self) -> None:
        """Close the feeds of a topic that was deleted, and perhaps created again."""
        for feed in self._feeds:
            feed.close()
        self._feeds = []
        self._topic = None

    # Out

    def append(self, messages: Sequence[Message]) -> list[tuple[Log, int]]:
        """As MappedTopics.take."""
        topic = self._topic
        if topic is None or not topic.all_at_hand:
            why = self._error or "it is not open"
            raise Failed(f"topic {self.name!r}, which stores the published messages: {why}")
        rows: list[Unstamped] = [
            (it.payload, it.topic, headers_of(it.qos, it.about, client_of(it.publisher)), None)
            for it in messages
        ]
        portions = topic.portions(rows, self._partitioner, None)
        encoded = [(it.partition, topic.rules.encode(it.columns)) for it in portions]
        marks = []
        for number, batches in encoded:
            partition, upto = topic.partition(number), 0
            for batch in batches:
                upto = partition.append(batch) + batch.record_count
            marks.append((partition, upto))
        return marks

    # In

    def step(self, now_ms: int, *, crowded: bool) -> int | None:
        """As MappedTopics.step."""
        if self._topic is None:
            return None
        for feed in self._feeds:
            error = feed.settle()
            if error is not None:
                self._stay(str(error), now_ms)
        if now_ms >= self._again_ms and not crowded:
            self._read_some(now_ms)
        due = self._commit(now_ms)
        if self.stuck is not None:
            return self._again_ms if due is None else min(due, self._again_ms)
        return due

    def _read_some(self, now_ms: int) -> None:
        """Publish a run of records of each partition that has more."""
        self.stuck = None
        for feed in self._feeds:
            if not feed.has_more:
                continue
            try:
                records, upto = feed.records(RUN_MAX)
            except CorruptBatch as error:
                if feed.flights:
                    continue  # what came before it arrives first
                following = feed.log.following(feed.next)
                if following is None:
                    self._stay(str(error), now_ms)
                    return
                log.warning("passed over: %s", error)
                feed.move(following)
                self.wake()
                continue
            except LogstoreError as error:
                self._stay(str(error), now_ms)
                return
            if not records and upto == feed.next:
                continue  # it is not here yet: the log tells when it is
            waiting = self._send(records)
            feed.went(len(records), upto, waiting)
            if feed.has_more:
                self.wake()

    def _send(self, records: Iterable[Record]) -> Waiting | None:
        messages = []
        for record in records:
            message = self._message(record)
            if message is not None:
                messages.append(message)
        if not messages:
            return None
        self.published += len(messages)
        waiting = self._publish(messages)
        if waiting is not None:
            waiting.watch(self._woken)
        return waiting

    def _message(self, record: Record) -> Message | None:
        """Return the message for MQTT subscribers; None: the record is not for them."""
        topic = record.key
        if any(name == QOS for name, _ in record.headers):
            return None
        if topic is None or not is_topic(topic) or not self._is_mine(topic):
            return None
        return Message(topic, record.value or b"", 1, False, said_by(record.headers).about)

    def _is_mine(self, topic: bytes) -> bool:
        return any(matches(it, topic) for it in self._filters)

    def _stay(self, why: str, now_ms: int) -> None:
        if why != self.stuck:
            log.warning("topic %s feeds MQTT no more for now: %s", self.name, why)
        self.stuck, self._again_ms = why, now_ms + RETRY_MS

    # Its position

    def _commit(self, now_ms: int) -> int | None:
        """Commit the positions if it is time; return when the next commit is due, or None."""
        moved = [it for it in self._feeds if it.safe != it.committed]
        if not moved or self._committing:
            return None
        if now_ms < self._commit_ms + COMMIT_MS:
            return self._commit_ms + COMMIT_MS
        self._commit_ms, self._committing = now_ms, True
        self._keep(moved).then(lambda it: self._committed(moved, it))
        return None

    def _keep(self, feeds: Sequence[Feed]) -> Keeping:
        assert self._topic is not None
        offsets = {
            (self.name, it.number): OffsetToCommit(it.safe, topic_id=self._topic.id) for it in feeds
        }
        for it in feeds:
            it.committed = it.safe
        return self._positions.commit(_group_of(self._topic), offsets)

    def _committed(self, feeds: Sequence[Feed], keeping: Keeping) -> None:
        self._committing = False
        if keeping.error is not None:
            for it in feeds:
                it.committed = -1  # whatever it is: it is kept with the next
        self.wake()

    def close(self) -> None:
        """As MappedTopics.close."""
        for feed in self._feeds:
            feed.settle()
        moved = [it for it in self._feeds if it.safe != it.committed]
        if moved and self._topic is not None:
            self._keep(moved)
        self._leave()


def _group_of(topic: Topic) -> str:
    """Return the group whose offsets are the positions of this very topic.

    A later topic with the same name has another group.
    """
    return f"{ROUTE_GROUPS}mqtt.{topic.id}"
