"""The lag of all groups, looked up on request, without opening logs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.broker.coordinator.calls import GroupDescription, MemberDescription
from logstore.broker.coordinator.coordinator import UNREADABLE, Coordinator
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.fresh import Fresh, Work
from logstore.broker.topic import uuid_of
from logstore.broker.topics import Topics
from logstore.errors import UnknownTopic
from logstore.kept.groups import SHARED
from logstore.log import TopicPartition

STABLE: Final = "Stable"  # of the classic protocol: before that nothing is agreed on

Stands = tuple[int, int] | None  # start and safe of a partition


class Behind(NamedTuple):
    """A group, in the topics of its committed offsets and of its members."""

    name: str
    kind: str
    state: str  # in Kafka's words
    members: int
    topics: Mapping[str, int | None]  # records that it has not read; None: that is not known
    lag: int | None  # of all together; None: of some it is not known
    error: str = ""  # why nothing can be known of it


class Looked(NamedTuple):
    """The result of one look-up."""

    groups: Mapping[str, Behind]
    readers: Mapping[str, Sequence[str]]  # the groups that have to do with a topic


class GroupLags:
    """The lags of one node's groups. For the sessions' thread, except ``look``."""

    def __init__(
        self, topics: Topics, coordinator: Coordinator, work: Work, now: Callable[[], float]
    ) -> None:
        """``now``: returns seconds of a clock that only goes forward."""
        self._topics = topics
        self._coordinator = coordinator
        self._fresh = Fresh(self.look, Looked({}, {}), work, now)
        self.ask, self.forget = self._fresh.ask, self._fresh.forget

    @property
    def last(self) -> Looked:
        """The result of the last look, once ``ask`` has said that there is one. From any thread."""
        return self._fresh.last

    def look(self) -> Looked:
        """Look at all groups; may take long. From any thread. Raises Failed, CorruptStore."""
        ends: dict[str, Sequence[Stands]] = {}
        kept = self._coordinator.kinds()
        groups = {
            name: found
            for name in self._coordinator.group_names(kept)
            if (found := self._one(name, kept.get(name, ""), ends)) is not None
        }
        readers: dict[str, list[str]] = {}
        for name, it in groups.items():
            for topic in it.topics:
                readers.setdefault(topic, []).append(name)
        return Looked(groups, readers)

    def one(self, name: str) -> Behind | None:
        """Return the group's present lag; None: there is no such group. From any thread."""
        return self._one(name, "", {})

    def _one(self, name: str, kind: str, ends: dict[str, Sequence[Stands]]) -> Behind | None:
        try:
            group = self._coordinator.describe(name)
            if group is None:  # gone meanwhile
                return None
            committed = self._coordinator.fetch(name, 0)
        except Refusal as error:
            return Behind(name, kind, UNREADABLE, 0, {}, None, error.message)
        offsets = {place: it.offset for place, it in committed.items()}
        read = {topic for topic, _ in offsets}
        for member in group.members:
            read |= {topic for topic, _ in self.places(group, member)}
        if group.kind == SHARED:  # which commits nothing
            return Behind(
                name, group.kind, group.state, len(group.members), dict.fromkeys(sorted(read)), None
            )
        for topic in read - ends.keys():
            ends[topic] = self._ends(topic)
        lags = {topic: lag_of(topic, offsets, ends[topic]) for topic in sorted(read) if ends[topic]}
        members = len(group.members)
        return Behind(name, group.kind, group.state, members, lags, total(lags.values()))

    def places(self, group: GroupDescription, it: MemberDescription) -> frozenset[TopicPartition]:
        """Return the partitions that a member reads, as far as they are known. From any thread."""
        if group.kind == "classic":
            given = self._coordinator.given(it) if group.state == STABLE else None
            return given or frozenset()
        found = set()
        for topic_id, number in it.assigned:
            topic = self._topics.by_uuid(uuid_of(topic_id))
            if topic is not None:
                found.add((topic.name, number))
        return frozenset(found)

    def _ends(self, topic: str) -> Sequence[Stands]:
        try:
            return self._topics.offsets(topic)
        except UnknownTopic:  # deleted since; its offsets go with it
            return ()

    def readers(self, topic: str) -> Sequence[str]:
        """Return the groups with a committed offset in the topic, as of the last look. From any
        thread.
        """
        return self.last.readers.get(topic, ())


def lag_of(
    topic: str, committed: Mapping[TopicPartition, int], ends: Sequence[Stands]
) -> int | None:
    """Return how many records of a topic a group has not read; None: unknown.

    A partition without a committed offset counts as a whole, as in ``group.lags``.
    """
    return total(
        None if stands is None
        else max(stands[1] - max(committed.get((topic, number), 0), stands[0]), 0)
        for number, stands in enumerate(ends)
    )  # fmt: skip


def total(lags: Iterable[int | None]) -> int | None:
    """Return the sum of the lags; None if one is unknown."""
    found = 0
    for lag in lags:
        if lag is None:
            return None
        found += lag
    return found
