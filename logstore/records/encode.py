"""Encodes messages as a record batch v2.

One record (KIP-98; every number but the attributes is a zigzag varint; -1 is a null's length)::

    length | attributes 0 | timestamp delta | offset delta | key length | key | value length | value
           | header count | (header key length | header key | header value length | header value)*

``length`` counts the bytes after itself.

A Python loop that frames one record after another takes 800 ns for each. So the batch is built by
columns: all lengths, all keys, all timestamp deltas, each by one pass in C. The columns are
interleaved by slice assignment and joined once: 240 ns a record.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from operator import add
from typing import Any, NamedTuple, TypeVar, cast

from logstore.records.batch import (
    COMPRESSION_MASK,
    CONTROL,
    CRC_AT,
    CRC_COVERS_FROM,
    HEADER,
    HEADER_BYTES,
    LENGTH_END,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
    Batch,
)
from logstore.records.compression import Compression, compress, decompress
from logstore.records.crc import crc32c
from logstore.records.record import Headers
from logstore.records.varint import INT64_MAX, INT64_MIN, VARINTS, encoded, wrapped64

Stamped = tuple[bytes | None, bytes | None, Headers, int]  # value, key, headers, timestamp_ms

_T = TypeVar("_T")

LONG_BYTES = 64 << 10  # of a batch's only value: it is copied once, not three times

_NULL = encoded(-1)
# A record's length with its attributes, which KIP-98 reserves: one part less to join. And one less
# again where the record before has no headers: the count of them, 0, comes along.
_HEADS = {tail: [tail + varint + b"\0" for varint in VARINTS] for tail in (b"", VARINTS[0])}
# The bytes that a field of the length n takes together with the varint of its length.
_FIELD_BYTES = [n + len(varint) for n, varint in enumerate(VARINTS)]
# Offset deltas from the first number to the second take the third's bytes.
_OFFSET_DELTA_BYTES = ((0, 2**6, 1), (2**6, 2**13, 2), (2**13, 2**20, 3), (2**20, 2**27, 4))

# A column has an entry for each record; bytes alone stand for all records alike.
_Bytes = Sequence[bytes] | bytes
# The bytes that a column's fields take: what all records have alike, and what each has beside it.
_Sizes = tuple[int, list[int] | None]


class Columns(NamedTuple):
    """Messages in columns: the n-th entry of each belongs to the n-th message."""

    values: Sequence[bytes | None]  # or one, of ``Pieces``
    keys: Sequence[bytes | None]
    headers: Sequence[Headers]
    timestamps: Sequence[int]

    @property
    def messages(self) -> int:
        """The number of messages."""
        return len(self.values)

    def part(self, begin: int, end: int) -> "Columns":
        """The messages from ``begin`` to before ``end``."""
        return Columns(
            self.values[begin:end],
            self.keys[begin:end],
            self.headers[begin:end],
            self.timestamps[begin:end],
        )


def encode(
    messages: Sequence[Stamped],
    *,
    compression: Compression = Compression.NONE,
    level: int | None = None,
    base_offset: int = 0,
    log_append_time: bool = False,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
    leader_epoch: int = 0,
) -> Batch:
    """One batch of all ``messages``, each ``(value, key, headers, timestamp_ms)``, at least one.

    The base timestamp is the first message's, as in Kafka's builder. Raises TypeError for a message
    of wrong types, ValueError for no messages or a timestamp outside 64 bits.
    """
    if not messages:
        raise ValueError("a batch has at least one message")
    columns = Columns(*by_column(messages))
    check_types(*columns)
    attributes = (
        compression
        | (LOG_APPEND_TIME if log_append_time else 0)
        | (TRANSACTIONAL if transactional else 0)
        | (CONTROL if control else 0)
    )
    producer = producer_id, producer_epoch, base_sequence
    return encode_columns(columns, attributes, level, base_offset, leader_epoch, producer)


def by_column(messages: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """Values, keys, headers and timestamps of messages, each in a list of its own.

    ``zip(*messages)`` does the same, but is twice as slow, because it creates an iterator for each
    message. Raises ValueError for a message without exactly four fields.
    """
    if set(map(len, messages)) != {4}:
        raise ValueError("a message has four fields: value, key, headers, timestamp")
    flat = list(chain.from_iterable(messages))
    return flat[0::4], flat[1::4], flat[2::4], flat[3::4]


def check_types(
    values: Sequence[Any], keys: Sequence[Any], headers: Sequence[Any], timestamps: Sequence[Any]
) -> None:
    """Raise TypeError for values that no record can hold."""
    for what, column in (("value", values), ("key", keys)):
        for kind in set(map(type, column)):
            if not issubclass(kind, bytes | None):
                raise TypeError(f"a {what} must be bytes or None, not {kind.__name__}")
    for kind in set(map(type, timestamps)):
        if not issubclass(kind, int):
            raise TypeError(f"a timestamp must be int, not {kind.__name__}")
    for header in chain.from_iterable(distinct(headers)):
        if not isinstance(header, tuple) or len(header) != 2:
            raise TypeError(f"headers must be pairs of name and value, not {header!r}")
        name, value = header
        if not isinstance(name, str):
            raise TypeError(f"a header's key must be str, not {type(name).__name__}")
        if value is not None and not isinstance(value, bytes):
            raise TypeError(f"a header's value must be bytes or None, not {type(value).__name__}")


def distinct(headers: Sequence[_T]) -> list[_T]:
    """The headers of many records, without empty ones, and each object only once.

    Code that maps messages to records, or reads records, shares one object among equal headers.
    """
    return [it for it in dict(zip(map(id, headers), headers, strict=True)).values() if it]


class Pieces:
    """A long value that arrived in several pieces, which are joined when the batch is made."""

    __slots__ = ("_size", "parts")

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


def encode_columns(
    columns: Columns,
    attributes: int = 0,
    level: int | None = None,
    base_offset: int = 0,
    leader_epoch: int = 0,
    producer: tuple[int, int, int] = (-1, -1, -1),
    sections: Sequence[bytes] | None = None,
) -> Batch:
    """As ``encode``, for columns that ``check_types`` accepts.

    ``attributes`` as in a batch's header; ``producer``: id, epoch, base sequence. ``sections``: the
    headers of each message from ``header_section``, instead of those in ``columns``.
    """
    count = columns.messages
    first: object = columns.values[0]
    if count == 1 and not attributes and isinstance(first, bytes) and len(first) > LONG_BYTES:
        first = Pieces((first,))
    if isinstance(first, Pieces):
        assert count == 1
        assert not attributes
        return _of_pieces(columns, first, sections, (base_offset, leader_epoch), producer)
    if count == 1:
        section = header_section(columns.headers[0]) if sections is None else sections[0]
        records, max_timestamp = _one(columns, section)
    else:
        headers = _header_column(columns.headers) if sections is None else _section_column(sections)
        records, max_timestamp = _many(columns, headers)
    fields = (
        *(base_offset, leader_epoch, attributes, count - 1, columns.timestamps[0], max_timestamp),
        *(*producer, count),
    )
    return assembled(fields, records, level)


def recode(batch: Batch, compression: Compression, level: int | None = None) -> Batch:
    """The same records under another compression; every other field is kept, the CRC is new.

    The batch's own CRC is checked first, so that damaged records do not get a valid one. Raises
    CorruptBatch for a wrong CRC, and if the records do not decompress.
    """
    batch.check()
    records = decompress(batch.compression, memoryview(batch.data)[HEADER_BYTES:])
    fields = (
        batch.base_offset,
        batch.leader_epoch,
        batch.attributes & ~COMPRESSION_MASK | compression,
        batch.last_offset_delta,
        batch.base_timestamp_ms,
        batch.max_timestamp_ms,
        batch.producer_id,
        batch.producer_epoch,
        batch.base_sequence,
        batch.record_count,
    )
    return assembled(fields, records, level)


def rebatched(batch: Batch, count: int, records: bytes, level: int | None = None) -> Batch:
    """A batch of ``count`` of another batch's records, given uncompressed and unchanged.

    Every header field but length, count and CRC is kept: also the last offset delta, from which a
    producer's sequence numbers continue, and the maximum timestamp, even if its record is removed.
    An empty batch is not compressed (Kafka: DefaultRecordBatch.writeEmptyHeader).
    """
    attributes = batch.attributes if records else batch.attributes & ~COMPRESSION_MASK
    fields = (
        batch.base_offset, batch.leader_epoch, attributes, batch.last_offset_delta,
        batch.base_timestamp_ms, batch.max_timestamp_ms,
        batch.producer_id, batch.producer_epoch, batch.base_sequence, count,
    )  # fmt: skip
    return assembled(fields, records, level)


def encoded_size_max(value: bytes | None, key: bytes | None = None, headers: Headers = ()) -> int:
    """The maximum size of one message, uncompressed, in any batch; the batch's header takes 61
    bytes.

    For callers that collect messages until a batch is full: cheap, and some 20 bytes too high.
    """
    size = 40  # length 5, attributes 1, timestamp delta 10, offset delta 5, three lengths 15; 36
    if key is not None:
        size += len(key)
    if value is not None:
        size += len(value)
    for name, header_value in headers:
        # UTF-8 takes at most 4 bytes for a character.
        size += 10 + (len(name) if name.isascii() else 4 * len(name))
        if header_value is not None:
            size += len(header_value)
    return size


def assembled(fields: tuple[int, ...], records: bytes, level: int | None = None) -> Batch:
    """A batch of these records, given uncompressed.

    ``fields``: all fields of its header in order, except length, magic and CRC; the attributes name
    the compression.
    """
    base_offset, leader_epoch, *covered = fields
    records = compress(Compression(covered[0] & COMPRESSION_MASK), records, level)
    return _with_head(base_offset, leader_epoch, covered, (records,))


def _with_head(
    base_offset: int, leader_epoch: int, covered: Sequence[int], records: Sequence[bytes]
) -> Batch:
    """``records``: in their final form, in one piece or several."""
    length = HEADER_BYTES - LENGTH_END + sum(map(len, records))
    head = bytearray(HEADER.pack(base_offset, length, leader_epoch, MAGIC, 0, *covered))
    crc = crc32c(head[CRC_COVERS_FROM:])
    for piece in records:
        crc = crc32c(piece, crc)
    head[CRC_AT:CRC_COVERS_FROM] = crc.to_bytes(4, "big")
    return Batch(b"".join((head, *records)))


def _one(columns: Columns, section: bytes) -> tuple[bytes, int]:
    """A batch's only record, and its timestamp: columns of one entry would cost five times
    as much.
    """
    value, key = columns.values[0], columns.keys[0]
    _timestamp_column(columns.timestamps)
    # Attributes and both deltas are 0.
    body = b"".join((b"\0\0\0", _field(key), _field(value), section))
    return _length(len(body)) + body, columns.timestamps[0]


def _of_pieces(
    columns: Columns,
    value: Pieces,
    sections: Sequence[bytes] | None,
    place: tuple[int, int],
    producer: tuple[int, int, int],
) -> Batch:
    """A batch of one long value, which is copied only once."""
    section = header_section(columns.headers[0]) if sections is None else sections[0]
    begin = b"".join((b"\0\0\0", _field(columns.keys[0]), _length(len(value))))
    size = _length(len(begin) + len(value) + len(section))
    timestamp = columns.timestamps[0]
    covered = (0, 0, timestamp, timestamp, *producer, 1)
    return _with_head(*place, covered, (size, begin, *value.parts, section))


def _many(columns: Columns, headers: tuple[_Bytes, _Sizes]) -> tuple[bytes, int]:
    """A batch's records, and the maximum of their timestamps."""
    deltas, delta_sizes, max_timestamp = _timestamp_column(columns.timestamps)
    key_lengths, key_bytes, key_sizes = _field_columns(columns.keys)
    value_lengths, value_bytes, value_sizes = _field_columns(columns.values)
    sections, section_sizes = headers
    count = columns.messages
    sizes = (delta_sizes, key_sizes, value_sizes, section_sizes)
    alike = 1 + sum(size for size, _ in sizes)
    unlike = [each for _, each in sizes if each is not None]
    tail = VARINTS[0] if sections == VARINTS[0] else b""
    parts: list[_Bytes]
    if not isinstance(key_lengths, bytes):
        parts = [_head_column(count, alike, unlike, tail), deltas, _deltas(count), key_lengths]
    elif unlike or not isinstance(deltas, bytes):
        heads = _head_column(count, alike, unlike, tail)
        parts = [heads, deltas, _deltas_before(key_lengths, count)]
    else:
        parts = [_prefix_column(count, alike, deltas, key_lengths, tail)]
    parts += [key_bytes, value_lengths, value_bytes]
    if not tail:
        parts.append(sections)
    return _interleaved(parts, count, tail), max_timestamp


@lru_cache(maxsize=64)
def _prefix_column(
    count: int, alike: int, delta: bytes, key_length: bytes, tail: bytes
) -> list[bytes]:
    """The bytes before the keys of records of one size and time.

    It is cached, because producers of such records make one batch after another of them.
    """
    heads = _head_column(count, alike, [], tail)
    return [
        b"".join((head, delta, offset_delta, key_length))
        for head, offset_delta in zip(heads, _deltas(count), strict=True)
    ]


@lru_cache(maxsize=64)
def _deltas_before(key_length: bytes, count: int) -> list[bytes]:
    """The offset deltas, each joined with the length of the key after it: one part less to join."""
    return [delta + key_length for delta in _deltas(count)]


def _deltas(count: int) -> list[bytes]:
    if count <= len(VARINTS):
        return VARINTS[:count]
    return [encoded(delta) for delta in range(count)]


def _length(count: int) -> bytes:
    return VARINTS[count] if count < len(VARINTS) else encoded(count)


def _interleaved(columns: Sequence[_Bytes], count: int, tail: bytes) -> bytes:
    """The records, from columns; ``tail``, the end of the record before, comes first."""
    width = len(columns)
    parts = [b""] * (width * count)
    for at, column in enumerate(columns):
        parts[at::width] = [column] * count if isinstance(column, bytes) else column
    parts[0] = parts[0][len(tail) :]
    parts.append(tail)
    return b"".join(parts)


def _timestamp_column(timestamps: Sequence[int]) -> tuple[_Bytes, _Sizes, int]:
    """The timestamp deltas, their sizes, and the maximum timestamp."""
    in_order = sorted(timestamps)  # they mostly are: then it costs no more than min and max
    base, least, most = timestamps[0], in_order[0], in_order[-1]
    if least < INT64_MIN or most > INT64_MAX:
        raise ValueError(f"timestamps {least} to {most} ms: a batch holds 64 bits")
    if least == most:
        return VARINTS[0], (1, None), most
    if base == least and most - base < len(VARINTS):
        deltas = [VARINTS[timestamp - base] for timestamp in timestamps]
        if most - base < 64:
            return deltas, (1, None), most
        if in_order == timestamps:
            short = bisect_left(in_order, base + 64)
            return deltas, (0, [1] * short + [2] * (len(deltas) - short)), most
    else:
        # Java subtracts longs, so what overflows there wraps; its reader adds and wraps back.
        distinct = {it: encoded(wrapped64(it - base)) for it in set(timestamps)}
        deltas = [distinct[timestamp] for timestamp in timestamps]
    return deltas, (0, list(map(len, deltas))), most


def _field_columns(column: Sequence[bytes | None]) -> tuple[_Bytes, _Bytes, _Sizes]:
    """For all keys, or all values: the lengths as varints, the bytes, and the sizes of both."""
    filled = cast("Sequence[bytes]", column)
    try:
        distinct = set(map(len, filled))
    except TypeError:
        return _fields_with_nulls(column)
    most = max(distinct)
    if len(distinct) == 1:
        varint = _length(most)
        return varint, filled, (len(varint) + most, None)
    lengths = list(map(len, filled))
    if most < 64:
        return [VARINTS[length] for length in lengths], filled, (1, lengths)
    if most < len(VARINTS):
        sizes = [_FIELD_BYTES[length] for length in lengths]
        return [VARINTS[length] for length in lengths], filled, (0, sizes)
    # One value is so long that copying it costs more than all varints.
    varints = [encoded(length) for length in lengths]
    return varints, filled, (0, list(map(add, lengths, map(len, varints))))


def _fields_with_nulls(column: Sequence[bytes | None]) -> tuple[_Bytes, _Bytes, _Sizes]:
    nulls = column.count(None)
    if nulls == len(column):
        return _NULL, b"", (len(_NULL), None)
    found, contents, content_sizes = _field_columns([it or b"" for it in column])
    varints = [found] * len(column) if isinstance(found, bytes) else list(found)
    at = -1
    for _ in range(nulls):
        at = column.index(None, at + 1)
        varints[at] = _NULL  # same width as an empty length, so the sizes stay right
    return varints, contents, content_sizes


def _field(data: bytes | None) -> bytes:
    return _NULL if data is None else _length(len(data)) + data


def _header_column(column: Sequence[Headers]) -> tuple[_Bytes, _Sizes]:
    """The headers of each record, with their count, and their sizes."""
    if not any(column):
        return VARINTS[0], (1, None)
    names: dict[str, bytes] = {}  # few in a batch, and each in many records
    framed = {id(it): _header_section(it, names) for it in distinct(column)}
    if len(framed) == 1 and all(column):
        [section] = framed.values()
        return section, (len(section), None)
    sections = [framed[id(it)] if it else VARINTS[0] for it in column]
    return sections, (0, list(map(len, sections)))


def _section_column(sections: Sequence[bytes]) -> tuple[_Bytes, _Sizes]:
    """As ``_header_column``, for headers that are already encoded."""
    first = sections[0]
    if sections.count(first) == len(sections):
        return first, (len(first), None)
    return sections, (0, list(map(len, sections)))


def header_section(headers: Headers) -> bytes:
    """The headers of one record, with their count, for use in many records."""
    return _header_section(headers, {}) if headers else VARINTS[0]


def _header_section(headers: Headers, names: dict[str, bytes]) -> bytes:
    parts = [encoded(len(headers))]
    for name, value in headers:
        framed = names.get(name)
        if framed is None:
            # surrogateescape: a key that came from a peer as other than UTF-8 goes back as it was
            framed = names[name] = _field(name.encode("utf-8", "surrogateescape"))
        parts += (framed, _NULL) if value is None else (framed, _length(len(value)), value)
    return b"".join(parts)


def _head_column(count: int, alike: int, unlike: list[list[int]], tail: bytes) -> list[bytes]:
    """The length and attributes of each record, from the sizes of all fields but the offset delta.

    ``tail``, the end of the record before, comes first.
    """
    table = _HEADS[tail]
    totals = unlike[0] if unlike else []
    for sizes in unlike[1:]:
        totals = list(map(add, totals, sizes))
    heads: list[bytes] = []
    for start, end, width in _OFFSET_DELTA_BYTES:
        if start >= count:
            break
        more, part = alike + width, totals[start:end]
        if not unlike:
            heads += [tail + encoded(more) + b"\0"] * (min(end, count) - start)
        elif part[0] == part[-1] and part.count(part[0]) == len(part):
            heads += [tail + encoded(part[0] + more) + b"\0"] * len(part)
        else:
            try:
                heads += [table[total + more] for total in part]
            except IndexError:
                heads += [tail + encoded(total + more) + b"\0" for total in part]
    return heads
