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
        """``last``: the identifier that was used last; the first one follows it."""
        self._last = last
        self._tags: dict[int, int] = {}  # as they were sent
        # Identifiers of messages that cannot be read now. The client may have these messages, and
        # would take another message with the same identifier for one of them. They do not count as
        # in use.
        self.reserved: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, pid: int) -> bool:
        return pid in self._tags

    def __iter__(self) -> Iterator[int]:
        """Iterate over the identifiers in use, in the order of first sending."""
        return iter(self._tags)

    def items(self) -> Iterator[tuple[int, int]]:
        """Iterate over the identifiers in use with their delivery tags, in the order of first
        sending.
        """
        return iter(self._tags.items())

    def tag(self, pid: int) -> int | None:
        """Return the delivery tag of this identifier; None: it is not in use."""
        return self._tags.get(pid)

    def in_a_row(self, pids: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Yield the identifiers that are in use as runs with consecutive delivery tags.

        Each run is the first identifier, its tag, and the number of both.
        """
        tags = [self._tags.get(it, 0) for it in pids]
        if follow(pids) and follow(tags) and tags[0] > 0:  # as nearly always
            yield pids[0], tags[0], len(pids)
            return
        for pid, tag in zip(pids, tags, strict=True):
            if tag:
                yield pid, tag, 1

    def take(self, tag: int) -> int:
        """Assign a free identifier to this delivery. There must be one: see ``most``."""
        pid, tags, reserved = self._last, self._tags, self.reserved
        while True:
            pid = pid + 1 if pid < PID_MAX else 1
            if pid not in tags and pid not in reserved:
                break
        self._last = pid
        tags[pid] = tag
        return pid

    def take_all(self, tag: int, count: int) -> Sequence[int]:
        """Assign free identifiers to ``count`` deliveries with consecutive tags."""
        pids = range(self._last + 1, self._last + 1 + count)
        free = self._tags.keys().isdisjoint(pids) and self.reserved.isdisjoint(pids)
        if not free or pids.stop > PID_MAX + 1:
            return [self.take(it) for it in range(tag, tag + count)]
        self._last = pids[-1]
        self._tags.update(zip(pids, range(tag, tag + count), strict=True))
        return pids

    @property
    def most(self) -> int:
        """The number of identifiers that can be in use at once."""
        return PID_MAX - len(self.reserved)

    def put(self, pid: int, tag: int) -> None:
        """Assign an identifier of an earlier process to this delivery."""
        assert pid not in self._tags
        self._tags[pid] = tag
        self._last = pid

    def keep(self, pid: int) -> None:
        """Reserve a freed identifier until its client is told that the message is settled."""
        assert pid not in self._tags
        self._tags[pid] = NO_DELIVERY

    def free(self, pid: int) -> int | None:
        """Free the identifier; return its delivery tag, or None if it was not in use."""
        return self._tags.pop(pid, None)

    def free_all(self, pids: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
        """Free the identifiers.

        Returns the tags of their deliveries as ranges (first, last), and how many identifiers were
        not in use.
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
