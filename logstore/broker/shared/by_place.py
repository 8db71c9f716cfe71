"""A map by group and partition, which also finds all values of a topic or of a group.

There may be very many values, so nothing here traverses all of them. Pure, and not locked.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from logstore.broker.queues.share_groups import Place

V = TypeVar("V")


class ByPlace(Generic[V]):
    """Values by place. A place may be a whole topic or a whole group, which counts as a place of
    its own.
    """

    __slots__ = ("_count", "_groups", "_topics")

    def __init__(self, items: Iterable[tuple[Place, V]] = ()) -> None:
        self._count = 0
        self._groups: dict[str, dict[bytes | None, dict[int | None, V]]] = {}
        self._topics: dict[bytes | None, set[str]] = {}  # the groups of each
        for place, value in items:
            self.put(place, value)

    def __len__(self) -> int:
        return self._count

    def get(self, place: Place) -> V | None:
        """Return the value of this place, or None."""
        topics = self._groups.get(place.group)
        if topics is None:
            return None
        those = topics.get(place.topic_id)
        return None if those is None else those.get(place.partition)

    def put(self, place: Place, value: V) -> None:
        """Set the value of this place."""
        group, topic_id, partition = place
        those = self._groups.setdefault(group, {}).setdefault(topic_id, {})
        if not those:
            self._topics.setdefault(topic_id, set()).add(group)
        self._count += partition not in those
        those[partition] = value

    def pop(self, place: Place) -> V | None:
        """Remove the value of this place and return it, or None."""
        group, topic_id, partition = place
        topics = self._groups.get(group, {})
        those = topics.get(topic_id, {})
        if partition not in those:
            return None
        value = those.pop(partition)
        self._count -= 1
        if not those:
            del topics[topic_id]
            if not topics:
                del self._groups[group]
            groups = self._topics[topic_id]
            groups.discard(group)
            if not groups:
                del self._topics[topic_id]
        return value

    def has(self, whole: Place) -> bool:
        """Whether any place within this one has a value."""
        return next(self.within(whole), None) is not None

    def within(self, whole: Place) -> Iterator[Place]:
        """Yield the places with values that are this place or parts of it; removal meanwhile is
        safe.
        """
        group, topic_id, partition = whole
        topics = self._groups.get(group, {})
        for it in list(topics) if topic_id is None else [topic_id]:
            of_topic = topics.get(it, {})
            if partition is None:
                yield from (Place(group, it, number) for number in list(of_topic))
            elif partition in of_topic:
                yield whole

    def topics(self, group: str) -> Sequence[bytes]:
        """Return the ids of the topics of which the group has partitions, ascending."""
        return sorted(it for it in self._groups.get(group, ()) if it is not None)

    def partitions(self, group: str, topic_id: bytes) -> Sequence[int]:
        """Return the partitions that the group has of a topic, ascending."""
        those = self._groups.get(group, {}).get(topic_id, ())
        return sorted(it for it in those if it is not None)

    def topic_ids(self) -> Sequence[bytes]:
        """Return the ids of the topics that any group has."""
        return [it for it in self._topics if it is not None]

    def groups_of(self, topic_id: bytes) -> Sequence[str]:
        """Return the groups that have a value of the topic."""
        return list(self._topics.get(topic_id, ()))
