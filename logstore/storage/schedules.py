"""An index of scheduled records by the time at which they are due, in LMDB beside the catalogue.

    schedules   "r" log due offset    nothing: the record waits
                "m" log               mark: what is below is known
                "i" log               end, number, then due and offset of each: under way

A log's key is as in ``kept/schedules.py``, with one length for each kind; all numbers have 64 bits,
big-endian, so that keys sort by due time.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from logstore.errors import CorruptStore
from logstore.kept.schedules import Entry, Moving
from logstore.storage.environment import Environment, Transaction

SCHEDULES: Final = b"schedules"
TABLES: Final = (SCHEDULES,)

_ROW, _MARK, _MOVING = b"r", b"m", b"i"
_PAIR: Final = Struct(">QQ")
_NUMBER: Final = Struct(">Q")


class ScheduleTable:
    """The ``ScheduleIndex`` in LMDB, with its changes within a transaction."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    # As ScheduleIndex

    def logs(self) -> list[bytes]:
        """As ScheduleIndex.logs. Raises Failed."""
        if not self.environment.has(SCHEDULES):
            return []
        return [key[1:] for key, _ in self.environment.items(SCHEDULES, _MARK)]

    def mark(self, log: bytes) -> int:
        """As ScheduleIndex.mark. Raises Failed, CorruptStore."""
        if not self.environment.has(SCHEDULES):
            return 0
        value = self.environment.get(SCHEDULES, _MARK + log)
        if value is None:
            return 0
        if len(value) != _NUMBER.size:
            raise self._damaged(_MARK + log)
        found: int = _NUMBER.unpack(value)[0]
        return found

    def page(self, log: bytes, first: Entry, most: int) -> tuple[list[Entry], bool]:
        """As ScheduleIndex.page. Raises Failed."""
        if not self.environment.has(SCHEDULES):
            return [], False
        prefix = _ROW + log
        keys = self.environment.page(SCHEDULES, prefix, prefix + _PAIR.pack(*first), most + 1)
        head = len(prefix)
        found = [
            Entry(*_PAIR.unpack_from(key, head)) for key in keys[:most]
            if len(key) == head + _PAIR.size
        ]  # fmt: skip
        return found, len(keys) > most

    def moving(self, log: bytes) -> Moving | None:
        """The move in progress from this log; None: none. Raises Failed, CorruptStore."""
        if not self.environment.has(SCHEDULES):
            return None
        value = self.environment.get(SCHEDULES, _MOVING + log)
        if value is None:
            return None
        if len(value) % _PAIR.size or not value:
            raise self._damaged(_MOVING + log)
        (end, number), *pairs = _PAIR.iter_unpack(value)
        return Moving(end, number, tuple([Entry(*it) for it in pairs]))

    def _damaged(self, key: bytes) -> CorruptStore:
        return CorruptStore(
            f"{self.environment.path}: the entry {key.hex()} of delayed records is damaged:"
            " restore the store from a backup"
        )

    # Changed

    def change(self, work: Callable[[Transaction], object]) -> None:
        """Make a change; durable on return. Raises ReadOnly, StorageFull, Failed."""
        self.environment.transact(TABLES, work)

    def forget_some(self, log: bytes, most: int) -> bool:
        """As ``forget``, in a transaction of its own."""
        return self.environment.transact(TABLES, lambda it: self.forget(it, log, most))

    def write(
        self,
        transaction: Transaction,
        log: bytes,
        put: Sequence[Entry],
        gone: Sequence[Entry],
        mark: int | None = None,
    ) -> None:
        """Add and remove entries; ``mark``: everything below it is known now."""
        for entry in gone:
            transaction.change(SCHEDULES, _ROW + log + _PAIR.pack(*entry), None)
        if put:
            prefix, pack = _ROW + log, _PAIR.pack
            items = [(prefix + pack(*entry), b"") for entry in sorted(put)]
            transaction.put_many(SCHEDULES, items)
        if mark is not None:
            transaction.change(SCHEDULES, _MARK + log, _NUMBER.pack(mark))

    def move(self, transaction: Transaction, log: bytes, moving: Moving | None) -> None:
        """Note the move in progress from this log; None: none."""
        value = None
        if moving is not None:
            head = _PAIR.pack(moving.end, moving.number)
            value = head + b"".join([_PAIR.pack(*it) for it in moving.entries])
        transaction.change(SCHEDULES, _MOVING + log, value)

    def forget(self, transaction: Transaction, log: bytes, most: int) -> bool:
        """Remove this many entries of a log, and finally its mark; returns whether that was all."""
        prefix = _ROW + log
        keys = transaction.keys(SCHEDULES, prefix, prefix, most + 1)
        for key in keys[:most]:
            transaction.change(SCHEDULES, key, None)
        if len(keys) > most:
            return False
        transaction.change(SCHEDULES, _MARK + log, None)
        transaction.change(SCHEDULES, _MOVING + log, None)
        return True
