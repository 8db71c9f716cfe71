"""The free slots of the watermarks file, by number; the catalogue has the slots of logs."""

from collections.abc import Iterable


class Slots:
    """The used slots, found once, because reading all topics for each new one takes long."""

    def __init__(self, used: Iterable[int]) -> None:
        self._used = set(used)
        self._low = 0  # all below are used

    def free(self, count: int) -> list[int]:
        """The lowest free slots; they stay free until they are ``taken``."""
        while self._low in self._used:
            self._low += 1
        found: list[int] = []
        at = self._low
        while len(found) < count:
            if at not in self._used:
                found.append(at)
            at += 1
        return found

    def taken(self, slots: Iterable[int]) -> None:
        """These slots belong to logs now."""
        self._used.update(slots)

    def given_back(self, slots: Iterable[int]) -> None:
        """The logs of these slots are deleted."""
        for slot in slots:
            self._used.discard(slot)
            self._low = min(self._low, slot)
