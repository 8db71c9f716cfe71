"""The records read last from streams, shared by consumers.

Consumers at the same position share decoded records, so that each record is decoded once. The
memory for all streams together is bounded; records that were dropped are read again. At most a few
milliseconds of decoding are done at once, however large a batch is: a consumer that begins within a
batch passes the records before its position in several turns.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from logstore.broker.reading import TURN_RECORDS, Chunk, chunks
from logstore.errors import CorruptBatch, LogstoreError, OffsetBelowStart
from logstore.log import Log
from logstore.records.record import Record

READ_BYTES: Final = 65_536  # some 500 small records
PAGES_BYTES: Final = 8 << 20  # of all streams together, decompressed
RECORD_BYTES: Final = 400  # that one takes beside key and value
# A record that is larger, decompressed, is passed over: it would be in memory several times.
RECORD_BYTES_MAX: Final = 128 << 20
EMPTY_MAX: Final = 8  # pages without a record that are passed over at once
OPENING_MAX: Final = 8  # cursors that go through a batch to where they begin: each has it open

Skip = Callable[[CorruptBatch], object]


class _Rest:
    """The undecoded rest of a large or compressed batch."""

    __slots__ = ("at", "chunks", "kept", "log")

    def __init__(self, log: Log, at: int, skip: Skip) -> None:
        """Prepare to read. Raises nothing yet."""
        self.log = log
        self.at = at  # where the next chunk begins
        self.kept: tuple[Log, int] | None = None  # by which the page is known that has it
        self.chunks = _read(log, at, skip)

    def next(self) -> Chunk | None:
        """Return the next chunk, or None. Raises LogstoreError."""
        return next(self.chunks, None)


class Page(NamedTuple):
    """The result of one read, or a part of it if it is large after decompression.

    A page that ends where it begins has no records yet: ask again.
    """

    records: list[Record]
    end: int  # the offset behind; perhaps of no record
    rest: _Rest | None  # what was read with it
    held: int = 0  # bytes of that


class Pages:
    """The pages of all streams that were used last."""

    def __init__(self, bytes_max: int = PAGES_BYTES) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[tuple[Log, int], tuple[Page, int]] = OrderedDict()
        self._bytes = 0
        self._opening: dict[Cursor, _Rest] = {}
        self.decoded = 0  # records, ever: 2 us each

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, log: Log, begin: int) -> Page | None:
        """Return the cached page that begins there, or None."""
        kept = self._kept.get((log, begin))
        if kept is None:
            return None
        self._kept.move_to_end((log, begin))
        return kept[0]

    def put(self, log: Log, begin: int, page: Page) -> None:
        """Cache a page; the least recently used ones are dropped."""
        self._drop((log, begin))
        size = sum(len(it.value or b"") + len(it.key or b"") for it in page.records)
        size += RECORD_BYTES * (1 + len(page.records)) + page.held
        self._kept[log, begin] = page, size
        self._bytes += size
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: tuple[Log, int]) -> None:
        _, size = self._kept.pop(name, (None, 0))
        self._bytes -= size

    def forget(self, log: Log) -> None:
        """Drop the pages of a deleted stream."""
        for name in [it for it in self._kept if it[0] is log]:
            self._drop(name)
        for cursor in [it for it, rest in self._opening.items() if rest.log is log]:
            self.let_go(cursor)

    def let_go(self, cursor: "Cursor") -> None:
        """Close what the cursor has open: it reads no more for now."""
        self._opening.pop(cursor, None)

    def read(
        self, log: Log, begin: int, skip: Skip, cursor: "Cursor", before: Page | None = None
    ) -> Page | None:
        """Return the page that begins there; None: there are no records, or they are not read yet.

        ``before``: the page that ends there. ``skip``: called with damaged batches, which are
        skipped. Raises LogstoreError if nothing can be read.
        """
        known = self.get(log, begin)
        if known is not None:
            self.let_go(cursor)
            return known
        rest = self._opening.get(cursor)
        if rest is None or rest.log is not log or rest.at != begin:
            self.let_go(cursor)
            rest = None if before is None else before.rest
        if rest is None or rest.at != begin:  # others have gone on with it
            if self._is_opened(log, begin):
                return Page([], begin, None)
            rest = _Rest(log, begin, skip)
        try:
            chunk = rest.next()
            if chunk is not None and chunk.end == begin and not chunk.more:
                rest = _Rest(log, begin, skip)
                chunk = rest.next()
        except LogstoreError:
            self.let_go(cursor)
            raise
        if chunk is None:
            self.let_go(cursor)
            return None
        return self._page(rest, begin, chunk, cursor)

    def _is_opened(self, log: Log, begin: int) -> bool:
        """Return whether to wait: another cursor reads there, or too many read anywhere."""
        those = self._opening.values()
        return len(those) >= OPENING_MAX or any(it.log is log and it.at == begin for it in those)

    def _page(self, rest: _Rest, begin: int, chunk: Chunk, cursor: "Cursor") -> Page:
        self.decoded += len(chunk.records)
        if chunk.end == begin:
            self.decoded += TURN_RECORDS  # before it
            self._opening[cursor] = rest
            return Page([], begin, None)
        self.let_go(cursor)
        kept = rest.kept
        if kept is not None and kept in self._kept:  # it goes on with this page
            page, size = self._kept[kept]
            self._kept[kept] = page._replace(rest=None, held=0), size - page.held
            self._bytes -= page.held
        rest.at, rest.kept = chunk.end, (rest.log, begin)
        page = Page(chunk.records, chunk.end, *((rest, chunk.held) if chunk.more else (None, 0)))
        self.put(rest.log, begin, page)
        return page


def _read(log: Log, begin: int, skip: Skip) -> Iterator[Chunk]:
    name, _, number = log.name.rpartition("-")
    return chunks(
        log, (name, int(number)), begin, skip,
        bytes_max=READ_BYTES, record_bytes_max=RECORD_BYTES_MAX, in_turns=True,
    )  # fmt: skip


class Cursor:
    """A position in a stream: the next record. It advances by itself."""

    __slots__ = ("_begin", "_taken", "at", "stopped")

    def __init__(self, at: int) -> None:
        self.at = at
        self.stopped = False  # the last take has ended before it had all: take again
        self._begin = at  # of the page that it is in
        self._taken = 0  # records of it that are behind

    def take(self, log: Log, pages: Pages, most: int, bytes_max: int, skip: Skip) -> list[Record]:
        """Return up to ``most`` records, with ``bytes_max`` of values besides the first; move up.

        Empty at the end of the safe records, or if they are not read yet: the log's watch tells of
        both. Deleted records are skipped. Raises LogstoreError.
        """
        self.stopped = False
        for _ in range(EMPTY_MAX):
            if self.at >= log.safe:
                return []
            page = self._page(log, pages, skip)
            if page is None:
                return []
            found = self._of(page, most, bytes_max)
            if found:
                self.stopped = len(found) < most and self.at < log.safe
                return found
            if self.at >= page.end:
                break  # it was not read yet
            self._move(page.end)  # there was nothing in it
        self.stopped = True
        return []

    def _move(self, at: int) -> None:
        self.at = self._begin = at
        self._taken = 0

    def _page(self, log: Log, pages: Pages, skip: Skip) -> Page | None:
        """Return the page that contains the cursor, or the next page if the cursor is
        at its end.
        """
        if self.at < log.start:  # cached pages below the start must not be used
            self._move(log.start)
        page = pages.get(log, self._begin)
        if page is None:  # no longer cached: the rest is read
            self._move(self.at)
        elif self._taken < len(page.records):
            return page
        else:
            self._move(max(page.end, self.at))
        try:
            return pages.read(log, self.at, skip, self, page)
        except OffsetBelowStart:  # trimmed just now
            self._move(log.start)
            return Page([], self.at, None)

    def _of(self, page: Page, most: int, bytes_max: int) -> list[Record]:
        found: list[Record] = []
        for record in page.records[self._taken : self._taken + most]:
            bytes_max -= len(record.value or b"")
            if found and bytes_max < 0:
                break
            found.append(record)
        if found:
            self._taken += len(found)
            self.at = found[-1].offset + 1
        return found
