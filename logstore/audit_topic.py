"""The audit log: a topic of one partition, with a JSON record for each event.

No request is refused because the log can't be written: entries that the disk does not accept are
dropped and counted. The topic is created with the first entry, which exists only if there are
users.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from logstore.access.audit import AUDIT, DONE, REFUSED, Entry, entry_of
from logstore.access.identity import Identity
from logstore.broker.topic import Topic
from logstore.errors import LogstoreError, TopicExists
from logstore.log import Log
from logstore.names import AUDIT_TOPIC
from logstore.open_topics import OpenTopics
from logstore.settings import DAY_MS

# Of the topic when it is made; an administrator may change them. Retention removes whole segments.
TOPIC_SETTINGS: Final = {
    "retention.ms": str(30 * DAY_MS),
    "retention.bytes": str(256 << 20),
    "segment.bytes": str(32 << 20),
    "segment.ms": str(DAY_MS),
}

log = logging.getLogger("logstore.audit")


class AuditTopic:
    """The topic, and the number of entries that it did not accept."""

    def __init__(self, topics: OpenTopics, clock: Callable[[], int]) -> None:
        self._topics = topics
        self._clock = clock
        self.dropped = 0  # records that were lost, and that the log does not say so of yet

    def at_hand(self) -> Topic | None:
        """The topic, if its log is open."""
        topic = self._topics.get(AUDIT_TOPIC)
        return None if topic is None or topic.at_hand(0) is None else topic

    def open(self) -> LogstoreError | None:
        """Make it where there is none, and open its log: from any thread, and may take long."""
        try:
            topic = self._topics.get(AUDIT_TOPIC)
            if topic is None:
                try:
                    topic = self._topics.create(AUDIT_TOPIC, 1, TOPIC_SETTINGS)
                except TopicExists:
                    topic = self._topics.topic(AUDIT_TOPIC)
            topic.partition(0)
        except LogstoreError as error:
            return error
        return None

    def append(self, topic: Topic, entries: Sequence[Entry]) -> tuple[Log, int] | None:
        """The log, and the mark behind them, once they are synced; None: they were dropped."""
        dropped = self.dropped
        told = [*entries, self._missing(dropped)] if dropped else entries
        mark = 0
        try:
            columns = topic.rules.columns(
                [(msgspec.json.encode(it.fields()), it.key(), (), it.last_ms) for it in told]
            )
            partition = topic.partition(0)
            for batch in topic.rules.encode(columns):
                mark = partition.append(batch) + batch.record_count
            partition.sync_soon()
        except LogstoreError as error:
            self.drop(len(entries), str(error))
            return None
        self.dropped -= dropped
        return partition, mark

    def _missing(self, count: int) -> Entry:
        now_ms = self._clock()
        what = {"records that could not be written": None}
        return Entry(AUDIT, REFUSED, "", "", "", "", now_ms, now_ms, count, what)

    def drop(self, count: int, why: str) -> None:
        """Count what is lost; the first loss is logged."""
        if count and not self.dropped:
            log.warning("%s: records of who did what are dropped: %s", AUDIT_TOPIC, why)
        self.dropped += count


class OwnAudit:
    """An ``Audit`` for a process without a server; it writes each event before it returns."""

    def __init__(
        self, topics: OpenTopics, required: Callable[[], bool], clock: Callable[[], int]
    ) -> None:
        """``required``: whether there are users."""
        self._topic = AuditTopic(topics, clock)
        self._required = required
        self._clock = clock

    def tell(self, event: str, who: Identity, what: str = "", outcome: str = DONE) -> None:
        """As Audit.tell."""
        if not self._required():
            return
        error = self._topic.open()
        topic = self._topic.at_hand()
        if error is not None or topic is None:
            self._topic.drop(1, str(error or "the topic is gone"))
            return
        entry = entry_of(event, outcome, who, what, self._clock())
        appended = self._topic.append(topic, [entry])
        if appended is not None:
            partition, mark = appended
            try:
                partition.wait(mark)
            except LogstoreError as failed:
                self._topic.drop(1, str(failed))
