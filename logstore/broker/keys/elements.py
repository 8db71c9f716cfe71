"""Collections as records: one for the collection under its key, and one for each element.

The collection's record has its kind and version; it is written with every change, so that a reader
of the topic as a changelog learns of the key. An element's record key is NUL, ``E``, the version (8
bytes), and the element's name. Elements of a version that no key has are obsolete.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from logstore.broker.keys.collection import Collection, Kind
from logstore.broker.keys.hashes import Hash
from logstore.broker.keys.lists import List
from logstore.broker.keys.sets import Set
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.records.record import Headers

TYPE: Final = "redis.type"  # headers of a collection's own record: its kind,
VERSION: Final = "redis.version"  # and decimal digits
ELEMENT: Final = b"\0E"  # begins an element's key
_VERSION: Final = Struct(">Q")
_NAME_AT: Final = len(ELEMENT) + _VERSION.size

KINDS: Final[dict[Kind, type[Collection]]] = {
    "hash": Hash,
    "list": List,
    "set": Set,
    "zset": SortedSet,
}

Row = tuple[bytes, bytes | None, Headers]  # key, value, headers


def rows(
    key: bytes,
    value: Collection,
    headers: Headers,
    listed: Iterable[tuple[bytes, bytes | None]],
) -> Iterator[Row]:
    """Yield the rows of a collection and its listed elements, as pairs of name and written form.

    ``key``: the key of the collection's own record, which holds its version.
    """
    about = ((TYPE, value.kind.encode()), (VERSION, b"%d" % value.version))
    yield key, b"", (*headers, *about)
    prefix = ELEMENT + _VERSION.pack(value.version)
    for name, written in listed:
        yield prefix + name, written, ()


class Left:
    """Obsolete elements of collections that were deleted before the process ended."""

    __slots__ = ("_names", "version")

    def __init__(self, version: int, names: list[bytes]) -> None:
        self.version = version
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def let_go(self, most: int) -> list[bytes]:
        """As Collection.let_go."""
        some = self._names[-most:]
        del self._names[-most:]
        return some


def gone(version: int, names: list[bytes]) -> Iterator[Row]:
    """Yield tombstones for these elements, so that they need not be kept on disk."""
    prefix = ELEMENT + _VERSION.pack(version)
    for name in names:
        yield prefix + name, None, ()


class Made:
    """A collection's own record, while its elements are still missing."""

    __slots__ = ("kind", "version")

    def __init__(self, headers: Headers) -> None:
        """Raises ValueError if the headers are not those of a collection's record."""
        found = dict(headers)
        kind = (found.get(TYPE) or b"").decode()
        if kind not in KINDS:
            raise ValueError(f"a value of the type {kind!r}")
        self.kind = kind
        self.version = int(found.get(VERSION) or b"")


class Elements:
    """The elements found while records are read from the start."""

    def __init__(self) -> None:
        self.version = 0  # the highest that was seen
        self._of: dict[int, dict[bytes, bytes]] = {}  # by version, and name

    def add(self, key: bytes, written: bytes | None) -> None:
        """Add the record of an element. ``key``: the record's key. Raises ValueError."""
        if len(key) < _NAME_AT:
            raise ValueError(f"an element's key {key!r}")
        (version,) = _VERSION.unpack_from(key, len(ELEMENT))
        self.version = max(self.version, version)
        found = self._of.get(version)
        if written is None:
            if found is not None:
                found.pop(key[_NAME_AT:], None)
                if not found:
                    del self._of[version]
        elif found is None:
            self._of[version] = {key[_NAME_AT:]: written}
        else:
            found[key[_NAME_AT:]] = written

    def clear(self) -> None:
        """Forget all elements."""
        self._of.clear()

    def take(self, made: Made) -> Collection | None:
        """Return the collection of this record with its elements; None: it has none.

        Raises ValueError.
        """
        self.version = max(self.version, made.version)
        elements = self._of.pop(made.version, None)
        if not elements:
            return None
        value = KINDS[made.kind]()
        value.version = made.version
        for name, written in elements.items():
            value.restore(name, written)
        value.restored()
        value.counted_bytes = value.held_bytes
        return value

    def left(self) -> list[Left]:
        """Return the elements that belong to no collection."""
        return [Left(version, list(names)) for version, names in self._of.items()]
