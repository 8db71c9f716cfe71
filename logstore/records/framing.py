"""The position and key of each record of a batch, as compaction needs them.

Filled by the walk that checks the records (``check``), so that they are read only once.
"""

from array import array
from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING

from logstore.records.alike import NO_KEY

if TYPE_CHECKING:
    from logstore.records.alike import Alike
    from logstore.records.quick import Quick


class Framing:
    """Places count from the first record of the batch; positions are in its decompressed bytes."""

    __slots__ = ("keys", "starts", "tombstones")

    def __init__(self) -> None:
        self.starts = array("I")  # positions
        self.keys: list[bytes | None] = []
        self.tombstones: list[int] = []  # places of records that have a key and no value

    def add(self, start: int, key: bytes | None, *, valueless: bool) -> None:
        """Add a record."""
        if valueless and key is not None:
            self.tombstones.append(len(self.keys))
        self.starts.append(start)
        self.keys.append(key)

    def add_run(self, data: bytes, at: int, run: "Alike") -> None:
        """Add records of one layout, the first of which begins at ``at``."""
        size, layout = run.layout.size, run.layout
        self.starts.extend(range(at, run.end, size))
        if layout.key_bytes == NO_KEY:
            self.keys += [None] * run.records
            return
        if layout.valueless:
            first = len(self.keys)
            self.tombstones += range(first, first + run.records)
        rest = size - layout.key_at - layout.key_bytes
        fields = Struct(f"{layout.key_at}x{layout.key_bytes}s{rest}x")
        self.keys += chain.from_iterable(fields.iter_unpack(memoryview(data)[at : run.end]))

    def add_each(self, data: bytes, found: "Quick") -> None:
        """Add records whose keys have the same length and distance from the record's start."""
        self.starts.extend(found.starts)
        if found.keyless:
            self.keys += [None] * found.records
            return
        begin, end = found.key_at, found.key_at + found.key_bytes
        keys: list[bytes | None] = [data[it + begin : it + end] for it in found.starts]
        for place in found.short:
            at = found.starts[place] - 1
            keys[place] = data[at + begin : at + end]
        self.keys += keys
