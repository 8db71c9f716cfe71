"""The members of one group by id, which of them must be stored, and their memory."""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from logstore.broker.coordinator.calls import Beat
from logstore.broker.coordinator.room import MEMBER_HELD_BYTES


def said_held_bytes(size: int) -> int:
    """Return the memory for ``size`` bytes of a member's own data, here and as last stored."""
    return 2 * size


class Enrolled(Protocol):
    """A member."""

    @property
    def id(self) -> str: ...
    @property
    def said_bytes(self) -> int:
        """The size of what the member says of itself, in bytes."""

    @property
    def held_bytes(self) -> int:
        """The memory that the member takes, in bytes."""


_M = TypeVar("_M", bound=Enrolled)


class Roll(Generic[_M]):
    """The members of one group. Code that changes or removes one of ``members`` adds it to
    ``changed``.
    """

    def __init__(self, members: Iterable[_M]) -> None:
        self.members = {member.id: member for member in members}
        self.changed: set[str] = set()  # members that are other than they were, or gone
        # Memory that they take, and each of them, as it was when it was kept last.
        self._held = {name: member.held_bytes for name, member in self.members.items()}
        self.held_bytes = sum(self._held.values())

    def more_bytes(self, member_id: str, says: int) -> int:
        """Return the additional memory for a member that says ``says`` bytes of itself."""
        known = self.members.get(member_id)
        if known is not None:
            return said_held_bytes(says - known.said_bytes)
        return MEMBER_HELD_BYTES + said_held_bytes(says)

    def more_bytes_after(self, beat: Beat) -> int:
        """Return the additional memory after this heartbeat: of a member that joins or
        says more.
        """
        if beat.epoch != 0 and beat.member_id not in self.members:
            return 0
        says = len(beat.regex or "") + sum(map(len, beat.topics or ()))
        return self.more_bytes(beat.member_id, says)

    def kept(self) -> dict[str, bytes | None]:
        """Return the changed members as they must be stored (None: removed), and mark them
        unchanged.
        """
        members = {
            name: msgspec.json.encode(self.members[name]) if name in self.members else None
            for name in self.changed
        }
        for name in self.changed:
            self.held_bytes -= self._held.pop(name, 0)
            if name in self.members:
                self._held[name] = self.members[name].held_bytes
                self.held_bytes += self._held[name]
        self.changed.clear()
        return members

    def clear(self) -> None:
        """Remove all members; none is to be stored."""
        self.members.clear()
        self._held.clear()
        self.held_bytes = 0
        self.changed.clear()
