"""The packet identifiers of one session's unacknowledged messages."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final

from logstore.broker.queues.handovers import follow

PID_MAX: Final = 0xFFFF
NO_DELIVERY: Final = -1  # in place of a tag: it is settled, and its client has not heard so


class PacketIds:
    """Identifiers from 1 to 65,535, each in use once. They are given in rotation, so that a freed
    one is not reused soon: its acknowledgement may arrive twice.
    """

    __slots__ = ("_last", "_tags", "reserved")

    def __init__(self, last: int = 0) -> None:
        """``last``: the one before the first."""
        self._last = last
        self._tags: dict[int, int] = {}  # as they were sent
        # Of messages that can't be read now: their client may have them, and take another message
        # of such a number for one that it has. They are none of those in use.
        self.reserved: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, pid: int) -> bool:
        return pid in self._tags

    def __iter__(self) -> Iterator[int]:
        """In the order in which they were sent first."""
        return iter(self._tags)

    def items(self) -> Iterator[tuple[int, int]]:
        """The same, each with its delivery."""
        return iter(self._tags.items())

    def tag(self, pid: int) -> int | None:
        """The delivery that it is of."""
        return self._tags.get(pid)

    def in_a_row(self, pids: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Those of these that are in use, with their deliveries: packet identifier, tag, how many
        of both follow each other.
        """
        tags = [self._tags.get(it, 0) for it in pids]
        if follow(pids) and follow(tags) and tags[0] > 0:  # as nearly always
            yield pids[0], tags[0], len(pids)
            return
        for pid, tag in zip(pids, tags, strict=True):
            if tag:
                yield pid, tag, 1

    def take(self, tag: int) -> int:
        """One that is free, for this delivery; there is one: see ``most``."""
        pid, tags, reserved = self._last, self._tags, self.reserved
        while True:
            pid = pid + 1 if pid < PID_MAX else 1
            if pid not in tags and pid not in reserved:
                break
        self._last = pid
        tags[pid] = tag
        return pid

    def take_all(self, tag: int, count: int) -> Sequence[int]:
        """The same for so many deliveries whose tags follow each other."""
        pids = range(self._last + 1, self._last + 1 + count)
        free = self._tags.keys().isdisjoint(pids) and self.reserved.isdisjoint(pids)
        if not free or pids.stop > PID_MAX + 1:
            return [self.take(it) for it in range(tag, tag + count)]
        self._last = pids[-1]
        self._tags.update(zip(pids, range(tag, tag + count), strict=True))
        return pids

    @property
    def most(self) -> int:
        """So many can be in use at once."""
        return PID_MAX - len(self.reserved)

    def put(self, pid: int, tag: int) -> None:
        """One that an earlier process has given to this delivery."""
        assert pid not in self._tags
        self._tags[pid] = tag
        self._last = pid

    def keep(self, pid: int) -> None:
        """One that was freed: its client is to hear yet that it is settled."""
        assert pid not in self._tags
        self._tags[pid] = NO_DELIVERY

    def free(self, pid: int) -> int | None:
        """The delivery that it was of; None: it is not in use."""
        return self._tags.pop(pid, None)

    def free_all(self, pids: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
        """The deliveries that these were of, as ranges (first, last) of tags that follow each
        other; how many were not in use.
        """
        tags = list(map(self._tags.pop, pids, repeat(0)))
        if tags and tags[0] > 0 and follow(tags):  # as nearly always
            return [(tags[0], tags[-1])], 0
        found = list[tuple[int, int]]()
        first, last, unknown = 1, 0, 0
        for tag in tags:
            if not tag:
                unknown += 1
            elif tag == last + 1:
                last = tag
            else:
                if last >= first:
                    found.append((first, last))
                first = last = tag
        if last >= first:
            found.append((first, last))
        return found, unknown
