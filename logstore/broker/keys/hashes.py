"""A hash: fields with values."""

from collections.abc import Generator, Iterator
from typing import ClassVar, Final

from logstore.broker.keys.collection import ELEMENT_BYTES, Before, Collection, Kind, some_of
from logstore.broker.keys.dense import Dense

LISTPACK_FIELDS: Final = 512  # Redis's hash-max-listpack-entries
LISTPACK_BYTES: Final = 64  # and hash-max-listpack-value, of a field or a value


class Hash(Collection):
    """Fields in the order in which they were added."""

    __slots__ = ("fields", "order")
    kind: ClassVar[Kind] = "hash"

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[bytes, bytes] = {}
        self.order: Dense | None = None  # once it is large, for scans and random fields

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def encoding(self) -> str:
        return "listpack" if self.order is None else "hashtable"

    def get(self, field: bytes) -> bytes | None:
        return self.fields.get(field)

    def set(self, field: bytes, value: bytes) -> bool:
        """Set the field; return whether it is new."""
        before = self.fields.get(field)
        if field not in self.before:
            self.before[field] = before
        self._put(field, value)
        return before is None

    def _put(self, field: bytes, value: bytes) -> None:
        fields = self.fields
        before = fields.get(field)
        fields[field] = value
        if before is not None:
            self.held_bytes += len(value) - len(before)
        else:
            self.held_bytes += ELEMENT_BYTES + len(field) + len(value)
            if self.order is not None:
                self.order.add(field)
        if self.order is None and (
            max(len(field), len(value)) > LISTPACK_BYTES or len(fields) > LISTPACK_FIELDS
        ):
            self.order = Dense(fields)

    def remove(self, field: bytes) -> bool:
        """Remove the field; return whether it existed."""
        value = self.fields.get(field)
        if value is None:
            return False
        if field not in self.before:
            self.before[field] = value
        self._drop(field, value)
        return True

    def _drop(self, field: bytes, value: bytes) -> None:
        del self.fields[field]
        self.held_bytes -= ELEMENT_BYTES + len(field) + len(value)
        if self.order is not None:
            self.order.discard(field)

    def take_back(self, before: Before) -> None:
        """As Collection.take_back."""
        for field, value in before.items():
            if value is not None:
                self._put(field, value)
            elif field in self.fields:
                self._drop(field, self.fields[field])

    def _forget(self, most: int) -> list[bytes]:
        self.order = None
        return [self.fields.popitem()[0] for _ in range(min(most, len(self.fields)))]

    def element(self, name: bytes) -> bytes | None:
        """As Collection.element."""
        return self.fields.get(name)

    def restore(self, name: bytes, written: bytes) -> None:
        """As Collection.restore."""
        self._put(name, written)

    def elements(self) -> Iterator[tuple[bytes, bytes]]:
        """As Collection.elements."""
        return iter(self.fields.items())

    def copying(self) -> "Generator[int, None, Hash]":
        """As Collection.copying."""
        made = Hash()
        if self.order is not None:
            made.order = Dense()
        for some in some_of(self.fields.items()):
            for field, value in some:
                made.set(field, value)
            yield len(some)
        return made
