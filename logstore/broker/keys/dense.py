"""An order of distinct names without holes, in which any name is found by its place.

It serves scans of a collection, and random choices from it. A scan goes from the end to the start.
A removed name's place is taken by the last name, which a scan in progress has already seen, or will
still see; so a scan sees every name that exists from its start to its end.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Final

KEPT_ORDER_MAX: Final = 128  # of so few, those behind one that is taken out move up, as in Redis


class Dense:
    """An ordered set of names; ``places`` has the place of each name."""

    __slots__ = ("items", "places")

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self.items: list[bytes] = list(dict.fromkeys(names))
        self.places: dict[bytes, int] = dict(zip(self.items, range(len(self.items)), strict=True))

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, name: bytes) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.items)

    def add(self, name: bytes) -> bool:
        """Add the name; return whether it is new."""
        if name in self.places:
            return False
        self.places[name] = len(self.items)
        self.items.append(name)
        return True

    def discard(self, name: bytes) -> bool:
        """Remove the name; return whether it existed."""
        place = self.places.pop(name, None)
        if place is None:
            return False
        items = self.items
        if len(items) <= KEPT_ORDER_MAX:
            del items[place]
            for at in range(place, len(items)):
                self.places[items[at]] = at
            return True
        last = items.pop()
        if place < len(items):
            items[place] = last
            self.places[last] = place
        return True

    def let_go(self, most: int) -> list[bytes]:
        """Remove up to ``most`` names from the end and return them. Only for a set that is
        discarded.
        """
        some = self.items[-most:]
        del self.items[-most:]
        for name in some:
            self.places.pop(name, None)
        return some

    def any(self, chance: Random) -> bytes:
        """Return a random name; all are equally likely."""
        return self.items[int(chance.random() * len(self.items))]

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return the next cursor and about ``count`` names. Cursor 0 begins, and marks the end."""
        left = len(self.items)
        end = min(cursor, left) if cursor else left
        start = max(end - count, 0)
        return start, self.items[start:end]
