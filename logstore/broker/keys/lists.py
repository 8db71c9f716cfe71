"""A list: elements from left to right, with fast access to both ends."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from struct import Struct
from typing import ClassVar, Final

from logstore.broker.keys.collection import ELEMENT_BYTES, Before, Collection, Kind, some_of

PLACE: Final = Struct(">Q")  # how a place is written: in its order, also below 0
MIDDLE: Final = 1 << 63  # the first element's place
LISTPACK_BYTES: Final = 8192  # Redis's list-max-listpack-size -2
FEW: Final = 100  # elements that are looked up one by one
ENTRY_BYTES: Final = 11  # that one takes there beside its bytes, at most


class List(Collection):
    """An element's place is ``first`` for the leftmost, and one more for each following element.

    Adding or removing at an end moves no other element. In the middle, all elements on the shorter
    side move, and are written again.
    """

    __slots__ = ("_restored", "_text_bytes", "first", "items")
    kind: ClassVar[Kind] = "list"

    def __init__(self) -> None:
        super().__init__()
        self.items: deque[bytes] = deque()
        self.first = MIDDLE
        self._text_bytes = 0
        self._restored: dict[int, bytes] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def encoding(self) -> str:
        """The encoding that Redis would report; approximate, since Redis counts exact bytes."""
        taken = self._text_bytes + ENTRY_BYTES * len(self.items)
        return "listpack" if taken <= LISTPACK_BYTES else "quicklist"

    def _came(self, item: bytes) -> None:
        self._text_bytes += len(item)
        self.held_bytes += ELEMENT_BYTES + len(item)

    def _went(self, item: bytes) -> None:
        self._text_bytes -= len(item)
        self.held_bytes -= ELEMENT_BYTES + len(item)

    def _change(self, start: int, stop: int) -> Iterator[int]:
        """Note that the items at these places, from the left, are about to change.

        Yields the number of noted items after some of them; nothing may change meanwhile.
        """
        before, first = self.before, self.first
        for some in some_of(enumerate(islice(self.items, start, stop), first + start)):
            for place, item in some:
                name = PLACE.pack(place)
                if name not in before:
                    before[name] = item
            yield len(some)

    def _changes_at(self, place: int, was: bytes | None) -> None:
        name = PLACE.pack(place)
        if name not in self.before:
            self.before[name] = was

    def push_left(self, item: bytes) -> None:
        self.first -= 1
        self._changes_at(self.first, None)
        self.items.appendleft(item)
        self._came(item)

    def push_right(self, item: bytes) -> None:
        self._changes_at(self.first + len(self.items), None)
        self.items.append(item)
        self._came(item)

    def pop_left(self) -> bytes:
        item = self.items.popleft()
        self._changes_at(self.first, item)
        self.first += 1
        self._went(item)
        return item

    def pop_right(self) -> bytes:
        item = self.items.pop()
        self._changes_at(self.first + len(self.items), item)
        self._went(item)
        return item

    def slice(self, start: int, stop: int) -> list[bytes]:
        """Return the items from place ``start`` up to ``stop``, counted from the left."""
        items = self.items
        if stop >= len(items) and start > len(items) // 2:
            found = list(islice(reversed(items), len(items) - start))
            found.reverse()
            return found
        return list(islice(items, start, stop))

    def replace(self, at: int, item: bytes) -> None:
        self._changes_at(self.first + at, self.items[at])
        self._went(self.items[at])
        self._came(item)
        self.items[at] = item

    def inserting(self, at: int, item: bytes) -> Iterator[int]:
        """Insert the item at this place; yields as ``copying``."""
        count = len(self.items)
        if at < count // 2:
            yield from self._change(0, at)
            self._changes_at(self.first - 1, None)
            self.first -= 1
        else:
            yield from self._change(at, count)
            self._changes_at(self.first + count, None)
        self.items.insert(at, item)
        self._came(item)

    def removing(self, places: Sequence[int]) -> Iterator[int]:
        """Remove the items at these places, at least one, in ascending order; yields as
        ``copying``.
        """
        count = len(self.items)
        if places[-1] < count - places[0]:
            yield from self._change(0, places[-1] + 1)
            first = self.first + len(places)
        else:
            yield from self._change(places[0], count)
            first = self.first
        if len(places) == 1:
            self._went(self.items[places[0]])
            del self.items[places[0]]
        else:
            gone, kept, at = set(places), deque[bytes](), 0
            lost_bytes = 0
            for some in some_of(self.items):
                left = [it for place, it in enumerate(some, at) if place not in gone]
                lost_bytes += sum(map(len, some)) - sum(map(len, left))
                kept.extend(left)
                at += len(some)
                yield len(some)
            self.items = kept
            self._text_bytes -= lost_bytes
            self.held_bytes -= lost_bytes + ELEMENT_BYTES * len(places)
        self.first = first

    def _forget(self, most: int) -> list[bytes]:
        names = [PLACE.pack(self.first + at) for at in range(min(most, len(self.items)))]
        for _ in names:
            self.items.popleft()
        self.first += len(names)
        return names

    def element(self, name: bytes) -> bytes | None:
        """As Collection.element."""
        (place,) = PLACE.unpack(name)
        at = place - self.first
        return self.items[at] if 0 <= at < len(self.items) else None

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """As ``Collection.changes``, but fast: a look-up of each of many items would cross half of
        the list.
        """
        if len(self.before) <= FEW:
            return super().changes()
        before, self.before = self.before, {}
        return _looked_up(before, list(self.items), self.first)

    def restore(self, name: bytes, written: bytes) -> None:
        """As ``Collection.restore``; items come in any order, and are placed by ``restored``."""
        if self._restored is None:
            self._restored = {}
        (place,) = PLACE.unpack(name)
        self._restored[place] = written

    def restored(self) -> None:
        """As Collection.restored."""
        found, self._restored = self._restored or {}, None
        self._fill(found)

    def _fill(self, found: dict[int, bytes]) -> None:
        in_order = sorted(found)
        self.first = in_order[0] if in_order else MIDDLE
        for place in in_order:
            self.items.append(found[place])
            self._came(found[place])

    def take_back(self, before: Before) -> None:
        """As Collection.take_back."""
        found = {self.first + at: item for at, item in enumerate(self.items)}
        for name, written in before.items():
            (place,) = PLACE.unpack(name)
            if written is None:
                found.pop(place, None)
            else:
                found[place] = written
        for item in self.items:
            self._went(item)
        self.items.clear()
        self._fill(found)

    def elements(self) -> Iterator[tuple[bytes, bytes]]:
        """As Collection.elements."""
        return ((PLACE.pack(self.first + at), item) for at, item in enumerate(self.items))

    def copying(self) -> "Generator[int, None, List]":
        """As Collection.copying."""
        made = List()
        for some in some_of(self.items):
            for item in some:
                made.push_right(item)
            yield len(some)
        return made


def _looked_up(
    before: Before, items: Sequence[bytes], first: int
) -> Iterator[tuple[bytes, bytes | None]]:
    for name in before:
        at = PLACE.unpack(name)[0] - first
        yield name, items[at] if 0 <= at < len(items) else None
