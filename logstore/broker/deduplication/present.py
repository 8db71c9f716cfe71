"""The ids of one log's records, each with the place of the record that had it last. Pure.

Whether an id still counts is not known here: that depends on what has become of the record. Those
that do not are let go of in passing, a few with each that comes, so that no call takes long.
As ``window.py`` a snapshot costs nothing until its bytes are asked for.
"""

import sys
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from logstore.broker.deduplication.ids import ID_BYTES
from logstore.broker.deduplication.window import CHUNK, FOREVER, Held
from logstore.errors import CorruptStore

NONE: Final = -1
LOOKED_AT: Final = 2  # with each id that comes: more than come, so that memory goes by what counts
_NUMBER_BYTES: Final = 8


class Mark(NamedTuple):
    """What is known of a record that had an id."""

    it: bytes | None  # the id; None: it has none
    time_ms: int  # its timestamp
    expiration_ms: int  # of its own; NONE: it has none


class Placed(NamedTuple):
    """The same of one that stands in the log."""

    offset: int
    time_ms: int
    expiration_ms: int


class _Chunk:
    """Ids in a row, those of equal numbers above the last ten bits."""

    __slots__ = ("expirations", "ids", "left", "offsets", "times")

    def __init__(self) -> None:
        self.ids = bytearray()
        self.offsets, self.times, self.expirations = array("q"), array("q"), array("q")
        self.left = 0  # that were not let go of

    def placed(self, at: int) -> Placed:
        return Placed(self.offsets[at], self.times[at], self.expirations[at])

    def id(self, at: int) -> bytes:
        return bytes(self.ids[at * ID_BYTES : (at + 1) * ID_BYTES])


class Present(Held):
    """Whoever uses it holds its ``lock``, as of a ``Window``."""

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
        """The last record that had this id, as far as it is known."""
        number = self._numbers.get(it)
        if number is None:
            return None
        return self._chunks[number // CHUNK].placed(number % CHUNK)

    def add(self, marks: Sequence[Mark], base_offset: int, counts: Callable[[Placed], bool]) -> int:
        """Records in a row; how many of them have ids. Those that are known already are not added.

        ``counts``: whether such a record's id is to be remembered still.
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
        if not chunk.left and number // CHUNK != self._came // CHUNK:
            del self._chunks[number // CHUNK]

    def _let_go(self, most: int, counts: Callable[[Placed], bool]) -> None:
        for _ in range(most):
            number = next(self._round, NONE)
            if number == NONE:
                self._round = self._all(list(self._chunks))
                return
            chunk = self._chunks.get(number // CHUNK)
            if chunk is None or chunk.offsets[number % CHUNK] == NONE:
                continue
            if not counts(chunk.placed(number % CHUNK)):
                self._drop(number)

    def _all(self, chunks: Sequence[int]) -> Iterator[int]:
        for key in chunks:
            if key in self._chunks:
                yield from range(key * CHUNK, key * CHUNK + len(self._chunks[key].offsets))

    def forget(self, count: int) -> None:
        """Let go of so many that came first."""
        for key in list(self._chunks):
            for at, offset in enumerate(self._chunks[key].offsets):
                if not count:
                    return
                if offset != NONE:
                    self._drop(key * CHUNK + at)
                    self.forgotten += 1
                    count -= 1

    # As bytes

    def freeze(self) -> Callable[[], bytes]:
        """What is known now; the bytes are made when they are asked for. As of a ``Window``."""
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
            there = [at for at, offset in enumerate(offsets) if offset != NONE]
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
        """Begin with what ``freeze`` gave. Raises CorruptStore, with ``what`` it is."""
        upto = int.from_bytes(kept[:_NUMBER_BYTES], "big")
        count = int.from_bytes(kept[_NUMBER_BYTES : 2 * _NUMBER_BYTES], "big")
        at, size = 2 * _NUMBER_BYTES + count * ID_BYTES, count * _NUMBER_BYTES
        if len(kept) != at + 3 * size:
            raise CorruptStore(f"{what} is cut off, or too long: restore the store from a backup")
        columns = [array("q", kept[at + n * size : at + (n + 1) * size]) for n in range(3)]
        if sys.byteorder == "little":
            for column in columns:
                column.byteswap()
        for number, (offset, time_ms, expiration_ms) in enumerate(zip(*columns, strict=True)):
            begin = 2 * _NUMBER_BYTES + number * ID_BYTES
            self._add(kept[begin : begin + ID_BYTES], offset, time_ms, expiration_ms)
        self.upto = upto
