"""The partition of a record: Kafka's default partitioner, bit for bit.

The murmur2 hash of a key gives its partition; records without a key stay with one partition for a
batch and then move on (KIP-480). Source: org.apache.kafka.common.utils.Utils.murmur2 and
BuiltInPartitioner.
"""

import random
from collections.abc import Sequence
from struct import Struct

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_WORDS = [Struct(f"<{count}I") for count in range(65)]  # keys up to 259 bytes without a new Struct

# Keys repeat; murmur2 in Python costs 1-3 us, a look-up 40 ns. Bounded: cleared when full.
_REMEMBERED_MAX = 65_536
_REMEMBERED_KEY_BYTES_MAX = 256  # longer keys would make the bound above mean nothing


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned; Kafka's variant (seed 0x9747b28c, little-endian words)."""
    length = len(data)
    count, tail = divmod(length, 4)
    words = _WORDS[count] if count < len(_WORDS) else Struct(f"<{count}I")
    h = _SEED ^ length
    for k in words.unpack_from(data):
        k = k * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if tail:
        h = (h ^ int.from_bytes(data[-tail:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_for_key(key: bytes, partitions: int) -> int:
    """The partition that every Kafka client gives this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


class Partitioner:
    """Partitions for the records of one producer: by key, or sticky where there is none."""

    def __init__(self, partitions: int, rng: random.Random | None = None) -> None:
        self._partitions = partitions
        self._rng = rng or random.Random()
        self.sticky = self._rng.randrange(partitions)
        self._remembered: dict[bytes | None, int] = {None: self.sticky}

    def partition(self, key: bytes | None) -> int:
        found = self._remembered.get(key)
        if found is None:
            assert key is not None
            if len(key) > _REMEMBERED_KEY_BYTES_MAX:
                return partition_for_key(key, self._partitions)
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered = {None: self.sticky}
            found = self._remembered[key] = partition_for_key(key, self._partitions)
        return found

    def partitions(self, keys: Sequence[bytes | None]) -> list[int]:
        """Return ``partition`` of each of many keys."""
        for key in set(keys).difference(self._remembered):
            self.partition(key)
        remembered = self._remembered
        try:
            return [remembered[key] for key in keys]
        except KeyError:  # more keys than are remembered, or longer ones
            return [self.partition(key) for key in keys]

    def batch_full(self) -> None:
        """Note that the sticky partition's batch is full: keyless records move to another one."""
        if self._partitions > 1:
            step = self._rng.randrange(1, self._partitions)
            self.sticky = (self.sticky + step) % self._partitions
            self._remembered[None] = self.sticky
