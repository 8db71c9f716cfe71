"""Checks the records of one batch without decoding them: are they intact, and what do they contain?

A batch's header is only a claim of its producer. Here the records themselves are examined: their
number, offset deltas, timestamps, and whether they have keys. No byte is trusted, and no object is
made for a record: neighbours of equal layout are compared by columns (``alike``), others go through
one loop. A record that the loop does not expect is read again by ``_any``, which is the authority
on errors. ``encode`` shows the layout of a record.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from logstore.errors import CorruptBatch
from logstore.records.alike import ALIKE_MIN, NO_KEY, alike
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.columns import COLUMNS_MIN, columns
from logstore.records.compression import DECOMPRESSED_BYTES_MAX, decompress, decompressed
from logstore.records.framing import Framing
from logstore.records.plain import stretch
from logstore.records.quick import Quick, quick
from logstore.records.varint import INT64_MAX, INT64_MIN, NULL, decoded, signed, wrapped64

# The maximum number of records checked in one go: 0.1 to 1 ms, 10 ms at worst. A caller with a
# larger batch may do other work in between.
STEP_RECORDS = 2048
# Header sections repeat from record to record; parsing one costs several times as much as a
# look-up. If they never repeat, this many are kept in vain.
_SECTIONS_KEPT_MAX = 256
# This many records go through the loop before neighbours are compared again, twice as many after
# each comparison without success.
_SINGLES_MIN, _SINGLES_MAX = 8, 4096
_COLUMNS_FIRST = 256  # records that are compared by columns before it is known to be of use
# Marks a zigzag number, read as two bytes at most, as negative or longer than that.
_NOT_COMMON = ~0x3FFE
_TIME_MAX = (1 << 35) - 1  # the zigzag of a timestamp delta in five bytes: 199 days


class Facts(NamedTuple):
    """The facts found in a batch's records, whatever its header says."""

    records: int
    size: int  # bytes of them all, opened
    least_timestamp_ms: int  # of the records themselves, also under LogAppendTime
    max_timestamp_ms: int
    keyless: int  # records without a key


# Told of each record: its place in the batch, its timestamp, whether it has no key.
Note = Callable[[int, int, bool], None]


def look(
    batch: Batch,
    *,
    dense: bool,
    bytes_max: int = DECOMPRESSED_BYTES_MAX,
    note: Note | None = None,
) -> Facts:
    """Facts about the batch's records, after checking that each record is whole.

    ``dense``: offset deltas must be 0 to n - 1, as a producer writes them; otherwise they must rise
    and not exceed the last, as compaction leaves them. ``note`` is called with each record, which
    takes ten times as long. The CRC is not checked. A batch without records has timestamps of -1.
    Raises CorruptBatch, which names the batch's offset and the record, for any fault: more or fewer
    records than the header says, fields outside their record, bytes after the last record, records
    that do not decompress; OpensTooLarge for more than ``bytes_max``.
    """
    walk = Walk(batch, dense=dense, note=note)
    view = memoryview(batch.data)[HEADER_BYTES:]
    try:
        for chunk in decompressed(batch.compression, view, bytes_max):
            for _ in walk.feed(chunk):
                pass
        return walk.end()
    except CorruptBatch as error:
        raise type(error)(f"batch at offset {batch.base_offset}: {error}") from None


def whole(batch: Batch, framing: Framing | None = None) -> bytes:
    """The uncompressed records, after checking that each is whole: to be written again.

    As ``look``, not dense. An empty ``framing`` receives where in these bytes each record begins,
    and its key. Raises CorruptBatch.
    """
    walk = Walk(batch, dense=False, framing=framing)
    view = memoryview(batch.data)[HEADER_BYTES:]
    try:
        data = decompress(batch.compression, view)
        for _ in walk.feed(data):
            pass
        walk.end()
    except CorruptBatch as error:
        raise type(error)(f"batch at offset {batch.base_offset}: {error}") from None
    return data


class Walk:
    """Traverses the records as their bytes arrive.

    Raises CorruptBatch, which names the record by its place in the batch.
    """

    __slots__ = (
        "_base_ms", "_columns_from", "_columns_many", "_columns_pause", "_common", "_count",
        "_delta", "_dense", "_framing", "_held", "_held_bytes", "_index",
        "_keyless", "_last_delta", "_least", "_most", "_note", "_sections", "_size", "_wanted",
        "slow",
    )  # fmt: skip

    def __init__(
        self,
        batch: Batch,
        *,
        dense: bool,
        note: Note | None = None,
        framing: Framing | None = None,
    ) -> None:
        """As ``look``. With a ``framing`` as ``whole``: what is fed comes in one piece."""
        self._framing = framing
        self._base_ms = batch.base_timestamp_ms
        self._note = note
        # Whether the fast ways may be used: no sum of such a base and a five-byte delta overflows,
        # and no caller needs a note of each record.
        self._common = INT64_MIN // 2 <= self._base_ms <= INT64_MAX // 2 and note is None
        self._count = batch.record_count
        self._last_delta = batch.last_offset_delta
        self._dense = dense
        self._columns_from, self._columns_many = 0, _COLUMNS_FIRST
        self._columns_pause = STEP_RECORDS
        self.slow = 0  # records that had to be looked at field by field: 5 us each
        self._index = 0  # of the next record
        self._delta = -1  # of the record before
        self._keyless = 0
        self._size = 0
        self._least, self._most = INT64_MAX, INT64_MIN  # timestamps
        self._sections: set[bytes] = set()
        self._held: list[bytes] = []  # of a record whose end is still to come
        self._held_bytes = 0
        self._wanted = 0  # bytes that it takes to go on with it

    def feed(self, data: bytes) -> Iterator[None]:
        """Check the next bytes, STEP_RECORDS records at a time."""
        self._size += len(data)
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._wanted:
                return
            data = b"".join(self._held)
            self._held.clear()
        at = 0
        while self._index < self._count:
            try:
                at = self._step(data, at, min(self._count, self._index + STEP_RECORDS))
            except _MoreWanted as more:
                at = more.at
                self._held = [data[at:] if at else data]
                self._held_bytes, self._wanted = len(data) - at, more.wanted
                return
            yield
        if at < len(data):
            raise CorruptBatch(f"{len(data) - at} bytes follow the last record")

    def feed_few(self, data: bytes) -> None:
        """Check all bytes at once: of an uncompressed batch of up to STEP_RECORDS records."""
        assert not self._index
        assert self._count <= STEP_RECORDS
        self._size = len(data)
        try:
            few = self._count < ALIKE_MIN  # there are no neighbours to be compared
            at = self._each(data, 0, self._count) if few else self._step(data, 0, self._count)
        except _MoreWanted:
            return  # ``end`` says so
        if at < len(data):
            raise CorruptBatch(f"{len(data) - at} bytes follow the last record")

    @property
    def looked_at(self) -> int:
        """The number of records checked so far."""
        return self._index

    def end(self) -> Facts:
        """Finish after the last bytes."""
        if self._index < self._count:
            raise CorruptBatch(
                f"the records end in record {self._index}, the header says {self._count} records"
            )
        if self._delta > self._last_delta:
            raise CorruptBatch(
                f"a record has offset delta {self._delta}, the last is {self._last_delta}"
            )
        least, most = (self._least, self._most) if self._count else (-1, -1)
        return Facts(self._count, self._size, least, most, self._keyless)

    def _step(self, data: bytes, at: int, stop: int) -> int:
        """Check the records up to the number ``stop``; returns where they end."""
        singles = _SINGLES_MIN
        while (left := stop - self._index) > 0:
            before = self._index
            at = self._some(data, at, left)
            if self._index - before >= ALIKE_MIN:
                singles = _SINGLES_MIN
            elif left := stop - self._index:
                at = self._each(data, at, self._index + min(left, singles))
                singles = min(2 * singles, _SINGLES_MAX)
        return at

    def _some(self, data: bytes, at: int, left: int) -> int:
        """Check the next records in one of the fast ways; returns where they end."""
        if not self._common:
            return at
        delta, framing = self._delta + 1, self._framing
        run = alike(data, at, left, delta, dense=self._dense) if left >= ALIKE_MIN else None
        if run is not None:
            keyless = run.layout.key_bytes == NO_KEY
            self._passed(run.records, run.records if keyless else 0, run.delta)
            self._note_times(run.least, run.most)
            if framing is not None:
                framing.add_run(data, at, run)
            return run.end
        few = quick(data, at, left, delta, starts=framing is not None)
        if few is None:
            few = self._columns(data, at, left, delta)
        if few is not None:
            last = self._delta + few.records
            self._passed(few.records, few.records if few.keyless else 0, last)
            self._note_times(few.least, few.most)
            if framing is not None:
                framing.add_each(data, few)
            return few.end
        found = stretch(data, at, left, delta) if framing is None else None
        if found is None:
            return at
        keyless = found.keyless
        self._passed(found.records, found.records if keyless else 0, self._delta + found.records)
        self._note_times(found.least, found.most)
        return found.end

    def _columns(self, data: bytes, at: int, left: int, delta: int) -> Quick | None:
        """As ``columns``, for more records each time; tried less and less often if it does not
        help.
        """
        if self._index < self._columns_from:
            return None
        many = min(left, self._columns_many)
        few = columns(data, at, many, delta, starts=self._framing is not None)
        if few is not None:
            self._columns_many = STEP_RECORDS
        elif many >= COLUMNS_MIN and at > 1:
            self._columns_from = self._index + self._columns_pause
            self._columns_pause *= 2
        return few

    def _passed(self, records: int, keyless: int, delta: int) -> None:
        """Count checked records. ``delta``: of the last of them."""
        self._index += records
        self._delta = delta
        self._keyless += keyless

    def _note_times(self, least: int, most: int) -> None:
        """Note the range of timestamp deltas, none of which overflows."""
        self._least = min(self._least, self._base_ms + least)
        self._most = max(self._most, self._base_ms + most)

    def _each(self, data: bytes, at: int, stop: int) -> int:
        """Check the records up to the number ``stop`` one by one; returns where they end."""
        while self._index < stop:
            if self._common:
                at = self._loop(data, at, stop - self._index)
            if self._index < stop:
                at = self._any(data, at)
        return at

    def _loop(self, data: bytes, at: int, count: int) -> int:
        """Check records up to the first uncommon one; returns where that one begins.

        A field may claim more bytes than its record has. The position only grows, so that it then
        misses the record's end.
        """
        expected, last_delta = 2 * (self._delta + 1), 2 * self._last_delta  # zigzag
        dense, framing = self._dense, self._framing
        if framing is not None:
            note_start, note_key = framing.starts.append, framing.keys.append
        keyless = key = read = 0
        size, sections = len(data), self._sections
        last_time, least, most = -1, _TIME_MAX, -_TIME_MAX
        start = at
        try:
            for read in range(count):  # noqa: B007 - it is used after the loop
                start, key = at, 0
                length = data[at]
                at += 1
                if length > 127:
                    length += (data[at] << 7) - 128
                    at += 1
                end = at + (length >> 1)
                time = data[at + 1]
                at += 2
                if time > 127:
                    time += (data[at] << 7) - 128
                    at += 1
                    if time > 16383:
                        time, at = _longer(data, time, at)
                delta = data[at]
                at += 1
                if delta > 127:
                    delta += (data[at] << 7) - 128
                    at += 1
                    if delta > 16383:
                        delta, at = _longer(data, delta, at)
                if delta != expected and (dense or delta & 1 or not expected < delta <= last_delta):
                    break
                if length & _NOT_COMMON or time > _TIME_MAX:
                    break
                key = data[at]
                at += 1
                if key == NULL:
                    keyless += 1
                else:
                    if key > 127:
                        key += (data[at] << 7) - 128
                        at += 1
                    if key & _NOT_COMMON:
                        key = 0
                        break
                    at += key >> 1
                value_at = at
                value = data[at]
                at += 1
                if value > 127:
                    value += (data[at] << 7) - 128
                    at += 1
                if not value & _NOT_COMMON:
                    at += value >> 1
                elif value != NULL:
                    break
                if data[at]:
                    section = data[at:end]
                    if end > size or section not in sections:
                        if end > size or _headers_end(data, at) != end:
                            break
                        if len(sections) < _SECTIONS_KEPT_MAX:
                            sections.add(section)
                    at = end
                else:
                    at += 1
                    if at != end:
                        break
                if time != last_time:
                    last_time = time
                    number = time >> 1 ^ -(time & 1)
                    if number > most:
                        most = number
                    if number < least:
                        least = number
                if framing is not None:
                    note_start(start)
                    if key == NULL:
                        note_key(None)
                    else:
                        note_key(data[value_at - (key >> 1) : value_at])
                        if value == NULL:
                            framing.tombstones.append(len(framing.keys) - 1)
                expected = delta + 2
            else:
                start, key, read = at, 0, count
        except IndexError:
            pass  # of the record that begins at ``start``
        if key == NULL:  # of a record that was not gone through
            keyless -= 1
        if read:
            self._passed(read, keyless, (expected >> 1) - 1)
            self._note_times(least, most)
        return start

    def _any(self, data: bytes, at: int) -> int:
        """Check one record with fields of any width; returns where it ends."""
        self.slow += 1
        start = at
        try:
            length, at = decoded(data, at)
        except IndexError:
            raise _MoreWanted(start, len(data) - start + 1) from None
        end = at + (length >> 1)
        if length & 1:
            raise self._fault(f"has length {signed(length)}")
        if end > len(data):
            raise _MoreWanted(start, end - start)
        try:
            self._fields(data, start, at + 1, end)
        except IndexError:
            raise self._fault("does not fit into its own length") from None
        self._index += 1
        return end

    def _fields(self, data: bytes, start: int, at: int, end: int) -> None:
        time, at = decoded(data, at, 10)
        zigzag, at = decoded(data, at)
        delta, expected = signed(zigzag), self._delta + 1
        if delta != expected if self._dense else not expected <= delta <= self._last_delta:
            than = expected if self._dense else f"{expected} to {self._last_delta}"
            raise self._fault(f"has offset delta {delta}, expected {than}")
        key, key_at = decoded(data, at)
        at = key_end = self._past(key, "key", key_at)
        value, at = decoded(data, at)
        at = self._past(value, "value", at)
        if at >= end:
            raise IndexError
        section = data[at:end]
        if section != b"\0" and section not in self._sections:
            self._headers(section)
        self._delta = delta
        self._keyless += key == NULL
        # Java subtracts and adds longs: what overflowed then overflows back now.
        timestamp_ms = wrapped64(self._base_ms + signed(time))
        self._least = min(self._least, timestamp_ms)
        self._most = max(self._most, timestamp_ms)
        if self._framing is not None:
            named = None if key == NULL else data[key_at:key_end]
            self._framing.add(start, named, valueless=value == NULL)
        if self._note is not None:
            self._note(self._index, timestamp_ms, key == NULL)

    def _headers(self, section: bytes) -> None:
        count, at = decoded(section, 0)
        if count & 1 or count > len(section):
            raise self._fault(f"has {signed(count)} headers in {len(section)} bytes")
        for _ in range(count >> 1):
            size, at = decoded(section, at)
            if size == NULL:
                raise self._fault("has a header without a key")
            at = self._past(size, "header key", at)
            size, at = decoded(section, at)
            at = self._past(size, "header value", at)
        if at != len(section):
            raise self._fault(f"has headers that end at byte {at} of {len(section)}")
        if len(self._sections) < _SECTIONS_KEPT_MAX:
            self._sections.add(section)

    def _past(self, zigzag: int, what: str, at: int) -> int:
        """Where a field ends; NULL takes no bytes, and no other length is negative."""
        if zigzag == NULL:
            return at
        if zigzag & 1:
            raise self._fault(f"has a {what} of length {signed(zigzag)}")
        return at + (zigzag >> 1)

    def _fault(self, what: str) -> CorruptBatch:
        return CorruptBatch(f"record {self._index} {what}")


class _MoreWanted(Exception):
    """Not an error: the bytes end within the record at ``at``, which needs ``wanted`` bytes."""

    def __init__(self, at: int, wanted: int) -> None:
        super().__init__()
        self.at, self.wanted = at, wanted


def _headers_end(data: bytes, at: int) -> int:
    """Where the headers at ``at`` end; 0 for uncommon headers. Raises IndexError."""
    count = data[at]
    at += 1
    if count & 0x81:
        return 0
    for _ in range(count >> 1):
        size = data[at]
        if size & 0x81:
            return 0
        at += 1 + (size >> 1)
        size = data[at]
        at += 1
        if size > 127:
            size += (data[at] << 7) - 128
            at += 1
        if not size & _NOT_COMMON:
            at += size >> 1
        elif size != NULL:
            return 0
    return at


def _longer(data: bytes, zigzag: int, at: int) -> tuple[int, int]:
    """Read the rest of a number of three to five bytes, after its second byte."""
    zigzag += (data[at] << 14) - (1 << 14)
    at += 1
    if zigzag >> 21:
        zigzag += (data[at] << 21) - (1 << 21)
        at += 1
        if zigzag >> 28:
            zigzag += (data[at] << 28) - (1 << 28)
            at += 1
    return zigzag, at
