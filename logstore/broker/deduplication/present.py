"""The ids of one log's records, each with the position of its latest record. Pure.

Whether an id is still valid depends on the state of its record, which is not known here. Invalid
ids are removed gradually, a few with each new one, so that no call takes long. A chunk that is half
empty is packed, so that an id that stays forever does not keep the space of others. As in
``window.py``, a snapshot costs nothing until its bytes are needed; it covers the records below an
offset.
"""

import sys
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from logstore.broker.deduplication.ids import ID_BYTES
from logstore.broker.deduplication.window import CHUNK, FOREVER, Held
from logstore.errors import CorruptStore

NONE: Final = -1
LOOKED_AT: Final = 2  # per new id; above 1, so that expired ids do not pile up
_NUMBER_BYTES: Final = 8


class Mark(NamedTuple):
    """What is known about a record with an id."""

    it: bytes | None  # the id; None: it has none
    time_ms: int  # its timestamp
    expiration_ms: int  # of its own; NONE: it has none


class Placed(NamedTuple):
    """The same for a record that is in the log."""

    offset: int
    time_ms: int
    expiration_ms: int


class _Chunk:
    """Consecutive ids with the same bits above the lowest ten."""

    __slots__ = ("expirations", "ids", "left", "offsets", "times")

    def __init__(self) -> None:
        self.ids = bytearray()
        self.offsets, self.times, self.expirations = array("q"), array("q"), array("q")
        self.left = 0  # that were not let go of

    def packed(self) -> "_Chunk":
        """Return a chunk with the remaining entries only."""
        it = _Chunk()
        there = list(self.places())
        it.ids += b"".join(map(self.id, there))
        it.offsets.extend([self.offsets[at] for at in there])
        it.times.extend([self.times[at] for at in there])
        it.expirations.extend([self.expirations[at] for at in there])
        it.left = len(there)
        return it

    def places(self) -> Iterator[int]:
        """Yield the places of the remaining entries, in order of arrival."""
        return (at for at, offset in enumerate(self.offsets) if offset != NONE)

    def placed(self, at: int) -> Placed:
        return Placed(self.offsets[at], self.times[at], self.expirations[at])

    def id(self, at: int) -> bytes:
        return bytes(self.ids[at * ID_BYTES : (at + 1) * ID_BYTES])


class Present(Held):
    """The ids of one log. The caller holds its ``lock``, as for a ``Window``."""

    def __init__(self, most: int = FOREVER) -> None:
        self.lock = threading.Lock()
        self.most = most
        self.forgotten = 0
        self.upto = 0  # records below are known, as far as they count
        self._numbers: dict[bytes, int] = {}
        self._chunks: dict[int, _Chunk] = {}
        self._came = 0
        self._round: Iterator[int] = iter(())  # numbers that are still to be looked at

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, it: bytes) -> Placed | None:
        """Return the last known record with this id, or None."""
        number = self._numbers.get(it)
        if number is None:
            return None
        return self._chunks[number // CHUNK].placed(number % CHUNK)

    def oldest(self) -> Placed | None:
        """Return the record of the oldest id; None: there is none."""
        for chunk in self._chunks.values():
            for at in chunk.places():
                return chunk.placed(at)
        return None

    def add(self, marks: Sequence[Mark], base_offset: int, counts: Callable[[Placed], bool]) -> int:
        """Add consecutive records, except known ones; return how many of them have ids.

        ``counts``: whether the id of such a record must still be remembered.
        """
        came = 0
        for offset, (it, time_ms, expiration_ms) in enumerate(marks, base_offset):
            if it is not None and offset >= self.upto:
                self._add(it, offset, time_ms, expiration_ms)
                came += 1
        self.upto = max(self.upto, base_offset + len(marks))
        self._let_go(LOOKED_AT * came, counts)
        if len(self) > self.most:
            self.forget(len(self) - self.most)
        return came

    def _add(self, it: bytes, offset: int, time_ms: int, expiration_ms: int) -> None:
        before = self._numbers.get(it)
        if before is not None:
            self._drop(before)
        number = self._came
        chunk = self._chunks.get(number // CHUNK)
        if chunk is None:
            last = self._chunks.get(number // CHUNK - 1)
            if last is not None:
                self._pack(number // CHUNK - 1, last)
            chunk = self._chunks[number // CHUNK] = _Chunk()
        chunk.ids += it
        chunk.offsets.append(offset)
        chunk.times.append(time_ms)
        chunk.expirations.append(expiration_ms)
        chunk.left += 1
        self._numbers[it] = number
        self._came += 1

    def _drop(self, number: int) -> None:
        chunk = self._chunks[number // CHUNK]
        at = number % CHUNK
        del self._numbers[chunk.id(at)]
        chunk.offsets[at] = NONE
        chunk.left -= 1
        if number // CHUNK != self._came // CHUNK:  # otherwise it still gets new entries
            self._pack(number // CHUNK, chunk)

    def _pack(self, key: int, chunk: _Chunk) -> None:
        """Pack the chunk if half of it is gone.

        Its numbers then change; a snapshot may still read the old chunk.
        """
        if 2 * chunk.left > len(chunk.offsets):
            return
        if not chunk.left:
            del self._chunks[key]
            return
        chunk = self._chunks[key] = chunk.packed()
        for at in range(chunk.left):
            self._numbers[chunk.id(at)] = key * CHUNK + at

    def _let_go(self, most: int, counts: Callable[[Placed], bool]) -> None:
        for _ in range(most):
            number = next(self._round, NONE)
            if number == NONE:
                self._round = self._all(list(self._chunks))
                return
            chunk, at = self._chunks.get(number // CHUNK), number % CHUNK
            if chunk is None or at >= len(chunk.offsets) or chunk.offsets[at] == NONE:
                continue  # gone, or packed since the round began with it
            if not counts(chunk.placed(at)):
                self._drop(number)

    def _all(self, chunks: Sequence[int]) -> Iterator[int]:
        for key in chunks:
            if key in self._chunks:
                # From the end: packing meanwhile only moves entries toward the beginning.
                yield from range(
                    key * CHUNK + len(self._chunks[key].offsets) - 1, key * CHUNK - 1, -1
                )

    def forget(self, count: int) -> None:
        """Forget the ``count`` oldest ids."""
        for key in list(self._chunks):
            if not count:
                return
            chunk = self._chunks[key]
            there = list(islice(chunk.places(), count))
            for at in there:
                del self._numbers[chunk.id(at)]
                chunk.offsets[at] = NONE
            chunk.left -= len(there)
            if key != self._came // CHUNK:
                self._pack(key, chunk)
            self.forgotten += len(there)
            count -= len(there)

    # As bytes

    def freeze(self) -> Callable[[], bytes]:
        """Take a snapshot; its bytes are made when they are asked for. As of a ``Window``."""
        came, upto = self._came, self.upto
        return lambda: self._dump(came, upto)

    def _dump(self, came: int, upto: int) -> bytes:
        """``upto`` | ids in a row | offsets | times | expirations, all numbers of 8 bytes."""
        ids, columns = bytearray(), (array("q"), array("q"), array("q"))
        for key, chunk in list(self._chunks.items()):
            end = min(CHUNK, came - key * CHUNK)
            if end <= 0:
                continue
            offsets = chunk.offsets[:end]
            # Packed since, it may begin with what has come later: the log may lose that.
            there = [at for at, offset in enumerate(offsets) if NONE < offset < upto]
            kept = bytes(chunk.ids[: end * ID_BYTES])
            ids += b"".join([kept[at * ID_BYTES : (at + 1) * ID_BYTES] for at in there])
            for column, of_all in zip(
                columns, (offsets, chunk.times, chunk.expirations), strict=True
            ):
                column.extend([of_all[at] for at in there])
        if sys.byteorder == "little":
            for column in columns:
                column.byteswap()
        head = upto.to_bytes(_NUMBER_BYTES, "big") + len(columns[0]).to_bytes(_NUMBER_BYTES, "big")
        return b"".join((head, ids, *(it.tobytes() for it in columns)))

    def load(self, kept: bytes, what: str) -> None:
        """Replace the contents by those of ``freeze``. Raises CorruptStore, with ``what``."""
        upto = int.from_bytes(kept[:_NUMBER_BYTES], "big")
        count = int.from_bytes(kept[_NUMBER_BYTES : 2 * _NUMBER_BYTES], "big")
        at, size = 2 * _NUMBER_BYTES + count * ID_BYTES, count * _NUMBER_BYTES
        if len(kept) != at + 3 * size:
            raise CorruptStore(f"{what} is cut off, or too long: restore the store from a backup")
        columns = [array("q", kept[at + n * size : at + (n + 1) * size]) for n in range(3)]
        if sys.byteorder == "little":
            for column in columns:
                column.byteswap()
        ids = kept[2 * _NUMBER_BYTES : at]
        for key, first in enumerate(range(0, count, CHUNK)):
            chunk = self._chunks[key] = _Chunk()
            chunk.ids += ids[first * ID_BYTES : (first + CHUNK) * ID_BYTES]
            chunk.offsets, chunk.times, chunk.expirations = [
                column[first : first + CHUNK] for column in columns
            ]
            chunk.left = len(chunk.offsets)
        self._numbers = {ids[n * ID_BYTES : (n + 1) * ID_BYTES]: n for n in range(count)}
        self._came = count
        if len(self._numbers) != count:
            raise CorruptStore(f"{what} has an id twice: restore the store from a backup")
        self.upto = upto
