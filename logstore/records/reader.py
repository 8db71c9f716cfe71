"""The records of one batch while they are read: the bytes, the position, and the records so far.

``encode`` draws the layout of a record. ``read`` is the loop for the common case, each field of a
width that most have; ``_read_any`` takes any record and finds what is wrong with a damaged one.
Neither trusts a byte. IndexError means that the data end within a record.
"""

from logstore.errors import CorruptBatch
from logstore.records.headers import decoded_headers
from logstore.records.record import Headers, Record
from logstore.records.varint import NULL, SIGNED14, decoded, signed, wrapped64

# Header sections repeat in many batches (a content type, a source), and parsing one costs several
# times as much as a look-up. If they never repeat (a trace id), this many are kept in vain.
_SECTIONS_KEPT_MAX = 256

_NOWHERE = -1  # where a record ends that the loop cannot take: no position equals it


# The zigzag of a timestamp delta in five bytes, 199 days: wider ones are rare, and may overflow.
_TIME_MAX = (1 << 35) - 1


def _longer(data: bytes, zigzag: int, at: int) -> tuple[int, int]:
    """Read the rest of a number of three to five bytes, after its second byte."""
    zigzag += (data[at] << 14) - 16384
    at += 1
    if zigzag >> 21:
        zigzag += (data[at] << 21) - (1 << 21)
        at += 1
        if zigzag >> 28:
            zigzag += (data[at] << 28) - (1 << 28)
            at += 1
    return zigzag, at


class Reader:
    """Reads forward; ``at`` is where the next record begins, ``records`` is what came before."""

    __slots__ = (
        "_names",
        "_sections",
        "at",
        "base_offset",
        "base_timestamp_ms",
        "data",
        "last_offset",
        "partition",
        "records",
        "topic",
    )

    def __init__(
        self, data: bytes, topic: str, partition: int, base_offset: int, base_timestamp_ms: int
    ) -> None:
        self.data = data
        self.topic = topic
        self.partition = partition
        self.base_offset = base_offset
        self.base_timestamp_ms = base_timestamp_ms
        self.at = 0
        self.records: list[Record] = []
        self.last_offset = base_offset - 1
        self._names: dict[bytes, str] = {}
        self._sections: dict[bytes, Headers] = {}

    def go_on(self, data: bytes) -> None:
        """Continue in these bytes, which begin with a record; forget the records so far."""
        self.data, self.at, self.records = data, 0, []

    def read(self, count: int) -> None:
        """Read ``count`` records.

        Raises CorruptBatch, IndexError: the earlier records are then read, and the position is at
        the record that could not be read.

        A field may claim more bytes than its record has. Its slice then runs into the next record
        or is too short, but the position only grows, so that it misses the record's end;
        ``_read_any`` reads every record again that this loop does not find as expected.
        """
        data, at = self.data, self.at
        topic, partition, offset = self.topic, self.partition, self.last_offset
        base_timestamp_ms, sections = self.base_timestamp_ms, self._sections
        append, new, signed14 = self.records.append, tuple.__new__, SIGNED14
        expected = 2 * (offset + 1 - self.base_offset)  # the next offset delta, if there is no gap
        # A two-byte varint is low - 128 + (high << 7). When the high byte has its upper bit set,
        # that comes out over 16383: the number is longer.
        start = at
        try:
            for _ in range(count):
                start = at
                length = data[at]
                at += 1
                if length > 127:
                    length += (data[at] << 7) - 128
                    at += 1
                twice_end = at + at + length  # twice, so that an odd (negative) length cannot match
                at += 1  # attributes: reserved (KIP-98)
                time = data[at]
                at += 1
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
                key_size = data[at]
                at += 1
                if key_size > 127:
                    key_size += (data[at] << 7) - 128
                    at += 1
                if delta != expected or length | delta | key_size > 16383 or time > _TIME_MAX:
                    at, offset = self._read_any(start, offset)
                    expected = 2 * (offset + 1 - self.base_offset)
                    continue
                if not key_size & 1:
                    key = data[at : (at := at + (key_size >> 1))]
                else:
                    key = None
                    if key_size != NULL:
                        twice_end = _NOWHERE
                value_size = data[at]
                at += 1
                if value_size > 127:
                    value_size += (data[at] << 7) - 128
                    at += 1
                    if value_size > 16383:
                        at, offset = self._read_any(start, offset)
                        expected += 2
                        continue
                if not value_size & 1:
                    value = data[at : (at := at + (value_size >> 1))]
                else:
                    value = None
                    if value_size != NULL:
                        twice_end = _NOWHERE
                headers: Headers | None = ()
                if not data[at]:
                    at += 1
                elif section := data[at : twice_end >> 1]:
                    headers = sections.get(section)
                    if headers is None:
                        headers = self._headers(section)
                    at += len(section)
                else:
                    twice_end = _NOWHERE
                if at + at != twice_end:
                    at, offset = self._read_any(start, offset)
                    expected += 2
                    continue
                offset += 1
                expected += 2
                if time < 16384:
                    timestamp_ms = base_timestamp_ms + signed14[time]
                else:
                    timestamp_ms = base_timestamp_ms + (time >> 1 ^ -(time & 1))
                append(new(Record, (topic, partition, offset, timestamp_ms, key, value, headers)))
        except (CorruptBatch, IndexError):
            self.at, self.last_offset = start, offset
            raise
        self.at, self.last_offset = at, offset

    def _read_any(self, at: int, last_offset: int) -> tuple[int, int]:
        """Read the record at ``at``, with fields of any width; returns where it ends, and its
        offset.
        """
        data = self.data
        length, at = decoded(data, at)
        end = at + (length >> 1)
        if length & 1 or end > len(data):
            left = len(data) - at
            raise CorruptBatch(f"a record has length {signed(length)}, {left} bytes are left")
        time, at = decoded(data, at + 1, 10)
        delta, at = decoded(data, at)
        offset = self.base_offset + signed(delta)
        if offset <= last_offset:
            raise CorruptBatch(f"a record has offset {offset}, expected above {last_offset}")
        key, at = self._field("key", at)
        value, at = self._field("value", at)
        if at >= end:
            raise CorruptBatch(f"a record's fields end at byte {at}, its length says {end}")
        self.records.append(
            Record(
                self.topic,
                self.partition,
                offset,
                # Java subtracts and adds longs: what overflowed then overflows back now.
                wrapped64(self.base_timestamp_ms + signed(time)),
                key,
                value,
                self._headers(data[at:end]),
            )
        )
        return end, offset

    def _field(self, what: str, at: int) -> tuple[bytes | None, int]:
        size, at = decoded(self.data, at)
        if size == NULL:
            return None, at
        if size & 1:
            raise CorruptBatch(f"a record's {what} has length {signed(size)}")
        return self.data[at : at + (size >> 1)], at + (size >> 1)

    def headers_of(self, section: bytes) -> Headers:
        """Decode headers preceded by their count. Raises CorruptBatch, IndexError."""
        known = self._sections.get(section)
        return self._headers(section) if known is None else known

    def _headers(self, section: bytes) -> Headers:
        headers = decoded_headers(section, self._names)
        if len(self._sections) < _SECTIONS_KEPT_MAX:
            self._sections[section] = headers
        return headers
