"""The sources of objects' figures: the models, read every ten seconds."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from logstore.amqp import fields
from logstore.broker.channel import Channels
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.topics import Topics
from logstore.errors import LogstoreError
from logstore.figures import stuck
from logstore.figures.figures import Figures, Seen
from logstore.figures.full import NEARLY, Room
from logstore.figures.series import Series, Values
from logstore.log import TopicPartition

if TYPE_CHECKING:
    from logstore.broker.queues.named import Named
    from logstore.broker.queues.queues import Queues

UNSENT_BYTES: Final = 64 << 10  # of a connection that is looked at more closely
GROUPS_AT_ONCE: Final = 500  # whose offsets are read again in one step, 50 us each, by a worker
GROUPS_IN_TURN: Final = 50  # of these: those of which nobody has said that they have committed
NAMES_EVERY: Final = 30  # steps: groups that have come or gone without a word
NEAR_MAX: Final = 20  # queues near to their own limit that are told of


class About(Protocol):
    """The facts about a connection's client."""

    @property
    def unread_max(self) -> int: ...


class Connection(Protocol):
    """A connection of the server."""

    @property
    def id(self) -> int: ...
    @property
    def door(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def unsent(self) -> int: ...
    @property
    def gone(self) -> bool: ...
    def about(self) -> About: ...


def doors(figures: Figures) -> Iterator[Seen]:
    """Each with its connections."""
    for name, it in figures.doors().items():
        yield Seen(
            name,
            (it.messages_in, it.messages_out, it.bytes_in, it.bytes_out, it.slow, it.connections),
        )


def rooms(figures: Figures) -> Iterator[Seen]:
    """What may become full."""
    for it in figures.rooms:
        yield Seen(it.what, (it.used,))


def channels(of: Channels) -> Iterator[Seen]:
    """Those that something was published to which somebody got."""
    for name, tally in list(of.tallies.items()):
        yield Seen(name, (tally.messages, of.names.count(name)))


def connections(of: Callable[[], Iterable[Connection]]) -> Iterator[Seen]:
    """Of all doors."""
    for it in of():
        if not it.gone:
            judge = partial(_judge_connection, it) if it.unsent > UNSENT_BYTES else None
            yield Seen(it.id, (it.bytes_in, it.bytes_out), judge)


def _judge_connection(it: Connection, _: object, step: int) -> stuck.Stuck | None:
    if it.gone:
        return None
    return stuck.connection(f"{it.door} {it.peer}", it.unsent, it.about().unread_max, step)


class QueueSource:
    """The queues of all virtual hosts, once they are open."""

    def __init__(self, opened: "Callable[[], Queues | None]") -> None:
        self._opened = opened
        self.waiting = 0  # messages that are ready, in all
        self.near: list[Room] = []  # queues that are near to the length that they may have

    def seen(self) -> Iterator[Seen]:
        """Each of them, by its number."""
        queues, waiting, near = self._opened(), 0, list[Room]()
        for vhost in list(queues.vhosts.values()) if queues is not None else ():
            host = fields.text(vhost.name)
            for queue in list(vhost.queues()):
                if queue.gone:
                    continue
                counts, ready, out = queue.counts, queue.ready, queue.out
                stays = queue.topic_name is not None  # a stream: nobody takes it away
                waiting += 0 if stays else ready
                values = counts.published, counts.given_out, counts.acked, ready, out
                judge = partial(_judge_queue, host, queue) if (ready or out) and not stays else None
                most = queue.limits.max_length
                if most and ready >= most * NEARLY and len(near) < NEAR_MAX:
                    name = fields.text(queue.facts.name)
                    near.append(
                        Room(f"queue {name}", ready, most, stuck.view("queues", host, name))
                    )
                yield Seen(queue.id, values, judge)
        self.waiting, self.near = waiting, near


def waiting(queues: QueueSource, groups: "GroupSource") -> Iterator[Seen]:
    """Messages that are ready, and records that groups have not read; as they were seen last."""
    yield Seen("", (queues.waiting + groups.unread,))


def _judge_queue(host: str, queue: "Named", seen: Series, step: int) -> stuck.Stuck | None:
    name = fields.text(queue.facts.name)
    return stuck.queue(name, host, seen, len(queue.subscriptions), step)


class TopicSource:
    """The topics in use; others do not change.

    Only open logs are read. Appends before a log was first seen are not counted.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._ends: dict[str, dict[int, int]] = {}  # by topic's id and partition
        self._totals: dict[str, int] = {}

    def seen(self) -> Iterator[Seen]:
        """Each of them, by its id."""
        there = self._topics.used()
        for topic in there:
            ends = self._ends.setdefault(topic.id, {})
            total = self._totals.get(topic.id, 0)
            for number, log in topic.opened:
                end = log.end
                total += end - ends.get(number, end)
                ends[number] = end
            self._totals[topic.id] = total
            yield Seen(topic.id, (total,))
        if len(self._ends) > len(there):
            known = {it.id for it in there}
            for gone in [it for it in self._ends if it not in known]:
                del self._ends[gone]
                del self._totals[gone]


class GroupsRead(NamedTuple):
    """What a worker has read about groups."""

    names: Collection[str] | None  # of all there are; None: that was not looked at
    offsets: Mapping[str, Mapping[TopicPartition, int]]  # of some, anew
    values: Mapping[str, Values]  # of all that are known


class GroupSource:
    """The committed offsets of groups, compared with the ends of their logs.

    A worker reads and sums them, because offsets are on disk and may be many. It reads those of
    groups that have changed, and of some other groups in turn.
    """

    def __init__(self, coordinator: Coordinator, topics: Topics) -> None:
        self._coordinator = coordinator
        self._topics = topics
        self._offsets: dict[str, Mapping[TopicPartition, int]] = {}  # by group
        self._values: Mapping[str, Values] = {}
        self._in_turn: deque[str] = deque()
        self._waiting: dict[str, None] = {}
        self._step = 0
        self.unread = 0  # records that groups have not read, in all

    def begin(self) -> Callable[[], GroupsRead]:
        """What a worker is to do now, and ``take`` gets; one at a time. In the sessions' thread."""
        stirred, self._coordinator.stirred = self._coordinator.stirred, set()
        self._waiting |= dict.fromkeys(stirred or ())
        names = list(self._waiting)[:GROUPS_AT_ONCE]
        for name in names:
            del self._waiting[name]
        for _ in range(min(GROUPS_IN_TURN, len(self._in_turn))):
            self._in_turn.rotate(-1)
            names.append(self._in_turn[-1])
        all_too = self._step % NAMES_EVERY == 0
        self._step += 1
        return partial(self._look, names, dict(self._offsets), all_too)

    def take(self, read: GroupsRead) -> None:
        """What the worker has read."""
        names, offsets, self._values = read
        self._in_turn += [it for it in offsets if it not in self._offsets]
        self._offsets.update(offsets)
        if names is not None:
            self._waiting |= dict.fromkeys(it for it in names if it not in self._offsets)
            for gone in [it for it in self._offsets if it not in names and it not in offsets]:
                del self._offsets[gone]
            self._in_turn = deque(self._offsets)

    def seen(self) -> Iterator[Seen]:
        """Each group that has committed something, by its name."""
        unread = 0
        for name, values in self._values.items():
            unread += values[2]
            yield Seen(name, values, partial(_judge_group, name))
        self.unread = unread

    # In a worker

    def _look(
        self,
        names: Collection[str],
        known: dict[str, Mapping[TopicPartition, int]],
        all_too: bool,
    ) -> GroupsRead:
        there = self._names() if all_too else None
        read = {name: self._read(name) for name in names}
        known |= read
        ends: dict[str, Sequence[int | None]] = {}
        values = {name: self._values_of(it, ends) for name, it in known.items() if it}
        return GroupsRead(there, read, values)

    def _names(self) -> Collection[str] | None:
        try:
            return self._coordinator.kinds().keys()
        except LogstoreError:  # of a damaged catalogue whoever uses it is told
            return None

    def _read(self, name: str) -> Mapping[TopicPartition, int]:
        try:
            found = self._coordinator.fetch(name, 0)
        except (Refusal, LogstoreError):  # whoever asks for it is told
            return {}
        return {place: it.offset for place, it in found.items()}

    def _values_of(
        self, offsets: Mapping[TopicPartition, int], ends: dict[str, Sequence[int | None]]
    ) -> Values:
        """``ends``: of the topics that were looked at."""
        committed = end = lag = 0
        for (topic, partition), offset in offsets.items():
            if topic not in ends:
                ends[topic] = self._ends(topic)
            there = ends[topic]
            safe = there[partition] if partition < len(there) else None
            if safe is not None:
                committed += offset
                end += safe
                lag += max(0, safe - offset)
        return committed, end, lag

    def _ends(self, topic: str) -> Sequence[int | None]:
        try:
            return [None if it is None else it[1] for it in self._topics.offsets(topic)]
        except LogstoreError:  # it was deleted
            return ()


def _judge_group(name: str, seen: Series, step: int) -> stuck.Stuck | None:
    return stuck.group(name, seen, step)
