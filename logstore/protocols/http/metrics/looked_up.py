"""The facts of a scrape that take long to look up: read by a worker, stored as plain facts.

The size is bounded: of very many partitions, only the sums and the number are stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from logstore import usage
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.topics import Space, Topics
from logstore.errors import Failed, LogstoreError

SERIES_MAX: Final = 100_000  # of a kind, in any scrape: each takes some 150 bytes of memory

Offsets = Sequence[tuple[int, int] | None]  # start and safe, by partition


class Process(NamedTuple):
    """The process that is scraped, as the system describes it."""

    usage: usage.Usage
    virtual_bytes: int
    memory_bytes_max: int
    files_open: int
    files_open_max: int
    started_s: float


class FoundTopic(NamedTuple):
    name: str
    partitions: int
    offsets: Offsets  # empty where there are too many in all


class Place(NamedTuple):
    """A partition for which a group has committed an offset."""

    topic: str
    partition: int
    committed: int
    lag: int | None  # None: it is not known where the partition ends


class Summed(NamedTuple):
    """What a group has committed for one topic, summed over its partitions."""

    committed: int
    lag: int


class FoundGroup(NamedTuple):
    name: str
    kind: str
    state: str
    members: int
    sums: Mapping[str, Summed]  # by topic
    places: Sequence[Place]  # empty where there are too many in all


@dataclass(slots=True)
class LookedUp:
    """All of these facts for one scrape."""

    process: Process
    space: Space | None  # None: the file system does not say
    topics: list[FoundTopic] = field(default_factory=list)
    groups: list[FoundGroup] = field(default_factory=list)
    partitions: int = 0
    places: int = 0
    records: int = 0  # from start to safe, over all partitions
    damaged_groups: int = 0


def look_up(topics: Topics, coordinator: Coordinator, now_ms: int, most: int) -> LookedUp:
    """``most``: partitions, or places of groups, that are kept one by one. In any thread."""
    process = Process(
        usage.measure(), usage.virtual_bytes(), usage.memory_bytes_max(),
        usage.files_open(), usage.files_open_max(), usage.started_s(),
    )  # fmt: skip
    found = LookedUp(process, _space(topics))
    ends = _look_at_topics(found, topics, most)
    _look_at_groups(found, coordinator, now_ms, ends, most)
    return found


def _space(topics: Topics) -> Space | None:
    try:
        return topics.space()
    except Failed:
        return None


def _look_at_topics(found: LookedUp, topics: Topics, most: int) -> Callable[[str], Offsets]:
    """Gives where the partitions of a topic are; nothing of one that there is not."""

    def offsets(name: str) -> Offsets:
        try:
            return topics.offsets(name)
        except LogstoreError:  # deleted meanwhile, or damaged: whoever uses it is told
            return ()

    for name in topics.names():
        its = offsets(name)
        if not its:
            continue
        found.partitions += len(its)
        found.records += sum(it[1] - it[0] for it in its if it is not None)
        kept = its if found.partitions <= most else ()
        found.topics.append(FoundTopic(name, len(its), kept))
    if found.partitions > most:  # all or none
        found.topics = [it._replace(offsets=()) for it in found.topics]
    return offsets


def _look_at_groups(
    found: LookedUp,
    coordinator: Coordinator,
    now_ms: int,
    ends: Callable[[str], Offsets],
    most: int,
) -> None:
    kept = coordinator.kinds()
    for name in coordinator.group_names(kept):
        listing = coordinator.listing(name, kept.get(name))
        if listing is None:  # gone meanwhile
            continue
        try:
            committed = coordinator.fetch(name, now_ms)
        except (Refusal, LogstoreError):
            found.damaged_groups += 1
            continue
        known: dict[str, Offsets] = {}
        places = []
        for (topic, partition), offset in sorted(committed.items()):
            if topic not in known:
                known[topic] = ends(topic)
            lag = _lag(known[topic], partition, offset.offset)
            places.append(Place(topic, partition, offset.offset, lag))
        found.places += len(places)
        members, sums = coordinator.members(name), _sums(places)
        found.groups.append(
            FoundGroup(name, listing.kind, listing.state, members, sums,
                       places if found.places <= most else ())
        )  # fmt: skip
    if found.places > most:  # all or none
        found.groups = [it._replace(places=()) for it in found.groups]


def _lag(ends: Offsets, partition: int, committed: int) -> int | None:
    stands = ends[partition] if partition < len(ends) else None
    return None if stands is None else max(stands[1] - committed, 0)


def _sums(places: Sequence[Place]) -> Mapping[str, Summed]:
    sums: dict[str, Summed] = {}
    for it in places:
        before = sums.get(it.topic, Summed(0, 0))
        sums[it.topic] = Summed(before.committed + it.committed, before.lag + (it.lag or 0))
    return sums
