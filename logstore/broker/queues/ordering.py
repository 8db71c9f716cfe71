"""Assigns messages of a queue to consumers so that those of one key stay in order. Pure.

All delivered messages of a key are with one *holder*: the consumer that has the first of them gets
the others, and the key is free again when none of them is delivered. Messages for which the holder
has no room wait, while messages of other keys continue. A returned message waits at its own place,
before later ones.

Messages are *spots*: numbers that ascend in the order of the queue. Keys are numbers, too; if two
keys have the same number, their messages wait for each other. So memory depends on delivered and
waiting messages, of which there are at most ``MESSAGES_MAX``; beyond that, no new messages are
read.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, Generic, NamedTuple, TypeVar

# Of one queue: 170 bytes for each unacknowledged message, 400 for a waiting one with a key of its
# own, 40 for other waiting ones: 50 MB at worst.
MESSAGES_MAX: Final = 1 << 17
# Entries that are not valid any more, before they are looked for: beside as many as there are keys.
STALE_MAX: Final = 1024

Holder = TypeVar("Holder")
Entry = tuple[int, int]  # the first spot that waits of a key, and the key


class _Held(Generic[Holder]):
    """The messages of one holder."""

    __slots__ = ("holder", "keys", "waiting")

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.keys = 0
        self.waiting: list[Entry] = []  # a heap: of its keys, those of which something waits


class _Key(Generic[Holder]):
    """A key with waiting messages, or with more than one delivered message."""

    __slots__ = ("delayed", "held", "out", "waiting")

    def __init__(self, held: _Held[Holder] | None = None, out: int = 0) -> None:
        self.held = held  # of the holder of the unacknowledged messages
        self.out = out
        self.delayed = 0  # returned and delayed: the key's others wait for them
        self.waiting: list[int] = []  # a heap


class Hands(Generic[Holder]):
    """The room of consumers now, in their order; holders have room for the messages that wait for
    them.

    Messages of free keys go in turn to the first ``front`` of them.
    """

    __slots__ = ("_at", "_ring", "binds", "front", "held", "holders", "places", "rooms")

    def __init__(
        self, holders: Sequence[Holder], rooms: Sequence[int], front: int, binds: Sequence[bool]
    ) -> None:
        """``binds``: whether each consumer must settle its messages; without that it
        holds no key.
        """
        self.holders, self.rooms, self.front, self.binds = holders, list(rooms), front, binds
        self.places = {it: place for place, it in enumerate(holders)}
        self.held: list[_Held[Holder]] = []  # of each; what has no key yet is not known elsewhere
        self._ring = [place for place in range(front) if self.rooms[place] > 0]
        self._at = 0

    @property
    def room(self) -> int:
        """How many unbound messages can be dealt."""
        return sum(self.rooms[: self.front])

    @property
    def open(self) -> bool:
        """Whether a consumer takes unbound messages."""
        return self._next() >= 0

    def deal(self) -> int:
        """Return the place of the next consumer for an unbound message, and count it; -1: none."""
        ring, rooms, at = self._ring, self.rooms, self._at
        if at < len(ring):  # as a rule: one call for each message
            place = ring[at]
            if (room := rooms[place]) > 0:
                rooms[place] = room - 1
                self._at = at + 1
                return place
        place = self._next()
        if place >= 0:
            rooms[place] -= 1
            self._at += 1
        return place

    def _next(self) -> int:
        ring, rooms = self._ring, self.rooms
        while ring:
            if self._at >= len(ring):
                self._at = 0
            place = ring[self._at]
            if rooms[place] > 0:
                return place
            del ring[self._at]
        return -1


class Waiting(NamedTuple):
    """A waiting message, and the place of its key's holder, or -1 for a free key."""

    spot: int
    place: int
    key: int


class Tops:
    """The next waiting message for each consumer with room, during one round of delivery."""

    __slots__ = ("heap", "of")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int]] = []  # spot, place, key
        self.of: dict[int, int] = {}  # the spot of each place; others in the heap are forgotten


class Ordering(Generic[Holder]):
    """The order of one queue."""

    def __init__(self, each: int = 0, most: int = MESSAGES_MAX) -> None:
        """``each``: how many messages of a key may be unacknowledged at once; 0: any number."""
        self.waiting = 0
        self._each, self._most = each, most
        # A holder in place of a key: it has the only message of this key.
        self._keys: dict[int, _Key[Holder] | _Held[Holder]] = {}
        self._held: dict[Holder, _Held[Holder]] = {}
        self._out: dict[int, int] = {}  # the key of each spot that is out, or delayed
        self._delayed: set[int] = set()  # spots
        self._free: list[Entry] = []  # a heap: of keys that nobody holds, those that wait
        # Have gone from between others that wait: forgotten when they would be the first.
        self._gone: set[int] = set()

    # What there is

    @property
    def keys(self) -> int:
        """The number of keys with unacknowledged or waiting messages."""
        return len(self._keys)

    @property
    def full(self) -> bool:
        """Whether no new messages are to be looked at."""
        return len(self._out) + self.waiting >= self._most

    def held(self) -> Iterator[tuple[Holder, int]]:
        """Yield the consumers and how many keys each holds."""
        return ((holder, it.keys) for holder, it in self._held.items())

    # Giving out

    def tops(self, hands: Hands[Holder]) -> Tops:
        """Return where to begin with waiting messages. Must be called first."""
        tops, known = Tops(), self._held
        if not hands.held:
            hands.held = [known.get(it) or _Held(it) for it in hands.holders]
        if self._free and hands.open:
            self._top(tops, -1, hands)
        if known:
            for place, held in enumerate(hands.held):
                if held.waiting and hands.rooms[place] > 0:
                    self._top(tops, place, hands)
        return tops

    def offer(self, spots: Sequence[int], keys: Sequence[int], hands: Hands[Holder]) -> list[int]:
        """Return who gets each of these new messages; -1: it waits.

        They are behind all waiting messages of their lane.
        """
        found: list[int] = []
        known_keys, out, deal, binds = self._keys, self._out, hands.deal, hands.binds
        for spot, key in zip(spots, keys, strict=True):
            known = known_keys.get(key)
            if known is None:
                place = deal()
                if place < 0:
                    self._wait(spot, key, _Key())
                elif binds[place]:
                    held = known_keys[key] = hands.held[place]
                    out[spot] = key
                    if not held.keys:
                        self._held[held.holder] = held
                    held.keys += 1
            else:
                place = self._behind(spot, key, known, hands)
            found.append(place)
        return found

    def _behind(
        self, spot: int, key: int, known: _Key[Holder] | _Held[Holder], hands: Hands[Holder]
    ) -> int:
        """Return who gets a new message of a key with earlier ones; -1: it waits."""
        if isinstance(known, _Held):
            known = _Key(known, 1)
        held = known.held
        if not (held is None or known.waiting or known.delayed):
            place = hands.places.get(held.holder, -1)
            if place >= 0 and hands.rooms[place] > 0 and not 0 < self._each <= known.out:
                hands.rooms[place] -= 1
                if hands.binds[place]:
                    known.out += 1
                    self._keys[key] = known
                    self._out[spot] = key
                return place
        self._wait(spot, key, known)
        return -1

    def first(self, tops: Tops, hands: Hands[Holder]) -> Waiting | None:
        """Return the first waiting message that can be dealt now. ``tops``: from this dealing."""
        while tops.heap:
            spot, place, key = tops.heap[0]
            if tops.of.get(place) == spot and (
                hands.rooms[place] > 0 if place >= 0 else hands.open
            ):  # fmt: skip
                if self._valid(spot, key, place, hands):
                    return Waiting(spot, place, key)
                heappop(tops.heap)
                self._top(tops, place, hands)
            else:
                heappop(tops.heap)
        return None

    def _heap(self, place: int, hands: Hands[Holder]) -> list[Entry]:
        return self._free if place < 0 else hands.held[place].waiting

    def _top(self, tops: Tops, place: int, hands: Hands[Holder]) -> None:
        """Find the first valid entry there."""
        heap = self._heap(place, hands)
        while heap:
            spot, key = heap[0]
            if self._valid(spot, key, place, hands):
                if tops.of.get(place) != spot:
                    tops.of[place] = spot
                    heappush(tops.heap, (spot, place, key))
                return
            heappop(heap)
        tops.of.pop(place, None)

    def _valid(self, spot: int, key: int, place: int, hands: Hands[Holder]) -> bool:
        known = self._keys.get(key)
        return (
            isinstance(known, _Key)
            and known.held is (None if place < 0 else hands.held[place])
            and not known.delayed
            and bool(known.waiting)
            and known.waiting[0] == spot
            and not 0 < self._each <= known.out
        )

    def give(self, it: Waiting, tops: Tops, hands: Hands[Holder]) -> int:
        """Deal the message that ``first`` returned; return the place of its consumer."""
        place = it.place
        if place < 0:
            place = hands.deal()
        else:
            hands.rooms[place] -= 1
        known = self._leave(it, tops, hands)
        if hands.binds[place]:
            if known.held is None:
                held = known.held = hands.held[place]
                if not held.keys:
                    self._held[held.holder] = held
                held.keys += 1
            known.out += 1
            self._out[it.spot] = it.key
        self._next(it.key, known)
        self._top(tops, it.place, hands)
        if place != it.place and hands.binds[place]:
            self._top(tops, place, hands)  # what follows of the key is its
        return place

    def lose(self, it: Waiting, tops: Tops, hands: Hands[Holder]) -> None:
        """Remove the message that ``first`` returned: it goes another way."""
        self._next(it.key, self._leave(it, tops, hands))
        self._top(tops, it.place, hands)

    def _leave(self, it: Waiting, tops: Tops, hands: Hands[Holder]) -> _Key[Holder]:
        heap, known = self._heap(it.place, hands), self._keys[it.key]
        assert isinstance(known, _Key), it
        assert heap[0] == (it.spot, it.key), it
        assert known.waiting[0] == it.spot, it
        heappop(heap)
        heappop(tops.heap)
        del tops.of[it.place]
        heappop(known.waiting)
        self.waiting -= 1
        return known

    def _wait(self, spot: int, key: int, known: _Key[Holder]) -> None:
        self._keys[key] = known
        heappush(known.waiting, spot)
        self.waiting += 1
        if known.waiting[0] == spot:
            self._next(key, known)

    def _next(self, key: int, known: _Key[Holder]) -> None:
        """Enter the key's first waiting message in its heap, or forget the key."""
        waiting = known.waiting
        while waiting and waiting[0] in self._gone:
            self._gone.discard(heappop(waiting))
            self.waiting -= 1
        if not waiting:
            if not (known.out or known.delayed):
                del self._keys[key]
            return
        if known.delayed or 0 < self._each <= known.out:
            return
        heap = self._free if known.held is None else known.held.waiting
        heappush(heap, (waiting[0], key))
        if len(heap) > 2 * len(self._keys) + STALE_MAX:
            self._sweep(heap, known.held)

    def _sweep(self, heap: list[Entry], held: _Held[Holder] | None) -> None:
        """Remove the entries that are no longer valid."""
        heap[:] = {
            (spot, key) for spot, key in heap
            if isinstance(known := self._keys.get(key), _Key) and known.held is held
            and known.waiting and known.waiting[0] == spot
        }  # fmt: skip
        heapify(heap)

    # Unacknowledged messages

    def settled(self, first: int, bits: int = 1) -> None:
        """Note that the spots ``first + n``, for each bit n of ``bits``, are settled or moved.

        Spots that are not unacknowledged are ignored.
        """
        out, keys = self._out, self._keys
        spot = first - 1
        while bits:
            step = (bits & -bits).bit_length()
            spot += step
            bits >>= step
            key = out.pop(spot, None)
            if key is None:
                continue
            known = keys[key]
            if isinstance(known, _Key):
                self._ended(spot, key, known)
                continue
            del keys[key]
            self._one_less(known)

    def _one_less(self, held: _Held[Holder]) -> None:
        held.keys -= 1
        if not held.keys:
            del self._held[held.holder]

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
        assert known.held is not None
        self._one_less(known.held)
        known.held = None

    def _known(self, key: int) -> _Key[Holder]:
        """Return the key, also if only one of its messages is unacknowledged."""
        known = self._keys[key]
        if not isinstance(known, _Key):
            known = self._keys[key] = _Key(known, 1)
        return known

    def returned(self, spot: int) -> bool:
        """Let the message wait again, at its own place. False: it was not dealt here."""
        key = self._out.pop(spot, None)
        if key is None:
            return False
        known = self._known(key)
        heappush(known.waiting, spot)
        self.waiting += 1
        self._ended(spot, key, known)
        # Of a holder that has others of the key, and was entered with a later one.
        if known.out and not self._each and known.waiting[0] == spot:
            self._next(key, known)
        return True

    def delay(self, spot: int) -> None:
        """Note that the message was returned and is delayed; ``returned`` follows."""
        key = self._out.get(spot)
        if key is None or spot in self._delayed:
            return
        known = self._known(key)
        self._delayed.add(spot)
        known.delayed += 1
        known.out -= 1
        if not known.out:
            self._unbind(known)

    # Waiting messages

    def dropped(self, spot: int, key: int) -> None:
        """Remove a waiting message that has expired or was dropped."""
        known = self._keys.get(key)
        if not isinstance(known, _Key) or not known.waiting:
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
            if isinstance(known, _Key) and known.waiting:
                known.waiting = [it for it in known.waiting if it not in gone]
                heapify(known.waiting)
        self._count()

    def purged(self) -> None:
        """Remove all waiting messages."""
        for held in self._held.values():
            held.waiting.clear()
        self._free.clear()
        self._gone.clear()
        self.waiting = 0
        self._keys = {
            key: known for key, known in self._keys.items()
            if not isinstance(known, _Key) or known.out or known.delayed
        }  # fmt: skip
        for known in self._keys.values():
            if isinstance(known, _Key):
                known.waiting.clear()

    def _count(self) -> None:
        """Enter all remaining messages again."""
        self._free.clear()
        for held in self._held.values():
            held.waiting.clear()
        self.waiting = 0
        for key, known in list(self._keys.items()):
            if isinstance(known, _Key):
                self.waiting += len(known.waiting)
                self._next(key, known)
