"""A set: distinct members."""

from collections.abc import Generator, Iterable, Iterator
from random import Random
from typing import ClassVar, Final

from logstore.broker.keys.collection import ELEMENT_BYTES, Before, Collection, Kind, some_of
from logstore.broker.keys.dense import Dense
from logstore.broker.keys.numerals import as_integer

INTSET_MEMBERS: Final = 512  # Redis's set-max-intset-entries
LISTPACK_MEMBERS: Final = 128  # set-max-listpack-entries
LISTPACK_BYTES: Final = 64  # set-max-listpack-value


class Set(Collection):
    """Members in the order in which they were added; sets of integers only are returned sorted, as
    in Redis.
    """

    __slots__ = ("_encoding", "members")
    kind: ClassVar[Kind] = "set"

    def __init__(self) -> None:
        super().__init__()
        self.members = Dense()
        self._encoding = "intset"

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, member: bytes) -> bool:
        return member in self.members

    @property
    def encoding(self) -> str:
        return self._encoding

    @property
    def small(self) -> bool:
        """Whether Redis would return the whole set in one scan."""
        return self._encoding != "hashtable"

    def in_order(self) -> list[bytes]:
        """Return all members, in the order of Redis."""
        if self._encoding == "intset":
            return sorted(self.members, key=int)
        return self.members.items

    def add(self, member: bytes) -> bool:
        """Add the member; return whether it is new."""
        if not self._put(member):
            return False
        if member not in self.before:
            self.before[member] = None
        return True

    def add_all(self, members: Iterable[bytes]) -> int:
        """Add the members; return how many are new."""
        return sum(map(self.add, members))

    def _put(self, member: bytes) -> bool:
        if member in self.members:
            return False
        if self._encoding == "intset" and as_integer(member) is None:
            # From now on its order is that in which they come, behind the numbers in theirs.
            self.members = Dense(self.in_order())
            self._encoding = "listpack" if len(self) < LISTPACK_MEMBERS else "hashtable"
        self.members.add(member)
        self.held_bytes += ELEMENT_BYTES + len(member)
        if self._encoding == "listpack":
            if len(self.members) > LISTPACK_MEMBERS or len(member) > LISTPACK_BYTES:
                self._encoding = "hashtable"
        elif self._encoding == "intset" and len(self.members) > INTSET_MEMBERS:
            self._encoding = "hashtable"
        return True

    def remove(self, member: bytes) -> bool:
        """Remove the member; return whether it existed."""
        if not self._drop(member):
            return False
        if member not in self.before:
            self.before[member] = b""
        return True

    def _drop(self, member: bytes) -> bool:
        if not self.members.discard(member):
            return False
        self.held_bytes -= ELEMENT_BYTES + len(member)
        return True

    def take_back(self, before: Before) -> None:
        """As Collection.take_back."""
        for member, written in before.items():
            if written is None:
                self._drop(member)
            else:
                self._put(member)

    def any(self, chance: Random) -> bytes:
        """Return a random member."""
        return self.members.any(chance)

    def _forget(self, most: int) -> list[bytes]:
        return self.members.let_go(most)

    def element(self, name: bytes) -> bytes | None:
        """As Collection.element."""
        return b"" if name in self.members else None

    def restore(self, name: bytes, written: bytes) -> None:
        """As Collection.restore."""
        self._put(name)

    def elements(self) -> Iterator[tuple[bytes, bytes]]:
        """As Collection.elements."""
        return ((member, b"") for member in self.members)

    def copying(self) -> "Generator[int, None, Set]":
        """As Collection.copying."""
        made = Set()
        for some in some_of(self.members):
            made.add_all(some)
            yield len(some)
        made._encoding = self._encoding
        return made

    @classmethod
    def of(cls, members: Iterable[bytes]) -> "Set":
        """Return a set of these members, added in this order."""
        made = cls()
        made.add_all(members)
        return made
