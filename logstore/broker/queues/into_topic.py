"""Appends runs of messages to a topic: partitioned, encoded in batches, all of a run together.

A worker opens a partition at its first use; messages for it, and all later messages for this topic,
are parked until then, so that messages stay in order.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from logstore.broker.partitioner import Partitioner
from logstore.broker.queues.held import Place
from logstore.broker.queues.opening import Work
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Transaction
from logstore.broker.topic import Portion, Topic
from logstore.broker.topics import Topics
from logstore.errors import InvalidRecord, LogstoreError, UnknownTopic
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.record import Message

NO_PARTITIONER: Final = Partitioner(1)


class _Part(NamedTuple):
    """The messages of a run for one partition."""

    partition: int
    indexes: Sequence[int]  # within the run
    batches: Sequence[Batch]


class _Parked(NamedTuple):
    """A run that waits for partitions to be opened."""

    topic: Topic
    parts: Sequence[_Part]
    waiting: Waiting
    size: int


class IntoTopic:
    """The appends to one topic. Used in the sessions' thread."""

    def __init__(
        self,
        topics: Topics,
        name: str,
        work: Work,
        soon: Callable[[Callable[[], object]], object],
        parked: Callable[[int], None],
    ) -> None:
        """``parked`` is called with changes of the number of waiting bytes."""
        self.name = name
        self._topics = topics
        self._work = work
        self._soon = soon
        self._tell_parked = parked
        self._topic: Topic | None = None  # that the partitioner is of
        self._count = 0  # of its partitions
        self._partitioner = NO_PARTITIONER
        self._parked: deque[_Parked] = deque()
        self._opening = False
        self._unsynced: dict[Log, None] = {}

    def missing(self) -> LogstoreError | None:
        """Return the error if the topic does not exist, else None."""
        if self._topics.get(self.name) is None:
            return UnknownTopic(f"no topic {self.name!r}; create it first", self.name)
        return None

    def take(self, messages: Sequence[Message], waiting: Waiting) -> dict[int, LogstoreError]:
        """Append the messages; ``waiting`` gets the marks that must become safe.

        Returns the errors of refused messages, by their numbers.
        """
        topic = self._topics.get(self.name)
        if topic is None:
            missing = self.missing()
            assert missing is not None
            return dict.fromkeys(range(len(messages)), missing)
        parts, refused = self._parted(topic, messages)
        if self._parked or not _are_at_hand(topic, parts):
            self._park(topic, parts, waiting)
        else:
            for part in parts:
                error = self._append(topic, part, waiting.appended)
                if error is not None:
                    refused.update(dict.fromkeys(part.indexes, error))
        return refused

    def hold(self, messages: Sequence[Message], held: Transaction) -> dict[int, LogstoreError]:
        """Make the messages a part of a transaction. Returns as ``take``."""
        topic = self._topics.get(self.name)
        if topic is None:
            missing = self.missing()
            assert missing is not None
            return dict.fromkeys(range(len(messages)), missing)
        parts, refused = self._parted(topic, messages)
        for part in parts:
            for batch in part.batches:
                held.append(Place(topic.uuid, part.partition), batch)
        return refused

    # Parted

    def _parted(
        self, topic: Topic, messages: Sequence[Message]
    ) -> tuple[list[_Part], dict[int, LogstoreError]]:
        partitioner = self._partitioner_of(topic)
        try:
            portions = _portions(topic, messages, partitioner)
        except InvalidRecord:
            good, refused = _good(topic, messages)
            chosen = [messages[n] for n in good]
            portions = _portions(topic, chosen, partitioner) if chosen else []
            parts = [
                _Part(it.partition, [good[n] for n in it.indexes], _batches(topic, it))
                for it in portions
            ]
        else:
            refused = {}
            parts = [_Part(it.partition, it.indexes, _batches(topic, it)) for it in portions]
        partitioner.batch_full()
        return parts, refused

    def _partitioner_of(self, topic: Topic) -> Partitioner:
        count = len(topic.partitions)
        if self._topic is not topic or self._count != count:
            self._topic, self._count = topic, count
            self._partitioner = Partitioner(count)
        return self._partitioner

    # Appended

    def _append(
        self, topic: Topic, part: _Part, appended: Callable[[Log, int], object]
    ) -> LogstoreError | None:
        try:
            log = topic.partition(part.partition)
            for batch in part.batches:
                upto = log.append(batch) + batch.record_count
        except LogstoreError as error:
            return error
        appended(log, upto)
        if not self._unsynced:
            self._soon(self._sync)
        self._unsynced[log] = None
        return None

    def _sync(self) -> None:
        """Sync once for all messages of a turn, whether a caller waits or not."""
        unsynced, self._unsynced = self._unsynced, {}
        for log in unsynced:
            log.sync_soon()

    # Parked

    def _park(self, topic: Topic, parts: Sequence[_Part], waiting: Waiting) -> None:
        size = sum(batch.size for part in parts for batch in part.batches)
        for _ in parts:
            waiting.park()
        self._tell_parked(size)
        self._parked.append(_Parked(topic, parts, waiting, size))
        if not self._opening:
            self._open()

    def _open(self) -> None:
        first = self._parked[0]
        self._opening = True

        def work() -> LogstoreError | None:
            try:
                for part in first.parts:
                    first.topic.partition(part.partition)
            except LogstoreError as error:
                return error
            return None

        self._work(work, self._opened)

    def _opened(self, _: LogstoreError | None) -> None:
        """Append the parked messages. If a log could not be opened, the append raises its error
        again.
        """
        self._opening = False
        self._unpark()
        while self._parked and _are_at_hand(self._parked[0].topic, self._parked[0].parts):
            self._unpark()
        if self._parked:
            self._open()

    def _unpark(self) -> None:
        topic, parts, waiting, size = self._parked.popleft()
        self._tell_parked(-size)
        for part in parts:
            unparked = waiting.unparked
            error = self._append(topic, part, unparked)
            if error is not None:
                unparked(None, 0, error)


def _are_at_hand(topic: Topic, parts: Sequence[_Part]) -> bool:
    return all(topic.at_hand(it.partition) is not None for it in parts)


def _portions(
    topic: Topic, messages: Sequence[Message], partitioner: Partitioner
) -> Sequence[Portion]:
    """As ``Topic.portions``, without opening a log. Raises InvalidRecord."""
    if len(topic.partitions) == 1:
        return [Portion(0, topic.rules.columns(messages), None)]
    return topic.portions(messages, partitioner, None)


def _batches(topic: Topic, portion: Portion) -> list[Batch]:
    return topic.rules.encode(portion.columns)


def _good(topic: Topic, messages: Sequence[Message]) -> tuple[list[int], dict[int, LogstoreError]]:
    """Return the numbers of legal messages, and the errors of the others."""
    good: list[int] = []
    refused: dict[int, LogstoreError] = {}
    for number, message in enumerate(messages):
        try:
            topic.rules.columns([message])
        except InvalidRecord as error:
            refused[number] = error
        else:
            good.append(number)
    return good, refused
