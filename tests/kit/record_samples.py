"""Strategies and helpers shared by the tests of records."""

from hypothesis import strategies as st

from logstore.records.batch import CRC_AT, CRC_COVERS_FROM, Batch
from logstore.records.compression import Compression
from logstore.records.crc import crc32c

CODECS = tuple(Compression)
INT64 = st.integers(-(2**63), 2**63 - 1)

blobs = (
    st.none() | st.binary(max_size=20) | st.sampled_from([b"x" * n for n in (63, 64, 8191, 8192)])
)
header_keys = st.text(max_size=5) | st.sampled_from(["type", "trace-id", "\udc80\udcff"])
headers = st.lists(st.tuples(header_keys, blobs), max_size=3).map(tuple)
# Small steps as clocks make them, and anything else.
timestamps = st.integers(1_700_000_000_000, 1_700_000_000_300) | INT64
messages = st.lists(
    st.tuples(blobs, blobs, st.just(()) | headers, timestamps), min_size=1, max_size=30
)


def fields(records):
    """The records as the messages they were made from."""
    return [(it.value, it.key, it.headers, it.timestamp_ms) for it in records]


def with_crc(data):
    """``data`` with a matching CRC, so that code behind the CRC check is reached."""
    data = bytearray(data)
    data[CRC_AT:CRC_COVERS_FROM] = crc32c(data[CRC_COVERS_FROM:]).to_bytes(4, "big")
    return bytes(data)


def with_records(batch, records, count=None, last_offset_delta=None, attributes=None):
    """A batch with other bytes for records, and matching length and CRC."""
    data = bytearray(batch.data[:61]) + records
    if attributes is not None:
        data[21:23] = attributes.to_bytes(2, "big")
    data[8:12] = (len(data) - 12).to_bytes(4, "big")
    if last_offset_delta is not None:
        data[23:27] = last_offset_delta.to_bytes(4, "big")
    if count is not None:
        data[57:61] = count.to_bytes(4, "big")
    return Batch(with_crc(data))
