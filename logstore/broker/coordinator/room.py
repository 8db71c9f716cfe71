"""The part of the memory budget that groups use for their members' metadata.

A member stays after its connection ends, so closing connections frees none of this memory.
Therefore a request that would make a group too large is refused; if all groups together are too
large, large requests are refused.
"""

import logging
from typing import Final

from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.budget import Budget
from logstore.printable import printable

MEMBER_HELD_BYTES: Final = 2048  # of one beside what it says: as objects, in tables
PENDING_HELD_BYTES: Final = 256  # of an id that was given out (KIP-394)
GROUP_PARTS: Final = 2  # a group's largest share: its leader gets all of it at once
LITTLE_GROUP_BYTES: Final = 2 * MEMBER_HELD_BYTES  # is not too much, up to twice the part
TOLD_EVERY_MS: Final = 10_000

_log = logging.getLogger("logstore.groups")


class Room:
    """The memory of all groups of a server."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._account = budget.open()
        self._held: dict[str, int] = {}  # bytes, by group
        self._total_bytes = 0  # with what is being saved
        self._told_ms = -TOLD_EVERY_MS

    def check(self, group: str, more_bytes: int, now_ms: int) -> None:
        """Check that the group may hold ``more_bytes`` more. Raises Refusal."""
        if more_bytes <= 0:
            return
        most = self._budget.groups_bytes_max
        size, total = self._held.get(group, 0) + more_bytes, self._total_bytes + more_bytes
        fair = max(LITTLE_GROUP_BYTES, most // 2 // max(len(self._held), 1))
        if size > most // GROUP_PARTS:
            why = f"its members' data has {size} bytes, and the maximum is {most // GROUP_PARTS}"
        elif total > 2 * most or (total > most and size > fair):
            why = f"the data of all groups' members has {total} bytes, and the maximum is {most}"
        else:
            return
        self._budget.refused += 1
        if now_ms - self._told_ms >= TOLD_EVERY_MS:
            self._told_ms = now_ms
            _log.warning(
                "group %s: a member is refused: %s (a part of memory.clients.max.bytes)",
                printable(group), why,
            )  # fmt: skip
        raise Refusal(GroupError.GROUP_MAX_SIZE_REACHED, why)

    def hold(self, group: str, held_bytes: int) -> None:
        """Set the memory that the group holds."""
        self._add(held_bytes - self._held.get(group, 0))
        if held_bytes:
            self._held[group] = held_bytes
        else:
            self._held.pop(group, None)

    def saving(self, more_bytes: int) -> None:
        """Change the count of bytes on their way to the disk; negative: they have been written."""
        self._add(more_bytes)

    def _add(self, more_bytes: int) -> None:
        if more_bytes:
            self._total_bytes += more_bytes
            self._account.hold(self._total_bytes)
