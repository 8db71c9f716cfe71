"""Which messages of a queue go to whom, so that those of one key stay in order. Pure.

All of a key that is out is with one *holder*: whoever has the first of them gets the others, and
anybody may have the key once none of it is out any more. What its holder has no room for waits, and
messages of other keys go on. What comes back waits at its own place, before what stands behind it.

Messages are *spots*: numbers that ascend in the order of the queue. Keys are numbers, too: two that
happen to be the same only wait for each other. So memory goes by messages that are out or wait, and
``MESSAGES_MAX`` of both are the most: beyond, no new ones are looked at.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, Generic, NamedTuple, TypeVar

# Of one queue: some 250 bytes for each of a key of its own, 40 for others: 32 MB at the worst.
MESSAGES_MAX: Final = 1 << 17
# Entries that are not valid any more, before they are looked for: beside as many as there are keys.
STALE_MAX: Final = 1024

Holder = TypeVar("Holder")
Entry = tuple[int, int]  # the first spot that waits of a key, and the key


class _Key(Generic[Holder]):
    """Of which something is out, or waits."""

    __slots__ = ("delayed", "holder", "out", "waiting")

    def __init__(self) -> None:
        self.holder: Holder | None = None  # who has those that are out
        self.out = 0
        self.delayed = 0  # have come back, and do not even wait yet: all others of it wait for them
        self.waiting: list[int] = []  # a heap


class _Held:
    """What one holder has."""

    __slots__ = ("keys", "waiting")

    def __init__(self) -> None:
        self.keys = 0
        self.waiting: list[Entry] = []  # a heap: of its keys, those of which something waits


class Hands(Generic[Holder]):
    """Who takes how many now, the next one first; holders have room each for what waits for them.

    What waits for nobody goes in turn to the ``front`` first of them.
    """

    __slots__ = ("_at", "_ring", "binds", "front", "holders", "places", "rooms")

    def __init__(
        self, holders: Sequence[Holder], rooms: Sequence[int], front: int, binds: Sequence[bool]
    ) -> None:
        """``binds``: whether each has to settle what it gets; else it holds no key."""
        self.holders, self.rooms, self.front, self.binds = holders, list(rooms), front, binds
        self.places = {it: place for place, it in enumerate(holders)}
        self._ring = [place for place in range(front) if self.rooms[place] > 0]
        self._at = 0

    @property
    def room(self) -> int:
        """How many that are nobody's are taken."""
        return sum(self.rooms[: self.front])

    @property
    def open(self) -> bool:
        """Whether somebody takes what is nobody's."""
        return self.anyone() >= 0

    def anyone(self) -> int:
        """The place of the next one that takes what is nobody's; -1: nobody does."""
        ring, rooms = self._ring, self.rooms
        while ring:
            if self._at >= len(ring):
                self._at = 0
            place = ring[self._at]
            if rooms[place] > 0:
                return place
            del ring[self._at]
        return -1

    def take(self, place: int) -> None:
        """One more is given to it."""
        self.rooms[place] -= 1
        if self._ring and self._at < len(self._ring) and self._ring[self._at] == place:
            self._at += 1


class Waiting(NamedTuple):
    """A message that waits, and whose it may be now: the place of its holder, or -1: anybody's."""

    spot: int
    place: int
    key: int


class Ordering(Generic[Holder]):
    """Of one queue."""

    def __init__(self, each: int = 0, most: int = MESSAGES_MAX) -> None:
        """``each``: how many of one key may be out at once; 0: any number."""
        self.waiting = 0
        self._each, self._most = each, most
        self._keys: dict[int, _Key[Holder]] = {}
        self._held: dict[Holder, _Held] = {}
        self._out: dict[int, int] = {}  # the key of each spot that is out, or delayed
        self._delayed: set[int] = set()  # spots
        self._free: list[Entry] = []  # a heap: of keys that nobody holds, those that wait
        # Have gone from between others that wait: forgotten when they would be the first.
        self._gone: set[int] = set()

    # What there is

    @property
    def keys(self) -> int:
        """Keys of which something is out, or waits."""
        return len(self._keys)

    @property
    def full(self) -> bool:
        """Whether no new messages are to be looked at."""
        return len(self._out) + self.waiting >= self._most

    # Giving out

    def offer(self, spots: Sequence[int], keys: Sequence[int], hands: Hands[Holder]) -> list[int]:
        """Who gets each of these new messages; -1: it waits.

        They stand behind all of their lane that wait.
        """
        found: list[int] = []
        known_keys, places, rooms, each = self._keys, hands.places, hands.rooms, self._each
        for spot, key in zip(spots, keys, strict=True):
            known = known_keys.get(key)
            if known is None:
                if (place := hands.anyone()) >= 0:
                    hands.take(place)
                    if hands.binds[place]:
                        known = known_keys[key] = _Key()
                        self._bind(spot, key, known, hands.holders[place])
                    found.append(place)
                    continue
                known = known_keys[key] = _Key()
            elif not (known.waiting or known.delayed or known.holder is None):
                place = places.get(known.holder, -1)
                if place >= 0 and rooms[place] > 0 and not (each and known.out >= each):
                    rooms[place] -= 1
                    if hands.binds[place]:
                        known.out += 1
                        self._out[spot] = key
                    found.append(place)
                    continue
            self._wait(spot, key, known)
            found.append(-1)
        return found

    def first(self, tops: "Tops", hands: Hands[Holder]) -> Waiting | None:
        """The first that waits and may be given out now. ``tops``: of this dealing."""
        while tops.heap:
            spot, place, key = tops.heap[0]
            room = hands.rooms[place] > 0 if place >= 0 else hands.open
            if room:
                heap = self._heap(place, hands)
                if heap and heap[0] == (spot, key) and self._valid(heap[0], place, hands):
                    return Waiting(spot, place, key)
            heappop(tops.heap)
            if room:
                self._top(tops, place, hands)
        return None

    def tops(self, hands: Hands[Holder]) -> "Tops":
        """Where to begin with what waits."""
        tops = Tops()
        if self._free and hands.open:
            self._top(tops, -1, hands)
        if self._held:
            for place, holder in enumerate(hands.holders):
                held = self._held.get(holder)
                if held is not None and held.waiting and hands.rooms[place] > 0:
                    self._top(tops, place, hands)
        return tops

    def _heap(self, place: int, hands: Hands[Holder]) -> list[Entry] | None:
        if place < 0:
            return self._free
        held = self._held.get(hands.holders[place])
        return None if held is None else held.waiting

    def _top(self, tops: "Tops", place: int, hands: Hands[Holder]) -> None:
        heap = self._heap(place, hands)
        while heap:
            spot, key = heap[0]
            if self._valid(heap[0], place, hands):
                heappush(tops.heap, (spot, place, key))
                return
            heappop(heap)

    def _valid(self, entry: Entry, place: int, hands: Hands[Holder]) -> bool:
        spot, key = entry
        known = self._keys.get(key)
        return (
            known is not None
            and known.holder is (None if place < 0 else hands.holders[place])
            and not known.delayed
            and bool(known.waiting)
            and known.waiting[0] == spot
            and not (self._each and known.out >= self._each)
        )

    def give(self, it: Waiting, tops: "Tops", hands: Hands[Holder]) -> int:
        """What ``first`` has found is given out; the place of who gets it."""
        place = hands.anyone() if it.place < 0 else it.place
        known = self._leave(it, hands)
        hands.take(place)
        if hands.binds[place]:
            self._bind(it.spot, it.key, known, hands.holders[place])
        self._next(it.key, known)
        self._top(tops, it.place, hands)
        if place != it.place and hands.binds[place] and hands.rooms[place] > 0:
            self._top(tops, place, hands)  # what follows of the key is its
        return place

    def lose(self, it: Waiting, tops: "Tops", hands: Hands[Holder]) -> None:
        """What ``first`` has found goes another way."""
        self._next(it.key, self._leave(it, hands))
        self._top(tops, it.place, hands)

    def _leave(self, it: Waiting, hands: Hands[Holder]) -> _Key[Holder]:
        heap, known = self._heap(it.place, hands), self._keys[it.key]
        assert heap, it
        assert heap[0] == (it.spot, it.key), it
        assert known.waiting[0] == it.spot, it
        heappop(heap)
        heappop(known.waiting)
        self.waiting -= 1
        return known

    def _bind(self, spot: int, key: int, known: _Key[Holder], holder: Holder) -> None:
        if known.holder is None:
            known.holder = holder
            held = self._held.get(holder)
            if held is None:
                held = self._held[holder] = _Held()
            held.keys += 1
        known.out += 1
        self._out[spot] = key

    def _wait(self, spot: int, key: int, known: _Key[Holder]) -> None:
        heappush(known.waiting, spot)
        self.waiting += 1
        if known.waiting[0] == spot:
            self._next(key, known)

    def _next(self, key: int, known: _Key[Holder]) -> None:
        """Enter the first that waits of this key where it is looked for; or forget the key."""
        waiting = known.waiting
        while waiting and waiting[0] in self._gone:
            self._gone.discard(heappop(waiting))
            self.waiting -= 1
        if not waiting:
            if not (known.out or known.delayed):
                del self._keys[key]
            return
        if known.delayed or (self._each and known.out >= self._each):
            return
        heap = self._free if known.holder is None else self._held[known.holder].waiting
        heappush(heap, (waiting[0], key))
        if len(heap) > 2 * len(self._keys) + STALE_MAX:
            self._swept(heap, known.holder)

    def _swept(self, heap: list[Entry], holder: Holder | None) -> None:
        """Without the entries that are not valid any more."""
        found = {
            (spot, key) for spot, key in heap
            if (known := self._keys.get(key)) is not None and known.holder is holder
            and known.waiting and known.waiting[0] == spot
        }  # fmt: skip
        heap[:] = found
        heapify(heap)

    # What was given out

    def settled(self, spot: int) -> None:
        """It is done with, or on its way elsewhere. Of one that is not out: nothing."""
        key = self._out.pop(spot, None)
        if key is not None:
            self._ended(spot, key, self._keys[key])

    def _ended(self, spot: int, key: int, known: _Key[Holder]) -> None:
        if self._delayed and spot in self._delayed:
            self._delayed.discard(spot)
            known.delayed -= 1
            self._next(key, known)
            return
        known.out -= 1
        if not known.out:
            self._unbind(known)
            self._next(key, known)
        elif self._each:
            self._next(key, known)

    def _unbind(self, known: _Key[Holder]) -> None:
        assert known.holder is not None
        held = self._held[known.holder]
        held.keys -= 1
        if not held.keys:
            del self._held[known.holder]
        known.holder = None

    def returned(self, spot: int) -> bool:
        """It waits again, at its own place. False: it was not given out here."""
        key = self._out.get(spot)
        if key is None:
            return False
        known = self._keys[key]
        heappush(known.waiting, spot)
        self.waiting += 1
        del self._out[spot]
        self._ended(spot, key, known)
        # Of a holder that has others of the key, and was entered with a later one.
        if known.out and not self._each and known.waiting[0] == spot:
            self._next(key, known)
        return True

    def delay(self, spot: int) -> None:
        """It has come back, and waits for its time: ``returned`` follows."""
        key = self._out.get(spot)
        if key is None or spot in self._delayed:
            return
        known = self._keys[key]
        self._delayed.add(spot)
        known.delayed += 1
        known.out -= 1
        if not known.out:
            self._unbind(known)

    # What was not

    def dropped(self, spot: int, key: int) -> None:
        """One that waits is gone, for it has expired, or there were too many."""
        known = self._keys.get(key)
        if known is None or not known.waiting:
            return
        if known.waiting[0] != spot:
            self._gone.add(spot)
            if 2 * len(self._gone) > self.waiting + STALE_MAX:
                self._forget_gone()
            return
        heappop(known.waiting)
        self.waiting -= 1
        self._next(key, known)

    def _forget_gone(self) -> None:
        gone, self._gone = self._gone, set()
        for known in self._keys.values():
            if known.waiting:
                known.waiting = [it for it in known.waiting if it not in gone]
                heapify(known.waiting)
        self._count()

    def purged(self) -> None:
        """Nothing waits any more."""
        for known in self._keys.values():
            known.waiting.clear()
        self._gone.clear()
        self._count()

    def _count(self) -> None:
        """Enter what is left anew."""
        self._free.clear()
        for held in self._held.values():
            held.waiting.clear()
        self.waiting = sum(len(known.waiting) for known in self._keys.values())
        for key, known in list(self._keys.items()):
            self._next(key, known)

    def held(self) -> Iterator[tuple[Holder, int]]:
        """Who has how many keys."""
        return ((holder, it.keys) for holder, it in self._held.items())


class Tops:
    """What waits and comes next of each who has room, while some of it is dealt."""

    __slots__ = ("heap",)

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int]] = []  # spot, place, key
