"""The ids that exchanges have let pass, in the journal: one record, and the state after many.

A journal record with the key ``I`` and an exchange's number has the ids that the exchange has let
pass. It is in one batch with their messages, so both are stored or neither. Its value::

    (time, ms) | (ids that the exchange knows at the most) | for each: the id (16 bytes) | (for how
    long it is known, ms; 0: as long as it is among them)

A record without a value: the exchange was deleted. The state equals the result of reading all
records again: ``most | count | ids | time until which each is known (8 bytes, big-endian)``.
Numbers are as in ``broker/packed.py``. Pure.
"""

import sys
import threading
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from logstore.broker.deduplication.ids import ID_BYTES
from logstore.broker.deduplication.window import FOREVER, Held
from logstore.broker.packed import Packed, packed

_TIME_BYTES: Final = 8
_TIDY_AT: Final = 1024  # ids in front that do not count any more: so many are cut off at once


def encode(ids: Iterable[tuple[bytes, int]], most: int, now_ms: int) -> bytes:
    """Return the value of a record: ids, each with its lifetime in ms."""
    parts = [packed(now_ms), packed(most)]
    for it, known_ms in ids:
        parts += (it, packed(known_ms))
    return b"".join(parts)


class Seen(Held):
    """The ids of one exchange after some record. A ``Room`` may make it forget ids, from another
    thread.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.most = self.forgotten = 0
        self.ids = bytearray()
        self.untils = array("q")
        self._first = 0  # those before it count no more

    def items(self) -> Sequence[tuple[bytes, int]]:
        """Return the ids, each with its expiry time, in order of arrival."""
        with self.lock:
            ids, untils = bytes(self.ids[self._first * ID_BYTES :]), self.untils[self._first :]
        there = [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]
        return list(zip(there, untils, strict=True))

    def __len__(self) -> int:
        return len(self.untils) - self._first

    def forget(self, count: int) -> None:
        """As Held.forget."""
        self._first = min(len(self.untils), self._first + count)
        self.forgotten += count
        self._tidy_at_times()

    def apply(self, value: bytes, what: str) -> int:
        """Apply a record; return how many ids it has. Raises CorruptStore with ``what``."""
        data = Packed(value, what)
        now_ms, most = data.number(), data.number()
        ids, untils = bytearray(), array("q")
        while data:
            ids += data.bytes(ID_BYTES)
            known_ms = data.number()
            untils.append(min(now_ms + known_ms, FOREVER) if known_ms else FOREVER)
        with self.lock:
            self.most = most
            self.ids += ids
            self.untils += untils
            end = len(self.untils)
            while self._first < end and self.untils[self._first] <= now_ms:
                self._first += 1
            self._first = max(self._first, end - most)
            self._tidy_at_times()
        return len(untils)

    def _tidy_at_times(self) -> None:
        if self._first >= max(_TIDY_AT, len(self.untils) // 2):
            self._tidy()

    def _tidy(self) -> None:
        del self.ids[: self._first * ID_BYTES]
        del self.untils[: self._first]
        self._first = 0

    def encode(self) -> bytes:
        """As bytes."""
        with self.lock:
            self._tidy()
            ids, untils = bytes(self.ids), self.untils[:]
        if sys.byteorder == "little":
            untils.byteswap()
        count = len(untils)
        return b"".join((packed(self.most), packed(count), ids, untils.tobytes()))

    @classmethod
    def decode(cls, kept: bytes, what: str) -> "Seen":
        """Decode what ``encode`` returned. Raises CorruptStore."""
        data, it = Packed(kept, what), cls()
        it.most = data.number()
        count = data.number()
        it.ids = bytearray(data.bytes(count * ID_BYTES))
        it.untils = array("q", data.bytes(count * _TIME_BYTES))
        if sys.byteorder == "little":
            it.untils.byteswap()
        if data:
            raise data.damaged("is too long")
        return it
