"""The memory limit of keys, and the choice of keys to evict.

As in Redis, keys are sampled: of a few random keys, the least recently used, the least often used,
or the one that expires first is evicted. Uses of keys are recorded only if the policy depends on
them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Final

from logstore.broker.keys.keyspace import Keyspace

SAMPLES: Final = 5  # Redis's maxmemory-samples
TRIES: Final = 10 * SAMPLES  # to find so many keys that expire, among others
AT_ONCE: Final = 100  # keys that go before a command is carried out, at some 10 us each
NOTE_BYTES: Final = 130  # that it takes to know when a key was looked at

# Redis's counters of how often: one byte, which grows ever slower and loses one a minute.
LFU_FIRST: Final = 5
LFU_MOST: Final = 255
LFU_LOG_FACTOR: Final = 10
MINUTE_MS: Final = 60_000


class Eviction:
    """The eviction in all databases of a process."""

    __slots__ = ("_chance", "_clock", "_spaces", "bytes_max", "noted", "policy")

    def __init__(
        self, spaces: Sequence[Keyspace], clock: Callable[[], int], chance: Random
    ) -> None:
        self.bytes_max = 0  # no limit
        self.policy = "noeviction"
        self.noted = ""  # notes for "lru" or "lfu"; "": none
        self._spaces = spaces
        self._clock = clock
        self._chance = chance

    def limit(self, bytes_max: int, policy: str) -> None:
        """Set the memory limit and the policy."""
        self.bytes_max, self.policy = bytes_max, policy
        noted = policy.rpartition("-")[2]
        noted = noted if noted in ("lru", "lfu") else ""
        if noted != self.noted:
            self.noted = noted
            for space in self._spaces:
                space.looked_at = {}
                space.touch = self._touch if noted else None

    @property
    def used_bytes(self) -> int:
        """The approximate size of keys and values, with the notes on their use."""
        notes = sum(len(space.looked_at) for space in self._spaces) if self.noted else 0
        return NOTE_BYTES * notes + sum(space.contents.bytes for space in self._spaces)

    # Notes on the use of keys

    def _touch(self, space: Keyspace, key: bytes) -> None:
        """Note the use of a key: the time in s (lru), or a counter and its minute (lfu)."""
        looked_at = space.looked_at
        now_ms = self._clock()
        if self.noted == "lru":
            looked_at[key] = now_ms // 1000
            return
        minute = now_ms // MINUTE_MS
        count = self._count(looked_at.get(key), minute)
        if count < LFU_MOST:
            base = max(count - LFU_FIRST, 0)
            count += self._chance.random() < 1 / (base * LFU_LOG_FACTOR + 1)
        looked_at[key] = minute << 8 | count

    @staticmethod
    def _count(noted: int | None, minute: int) -> int:
        if noted is None:
            return LFU_FIRST
        return max((noted & 0xFF) - (minute - (noted >> 8)), 0)

    def idle_s(self, space: Keyspace, key: bytes) -> int:
        """Return the time since the last use of the key, in s; 0: unknown."""
        noted = space.looked_at.get(key) if self.noted == "lru" else None
        return 0 if noted is None else max(self._clock() // 1000 - noted, 0)

    def frequency(self, space: Keyspace, key: bytes) -> int:
        """Return the counter of the key's use, if the policy counts it."""
        return self._count(space.looked_at.get(key), self._clock() // MINUTE_MS)

    # Room

    def make_room(self) -> bool:
        """Evict keys while memory is over the limit; return whether there is room, or
        soon will be.
        """
        left = AT_ONCE
        while self.bytes_max and self.used_bytes > self.bytes_max:
            if self.policy == "noeviction":
                return False
            if not left:
                return True
            left -= 1
            found = self._worst()
            if found is None:
                return False
            space, key = found
            space.evict(key)
        return True

    def _worst(self) -> tuple[Keyspace, bytes] | None:
        """Return the key to evict next; None: none may be evicted."""
        best: tuple[float, Keyspace, bytes] | None = None
        for space in self._spaces:
            for key in self._some(space):
                worth = self._worth(space, key)
                if best is None or worth < best[0]:
                    best = worth, space, key
        return None if best is None else best[1:]

    def _some(self, space: Keyspace) -> Iterator[bytes]:
        """Yield random keys that may be evicted."""
        if not space.values or (self._volatile and not space.deadlines):
            return
        count = 1 if self.policy.endswith("random") else SAMPLES
        found = 0
        for _ in range(TRIES):
            key = space.order.random(self._chance)
            if key is None or found == count:
                return
            if not self._volatile or key in space.deadlines:
                found += 1
                yield key
        if not found:  # few keys expire: take the first of them
            yield from islice(space.deadlines, count)

    @property
    def _volatile(self) -> bool:
        return self.policy.startswith("volatile")

    def _worth(self, space: Keyspace, key: bytes) -> float:
        """Return the worth of a key: the key with the lowest worth is evicted first."""
        if self.policy.endswith("ttl"):
            return space.deadlines.get(key, math.inf)
        if self.policy.endswith("random"):
            return self._chance.random()
        noted = space.looked_at.get(key, 0)
        if self.noted == "lru":
            return noted
        return self._count(noted or None, self._clock() // MINUTE_MS)
