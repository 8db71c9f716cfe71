"""The surroundings of stations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.queues.opening import Work
from logstore.broker.queues.station import Station
from logstore.broker.queues.vhost import Neighbourhood, Vhost
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.kept.keeping import ReadOn

if TYPE_CHECKING:  # a store without queues does without these
    from logstore.broker.channel import Channels
    from logstore.broker.queues.roaming.roamers import Roamers
    from logstore.broker.topics import Topics
    from logstore.kept.groups import GroupKeeper


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The process around the queues. Without topics and channels, it has no such stations."""

    topics: "Topics | None" = None
    channels: "Channels | None" = None
    work: Work | None = None  # as Queues has it
    deduplication: Deduplication = field(default_factory=Deduplication)
    positions: "GroupKeeper | None" = None  # of topic routes
    # Has it called after each change of a topic, from any thread; what is returned ends that.
    tell: "Callable[[Callable[[object], object]], Callable[[], None]] | None" = None
    roamers: "Roamers | None" = None  # where nodes share the queues that last
    next_id: Callable[[], int] | None = None  # of what several nodes make; None: one process does
    read_on: ReadOn | None = None  # where several nodes make it
    neighbourhood: Neighbourhood | None = None  # the other nodes, for what does not last


class StationHome(NamedTuple):
    """What a station knows about its place."""

    vhost: Vhost
    facts: ExchangeFacts
    surroundings: Surroundings
    number: Callable[[], int]  # of its exchange: none other ever has it; its lanes go by it
    lanes: Sequence[int]  # the priorities of lanes that are there from before


StationMaker = Callable[[StationHome], Station]
