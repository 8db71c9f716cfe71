"""The partitions of topics to which held transactions append.

Each partition is opened before the journal's record is written, so that the whole transaction fails
if a partition cannot be opened. Once the record is safe, the batches are appended in the journal's
order. If the disk is full, an append is tried again, and later ones for the same partition wait
behind it. A topic that was deleted meanwhile gets nothing.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from logstore.broker.ledger import producers_of
from logstore.broker.queues.held import Place, number_from
from logstore.broker.queues.opening import Work
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Entry
from logstore.broker.topic import Topic
from logstore.broker.topics import Topics
from logstore.errors import LogstoreError, StorageFull, UnknownPartition, UnknownTopic
from logstore.log import Log

RETRY_MS: Final = 1000  # after which what there was no room for is tried again

log: Final = logging.getLogger("logstore.queues")


class _Left(NamedTuple):
    """A batch that waits until its partition is open or has room."""

    entry: Entry
    waiting: Waiting
    again: int  # its number, if it is of an earlier process, and may be there


class Partitions:
    """The partitions of one process that has topics. Used in the sessions' thread."""

    def __init__(
        self,
        topics: Topics,
        work: Work,
        clock: Callable[[], int],
        parked: Callable[[int], None],
        alarm: Callable[[Any, int], None],
        seen: Callable[[int], None],
    ) -> None:
        """``parked`` is called with changes of the number of waiting bytes.

        ``seen`` is called with each number that a partition has. ``alarm``: schedules a call of
        ``wake``.
        """
        self._topics = topics
        self._work = work
        self._clock = clock
        self._tell_parked = parked
        self._alarm = alarm
        self._seen = seen
        self._left: dict[Place, deque[_Left]] = {}
        self.again: set[Log] = set()  # that had to be brought something of earlier processes
        self._opening: dict[Place, list[Callable[[LogstoreError | None], None]]] = {}

    @property
    def opening(self) -> bool:
        """Whether some partitions are being opened."""
        return bool(self._opening)

    # Before the journal is told

    def open(self, places: Iterable[Place], waiting: Waiting) -> None:
        """Open these partitions; ``waiting`` waits for the ones not open yet.

        ``waiting`` fails if one of them cannot be written.
        """
        for place in places:
            try:
                topic, its = self._find(place)
                if its is not None:
                    self._check(its)
            except LogstoreError as error:
                waiting.failed = waiting.failed or error
                continue
            if its is None:
                waiting.park()
                self._open(place, topic, lambda error: waiting.unparked(None, 0, error))

    def _find(self, place: Place) -> tuple[Topic, Log | None]:
        """Return the topic and its log; None: it is not open.

        Raises UnknownTopic, UnknownPartition.
        """
        topic = self._topics.by_uuid(place.topic_id)
        if topic is None:
            raise UnknownTopic("a topic that the transaction writes to was deleted")
        return topic, topic.at_hand(place.partition)

    def _check(self, its: Log) -> None:
        its.check_failure()
        self._seen(last_of(its))

    def _open(
        self, place: Place, topic: Topic, then: Callable[[LogstoreError | None], None]
    ) -> None:
        """Open the partition in a worker."""
        calls = self._opening.setdefault(place, [])
        calls.append(then)
        if len(calls) > 1:
            return

        def work() -> LogstoreError | None:
            try:
                topic.partition(place.partition)
            except LogstoreError as error:
                return error
            return None

        def opened(error: LogstoreError | None) -> None:
            if error is None:
                try:
                    its = topic.at_hand(place.partition)
                    assert its is not None, "it was opened just now"
                    self._check(its)
                except LogstoreError as failed:
                    error = failed
            for call in self._opening.pop(place):
                call(error)

        self._work(work, opened)

    # Once the journal has it

    def append(self, entry: Entry, waiting: Waiting, again: int = 0) -> None:
        """Append the entry. ``again``: its number, if the partition may already have it.

        ``waiting`` fails if the partition cannot be written in this process.
        """
        waiting.park()
        left = _Left(entry, waiting, again)
        those = self._left.get(entry.place)
        if those is None:
            if self._put(left):
                return
            those = self._left[entry.place] = deque()
        those.append(left)
        self._tell_parked(entry.batch.size)

    def _put(self, it: _Left) -> bool:
        """Append the entry if possible; return whether nothing is left to do."""
        entry, waiting, again = it
        try:
            topic, its = self._find(entry.place)
            if its is None:
                self._open(entry.place, topic, lambda error: self._opened(entry.place, error))
                return False
            if again and again <= last_of(its):
                waiting.unparked(None, 0)  # recovery has synced it
                return True
            mark = its.append(entry.batch)
        except (UnknownTopic, UnknownPartition):  # deleted
            entry.gone = True
            waiting.unparked(None, 0)
            return True
        except StorageFull as error:
            log.warning("what was committed to a topic has no room, and is tried again: %s", error)
            self._alarm(self, self._clock() + RETRY_MS)
            return False
        except LogstoreError as error:
            entry.gone = True
            waiting.unparked(None, 0, error)
            return True
        entry.log, entry.mark = its, mark
        if again:
            self.again.add(its)
        its.show_soon()
        waiting.unparked(its, mark + entry.batch.last_offset_delta + 1)
        return True

    def _opened(self, place: Place, error: LogstoreError | None) -> None:
        if error is not None and not isinstance(error, (UnknownTopic, UnknownPartition)):
            for it in self._left.pop(place, ()):
                self._tell_parked(-it.entry.batch.size)
                it.waiting.unparked(None, 0, error)
        self._go_on(place)

    def _go_on(self, place: Place) -> None:
        those = self._left.get(place)
        while those:
            if place in self._opening or not self._put(those[0]):
                return
            self._tell_parked(-those.popleft().entry.batch.size)
        self._left.pop(place, None)

    def wake(self) -> None:
        """Try again: there may be room by now."""
        for place in list(self._left):
            self._go_on(place)


def last_of(its: Log) -> int:
    """Return the number of the last body that a partition has; 0: none."""
    known = producers_of(its)
    assert known is not None, "whoever writes a topic knows its producers"
    return 0 if known.numbered is None else number_from(*known.numbered)
