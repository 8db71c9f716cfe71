"""How the changes of one database come to be on disk: one batch a turn, in its topic.

The changes of a turn have a number, the turn's. Whoever has to wait until they are safe waits for
that number, as for a log's mark: a ``Syncing``. Whoever reads a key that was changed and is not
safe yet waits, too: what was read is never unread.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from logstore.broker.keys import elements
from logstore.broker.keys.keyspace import Before, Changes, Keyspace
from logstore.broker.keys.shapes import FLUSH, FLUSH_HEADERS, Row, columns, replaced, rows
from logstore.errors import LogstoreError, RecordTooLarge
from logstore.log import Log, Wake
from logstore.records.encode import encode_columns
from logstore.slices import GoOn

# Of records: a batch is one write, and one read of whoever reads the topic, who takes no more than
# twice as much of it. What a command in steps or a transaction has changed is not cut, so that a
# power cut leaves no half of it: more is refused.
NO_TURN: Final = 0
BATCH_BYTES: Final = 128 << 20
GONE_STEP: Final = 1000  # elements of collections that are gone, in a turn

log: Final = logging.getLogger("logstore.keys")

Work = Callable[[Callable[[], Any], GoOn], object]
Lost = Callable[["Journal", int, LogstoreError], object]


class Written(NamedTuple):
    """A turn whose changes are in the log, and are not safe yet."""

    turn: int
    mark: int
    dirty: dict[bytes, Before]
    flushed: bool


class Journal:
    """Of one database; a ``Syncing``. For the sessions' thread."""

    def __init__(
        self,
        keyspace: Keyspace,
        open_log: Callable[[], Log],
        soon: Callable[[Callable[[], object]], object],
        work: Work,
        lost: Lost,
    ) -> None:
        """``open_log``: may take long; makes it where there is none. Raises LogstoreError.

        ``lost(self, turn, error)``: the changes of that turn can't be written, and were taken back;
        NO_TURN: nothing can be written any more.
        """
        self.keyspace = keyspace
        self.log: Log | None = None
        self.turn = 1  # whose changes are being made
        self.done = 0  # turns, up to this one, whose changes are safe
        self.whole = False  # what this turn has changed is to be one batch
        self._open_log = open_log
        self._soon = soon
        self._work = work
        self._lost = lost
        self._opening = False
        self._written: deque[Written] = deque()
        self._watchers: dict[object, tuple[int, Wake]] = {}
        self._stop: Wake | None = None

    # Syncing

    @property
    def synced(self) -> int:
        """As Syncing.synced."""
        return self.done

    def check_failure(self) -> None:
        """As Syncing.check_failure."""
        if self.log is not None:
            self.log.check_failure()

    def sync_soon(self, *, hurry: bool = True) -> None:
        """As Syncing.sync_soon: that comes when the turn ends."""

    def wait(self, upto: int) -> None:
        """As Syncing.wait."""
        raise NotImplementedError("a thread that waits would be the one that writes")

    def watch(self, wake: Wake) -> Wake:
        """As Syncing.watch."""
        key = object()
        # Where this turn has changed nothing, what is waited for was written before.
        self._watchers[key] = self.turn if self.keyspace.must else self.turn - 1, wake

        def stop() -> None:
            self._watchers.pop(key, None)

        return stop

    # Reading

    @property
    def unsafe(self) -> int:
        """The turn that one waits for who has read anything at all; 0: none."""
        if self.keyspace.must:
            return self.turn
        return self._written[-1].turn if self._written else 0

    def unsafe_since(self, key: bytes) -> int:
        """The same for who has read this key."""
        keyspace = self.keyspace
        if keyspace.must and (keyspace.flushed is not None or key in keyspace.dirty):
            return self.turn
        for written in reversed(self._written):
            if written.flushed or key in written.dirty:
                return written.turn
        return 0

    @property
    def holds(self) -> bool:
        """Whether there is anything in the log."""
        return self._opening or (self.log is not None and self.log.start < self.log.end)

    # Writing

    def trim(self, before: int) -> None:
        """A flush stands there, and is safe: what is before it is of no use."""
        if self.log is not None and self.log.start < before:
            self._work(partial(_trim, self.log, before, 0), lambda _: None)

    def use(self, opened: Log) -> None:
        """Write to this log."""
        self.log = opened

        def news() -> None:
            self._soon(self.look)

        self._stop = opened.watch(news)

    def end_turn(self) -> None:
        """Write what was changed; where the log is not open yet, when it is."""
        keyspace = self.keyspace
        if self.log is None:
            if keyspace.dirty or keyspace.flushed is not None:
                if not self._opening:
                    self._opening = True
                    self._work(self._opened, self._go_on)
            elif keyspace.gone:
                list(self._gone(unwritten=True))
            return
        changes = keyspace.take()
        turn, whole, self.whole = self.turn, self.whole, False
        self.turn += 1
        try:
            mark = self._append(self.log, changes, whole=whole)
        except LogstoreError as error:
            self._failed(turn, changes, error)
            return
        if changes.flushed is not None:
            keyspace.graves.append(changes.flushed.contents)
        if changes.must and mark is not None:
            flushed = changes.flushed is not None
            self._written.append(Written(turn, mark, changes.dirty, flushed))
            self.log.sync_soon()
        elif mark is not None:
            self.log.sync_soon(hurry=False)
        if not self._written:
            self.done = turn
            self._wake()  # what was changed and changed back is nothing to be written

    def _append(self, log: Log, changes: Changes, *, whole: bool) -> int | None:
        """The mark behind what was written; None: there was nothing to be written."""
        keyspace = self.keyspace
        listed: list[Row] = list(rows(keyspace, changes.dirty))
        if keyspace.gone:
            listed += self._gone(unwritten=changes.flushed is not None)
        first = log.end
        if changes.flushed is not None:
            listed.insert(0, (FLUSH, b"", FLUSH_HEADERS))
        if not listed:
            return None
        now_ms = keyspace.clock()
        mark = 0
        if whole and (size := sum(map(_size, listed))) > BATCH_BYTES:
            raise RecordTooLarge(
                f"a transaction or command changes {size} bytes: {BATCH_BYTES} are the most that "
                "are written as one"
            )
        for some in [listed] if whole else _parts(listed):
            batch = encode_columns(columns(some, now_ms))
            mark = log.append(batch) + batch.record_count
        if changes.flushed is not None:
            self._work(partial(_trim, log, first, mark), lambda _: None)
        for value in replaced(keyspace, changes.dirty):
            keyspace.let_go(value)
        return mark

    def _gone(self, *, unwritten: bool) -> Iterator[Row]:
        """What says that elements need not be kept any more, of some of them."""
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

    def _failed(self, turn: int, changes: Changes, error: LogstoreError) -> None:
        self.keyspace.give_back(changes)
        self._lost(self, turn, error)
        if not self._written:
            self.done = turn
        self._wake()

    def _opened(self) -> Log | LogstoreError:
        try:
            return self._open_log()
        except LogstoreError as error:
            return error

    def _go_on(self, opened: object) -> None:
        self._opening = False
        if isinstance(opened, LogstoreError):
            turn, self.turn = self.turn, self.turn + 1
            self._failed(turn, self.keyspace.take(), opened)
            return
        self.use(opened)  # type: ignore[arg-type]
        self.end_turn()
        self._wake()

    def look(self) -> None:
        """The log may have become safe."""
        log, written = self.log, self._written
        if log is None:
            return
        done = log.done
        while written and written[0].mark <= done:
            self.done = written.popleft().turn
        if not written:
            self.done = self.turn - 1
        try:
            log.check_failure()
        except LogstoreError as error:
            self._lost(self, NO_TURN, error)
            self._wake(failed=True)
        else:
            self._wake()

    def _wake(self, *, failed: bool = False) -> None:
        for turn, wake in list(self._watchers.values()):
            if turn <= self.done or failed:
                wake()

    def close(self) -> None:
        """Write what is left; nobody is told any more. The process ends, and may wait."""
        if self.log is None and (self.keyspace.dirty or self.keyspace.flushed is not None):
            opened = self._opened()  # under ``everysec`` it has been answered
            if not isinstance(opened, LogstoreError):
                self.log = opened
                self.end_turn()
        if self._stop is not None:
            self._stop()
            self._stop = None


def _parts(listed: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Some at a time that are a batch."""
    begin = size = 0
    for at, row in enumerate(listed):
        own = _size(row)
        if at > begin and size + own > BATCH_BYTES:
            yield listed[begin:at]
            begin, size = at, 0
        size += own
    yield listed[begin:]


def _size(row: Row) -> int:
    key, value, _ = row
    return len(key) + len(value or b"")


def _trim(trimmed: Log, before: int, mark: int) -> None:
    """In a worker: what was flushed is not needed once the flush is safe."""
    try:
        trimmed.sync_soon()
        trimmed.wait(mark)
        trimmed.trim(before)
    except LogstoreError as error:  # it is gone all the same: the record says so
        log.warning("%s: what was flushed is still on disk: %s", trimmed.name, error)
