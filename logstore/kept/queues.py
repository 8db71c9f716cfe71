"""The waist for stored facts about exchanges, queues and bindings, as models and storage see them.

Facts are values. Each has a number that is never used again, even after the fact is deleted:
settlements and directories refer to numbers, so a queue that is created again never finds the
remains of an earlier queue of its name. Only objects that outlive the process are stored: durable
ones that are not exclusive.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from logstore.errors import CorruptStore
from logstore.kept.keeping import Keeping
from logstore.kept.schedules import ScheduleKeeper
from logstore.log import Log

DEFAULT_VHOST: Final = "/"
JOURNAL_NAME: Final = "settled"
PRIORITY_MAX: Final = 255
# Of the room on the disk below which nobody may publish any more: what is settled goes before.
ROOM_TIMES: Final = 4

# Why the topic of a stream gets no more partitions.
SINGLE: Final = "it is a stream, which has one partition"

Arguments = Mapping[str, Any]  # of the types that a table has (``amqp/fields.py``)


@dataclass(frozen=True, slots=True)
class KeptVhost:
    """A virtual host: a space of names of its own."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class KeptExchange:
    id: int
    vhost: int
    name: str
    type: str
    auto_delete: bool = False
    internal: bool = False
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptQueue:
    id: int
    vhost: int
    name: str
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict)
    # The limits of its messages' lives, where not its arguments alone say them: see
    # ``broker/queues/lifetimes.py``.
    ttls: Sequence[int] = ()


def stream_topic(vhost: str, stream: str) -> str:
    """The name of a stream's topic."""
    return stream if vhost == DEFAULT_VHOST else f"{vhost}.{stream}"


@dataclass(frozen=True, slots=True)
class KeptBinding:
    id: int
    source: int  # an exchange
    destination: int  # a queue or an exchange: numbers of both are of one count
    key: str
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """Settings for all queues and exchanges whose names match, beside their own arguments."""

    id: int
    vhost: int
    name: str
    pattern: str  # of names, as RabbitMQ writes it
    apply_to: str
    priority: int | float = 0
    definition: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptTopicRoute:
    """A topic whose records are also published to an exchange."""

    id: int
    vhost: int
    topic: str
    exchange: str
    key: str  # the template of routing keys
    arguments: Arguments = field(default_factory=dict)


Kept = KeptVhost | KeptExchange | KeptQueue | KeptBinding | KeptPolicy | KeptTopicRoute


@dataclass(frozen=True, slots=True)
class KeptRouting:
    """All stored facts. Damaged ones do not prevent others from being read."""

    vhosts: Sequence[KeptVhost]
    exchanges: Sequence[KeptExchange]
    queues: Sequence[KeptQueue]
    bindings: Sequence[KeptBinding]
    next_id: int  # no fact ever had this number, nor one above
    damaged: Sequence[CorruptStore] = ()
    policies: Sequence[KeptPolicy] = ()
    routes: Sequence[KeptTopicRoute] = ()


class KeptNews(NamedTuple):
    """Changes of stored facts, if other nodes may make changes, too.

    In ``came`` and ``changed``, each fact follows the facts that it refers to; ``gone`` has the
    reverse order, with the facts as they were.
    """

    came: Sequence[Kept] = ()
    changed: Sequence[Kept] = ()
    gone: Sequence[Kept] = ()


class Numbers(Protocol):
    """The source of new numbers, if other nodes create facts, too."""

    def check(self) -> None:
        """Check that enough numbers are available. Raises ClusterUnreachable if not."""

    def next(self) -> int:
        """A number that no fact has. Raises ClusterUnreachable."""

    def within(self, vhost: int, place: int) -> int:
        """The number of the ``place``-th object that each host has from its beginning."""


class QueueKeeper(Protocol):
    """The storage of queues, for a process that has them in memory.

    Changes become durable in the order of the calls, and each ``Keeping`` is finished once, in that
    order, in the caller's thread.
    """

    @property
    def schedules(self) -> ScheduleKeeper: ...
    @property
    def numbers(self) -> Numbers | None:
        """The source of numbers; None: no other process creates facts, so this one counts."""

    def used(self) -> bool:
        """Whether anything was ever stored."""

    def load(self) -> KeptRouting: ...
    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Keeping:
        """Make all of these changes or none. Existing facts are replaced."""


class Lane(NamedTuple):
    """The name of a lane: a queue's log for the messages of one priority."""

    queue: int
    priority: int

    def __str__(self) -> str:
        return f"{self.queue}.{self.priority}"


def parse_lane(name: str) -> Lane | None:
    """``7.0`` -> queue 7, priority 0; None for any other name."""
    queue, dot, priority = name.partition(".")
    if not dot or not (queue.isdecimal() and priority.isdecimal()):
        return None
    lane = Lane(int(queue), int(priority))
    return lane if str(lane) == name and lane.priority <= PRIORITY_MAX else None


class LaneTrim(NamedTuple):
    """What a lane may delete, except what is retained for a while."""

    log: Log
    floor: int  # all below is settled
    shown: int  # all below was removed by a purge
    drained: bool  # all that there is is settled, and was so at the last look


class QueueLogs(Protocol):
    """The source of the queues' logs for the models (``open_queues.py``).

    Opening or creating a durable log, and deleting one, may take long, so a worker's thread does
    it.
    """

    @property
    def keeper(self) -> QueueKeeper: ...
    @property
    def topics_damaged(self) -> bool:
        """Whether there may be topics that cannot be found."""

    def lanes(self) -> Mapping[int, Sequence[int]]:
        """The priorities of each queue's lanes, ascending."""

    def journal(self) -> Log:
        """The log of settlements; created if it does not exist."""

    def open(self, lane: Lane, settings: Mapping[str, str]) -> Log:
        """The lane's log, created if it does not exist. ``settings``: as in ``alter``."""

    def alter(self, lane: Lane, settings: Mapping[str, str]) -> None:
        """Set these settings of the lane's log, and reset all others to the defaults of lanes."""

    def delete(self, lanes: Iterable[Lane]) -> None:
        """Delete these lanes and their files."""

    def trim(self, lanes: Sequence[LaneTrim], now_ms: int) -> None:
        """Delete what the lanes of one queue may delete."""

    def trim_journal(self) -> None:
        """Delete the journal's records below its recovery point."""

    def make_volatile(self, lane: Lane) -> Log:
        """Create a lane that is never synced."""

    def drop_volatile(self, lane: Lane) -> None:
        """Delete a volatile lane."""
