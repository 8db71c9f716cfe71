"""Where the figures of objects are read: the models, gone through every ten seconds."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from logstore.amqp import fields
from logstore.broker.channel import Channels
from logstore.broker.lag_watch import LagWatch
from logstore.broker.topics import Topics
from logstore.figures import stuck
from logstore.figures.figures import Figures, Seen
from logstore.figures.full import NEARLY, Room
from logstore.figures.series import Series

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

UNSENT_BYTES: Final = 64 << 10  # of a connection that is looked at more closely
NEAR_MAX: Final = 20  # queues near to their own limit that are told of


class About(Protocol):
    """What is known of a connection's client."""

    @property
    def unread_max(self) -> int: ...


class Connection(Protocol):
    """As the server has it."""

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
    """The queues of all virtual hosts, once they are opened."""

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
                waiting += ready
                values = counts.published, counts.given_out, counts.acked, ready, out
                judge = None
                if ready or out:
                    name = fields.text(queue.facts.name)
                    judge = partial(_judge_queue, host, name, len(queue.subscriptions))
                most = queue.limits.max_length
                if most and ready >= most * NEARLY and len(near) < NEAR_MAX:
                    name = fields.text(queue.facts.name)
                    near.append(Room(f"queue {name}", ready, most, stuck.view("queues", host, name)))
                yield Seen(queue.id, values, judge)
        self.waiting, self.near = waiting, near


def waiting(queues: QueueSource, lags: LagWatch) -> Iterator[Seen]:
    """Messages that are ready, and records that groups have not read; as they were seen last."""
    unread = sum(it.lag or 0 for it in lags.last.groups.values())
    yield Seen("", (queues.waiting + unread,))


def _judge_queue(
    host: str, name: str, consumers: int, seen: Series, step: int
) -> stuck.Stuck | None:
    return stuck.queue(name, host, seen, consumers, step)


class TopicSource:
    """The topics that somebody has used; others do not move.

    Only logs that are open are looked at. What was appended before a log was seen is not counted.
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


def groups(lags: LagWatch) -> Iterator[Seen]:
    """As they were looked at last, which goes on once somebody has asked."""
    for name, it in lags.last.groups.items():
        if it.lag is not None:
            values = it.committed, it.committed + it.lag, it.lag
            yield Seen(name, values, partial(_judge_group, name))


def _judge_group(name: str, seen: Series, step: int) -> stuck.Stuck | None:
    return stuck.group(name, seen, step)
