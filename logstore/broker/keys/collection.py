"""The common part of the four kinds of collections: tracks which elements have changed.

A collection is stored as one record for each element, under the collection's version and the
element's name, so that the change of an element costs one record. A version is used only once:
records of another version are obsolete, so deleting a collection needs no record for each element.
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import ClassVar, Final, Literal, TypeVar

Kind = Literal["hash", "list", "set", "zset"]

ELEMENT_BYTES: Final = 120  # that an element takes beside its bytes: its objects, its place
COLLECTION_BYTES: Final = 400  # that one takes without any
AT_ONCE: Final = 500  # elements that are gone through before others have their turn

Item = TypeVar("Item")


def parts_of(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Yield the elements in lists of up to ``most``. The collection must not change meanwhile."""
    going = iter(items)
    while some := list(islice(going, most)):
        yield some


def some_of(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the elements in lists, each of the size that is worked through at once."""
    return parts_of(items, AT_ONCE)


Before = dict[bytes, bytes | None]  # names of elements, and how they were written; None: not there


class Collection:
    """A collection. ``names`` of elements: a hash's fields, a set's members, places in a list."""

    __slots__ = ("before", "counted_bytes", "covered", "held_bytes", "version")
    kind: ClassVar[Kind]

    def __init__(self) -> None:
        self.version = 0  # 0: it is not written yet
        self.held_bytes = COLLECTION_BYTES  # about what it takes in memory
        self.counted_bytes = 0  # what of these its keyspace knows of
        self.before: Before = {}  # of what has changed, and was not taken to be written
        self.covered: Before | None = None  # the state to restore if it cannot be written

    def __len__(self) -> int:
        raise NotImplementedError

    def __contains__(self, name: bytes) -> bool:
        return self.element(name) is not None

    @property
    def encoding(self) -> str:
        """The encoding, as OBJECT ENCODING of Redis 7.2 reports it."""
        raise NotImplementedError

    def element(self, name: bytes) -> bytes | None:
        """Return the written form of an element; None: it does not exist."""
        raise NotImplementedError

    def restore(self, name: bytes, written: bytes) -> None:
        """Set an element from its written form, without counting it as changed.

        If an element is restored twice, the last form counts.
        """
        raise NotImplementedError

    def restored(self) -> None:
        """Finish restoring: all elements are there."""

    def elements(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the names of all elements and their written forms."""
        raise NotImplementedError

    def copying(self) -> "Generator[int, None, Collection]":
        """Return a copy, of which no element is written yet, to be put under a key.

        Yields the number of copied elements after some of them; the collection must not change
        meanwhile.
        """
        raise NotImplementedError

    def put(self) -> None:
        """Note that the collection is put under a key: if that cannot be written, all of it is
        undone.
        """
        self.counted_bytes = self.held_bytes
        self.covered = self.before

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the elements changed since the last call: names, and written forms at that time."""
        before, self.before = self.before, {}
        return ((name, self.element(name)) for name in before)

    def take_back(self, before: Before) -> None:
        """Undo the changes in ``before``: they could not be written."""
        raise NotImplementedError

    def let_go(self, most: int) -> list[bytes]:
        """Forget up to ``most`` elements of a collection that no key has, and return their names.

        Elements that were removed last, and whose removal is not written yet, are among them.
        Empty: all are forgotten.
        """
        if self.before:
            return [self.before.popitem()[0] for _ in range(min(most, len(self.before)))]
        return self._forget(most)

    def _forget(self, most: int) -> list[bytes]:
        raise NotImplementedError


def twin_of(value: object) -> Generator[int, None, object]:
    """Return a copy of the value for another key; yields as ``Collection.copying``."""
    if not isinstance(value, Collection):
        return value
    made = yield from value.copying()
    made.put()
    return made
