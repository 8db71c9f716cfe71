"""Batches as no log of ours takes them from a client: disks and older stores may hold them.

Header and checksum are right; what the records say is another matter. They go into a log by the way
below the doors, ``DiskLog.append``.
"""

import struct

from clock import NOW_MS
from record_samples import with_crc, with_records

from logstore.records.batch import HEADER_BYTES, MAX_TIMESTAMP_AT, Batch
from logstore.records.compression import Compression, compress
from logstore.records.encode import encode
from logstore.records.varint import encoded


def three(*values, at_ms=NOW_MS, key=b"k", **fields):
    """A valid batch of these values, or of three."""
    values = values or (b"one", b"two", b"three")
    return encode([(it, key, (), at_ms + n) for n, it in enumerate(values)], **fields)


def counting(batch, count):
    """The batch with another record count in its header."""
    data = bytearray(batch.data)
    data[57:61] = struct.pack(">i", count)
    data[23:27] = struct.pack(">i", max(count, batch.last_offset_delta + 1) - 1)
    return Batch(with_crc(data))


def with_deltas(*deltas, key=b"k"):
    """Uncompressed records with these offset deltas; the last delta is the batch's."""
    records = b""
    for number, delta in enumerate(deltas):
        body = b"\0\0" + encoded(delta) + encoded(len(key)) + key + encoded(1) + b"%d" % number
        body += b"\0"
        records += encoded(len(body)) + body
    return with_records(three(key=key), records, len(deltas), len(deltas) - 1)


def packed_garbage(codec):
    return with_records(three(), compress(codec, b"\xff" * 50), attributes=codec)


def not_packed(codec):
    return with_records(three(), b"\xff" * 50, attributes=codec)


# name -> a batch of three offsets (or four) whose records can't be read
DAMAGED = {
    "garbage": lambda: with_records(three(), b"\xff" * 50),
    "nothing": lambda: with_records(three(), b""),
    "count 2 of 3": lambda: counting(three(), 2),
    "count 4 of 3": lambda: counting(three(), 4),
    "count 0 of 3": lambda: counting(three(), 0),
    "deltas 0": lambda: with_deltas(0, 0, 0),
    "deltas fall": lambda: with_deltas(2, 1, 0),
    "a delta of 2**31-1": lambda: with_deltas(0, 1, 2**31 - 1),
    "a negative delta": lambda: with_deltas(-1, 0, 1),
    "gzip of garbage": lambda: packed_garbage(Compression.GZIP),
    "snappy of garbage": lambda: packed_garbage(Compression.SNAPPY),
    "lz4 of garbage": lambda: packed_garbage(Compression.LZ4),
    "zstd of garbage": lambda: packed_garbage(Compression.ZSTD),
    "no gzip": lambda: not_packed(Compression.GZIP),
    "no snappy": lambda: not_packed(Compression.SNAPPY),
    "no lz4": lambda: not_packed(Compression.LZ4),
    "no zstd": lambda: not_packed(Compression.ZSTD),
}


def flipped():
    """A batch with a wrong checksum."""
    data = bytearray(three().data)
    data[HEADER_BYTES + 6] ^= 1
    return Batch(bytes(data))


def _patched(at, layout, value, *, signed=True):
    def patch(data):
        data = bytearray(data)
        struct.pack_into(layout, data, at, value)
        return with_crc(data) if signed else bytes(data)

    return patch


# name -> a change of a batch's bytes that gives it a length, an offset or a shape which hides the
# batches behind it in the file
ASTRAY = {
    "a negative length": _patched(8, ">i", -1, signed=False),
    "no length": _patched(8, ">i", 0, signed=False),
    "a length beyond the file": _patched(8, ">i", 2**31 - 1, signed=False),
    "a base offset of before": _patched(0, ">q", 0, signed=False),
    "a negative base offset": _patched(0, ">q", -1, signed=False),
    "a base offset of a later segment": _patched(0, ">q", 1000, signed=False),
    "the largest base offset": _patched(0, ">q", 2**63 - 1, signed=False),
    "a last offset of a later segment": _patched(23, ">i", 2**31 - 1),
    "an unknown codec": _patched(21, ">h", 7),
    "an old format": _patched(16, ">b", 1, signed=False),
    "zeros": lambda data: bytes(len(data)),
    "a header of zeros": lambda data: bytes(HEADER_BYTES) + data[HEADER_BYTES:],
    "ones": lambda data: b"\xff" * len(data),
}


def lead_astray(path, name, number=1):
    """Change a field of the batch with this number in the file."""
    data = bytearray(path.read_bytes())
    at = 0
    for _ in range(number):
        at += 12 + struct.unpack_from(">i", data, at + 8)[0]
    end = at + 12 + struct.unpack_from(">i", data, at + 8)[0]
    data[at:end] = ASTRAY[name](bytes(data[at:end]))
    path.write_bytes(data)


def with_maximum(batch, max_timestamp_ms=-1):
    """The batch with another maximum timestamp in its header; sarama up to 1.45 leaves it at -1."""
    data = bytearray(batch.data)
    struct.pack_into(">q", data, MAX_TIMESTAMP_AT, max_timestamp_ms)
    return Batch(with_crc(data))


def bomb(values=200, value_bytes=1 << 20):
    """A batch of a few kilobytes with this many values of zeros."""
    return encode([(bytes(value_bytes), None, (), NOW_MS)] * values, compression=Compression.ZSTD)


def put(log, *batches):
    """Append these batches unchanged and sync; returns their base offsets."""
    bases = []
    for batch in batches:
        bases.append(log.end)
        log.append(batch)
    log.sync()
    return bases
