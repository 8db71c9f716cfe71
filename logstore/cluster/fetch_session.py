"""A fetch session with one node: what it knows of the partitions, and what to send next. Pure.

Only partitions that were noted as changed are compared: with thousands of partitions, a reply
concerns few of them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from logstore.cluster.backoff import Backoff
from logstore.kafka.fetch_codec import NO_SESSION
from logstore.kafka.wire import NIL_UUID

EPOCH_MAX: Final = 2**31 - 1
NOWHERE: Final = -1  # a position that nobody asks for

Place = tuple[str, int]  # topic, partition
_Whose = TypeVar("_Whose")


class Told(NamedTuple, Generic[_Whose]):
    """What a node knows of a partition, and for which follower."""

    position: int
    id: bytes
    follower: _Whose


class News(NamedTuple, Generic[_Whose]):
    """The content of a request."""

    changed: Mapping[Place, Told[_Whose]]
    gone: Sequence[Place]
    ids: Mapping[str, bytes]  # of all topics that the node knows, also those that are gone
    names: Mapping[str | bytes, str]  # of these, by names and by ids


class FetchSession(Generic[_Whose]):
    """The session with one node."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.asking = False
        self.waking = False  # looked at again when it may be asked
        self.not_before = 0.0
        self.wanted: dict[Place, None] = {}  # what is to be fetched from it
        self.forget()

    def forget(self) -> None:
        """Begin a new session with the next fetch."""
        self.id, self.epoch = NO_SESSION, 0
        self.told: dict[Place, Told[_Whose]] = {}
        self._by_id: bool | None = None  # topics are told by their ids, where the node can do that
        self._noted = dict.fromkeys(self.wanted)
        # Of the topics that are told.
        self._counts: Counter[str] = Counter()
        self._nameless: set[str] = set()  # those without an id
        self._ids: dict[str, bytes] = {}
        self._names: dict[str | bytes, str] = {}
        self._left: list[str] = []  # told of last that they are gone

    def answered(self, id_: int) -> None:
        """The node has accepted the last request."""
        self.id = id_
        self.epoch = 1 if self.epoch >= EPOCH_MAX else self.epoch + 1
        if id_ == NO_SESSION:  # the node has as many as it bears
            self.forget()

    # What is to be told

    def want(self, place: Place) -> None:
        """Fetch this partition from the node, and compare it before the next request."""
        self.wanted[place] = self._noted[place] = None

    def drop(self, place: Place) -> None:
        """Fetch this partition from the node no more."""
        del self.wanted[place]
        self._noted[place] = None

    def tell_anew(self, place: Place) -> None:
        """The node has forgotten the partition's position."""
        known = self.told.get(place)
        if known is not None:
            self.told[place] = known._replace(position=NOWHERE)
            self._noted[place] = None

    def next(self, tell: Callable[[Place], Told[_Whose]]) -> News[_Whose]:
        """The content of the next request, which counts as told. ``tell``: describes wanted
        partitions.
        """
        self._drop_left()
        changed, gone, anew = self._compare(tell)
        # One session names topics in one way; and one that is made anew is not the same.
        if anew or self._by_id not in (None, not self._nameless):
            self.forget()
            changed, gone, _ = self._compare(tell)
        self._by_id = not self._nameless
        return News(changed, gone, self._ids, self._names)

    def _compare(
        self, tell: Callable[[Place], Told[_Whose]]
    ) -> tuple[dict[Place, Told[_Whose]], list[Place], bool]:
        changed: dict[Place, Told[_Whose]] = {}
        gone: list[Place] = []
        anew = False
        noted, self._noted = self._noted, {}
        for place in noted:
            before = self.told.get(place)
            if place in self.wanted:
                now = tell(place)
                if now != before:
                    changed[place] = self.told[place] = now
                    anew |= self._ids.get(place[0], now.id) != now.id
                    self._knows(place[0], now.id, new=before is None)
            elif before is not None:
                del self.told[place]
                gone.append(place)
                self._forgets(place[0])
        return changed, gone, anew

    def _knows(self, topic: str, id_: bytes, *, new: bool) -> None:
        self._counts[topic] += new
        self._ids[topic] = id_
        self._names[topic] = self._names[id_] = topic
        if id_ == NIL_UUID:
            self._nameless.add(topic)

    def _forgets(self, topic: str) -> None:
        self._counts[topic] -= 1
        if not self._counts[topic]:
            del self._counts[topic]
            self._nameless.discard(topic)
            self._left.append(topic)

    def _drop_left(self) -> None:
        """Called once the request that drops them is complete."""
        for topic in self._left:
            if topic not in self._counts and topic in self._ids:
                del self._names[topic]
                self._names.pop(self._ids.pop(topic), None)
        self._left = []
