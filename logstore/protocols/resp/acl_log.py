"""ACL LOG: recent refusals, and to whom."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

ENTRIES_MAX: Final = 128  # as Redis's acllog-max-len
LOOKED_AT: Final = 10  # of the newest, for one that is the same
SAME_MS: Final = 60_000  # since it was last the same
OBJECT_BYTES_MAX: Final = 1024  # of a name: a client chooses it
USER_BYTES_MAX: Final = 255  # as a user's name may have

AUTH: Final = "auth"  # a failed login; the others are kinds of a ``Refusal``
TOPLEVEL: Final = "toplevel"
MULTI: Final = "multi"


class Entry(Struct):
    """A refusal, with the number of its repetitions."""

    number: int
    reason: str
    context: str
    object: bytes
    user: bytes
    info: str  # the line of CLIENT LIST of the latest client
    created_ms: int
    updated_ms: int
    count: int = 1

    def is_same(self, other: "Entry") -> bool:
        return (
            (self.reason, self.context, self.object, self.user)
            == (other.reason, other.context, other.object, other.user)
            and abs(self.updated_ms - other.updated_ms) <= SAME_MS
        )  # fmt: skip


class AclLog:
    """The refusals of one door, newest first."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._next = 0

    def add(
        self, reason: str, context: str, object: bytes, user: bytes, info: str, now_ms: int
    ) -> None:
        """Add an entry, or count it with an equal one among the newest."""
        new = Entry(
            self._next, reason, context, object[:OBJECT_BYTES_MAX], user[:USER_BYTES_MAX], info,
            now_ms, now_ms,
        )  # fmt: skip
        for at, entry in enumerate(self._entries[:LOOKED_AT]):
            if entry.is_same(new):
                entry.count += 1
                entry.info, entry.updated_ms = info, now_ms
                self._entries.insert(0, self._entries.pop(at))
                return
        self._next += 1
        self._entries.insert(0, new)
        del self._entries[ENTRIES_MAX:]

    def newest(self, count: int) -> Sequence[Entry]:
        return self._entries[: max(count, 0)]

    def clear(self) -> None:
        """Remove all entries; numbering continues."""
        self._entries.clear()
