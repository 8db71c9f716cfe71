"""The topics that the members of one group want and may see.

A member learns nothing about a topic that it may not see (KAFKA-18813), whichever protocol it uses,
and even if it had the right before.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from logstore.broker.coordinator.calls import Sight


class TopicFacts(NamedTuple):
    """What a group must know about a topic."""

    id: str
    partitions: int


TopicLookup = Callable[[str], TopicFacts | None]  # by name; None: no such topic
Matching = Callable[[str], frozenset[str]]  # the names of the topics that match a pattern

# Of a group: what is seen of topics that a pattern stands for, or that are named, each by one user.
SEEN_MAX: Final = 100


class Wanting(Protocol):
    """The wishes of a member: these topics, and topics that match its pattern."""

    @property
    def id(self) -> str: ...
    @property
    def topics(self) -> frozenset[str]: ...
    @property
    def regex(self) -> str: ...
    @property
    def unseen(self) -> frozenset[str]:
        """The wanted topics that the member might not have known of at its last heartbeat."""


class TopicView:
    """The view of one group."""

    def __init__(self, topics: TopicLookup, matching: Matching) -> None:
        self._topics = topics
        self._matching = matching
        self._due_ms: int | None = None  # when topics are looked at again
        # The sight of members that have called this process; and the visible topics, by sight.
        self._sights: dict[str, Sight | None] = {}
        self._seen: dict[tuple[frozenset[str], Sight], frozenset[str]] = {}

    def look_through(self, member: Wanting, sight: Sight | None, known: Collection[str]) -> bool:
        """Set what the member may know of; return whether that changes its wanted topics."""
        if member.id in self._sights and self._sights[member.id] == sight:
            return False
        before = self.of(member, known)
        self._sights[member.id] = sight
        return self.of(member, known) != before

    def sight(self, member_id: str) -> Sight | None:
        """Return what the member may know of; None: every topic, or no heartbeat has come yet."""
        return self._sights.get(member_id)

    def forget(self, member_id: str) -> None:
        """Forget a former member."""
        self._sights.pop(member_id, None)

    def of(self, member: Wanting, known: Collection[str]) -> frozenset[str]:
        """Return the topics that the member wants and may know of, by name or by its pattern.

        ``known``: the topics that the group last knew.
        """
        if member.id not in self._sights:  # the process has restarted: as before
            matching = self._matching(member.regex) if member.regex else frozenset()
            return (member.topics - member.unseen) | matching.intersection(known)
        sight = self._sights[member.id]
        named = self._seen_of(member.topics, sight)
        if not member.regex:
            return named
        return named | self._seen_of(self._matching(member.regex), sight)

    def unseen(self, member: Wanting, known: Collection[str]) -> frozenset[str]:
        """Return the topics that the member names and may not know of."""
        return member.topics - self.of(member, known)

    def _seen_of(self, topics: frozenset[str], sight: Sight | None) -> frozenset[str]:
        if sight is None or not topics:
            return topics
        known = self._seen.get((topics, sight))
        if known is None:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            known = self._seen[topics, sight] = frozenset(filter(sight.sees, topics))
        return known

    def changed(self) -> None:
        """Look at the topics with the next heartbeat."""
        self._due_ms = None

    def news(
        self,
        members: Iterable[Wanting],
        facts: Mapping[str, TopicFacts],
        now_ms: int,
        rest_ms: int,
        *,
        at_once: bool,
    ) -> dict[str, TopicFacts] | None:
        """Return the present facts of the members' topics; None: they have not changed.

        They are looked at every ``rest_ms`` at most, unless ``at_once``.
        """
        if not at_once and self._due_ms is not None and now_ms < self._due_ms:
            return None
        self._due_ms = now_ms + rest_ms
        seen = set().union(*{self.of(member, facts.keys()) for member in members})
        found = {name: it for name in seen if (it := self._topics(name)) is not None}
        return None if found == facts else found
