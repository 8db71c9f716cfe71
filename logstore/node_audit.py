"""The audit log of a node: a topic of one partition, with a record in JSON for what has happened.

Nobody waits for it, and nobody is refused because it can't be written: what the disk does not take
is dropped, and counted. It is made with the first record, which there is once there are users.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from logstore.access.access import Access
from logstore.access.audit import AUDIT, DONE, GATHER_MS, REFUSED, Entry, Gathering
from logstore.access.identity import Identity
from logstore.broker.topic import Topic
from logstore.errors import LogstoreError, TopicExists
from logstore.names import AUDIT_TOPIC
from logstore.open_topics import OpenTopics
from logstore.protocols.house import Work
from logstore.settings import DAY_MS
from logstore.turn import Turn

# Of the topic when it is made; an administrator may change them. Retention removes whole segments.
TOPIC_SETTINGS: Final = {
    "retention.ms": str(30 * DAY_MS),
    "retention.bytes": str(256 << 20),
    "segment.bytes": str(32 << 20),
    "segment.ms": str(DAY_MS),
}
WAITING_MAX: Final = 10_000  # records, while the topic is made or opened

log = logging.getLogger("logstore.audit")


class NodeAudit:
    """An ``Audit``."""

    def __init__(
        self, topics: OpenTopics, access: Access, turn: Turn, work: Work, clock: Callable[[], int]
    ) -> None:
        self._topics = topics
        self._access = access
        self._turn = turn
        self._work = work
        self._clock = clock
        self._thread = threading.get_ident()
        self._gathering = Gathering()
        self._ticking = False
        self._waiting: list[Entry] = []
        self._opening = False
        self._not_before_ms = 0  # the topic could not be had: no other try until then
        self._dropped = 0  # records that no record has told of
        self._closed = False

    def tell(self, event: str, who: Identity, what: str = "", outcome: str = DONE) -> None:
        """As Audit.tell. Without users nothing is kept: nobody has to say who he is."""
        if not self._access.required:
            return
        if threading.get_ident() != self._thread:
            self._turn.soon(partial(self.tell, event, who, what, outcome))
            return
        entry = self._gathering.add(event, who, what, outcome, self._clock())
        if entry is not None:
            self._write([entry])
        if self._gathering and not self._ticking:
            self._ticking = True
            self._turn.call_at(self._turn.now() + GATHER_MS / 1000, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        self._write(self._gathering.take())

    # Into the topic

    def _write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        topic = self._topics.get(AUDIT_TOPIC)
        if topic is not None and topic.at_hand(0) is not None and not self._waiting:
            self._append(topic, entries)
            return
        room = WAITING_MAX - len(self._waiting)
        self._waiting += entries[:room]
        self._drop(len(entries[room:]), "too many at a time")
        if not self._opening and self._clock() >= self._not_before_ms:
            self._opening = True
            self._work(self._open, self._opened)

    def _open(self) -> LogstoreError | None:
        """In a worker: the topic is made where there is none, and its log opened."""
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

    def _opened(self, error: LogstoreError | None) -> None:
        self._opening = False
        entries, self._waiting = self._waiting, []
        topic = self._topics.get(AUDIT_TOPIC)
        if error is None and topic is not None:
            self._append(topic, entries)
        else:  # deleted just now, or not to be had
            self._not_before_ms = self._clock() + GATHER_MS
            self._drop(len(entries), str(error or "the topic is gone"))

    def _append(self, topic: Topic, entries: Sequence[Entry]) -> None:
        """Raises nothing: what is not taken is dropped."""
        if not entries:
            return
        dropped = self._dropped
        told = [*entries, self._missing(dropped)] if dropped else entries
        try:
            columns = topic.rules.columns(
                [(msgspec.json.encode(it.fields()), it.key(), (), it.last_ms) for it in told]
            )
            partition = topic.partition(0)
            for batch in topic.rules.encode(columns):
                partition.append(batch)
            partition.sync_soon()
        except LogstoreError as error:
            self._drop(len(entries), str(error))
        else:
            self._dropped -= dropped

    def _missing(self, count: int) -> Entry:
        now_ms = self._clock()
        what = {"records that could not be written": None}
        return Entry(AUDIT, REFUSED, "", "", "", "", now_ms, now_ms, count, what)

    def _drop(self, count: int, why: str) -> None:
        if count and not self._dropped:
            log.warning("%s: records of who did what are dropped: %s", AUDIT_TOPIC, why)
        self._dropped += count

    @property
    def dropped(self) -> int:
        """Records that were lost, and that the log does not say so of yet."""
        return self._dropped

    def close(self) -> None:
        """Write what was gathered. Called once, when nobody tells anything any more."""
        entries = [*self._waiting, *self._gathering.take()]
        self._waiting = []
        if not entries:
            return
        error = self._open()
        topic = self._topics.get(AUDIT_TOPIC)
        if error is None and topic is not None:
            self._append(topic, entries)
        else:
            self._drop(len(entries), str(error or "the topic is gone"))
