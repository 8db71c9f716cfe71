"""The subscriptions of one session, and how they apply to a message.

If several filters match, the session gets one copy, with the highest QoS of them and all their
subscription identifiers (MQTT 5.0, 3.3.4).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from logstore.broker.mqtt.filters import SHARE, FilterTree, matches
from logstore.broker.mqtt.member import Grant

TOPICS_MAX: Final = 256  # of which is remembered what they come to
TOPIC_BYTES_MAX: Final = 1024  # longer ones are not
FEW: Final = 8  # filters: to go through them is no dearer than a tree


class Granted(NamedTuple):
    """All matching subscriptions of a session together."""

    qos: int
    retain_as_published: bool
    ids: tuple[int, ...]  # ascending, each once


UNASKED: Final = Granted(2, False, ())  # of what no filter matches


class Grants:
    """The subscriptions of one session, by filter. Shared subscriptions are included but never
    match: their messages come from other queues.
    """

    __slots__ = ("_all", "_found", "_last", "_tree")

    def __init__(self) -> None:
        self._all: dict[bytes, tuple[int, Grant]] = {}  # with the number of its row
        self._last = 0  # the highest of these numbers that there was
        self._tree: FilterTree[None, Grant] | None = None  # of many
        self._found: dict[bytes, Granted | None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, filter: object) -> bool:
        return filter in self._all

    def __iter__(self) -> Iterator[tuple[bytes, Grant]]:
        """Iterate over filters and grants, in the order of subscription."""
        return ((it, grant) for it, (_, grant) in self._all.items())

    def get(self, filter: bytes) -> Grant | None:
        known = self._all.get(filter)
        return None if known is None else known[1]

    def number_of(self, filter: bytes) -> int:
        """Return the number of the row of this filter, which must have a grant."""
        return self._all[filter][0]

    @property
    def next_number(self) -> int:
        """The lowest number above those of all rows of the session."""
        return 1 + self._last

    @property
    def queued(self) -> bool:
        """Whether a filter that is not shared has a grant with QoS 1 or 2."""
        return any(grant.qos and not it.startswith(SHARE) for it, (_, grant) in self._all.items())

    def put(self, filter: bytes, grant: Grant, number: int) -> None:
        """Set the grant of this filter, which replaces an earlier one."""
        self._last = max(self._last, number)
        self._all[filter] = number, grant
        self._found.clear()
        if self._tree is not None and not filter.startswith(SHARE):
            self._tree.add(filter, None, grant)

    def remove(self, filter: bytes) -> None:
        """Remove this filter, which must have a grant."""
        del self._all[filter]
        self._found.clear()
        if self._tree is not None and not filter.startswith(SHARE):
            self._tree.remove(filter, None)

    def of(self, topic: bytes) -> Granted | None:
        """Return the grant for messages of this topic; None: no filter matches."""
        try:
            return self._found[topic]
        except KeyError:
            pass
        found = self._matching(topic)
        granted = granted_by(found) if found else None
        if len(topic) <= TOPIC_BYTES_MAX:
            if len(self._found) >= TOPICS_MAX:
                self._found.clear()
            self._found[topic] = granted
        return granted

    def _matching(self, topic: bytes) -> list[Grant]:
        if len(self._all) <= FEW:
            return [
                grant for it, (_, grant) in self._all.items()
                if not it.startswith(SHARE) and matches(it, topic)
            ]  # fmt: skip
        if self._tree is None:
            self._tree = FilterTree()
            for it, (_, grant) in self._all.items():
                if not it.startswith(SHARE):
                    self._tree.add(it, None, grant)
        found = self._tree.matching(topic, len(self._all) * (topic.count(b"/") + 2))
        return [grant for entries in found or () for grant in entries.values()]


def granted_by(found: list[Grant]) -> Granted:
    """Combine the grants of all matching filters; there must be at least one."""
    return Granted(
        max(it.qos for it in found),
        any(it.retain_as_published for it in found),
        tuple(sorted({it.id for it in found if it.id})),
    )
