"""What one scrape reads: the models as they are now, and the facts that a worker has looked up."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from logstore.broker.topics import Space
from logstore.cluster_seen import ClusterSeen
from logstore.protocols.house import House
from logstore.protocols.http.metrics.exposition import Sample, Value, labels
from logstore.protocols.http.metrics.looked_up import LookedUp

if TYPE_CHECKING:
    from logstore.broker.queues.named import Named
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost
    from logstore.counts.publishes import AmqpCounts
    from logstore.counts.queues import QueueTotals
    from logstore.counts.syncs import Syncs
    from logstore.figures.figures import DoorTotals

STEP: Final = 200  # queues that are shown at once: 0.2 ms
SUM_STEP: Final = 250  # that are summed up before others have their turn: 1 ms

# Which text is asked for, in RabbitMQ's words.
AGGREGATED: Final = "aggregated"
PER_OBJECT: Final = "per-object"
DETAILED: Final = "detailed"


@dataclass(slots=True)
class Sums:
    """Sums over all present queues."""

    ready: int = 0
    out: int = 0
    consumers: int = 0
    uncounted: int = 0  # queues whose messages are not known yet


class Scene:
    """The sources of one scrape. For the sessions' thread."""

    def __init__(
        self,
        house: House,
        queues: "Queues | None",
        found: LookedUp,
        endpoint: str,
        most: int,
        vhosts: Collection[bytes] | None = None,
    ) -> None:
        """``queues``: None where nobody has had any.

        ``most``: topics and the like that are shown each by itself.

        ``vhosts``: whose queues and exchanges are meant; None: of all.
        """
        self.house = house
        self.queues = queues
        self.found = found
        self.endpoint = endpoint
        self.most = most
        self._vhosts = vhosts
        self._doors: Mapping[str, DoorTotals] | None = None
        self.sums = Sums()
        self._summed = False
        self._chunks: list[list[tuple[str, Named]]] | None = None

    @property
    def each(self) -> bool:
        """Whether queues and the like are shown each by itself, not as a sum."""
        return self.endpoint != AGGREGATED

    # What is counted

    @property
    def amqp(self) -> "AmqpCounts":
        return self.house.figures.amqp

    @property
    def stomp(self) -> "AmqpCounts | None":
        """None: that door is not open."""
        return None if self.door("stomp") is None else self.house.figures.stomp

    @property
    def totals(self) -> "QueueTotals":
        return self.house.figures.queues

    @property
    def syncs(self) -> "Syncs":
        return self.house.figures.syncs

    def door(self, name: str) -> "DoorTotals | None":
        """None: it is not open."""
        return self.doors().get(name)

    def doors(self) -> "Mapping[str, DoorTotals]":
        """Once for all of the text: to look at thousands of connections takes its time."""
        if self._doors is None:
            self._doors = self.house.figures.doors()
        return self._doors

    @cached_property
    def cluster(self) -> ClusterSeen | None:
        """That of the server, once for all of the text; None: it is a node of none."""
        return None if self.house.cluster is None else self.house.cluster()

    @cached_property
    def jobs(self) -> Mapping[str, Any]:
        """Of upkeep."""
        return self.house.jobs()

    @property
    def uptime_s(self) -> float:
        return (self.house.clock() - self.house.figures.started_ms) / 1000

    # What there is

    def vhosts(self) -> "list[Vhost]":
        """Those that are meant."""
        found = () if self.queues is None else self.queues.vhosts.values()
        return [it for it in found if self._meant(it.name)]

    def _meant(self, vhost: bytes) -> bool:
        return self._vhosts is None or vhost in self._vhosts

    def each_queue(self) -> "Iterator[list[tuple[str, Named]]]":
        """With their labels, so many at a time; without those that are gone."""
        if self._chunks is None:
            self._chunks = []
            for vhost in self.vhosts():
                queues = list(vhost.queues())
                for begin in range(0, len(queues), STEP):
                    chunk = [
                        (labels({"vhost": vhost.name, "queue": queue.facts.name}), queue)
                        for queue in queues[begin : begin + STEP]
                    ]
                    self._chunks.append(chunk)
                    yield [row for row in chunk if not row[1].gone]
        else:
            for chunk in self._chunks:
                yield [row for row in chunk if not row[1].gone]

    def sum_up(self) -> Iterator[None]:
        """Have ``sums``, unless that was done; goes on when others had their turn."""
        if self._summed:
            return
        self._summed, sums = True, self.sums
        queues = [queue for vhost in self.vhosts() for queue in vhost.queues()]
        for begin in range(0, len(queues), SUM_STEP):
            for queue in queues[begin : begin + SUM_STEP]:
                sums.consumers += len(queue.subscriptions)
                if queue.opened:
                    sums.ready += queue.ready
                    sums.out += queue.out
                else:
                    sums.uncounted += 1
            yield None


Samples = Callable[[Scene], Iterator[Sample]]


def one(value: Callable[[Scene], Value | None]) -> Samples:
    """A family that has one sample, without labels; none where its value is not known."""

    def samples(scene: Scene) -> Iterator[Sample]:
        found = value(scene)
        if found is not None:
            yield "", found

    return samples


def of_space(value: Callable[[Space], int]) -> Samples:
    """Of the disk, where it counts anything."""

    def samples(scene: Scene) -> Iterator[Sample]:
        space = scene.found.space
        if space is not None and space.total_bytes:
            yield "", value(space)

    return samples


def summed(value: Callable[[Sums], int], its: str = "") -> Samples:
    """Of all queues together."""

    def samples(scene: Scene) -> Iterator[Sample]:
        yield from scene.sum_up()
        yield its, value(scene.sums)

    return samples


def of_queues(
    value: "Callable[[Named], int]", total: Callable[[Sums], int], *, counted: bool = False
) -> Samples:
    """Of each queue, or of all together.

    ``counted``: known once its lanes are open, which they are soon after the start.
    """
    all_together = summed(total)

    def samples(scene: Scene) -> Iterator[Sample]:
        if not scene.each:
            yield from all_together(scene)
            return
        for rows in scene.each_queue():
            yield [(its, value(queue)) for its, queue in rows if not counted or queue.opened]

    return samples
