"""Rewrites a database in a log that is not compacted, from time to time.

After a *beat*, a record of the log's owner, all keys are appended again, some in each turn, while
clients continue; their changes are appended among them in order. Once all of that is safe,
everything before the beat is obsolete and is deleted. If a round is interrupted, the log still has
everything that it had before.

A large collection does not change while it is written; clients that would change it wait.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol

from logstore.broker.keys.collection import Collection
from logstore.broker.keys.journal import Journal
from logstore.broker.keys.levels import Level
from logstore.broker.keys.shapes import Row, columns, whole_rows
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.records.encode import encode_columns

LEAST_BYTES: Final = 4 << 20  # that were appended since the last round
TIMES: Final = 2  # of what the database holds: a round is worth while
ROWS_AT_ONCE: Final = 500  # in one turn
BYTES_AT_ONCE: Final = 512 << 10
MANY: Final = 500  # elements of a collection
# A client that waits for a long collection continues before the batch that ends it is appended: so
# that batch must not begin with rows of other keys, which may have changed by then.
assert MANY >= ROWS_AT_ONCE


class Beating(Log, Protocol):
    """A log with only one appending process; it may be trimmed up to that process's beats."""

    @property
    def standing_bytes(self) -> int:
        """The size of all records that the log held when this process became its owner."""

    def beat(self) -> int:
        """Append a heartbeat; return its mark. Raises as ``append``."""

    def trim_to_beat(self, mark: int) -> None:
        """Delete all records before the heartbeat, which is safe."""

    def give_up(self) -> None:
        """Give up ownership: the log does not match what this process holds."""


class Aloner(Protocol):
    """``Keys``."""

    def end_turn(self) -> None: ...
    def take(self, who: object) -> bool: ...
    def let_go(self, who: object) -> None: ...
    def held_up(self, who: object, wake: Callable[[], object]) -> bool: ...


class Rewriting:
    """The rewriting of one database, while this process owns its log. For the sessions' thread."""

    def __init__(
        self,
        keys: Aloner,
        journal: Journal,
        log: Beating,
        soon: Callable[[Callable[[], object]], object],
    ) -> None:
        self._keys = keys
        self._journal = journal
        self._keyspace = journal.keyspace
        self._log = log
        self._soon = soon
        self._rows: Iterator[Row] | None = None  # of the round that is under way
        self._beat = 0  # its mark
        self._mark = 0  # behind all that it has appended
        self._counted = 0  # bytes that were appended before it
        self._ended = False  # all of it is appended
        self._stop = log.watch(self._news)

    def look(self) -> None:
        """Begin a round if enough was appended."""
        journal = self._journal
        due = max(LEAST_BYTES, TIMES * self._keyspace.contents.bytes)
        if self._rows is not None or journal.appended_bytes <= due:
            return
        try:
            self._beat = self._log.beat()
        except LogstoreError:  # the next append gets the error; still due
            return
        self._counted, journal.appended_bytes = journal.appended_bytes, 0
        self._keyspace.renamed = []
        self._rows, self._ended, self._mark = self._all(), False, self._beat + 1

    def _news(self) -> None:
        if self._rows is not None:
            self._soon(self._go_on)

    def _go_on(self) -> None:
        """Append some more rows, once the earlier ones are safe."""
        if self._rows is None or self._log.done < self._mark:
            return
        self._keys.end_turn()  # changes come before the unchanged rows
        if self._keyspace.renamed is None:
            self._break_off()
        elif self._ended:
            self._log.trim_to_beat(self._beat)
            self._over()
        elif not self._keys.held_up(self, self._news):
            self._append(self._rows)

    def _append(self, rows: Iterator[Row]) -> None:
        some, size = list[Row](), 0
        for row in islice(rows, ROWS_AT_ONCE):
            some.append(row)
            size += len(row[0]) + len(row[1] or b"")
            if size > BYTES_AT_ONCE:
                break
        else:
            self._ended = len(some) < ROWS_AT_ONCE
        try:
            if some:
                batch = encode_columns(columns(some, self._keyspace.clock()))
                self._mark = self._log.append(batch) + batch.record_count
        except LogstoreError:  # whoever appends next is told
            self._break_off()
            return
        self._soon(self._go_on)  # it may be safe already

    def _all(self) -> Iterator[Row]:
        keyspace = self._keyspace
        for keys in keyspace.parts():
            for key in keys:
                yield from self._rows_of(key)
        while keyspace.renamed:  # they may be where all keys were gone through already
            yield from self._rows_of(keyspace.renamed.pop())

    def _rows_of(self, key: bytes) -> Iterator[Row]:
        keyspace = self._keyspace
        value = keyspace.values.get(key)
        if value is None or keyspace.levels.of(key) is Level.NONE:
            return
        if not isinstance(value, Collection) or len(value) <= MANY:
            yield from list(whole_rows(keyspace, key))
            return
        self._keys.take(self)
        try:
            yield from whole_rows(keyspace, key)
        finally:
            self._keys.let_go(self)

    def _break_off(self) -> None:
        """Break off the round: all earlier records stay, and another round is due."""
        self._journal.appended_bytes += self._counted
        self._over()

    def _over(self) -> None:
        rows, self._rows = self._rows, None
        self._keyspace.renamed = None
        if rows is not None:
            rows.close()  # type: ignore[attr-defined]  # it is a generator

    def close(self) -> None:
        """Stop: another process owns the log."""
        self._stop()
        self._over()
