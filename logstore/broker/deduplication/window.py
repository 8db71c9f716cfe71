"""Ids that were seen, each until it expires. Pure: the time is an argument.

Ids are removed in order of arrival: each new id removes expired ones at the front. An expired id
behind others may stay longer in memory, but no longer counts as known. If there are more than
``most``, the oldest are removed.

A snapshot costs nothing until its bytes are needed: ids are only ever appended, so it is their
number at that moment. Another thread may turn it into bytes.
"""

import sys
import threading
from array import array
from collections.abc import Callable, Collection, Sequence
from typing import Final

from logstore.broker.deduplication.ids import ID_BYTES
from logstore.errors import CorruptStore

FOREVER: Final = 2**63 - 1
CHUNK: Final = 1024  # ids that are let go of together, of those whose time is over
EXPIRED_MAX: Final = 4096  # of one batch, however many come with it: 1.5 ms
# Measured (CPython 3.11): id 64 with its malloc, dictionary 52 to 104, the time 32, columns 24.
ID_COST: Final = 200
_HEAD_BYTES: Final = 4  # of a snapshot: how many ids
_TIME_BYTES: Final = 8


class _Chunk:
    """Consecutive ids."""

    __slots__ = ("first", "ids", "untils")

    def __init__(self, first: int) -> None:
        self.first = first  # the number of its first id, since the beginning
        self.ids = bytearray()
        self.untils = array("q")


class Held:
    """Ids in memory, some of which may be forgotten."""

    lock: threading.Lock
    most: int  # ids
    forgotten: int  # while they counted

    def __len__(self) -> int:
        """The number of ids in memory, including expired ones."""
        raise NotImplementedError

    def forget(self, count: int) -> None:
        """Forget the ``count`` oldest ids, expired or not."""
        raise NotImplementedError


class Window(Held):
    """A window of ids. The caller holds its ``lock``, because a ``Room`` may make it forget ids
    from another thread.
    """

    def __init__(self, most: int = FOREVER) -> None:
        self.lock = threading.Lock()
        self._until: dict[bytes, int] = {}
        self._chunks: tuple[_Chunk, ...] = (_Chunk(0),)
        self._came = 0  # ids, since the beginning
        self._gone = 0  # of these, in their order
        self.most = most  # ids
        self.forgotten = 0  # before their time was over

    def __len__(self) -> int:
        """The number of ids in memory, including expired ones."""
        return self._came - self._gone

    def knows(self, it: bytes, now_ms: int) -> bool:
        """Whether the id was seen and has not expired."""
        until = self._until.get(it)
        return until is not None and now_ms < until

    def add(self, it: bytes, until_ms: int, now_ms: int) -> None:
        """Remember the id."""
        chunk = self._chunks[-1]
        if len(chunk.untils) == CHUNK:
            chunk = _Chunk(self._came)
            self._chunks = (*self._chunks, chunk)
        chunk.ids += it
        chunk.untils.append(until_ms)
        self._until[it] = until_ms
        self._came += 1
        self.expire(now_ms, 2)  # more than came: so it shrinks again
        self._forget_too_many()

    def add_many(self, ids: Sequence[bytes], untils: Sequence[int], now_ms: int) -> None:
        """Remember many ids, which are new and distinct."""
        begin = 0
        while begin < len(ids):
            chunk = self._chunks[-1]
            if len(chunk.untils) == CHUNK:
                chunk = _Chunk(self._came)
                self._chunks = (*self._chunks, chunk)
            end = min(len(ids), begin + CHUNK - len(chunk.untils))
            chunk.ids += b"".join(ids[begin:end])
            chunk.untils.extend(untils[begin:end])
            self._came += end - begin
            begin = end
        self._until.update(zip(ids, untils, strict=True))
        self.expire(now_ms, min(2 * len(ids), EXPIRED_MAX))
        self._forget_too_many(len(ids))

    def _forget_too_many(self, came: int = 1) -> None:
        """Forget ids above the limit; if it was lowered by much, only some at a time."""
        if len(self) > self.most:
            self.forget(min(len(self) - self.most, came + EXPIRED_MAX))

    def knows_none(self, ids: Collection[bytes]) -> bool:
        """Whether none of the ids was ever seen, as far as is known; False is inconclusive."""
        return self._until.keys().isdisjoint(ids)

    def expire(self, now_ms: int, most: int = sys.maxsize) -> int:
        """Forget up to ``most`` expired ids from the front; return how many."""
        before = self._gone
        while self._gone < self._came and self._gone - before < most:
            chunk = self._chunks[0]
            if chunk.untils[self._gone - chunk.first] > now_ms:
                break
            self._drop_first()
        return self._gone - before

    def forget(self, count: int) -> None:
        """Forget the ``count`` oldest ids, expired or not."""
        for _ in range(min(count, len(self))):
            self._drop_first()
            self.forgotten += 1

    def _drop_first(self) -> None:
        chunk = self._chunks[0]
        at = self._gone - chunk.first
        it = bytes(chunk.ids[at * ID_BYTES : (at + 1) * ID_BYTES])
        if self._until.get(it) == chunk.untils[at]:  # otherwise it has come again since
            del self._until[it]
        self._gone += 1
        if at + 1 == CHUNK:
            self._chunks = self._chunks[1:] or (_Chunk(self._came),)

    def clear(self) -> None:
        """Forget all ids."""
        self._until.clear()
        self._gone = self._came
        self._chunks = (_Chunk(self._came),)

    # As bytes

    def freeze(self) -> Callable[[], bytes]:
        """Take a snapshot; its bytes are made when they are asked for.

        Ids that are forgotten meanwhile are not in it.
        """
        upto = self._came
        return lambda: self._dump(upto)

    def _dump(self, upto: int) -> bytes:
        """The number of ids | ids | when the time of each is over, big-endian, 8 bytes."""
        ids, untils = bytearray(), array("q")
        gone = self._gone
        for chunk in self._chunks:
            begin, end = max(0, gone - chunk.first), max(0, upto - chunk.first)
            ids += chunk.ids[begin * ID_BYTES : end * ID_BYTES]
            untils += chunk.untils[begin:end]
        count = min(len(untils), len(ids) // ID_BYTES)
        if sys.byteorder == "little":
            untils.byteswap()
        head = count.to_bytes(_HEAD_BYTES, "big")
        return b"".join((head, ids[: count * ID_BYTES], untils[:count].tobytes()))

    def load(self, kept: bytes, what: str) -> None:
        """Replace the contents by those of ``freeze``. Raises CorruptStore, with ``what``."""
        count = int.from_bytes(kept[:_HEAD_BYTES], "big")
        begin = _HEAD_BYTES + count * ID_BYTES
        if len(kept) != begin + count * _TIME_BYTES:
            raise CorruptStore(f"{what} is cut off, or too long: restore the store from a backup")
        untils = array("q", kept[begin:])
        if sys.byteorder == "little":
            untils.byteswap()
        self.clear()
        ids = [kept[at : at + ID_BYTES] for at in range(_HEAD_BYTES, begin, ID_BYTES)]
        self.add_many(ids, untils, -1)
