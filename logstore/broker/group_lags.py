"""How far groups are behind, all of them: looked up by a worker when somebody asks.

Who asks again soon is told the same. Logs are not opened for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from logstore.broker.coordinator.calls import GroupDescription, MemberDescription
from logstore.broker.coordinator.coordinator import UNREADABLE, Coordinator
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.topic import uuid_of
from logstore.broker.topics import Topics
from logstore.errors import LogstoreError, UnknownTopic
from logstore.log import TopicPartition

FRESH_S: Final = 2.0  # who asks may be told what was looked up so long ago,
STABLE: Final = "Stable"  # of the classic protocol: before that nothing is agreed on
SHARE: Final = 50  # or so many times as long as the look has taken

Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]  # as House.work
Stands = tuple[int, int] | None  # start and safe of a partition


class Behind(NamedTuple):
    """A group, in the topics that it has committed offsets of, or that its members read."""

    name: str
    kind: str
    state: str  # in Kafka's words
    members: int
    topics: Mapping[str, int | None]  # records that it has not read; None: that is not known
    lag: int | None  # of all together; None: of some it is not known
    error: str = ""  # why nothing can be known of it


class Looked(NamedTuple):
    """What one look has found."""

    groups: Mapping[str, Behind]
    readers: Mapping[str, Sequence[str]]  # the groups that have to do with a topic


class GroupLags:
    """Of one node. For the sessions' thread, but for ``look``."""

    def __init__(
        self, topics: Topics, coordinator: Coordinator, work: Work, now: Callable[[], float]
    ) -> None:
        """``now``: seconds of a clock that only goes forward."""
        self.last = Looked({}, {})
        self._topics = topics
        self._coordinator = coordinator
        self._work = work
        self._now = now
        self._fresh_until: float | None = None
        self._looking = False
        self._waiting: list[Callable[[LogstoreError | None], object]] = []

    def ask(self, then: Callable[[LogstoreError | None], object]) -> None:
        """``then`` is called, now or later, when ``last`` is as of now, or with why it is not."""
        now = self._now()
        if self._fresh_until is not None and now <= self._fresh_until:
            then(None)
            return
        self._waiting.append(then)
        if not self._looking:
            self._looking = True
            self._work(partial(_attempt, self.look), partial(self._looked, now))

    def forget(self) -> None:
        """Something is other than it was looked at: whoever asks next is told of that."""
        self._fresh_until = None

    def look(self) -> Looked:
        """All groups, in any thread; may take long. Raises Failed, CorruptStore."""
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

    def _one(self, name: str, kind: str, ends: dict[str, Sequence[Stands]]) -> Behind | None:
        try:
            group = self._coordinator.describe(name)
            committed = self._coordinator.fetch(name, 0)
        except Refusal as error:
            return Behind(name, kind, UNREADABLE, 0, {}, None, error.message)
        if group is None:  # gone meanwhile
            return None
        offsets = {place: it.offset for place, it in committed.items()}
        read = {topic for topic, _ in offsets}
        for member in group.members:
            read |= {topic for topic, _ in self.places(group, member)}
        for topic in read - ends.keys():
            ends[topic] = self._ends(topic)
        lags = {topic: lag_of(topic, offsets, ends[topic]) for topic in sorted(read) if ends[topic]}
        members = len(group.members)
        return Behind(name, group.kind, group.state, members, lags, total(lags.values()))

    def places(self, group: GroupDescription, it: MemberDescription) -> frozenset[TopicPartition]:
        """What a member reads, as far as that can be known. From any thread."""
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

    def _looked(self, began: float, found: Looked | LogstoreError) -> None:
        self._looking = False
        if not isinstance(found, LogstoreError):
            now = self._now()
            self._fresh_until = now + max(FRESH_S, SHARE * (now - began))
            self.last = found
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(found if isinstance(found, LogstoreError) else None)

    def readers(self, topic: str) -> Sequence[str]:
        """The groups that have committed an offset in it, as of the last look. From any thread."""
        return self.last.readers.get(topic, ())


def lag_of(
    topic: str, committed: Mapping[TopicPartition, int], ends: Sequence[Stands]
) -> int | None:
    """Records in all partitions of a topic that a group has not read; None: it is not known.

    One in which it has committed nothing counts as a whole, as in ``group.lags``.
    """
    return total(
        None if stands is None
        else max(stands[1] - max(committed.get((topic, number), 0), stands[0]), 0)
        for number, stands in enumerate(ends)
    )  # fmt: skip


def total(lags: Iterable[int | None]) -> int | None:
    """Of all; None where one is not known."""
    found = 0
    for lag in lags:
        if lag is None:
            return None
        found += lag
    return found


def _attempt(look: Callable[[], Looked]) -> Looked | LogstoreError:
    try:
        return look()
    except LogstoreError as error:
        return error
