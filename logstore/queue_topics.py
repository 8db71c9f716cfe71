"""Queues as topics that Kafka clients can read, without taking messages from consumers.

The topic of a durable queue is ``__queue.NAME`` in the default virtual host, if that is a valid
topic name, otherwise ``__queue.id.NUMBER``; it has a partition for each priority. Its records are
those of the queue's lanes, with the headers that no other door shows, including settled messages
that are still on disk, but not purged ones. Clients cannot create topics with such names. A topic
of such a name in an older store stays as it is, and hides the queue.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from logstore.access.resources import object_name
from logstore.amqp.fields import data, text
from logstore.broker.coordinator.view import TopicFacts
from logstore.broker.topic import Topic
from logstore.broker.topics import PartitionSize, Schedules, Segments, Topics
from logstore.config import Chosen
from logstore.errors import Failed, OffsetAboveEnd, Refused
from logstore.kept.queues import DEFAULT_VHOST
from logstore.log import ABORTED_MAX, Aborted, Extent, Log, Notes, Wake
from logstore.names import QUEUE_PREFIX, TOPIC_CHARACTERS_MAX, TOPIC_PATTERN
from logstore.records.batch import Batch
from logstore.settings import TopicSettings

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.queues.lane import Lane
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.removed import Removed

OPEN_WITHIN_S: Final = 30.0  # a queue that is to be looked at; in a worker
# Read at once where some of it was purged: it is decoded, which takes some ms.
THINNED_BYTES: Final = 65_536
PASSED_OVER_MAX: Final = 16  # reads at once that find purged messages alone
KNOWN_MIN: Final = 64  # topics that are remembered before those of queues that are gone go
# Topic ids: eight letters and the queue's number, so that each can be told from the other.
_ID: Final = b"__queue."
_NUMBERED: Final = re.compile(r"id\.([1-9][0-9]{0,17})")
_NAME: Final = re.compile(TOPIC_PATTERN)

log: Final = logging.getLogger("logstore.queues")


def topic_name(vhost: bytes, queue: bytes, number: int) -> str:
    """The topic of a queue."""
    name = text(queue)
    plain = (
        text(vhost) == DEFAULT_VHOST
        and _NAME.fullmatch(name) is not None
        and len(QUEUE_PREFIX) + len(name) <= TOPIC_CHARACTERS_MAX
        and _NUMBERED.fullmatch(name) is None  # it would be another queue's number
    )
    return f"{QUEUE_PREFIX}{name}" if plain else f"{QUEUE_PREFIX}id.{number}"


def topic_id(queue: int) -> bytes:
    """The id of the topic of a queue, by its number."""
    return _ID + queue.to_bytes(8, "big")


class Size(NamedTuple):
    """The size of one lane, as a PartitionSize."""

    partition: int
    bytes: int


class LaneView:
    """One lane of a queue as a readable ``Log``; empty until the queue has such messages."""

    notes: Notes | None = None

    def __init__(self, name: str, queue: "Queue", number: int) -> None:
        self.name = name
        self._queue = queue
        self._number = number
        self._waiting: dict[object, Wake] = {}  # for there to be a log

    def _lane(self) -> "Lane | None":
        return self._queue.stock.lanes.get(self._number)

    @property
    def log(self) -> Log | None:
        lane = self._lane()
        return None if lane is None else lane.log

    @property
    def _removed(self) -> "Removed | None":
        lane = self._lane()
        return None if lane is None else lane.settlement.removed

    @property
    def at_hand(self) -> bool:
        """Whether there is nothing to be opened."""
        lane = self._lane()
        return self._number not in self._queue.stock.names() or (
            lane is not None and (lane.log is not None or lane.failed is not None)
        )

    def came(self) -> None:
        """There is a log now. In the sessions' thread."""
        waiting, self._waiting = self._waiting, {}
        for wake in waiting.values():
            wake()

    def _refused(self) -> Refused:
        return Refused(f"{self.name} belongs to a queue and can only be read: publish to the queue")

    # As Log

    @property
    def start(self) -> int:
        return 0 if (its := self.log) is None else its.start

    @property
    def safe(self) -> int:
        return 0 if (its := self.log) is None else its.safe

    @property
    def end(self) -> int:
        return 0 if (its := self.log) is None else its.end

    @property
    def done(self) -> int:
        return 0 if (its := self.log) is None else its.done

    @property
    def synced(self) -> int:
        return 0 if (its := self.log) is None else its.synced

    def append(self, batch: Batch) -> int:
        """Raises Refused."""
        raise self._refused()

    @property
    def stable(self) -> int:
        return self.safe

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        return ()  # no transaction writes into a lane what is not decided

    def offset_of(self, mark: int) -> int:
        return mark

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """As Log.read; batches without what was purged.

        A batch without a record comes only where nothing else is left: librdkafka takes an answer
        of such for one that was cut off, and asks for more at once each time.
        """
        its, removed = self.log, self._removed
        if its is None:
            self.check_failure()
            if at > 0:  # or else who waits there would be answered at once, again and again
                raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, 0")
            return ()
        safe = its.safe
        if removed is None or not its.start <= at < safe:
            return its.read(at, bytes_max)
        begin, batches = at, list[Batch]()
        for _ in range(PASSED_OVER_MAX):
            left = removed.first_left(begin, safe)
            if left is None:
                return [_without(it, removed) for it in its.read(safe - 1, 1)]
            most = bytes_max if left == (at, safe) else min(bytes_max, THINNED_BYTES)
            batches = list(its.read(left[0], most))
            found = [_without(it, removed) for it in batches if _has(it, removed)]
            if found or not batches:
                return found
            begin = batches[-1].next_offset  # compaction has taken what was left there
        return [_without(batches[-1], removed)]

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        its, removed = self.log, self._removed
        if its is None or (removed is not None and not _is_whole(removed, at, its.end)):
            return None
        return its.extent(at, bytes_max)

    def where(self, offset: int) -> str:
        return self.name if (its := self.log) is None else its.where(offset)

    def following(self, at: int) -> int | None:
        return None if (its := self.log) is None else its.following(at)

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        its = self.log
        return 0 if its is None else its.find(timestamp_ms, damaged=damaged)

    def latest_timestamp(self) -> int:
        return -1 if (its := self.log) is None else its.latest_timestamp()

    def trim(self, before: int) -> None:
        """Raises Refused."""
        raise self._refused()

    def wait(self, upto: int) -> None:
        if (its := self.log) is not None:
            its.wait(upto)

    def check_failure(self) -> None:
        lane = self._lane()
        if lane is not None and lane.failed is not None:
            raise lane.failed
        if (its := self.log) is not None:
            its.check_failure()

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """What comes is synced by whoever publishes it."""

    def show_soon(self) -> None:
        """Likewise."""

    def watch(self, wake: Wake) -> Wake:
        its = self.log
        if its is not None:
            return its.watch(wake)
        name = object()
        ends: list[Wake] = []

        def came() -> None:
            found = self.log
            if found is not None:
                ends.append(found.watch(wake))
            wake()

        self._waiting[name] = came

        def stop() -> None:
            self._waiting.pop(name, None)
            for end in ends:
                end()

        return stop


def _is_whole(removed: "Removed", first: int, upto: int) -> bool:
    return first >= upto or removed.first_left(first, upto) == (first, upto)


def _has(batch: Batch, removed: "Removed") -> bool:
    """Whether anything of it is left."""
    return removed.first_left(batch.base_offset, batch.next_offset) is not None


def _without(batch: Batch, removed: "Removed") -> Batch:
    """The batch without what was purged, as compaction would leave it: offsets stay."""
    first, upto = batch.base_offset, batch.next_offset
    left = removed.all_left(first, upto)
    if left == [(first, upto)]:
        return batch
    from logstore.records.decode import decode
    from logstore.records.keyed import keyed, thinned

    stays = {offset for begin, end in left for offset in range(begin, end)}
    places = [n for n, it in enumerate(decode(batch)) if it.offset in stays]
    return thinned(batch, keyed(batch).spans(places))


class _Lanes(Sequence[Log]):
    """The partitions of one queue's topic."""

    def __init__(self, name: str, queue: "Queue", open_: Callable[["Queue"], None]) -> None:
        self.queue = queue
        self._open = open_
        count = 1 + (queue.limits.max_priority or 0)
        self.views = [LaneView(f"{name}-{n}", queue, n) for n in range(count)]

    def came(self, lane: "Lane") -> None:
        """There is a log of this lane now. In the sessions' thread."""
        if lane.number < len(self.views):
            self.views[lane.number].came()

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, at: int) -> Log:  # type: ignore[override]  # nobody slices it
        view = self.views[at]
        if not view.at_hand:
            self._open(self.queue)
        view.check_failure()
        return view


class QueueTopic(Topic):
    """A queue as a topic that can only be read."""

    read_only = True

    def __init__(
        self, name: str, queue: "Queue", open_: Callable[["Queue"], None], settings: TopicSettings
    ) -> None:
        self.lanes = _Lanes(name, queue, open_)
        super().__init__(name, str(UUID(bytes=topic_id(queue.id))), self.lanes, settings, 0)

    def at_hand(self, number: int) -> Log | None:
        """As Topic.at_hand: one that there is no log of needs none."""
        found = super().at_hand(number)
        if found is None and self.lanes.views[number].at_hand:
            found = self._opened[number] = self.lanes.views[number]
        return found


class QueueTopics:
    """A ``Topics`` that includes those of queues. From any thread."""

    def __init__(
        self,
        topics: Topics,
        opened: "Callable[[], Queues | None]",
        soon: Callable[[Callable[[], object]], object],
        log_bytes: Callable[[Log], int],
        *,
        listed: bool,
    ) -> None:
        """``listed``: they are among those that are listed. ``soon``: as of Queues."""
        self._topics = topics
        self._opened = opened
        self._soon = soon
        self._log_bytes = log_bytes
        self._listed = listed
        self._known: dict[int, QueueTopic] = {}  # by the queue's number
        self._tidy_at = KNOWN_MIN  # once so many are known
        self._told: set[str] = set()
        self.count, self.used, self.space = topics.count, topics.used, topics.space
        self.tell, self.keep_single = topics.tell, topics.keep_single
        self.create, self.check_new = topics.create, topics.check_new
        self.check_room = topics.check_room
        self.describe_new, self.describe_store = topics.describe_new, topics.describe_store
        self.knows_producer, self.new_producer_id = topics.knows_producer, topics.new_producer_id

    @property
    def schedules(self) -> Schedules:
        """As Topics.schedules."""
        return self._topics.schedules

    # Looked up

    def get(self, name: str) -> Topic | None:
        """As Topics.get."""
        if not name.startswith(QUEUE_PREFIX):
            return self._topics.get(name)
        topic, queue = self._topics.get(name), self._queue(name)
        if topic is not None:
            if queue is not None and name not in self._told:
                self._told.add(name)
                log.warning(
                    "queue %r can't be read as topic %r: the store has a topic of that name from "
                    "before; delete that one to read the queue", text(queue.facts.name), name,
                )  # fmt: skip
            return topic
        return None if queue is None else self._of(name, queue)

    def facts(self, name: str) -> TopicFacts | None:
        """What a group must know of a topic; None: there is none."""
        topic = self.get(name)
        return None if topic is None else TopicFacts(topic.id, len(topic.partitions))

    def by_uuid(self, uuid: bytes) -> Topic | None:
        """As Topics.by_uuid."""
        if not uuid.startswith(_ID):
            return self._topics.by_uuid(uuid)
        found = self._numbered(int.from_bytes(uuid[len(_ID) :], "big"))
        return None if found is None else self.get(topic_name(*found[:2], found[2].id))

    def names(self) -> Sequence[str]:
        """As Topics.names: those of queues where the settings say so."""
        if not self._listed:
            return self._topics.names()
        return sorted({*self._topics.names(), *(name for name, _ in self._all())})

    def object_of(self, name: str) -> str | None:
        """What rules call the queue that a topic's name stands for; None: none by its number."""
        numbered = _NUMBERED.fullmatch(name.removeprefix(QUEUE_PREFIX))
        found = None if numbered is None else self._numbered(int(numbered[1]))
        return None if found is None else object_name(text(found[0]), text(found[1]))

    def _all(self) -> "Iterator[tuple[str, Queue]]":
        model = self._opened()
        for vhost in list(model.vhosts.values()) if model is not None else ():
            for queue in list(vhost.with_lanes()):
                if queue.facts.lasts and not queue.gone:
                    yield topic_name(vhost.name, queue.facts.name, queue.id), queue

    def _queue(self, name: str) -> "Queue | None":
        """The queue of this topic, if there is one."""
        called = name.removeprefix(QUEUE_PREFIX)
        numbered = _NUMBERED.fullmatch(called)
        if numbered is not None:
            found = self._numbered(int(numbered[1]))
            # One that has a name of its own is to be had by that alone.
            right = found is not None and topic_name(found[0], found[1], found[2].id) == name
            return found[2] if found is not None and right else None
        model = self._opened()
        vhost = None if model is None else model.vhosts.get(data(DEFAULT_VHOST))
        queue = None if vhost is None else vhost.durable(data(called))
        if queue is None or topic_name(data(DEFAULT_VHOST), queue.facts.name, queue.id) != name:
            return None
        return queue

    def _numbered(self, number: int) -> "tuple[bytes, bytes, Queue] | None":
        """The virtual host, the name, the queue."""
        model = self._opened()
        for vhost in list(model.vhosts.values()) if model is not None else ():
            queue = vhost.numbered(number)
            if queue is not None:
                return vhost.name, queue.facts.name, queue
        return None

    def _of(self, name: str, queue: "Queue") -> QueueTopic:
        known = self._known.get(queue.id)
        if known is None:
            if len(self._known) >= self._tidy_at:
                self._tidy()
            known = self._known[queue.id] = QueueTopic(name, queue, self._open, TopicSettings())
            queue.stock.came = known.lanes.came
        return known

    def _tidy(self) -> None:
        """Forget those of queues that are gone; again once there are twice as many as are left."""
        for number, it in list(self._known.items()):
            if it.lanes.queue.gone:
                self._known.pop(number, None)
        self._tidy_at = max(KNOWN_MIN, 2 * len(self._known))

    def _open(self, queue: "Queue") -> None:
        """Have its lanes opened, in a worker. Raises Failed."""
        done = threading.Event()
        self._soon(lambda: queue.when_open(done.set))
        if not done.wait(OPEN_WITHIN_S):
            raise Failed(f"queue {text(queue.facts.name)!r} is not open yet; try again")

    # Shown

    def describe(self, name: str) -> list[Chosen]:
        """As Topics.describe: how long a queue's messages stay."""
        topic = self.get(name)
        if not isinstance(topic, QueueTopic):
            return self._topics.describe(name)
        return self._topics.describe_new(topic.lanes.queue.limits.retention)

    def given(self, name: str) -> Mapping[str, str]:
        """As Topics.given."""
        return {} if self._is_view(name) else self._topics.given(name)

    def sizes(self, name: str) -> Sequence[PartitionSize]:
        """As Topics.sizes; of what is open."""
        topic = self.get(name)
        if not isinstance(topic, QueueTopic):
            return self._topics.sizes(name)
        found = []
        for number in range(len(topic.partitions)):
            its = topic.lanes.views[number].log
            found.append(Size(number, 0 if its is None else self._log_bytes(its)))
        return found

    def offsets(self, name: str) -> Sequence[tuple[int, int] | None]:
        """As Topics.offsets."""
        topic = self.get(name)
        if not isinstance(topic, QueueTopic):
            return self._topics.offsets(name)
        return [(it.start, it.safe) if it.at_hand else None for it in topic.lanes.views]

    def weights(self, name: str) -> Sequence[int]:
        """As Topics.weights."""
        if not self._is_view(name):
            return self._topics.weights(name)
        return [it.bytes for it in self.sizes(name)]

    def segments(self, name: str, partition: int, most: int) -> Segments:
        """As Topics.segments. Raises Refused of a queue's: they go with its settlements."""
        self._check(name)
        return self._topics.segments(name, partition, most)

    def _is_view(self, name: str) -> bool:
        return isinstance(self.get(name), QueueTopic)

    # Not to be changed

    def _check(self, name: str) -> None:
        """Raises Refused."""
        if self._is_view(name):
            raise Refused(
                f"topic {name!r} belongs to a queue and can only be read: change the queue"
            )

    def check_growth(self, name: str, partitions: int) -> None:
        """As Topics.check_growth."""
        self._check(name)
        self._topics.check_growth(name, partitions)

    def grow(self, name: str, partitions: int) -> Topic:
        """As Topics.grow."""
        self._check(name)
        return self._topics.grow(name, partitions)

    def alter(self, name: str, settings: Mapping[str, str], reset: Sequence[str]) -> Topic:
        """As Topics.alter."""
        self._check(name)
        return self._topics.alter(name, settings, reset)

    def delete(self, name: str) -> None:
        """As Topics.delete."""
        self._check(name)
        self._topics.delete(name)
