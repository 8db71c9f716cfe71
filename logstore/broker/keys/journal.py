"""Writes the changes of one database to its topic: one batch a turn.

Each turn's changes have a number. A client that must wait until they are safe waits for that
number, as for a log's mark (``Syncing``). A client that reads a changed key before the change is
safe waits, too, so that no power cut takes back a value that was read.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from logstore.broker.keys import elements
from logstore.broker.keys.collection import Collection
from logstore.broker.keys.keyspace import Before, Changes, Keyspace
from logstore.broker.keys.shapes import (
    FLUSH,
    FLUSH_HEADERS,
    PLACES,
    Row,
    columns,
    replaced,
    rows,
)
from logstore.errors import LogstoreError, RecordTooLarge
from logstore.log import Log, Wake
from logstore.records.batch import Batch
from logstore.records.encode import encode_columns
from logstore.slices import GoOn, Steps

# Of records: a batch is one write, and one read of a consumer, which accepts at most twice as much.
# The changes of a command in steps or of a transaction are not divided, so that a power cut never
# leaves half of them: larger ones are refused.
NO_TURN: Final = 0
BATCH_BYTES: Final = 128 << 20
GONE_STEP: Final = 1000  # elements of collections that are gone, in a turn
ROWS_AT_ONCE: Final = 1000  # that are listed in one go; of more a worker makes the batch

log: Final = logging.getLogger("logstore.keys")

Work = Callable[[Callable[[], Any], GoOn], object]
Lost = Callable[["Journal", int, LogstoreError], object]


class Bounds(NamedTuple):
    """Bounds of appended batches."""

    batch_bytes: int
    row_bytes: int = 0  # that a row is taken to need beside its key and value
    alone: bool = False  # a row above the batch size may go in its own batch


ON_DISK: Final = Bounds(BATCH_BYTES, alone=True)


class Written(NamedTuple):
    """A turn whose changes are in a log up to this mark and are not safe yet."""

    turn: int
    log: Log
    mark: int
    dirty: dict[bytes, Before]
    all_keys: bool  # it was flushed, or is another database than before


class Part(NamedTuple):
    """A part of a turn's changes."""

    turn: int
    changes: Changes
    rows: list[Row]
    extra: dict[bytes, bytes | None]
    moved: bool
    batch: Batch | None = None  # of the first of these rows


class Gathered(NamedTuple):
    """Rows of all changes of this turn so far, with no more to come before it ends."""

    rows: list[Row]
    batch: Batch | None


@dataclass(slots=True)
class Held:
    """A change that waits until a decision is safe in another database's log.

    ``batch``: the batch to write then; None: nothing to write, but the database was replaced.
    """

    lead: "Journal"
    lead_mark: int
    batch: Batch | None
    key: bytes  # of the lead's record of it
    part: Part
    mark: int | None = None  # of the batch, once it is in its log


class Journal:
    """The journal of one topic and its database; a ``Syncing``. For the sessions' thread."""

    def __init__(
        self,
        topic: int,
        keyspace: Keyspace,
        open_log: Callable[[], Log],
        soon: Callable[[Callable[[], object]], object],
        work: Work,
        lost: Lost,
        opened: Callable[["Journal", LogstoreError | None], object],
        bounds: Bounds | None = None,
    ) -> None:
        """``open_log`` opens or creates the log; it may take long. Raises LogstoreError.

        ``lost(self, turn, error)``: the changes of that turn cannot be written, and were undone;
        NO_TURN: nothing can be written any more. ``opened(self, error)``: the log is open, or
        cannot be opened although there are changes to write.
        """
        self.topic = topic
        self.keyspace = keyspace
        self.log: Log | None = None
        self.turn = 1  # whose changes are being made
        self.done = 0  # turns, up to this one, whose changes are safe
        self.whole = False  # this turn's changes must be one batch
        self.moved = False  # it is another database than when this turn began
        self.places: bytes | None = None  # the last one that is there is said by these records
        self.extra: dict[bytes, bytes | None] = {}  # records of no key, to be written
        self.held: Held | None = None  # the part that must be written first
        self.owed: dict[bytes, None] = {}  # records here of batches that others hold
        self._open_log = open_log
        self._soon = soon
        self._work = work
        self._lost = lost
        self._told_open = opened
        self.bounds = ON_DISK if bounds is None else bounds
        self.appended_bytes = 0  # since the log was rewritten
        # Told that only the first of several batches could be appended.
        self.halved: Callable[[], object] = lambda: None
        self._opening = False
        self._openers: list[GoOn] = []  # callers that wait for the opening
        self._gathered: Gathered | None = None
        self._written: deque[Written] = deque()
        self._watchers: dict[object, tuple[int, Wake]] = {}
        self._stop: Wake | None = None
        self._again: Callable[[], object] = lambda: None  # of whoever has it hold something
        self._stop_lead: Wake | None = None

    # Syncing

    @property
    def synced(self) -> int:
        """As Syncing.synced."""
        return self.done

    def check_failure(self) -> None:
        """As Syncing.check_failure."""
        if self.held is not None:
            self.held.lead.check_failure()
        if self.log is not None:
            self.log.check_failure()

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """As ``Syncing.sync_soon``: the sync follows at the end of the turn."""

    def wait(self, upto: int) -> None:
        """As Syncing.wait."""
        raise NotImplementedError("a thread that waits would be the one that writes")

    def watch(self, wake: Wake) -> Wake:
        """As Syncing.watch."""
        key = object()
        # If this turn has no changes, an earlier turn has written what is waited for.
        self._watchers[key] = self.turn if self.keyspace.must else self.turn - 1, wake
        return cast("Wake", partial(self._watchers.pop, key, None))

    # Reading

    @property
    def unsafe(self) -> int:
        """The turn that a reader of any key must wait for; 0: none."""
        if self.keyspace.must:
            return self.turn
        return self._written[-1].turn if self._written else 0

    def unsafe_since(self, key: bytes) -> int:
        """Return the turn that a reader of this key must wait for; 0: none."""
        keyspace = self.keyspace
        if keyspace.must and (self.moved or keyspace.flushed is not None or key in keyspace.dirty):
            return self.turn
        for written in reversed(self._written):
            if written.all_keys or key in written.dirty:
                return written.turn
        return 0

    @property
    def holds(self) -> bool:
        """Whether the log has any records, or is being opened."""
        return self._opening or (self.log is not None and self.log.start < self.log.end)

    # Writing

    def trim(self, before: int) -> None:
        """Delete the records before a flush that is safe."""
        if self.log is not None and self.log.start < before:
            self._work(partial(_trim, self.log, before, 0), lambda _: None)

    def use(self, opened: Log) -> None:
        """Use this log from now on."""
        if self._stop is not None:
            self._stop()
        self.log = opened

        def news() -> None:
            self._soon(self.look)

        self._stop = opened.watch(news)

    @property
    def changed(self) -> bool:
        """Whether this turn has made changes that must be written."""
        keyspace = self.keyspace
        return bool(keyspace.dirty or keyspace.flushed is not None or self.extra or self.moved)

    def end_turn(self) -> bool:
        """Write the changes of this turn, once the log is open.

        False: an earlier part must be written first, which waits for another log.
        """
        if self.held is not None:
            return False
        if self.log is None:
            if self.changed:
                self.begin_opening()
                return True
            self.whole = False
            if self.keyspace.gone:
                list(self._gone(unwritten=True))
            return True
        whole, part = self.whole, self.take()
        first = self.log.end
        try:
            mark = self.append(part.rows, part.batch, whole=whole) if part.rows else None
        except LogstoreError as error:
            self.fail(part, error)
        else:
            self.wrote(part, self.log, first, mark)
        return True

    def take(self) -> Part:
        """Return the changes of this turn, and begin the next turn."""
        keyspace = self.keyspace
        changes, extra, moved = keyspace.take(), self.extra, self.moved
        turn, self.turn = self.turn, self.turn + 1
        self.extra, self.moved = {}, False
        listed: list[Row] = [(key, value, ()) for key, value in extra.items()]
        gathered, self._gathered = self._gathered, None
        listed += rows(keyspace, changes.dirty) if gathered is None else gathered.rows
        if keyspace.gone and self.whole and changes.flushed is None:
            keyspace.stir()  # they could make an atomic batch too long
        elif keyspace.gone:
            listed += self._gone(unwritten=changes.flushed is not None)
        if changes.flushed is not None:
            if self.places is not None and PLACES not in extra:
                listed.insert(0, (PLACES, self.places, ()))
            listed.insert(0, (FLUSH, b"", FLUSH_HEADERS))
        begins = gathered is not None and not extra and changes.flushed is None
        batch = gathered.batch if gathered is not None and begins else None
        self.whole = False
        return Part(turn, changes, listed, extra, moved, batch)

    def gather(self) -> Steps:
        """If this turn has many changes, list them in steps.

        Nothing may change or be held back until the steps have ended.
        """
        if not self._is_much():
            return
        if self.log is None:
            yield self._wait_open
        if self.log is None:
            return
        keyspace, listed, size = self.keyspace, list[Row](), 0
        found = rows(keyspace, keyspace.dirty)
        while some := list(islice(found, ROWS_AT_ONCE)):
            listed += some
            size += self.size_of(some)
            yield len(some)
        now_ms, batch = keyspace.clock(), None
        if size <= self.bounds.batch_bytes:
            batch = yield partial(self._work, lambda: encode_columns(columns(listed, now_ms)))
        self._gathered = Gathered(listed, batch)

    @property
    def has_much(self) -> bool:
        """Whether the turn has so many changes that their first batch is already encoded."""
        return self._gathered is not None

    def _is_much(self) -> bool:
        dirty, values = self.keyspace.dirty, self.keyspace.values
        if len(dirty) > ROWS_AT_ONCE:
            return True
        changed = [it for it in map(values.get, dirty) if isinstance(it, Collection)]
        return sum(len(it.before) for it in changed) > ROWS_AT_ONCE

    def append(self, listed: list[Row], batch: Batch | None = None, *, whole: bool) -> int:
        """Append the rows; return the mark behind them. Raises as ``Log.append``.

        ``batch``: the encoded first rows, or None.
        """
        log, now_ms, mark = self.log, self.keyspace.clock(), 0
        assert log is not None
        if batch is not None:
            self.appended_bytes += batch.size
            mark = log.append(batch) + batch.record_count
            listed = listed[batch.record_count :]
            if not listed:
                return mark
        most = self.bounds.batch_bytes
        if whole and (size := self.size_of(listed)) > most:
            raise RecordTooLarge(
                f"a transaction or command changes {size} bytes: at most {most} can be "
                "written as one"
            )
        for some in [listed] if whole else _parts(listed, self.bounds):
            batch = encode_columns(columns(some, now_ms))
            self.appended_bytes += batch.size
            try:
                mark = log.append(batch) + batch.record_count
            except LogstoreError:
                if mark:
                    self.halved()
                raise
        return mark

    def size_of(self, listed: Sequence[Row]) -> int:
        """Return the approximate size of these rows in a batch, in bytes."""
        return sum(map(_size, listed)) + self.bounds.row_bytes * len(listed)

    def wrote(self, part: Part, log: Log, first: int, mark: int | None) -> None:
        """Note that the part is in ``log`` from ``first`` up to ``mark``: its own log, or the
        lead's.

        ``mark`` is None if there was nothing to write.
        """
        turn, changes = part.turn, part.changes
        if mark is not None:
            if log is self.log:
                self._settle(part, log, first, mark)
            else:
                self._follow(log)
            if changes.must:
                all_keys = part.moved or changes.flushed is not None
                self._written.append(Written(turn, log, mark, changes.dirty, all_keys))
            log.sync_soon(hurry=changes.must)
        elif changes.flushed is not None:
            self.keyspace.graves.append(changes.flushed.contents)
        if not self._written:
            self.done = turn
            self._wake()  # a change that was undone needs no write

    def _settle(self, part: Part, log: Log, first: int, mark: int) -> None:
        """Discard the values that this part has replaced."""
        keyspace, changes = self.keyspace, part.changes
        if changes.flushed is not None:
            keyspace.graves.append(changes.flushed.contents)
            if not self.owed:  # otherwise another log may still need them
                self._work(partial(_trim, log, first, mark), lambda _: None)
        for value in replaced(keyspace, changes.dirty):
            keyspace.let_go(value)

    def fail(self, part: Part, error: LogstoreError) -> None:
        """Undo the changes of a part that could not be written."""
        self.extra = part.extra | self.extra
        self.keyspace.give_back(part.changes)
        self._lost(self, part.turn, error)
        if not self._written:
            self.done = part.turn
        self._wake()

    # What another log decides on

    def hold(self, held: Held, again: Callable[[], object]) -> None:
        """Write nothing until ``held`` is decided; then call ``again()``."""
        assert self.held is None
        self.held, self._again = held, again
        if held.batch is not None:
            held.lead.owed[held.key] = None
        self._soon(self.look)  # it may be safe already

    def _follow(self, lead_log: Log) -> None:
        """Call ``look`` when records in the lead's log become safe."""
        if self._stop_lead is not None:
            self._stop_lead()

        def news() -> None:
            self._soon(self.look)

        self._stop_lead = lead_log.watch(news)

    def write_held(self) -> None:
        """If the held part is decided, write it, then the later changes."""
        held = self.held
        if held is None:
            return
        lead_log = held.lead.log
        assert lead_log is not None
        if lead_log.done >= held.lead_mark and (held.batch is None or self._has(held, held.batch)):
            self.held = None
            if held.batch is not None:
                held.lead.pay(held.key)
            if self.changed:
                self.keyspace.stir()
            self._again()

    def _has(self, held: Held, batch: Batch) -> bool:
        """Whether the held batch is safe in the log; if it is not there it is written."""
        log = self.log
        if log is None:
            self.begin_opening()
            return False
        if held.mark is None:
            first = log.end
            try:
                held.mark = log.append(batch) + batch.record_count
            except LogstoreError as error:  # it is decided on: it stays, and is tried again
                self._lost(self, NO_TURN, error)
                return False
            self._settle(held.part, log, first, held.mark)
            log.sync_soon()
        return log.done >= held.mark

    def pay(self, key: bytes) -> None:
        """Delete the record ``key`` of the lead: the batch in it is safe in its own log."""
        self.owed.pop(key, None)
        self.extra[key] = None
        self.keyspace.stir()

    def _gone(self, *, unwritten: bool) -> Iterator[Row]:
        """Yield tombstones for some elements of discarded collections."""
        keyspace, left = self.keyspace, GONE_STEP
        while keyspace.gone and left > 0:
            value = keyspace.gone[0]
            names = value.let_go(left)
            left -= len(names)
            if not names:
                keyspace.gone.popleft()
            elif value.version and not unwritten:
                yield from elements.gone(value.version, names)
        if keyspace.gone:
            keyspace.stir()

    def begin_opening(self) -> None:
        """Start to open the log, unless it is already being opened."""
        if not self._opening:
            self._opening = True
            self._work(self._opened, self._go_on)

    def _wait_open(self, go_on: GoOn) -> None:
        """Call ``go_on`` once the log is open; this is a ``Wait``."""
        self._openers.append(go_on)
        self.begin_opening()

    def _opened(self) -> Log | LogstoreError:
        try:
            return self._open_log()
        except LogstoreError as error:
            return error

    def _go_on(self, opened: object) -> None:
        self._opening = False
        if isinstance(opened, LogstoreError):
            if self.held is not None:
                self._lost(self, NO_TURN, opened)
            else:
                self._told_open(self, opened)
        else:
            self.use(opened)  # type: ignore[arg-type]
            self.write_held()
            self._told_open(self, None)
            self._wake()
        openers, self._openers = self._openers, []
        for go_on in openers:
            go_on(None)

    def look(self) -> None:
        """Check which turns have become safe in this log, or in the lead's."""
        log, written = self.log, self._written
        while written and written[0].mark <= written[0].log.done:
            self.done = written.popleft().turn
        if not written and log is not None:
            self.done = self.turn - 1
        self.write_held()
        if (
            self._stop_lead is not None
            and self.held is None
            and all(it.log is log for it in written)
        ):
            self._stop_lead()
            self._stop_lead = None
        try:
            self.check_failure()
        except LogstoreError as error:
            self._lost(self, NO_TURN, error)
            self._wake(failed=True)
        else:
            self._wake()

    def _wake(self, *, failed: bool = False) -> None:
        for turn, wake in list(self._watchers.values()):
            if turn <= self.done or failed:
                wake()

    def write_all_held(self) -> None:
        """Write the held part at the end of the process; may block.

        If that fails, the next process that opens the log writes it.
        """
        held = self.held
        if held is None or held.lead.log is None:
            return
        try:
            held.lead.log.sync_soon()
            held.lead.log.wait(held.lead_mark)
            self.open_now()
            self.write_held()
            if self.log is not None and held.mark is not None:
                self.log.wait(held.mark)
                self.write_held()
        except LogstoreError as error:
            log.warning(
                "what keys of database %d have become is written later: %s",
                self.keyspace.number,
                error,
            )

    def open_now(self) -> None:
        """Open the log if there are changes to write. May take long."""
        if self.log is None and (self.changed or self.held is not None):
            opened = self._opened()  # with ``everysec`` it is already acknowledged
            if not isinstance(opened, LogstoreError):
                self.use(opened)

    def leave(self, error: LogstoreError) -> None:
        """Give up the log to another process: changes that are not safe yet may be lost."""
        self.look()
        self.close()
        written, self._written = self._written, deque()
        turns = [*(it.turn for it in written), self.turn]
        self.log, self.extra, self.whole, self._gathered = None, {}, False, None
        for turn in turns:
            self._lost(self, turn, error)
        self.done, self.turn = self.turn, self.turn + 1
        self._wake()

    def close(self) -> None:
        """Stop watching the logs."""
        for stop in (self._stop, self._stop_lead):
            if stop is not None:
                stop()
        self._stop = self._stop_lead = None


def _parts(listed: Sequence[Row], bounds: Bounds) -> Iterator[Sequence[Row]]:
    """Yield runs of rows that fit into a batch. Raises RecordTooLarge before the first run."""
    most, more = bounds.batch_bytes, bounds.row_bytes
    keys, values, _ = zip(*listed, strict=True)
    size = sum(map(len, keys)) + sum(map(len, filter(None, values))) + more * len(listed)
    if size <= most:
        yield listed
        return
    if not bounds.alone and (own := max(map(_size, listed)) + more) > most:
        raise RecordTooLarge(f"a key with its value has {own} bytes: the maximum is {most}")
    begin = size = 0
    for at, row in enumerate(listed):
        own = _size(row) + more
        if at > begin and size + own > most:
            yield listed[begin:at]
            begin, size = at, 0
        size += own
    yield listed[begin:]


def _size(row: Row) -> int:
    key, value, _ = row
    return len(key) + len(value or b"")


def _trim(trimmed: Log, before: int, mark: int) -> None:
    """Delete flushed records once the flush is safe. Runs in a worker."""
    try:
        trimmed.sync_soon()
        trimmed.wait(mark)
        trimmed.trim(before)
    except LogstoreError as error:  # it is gone all the same: the record says so
        log.warning("%s: what was flushed is still on disk: %s", trimmed.name, error)
