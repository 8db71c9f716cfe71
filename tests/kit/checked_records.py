"""Records of a batch looked at without decoding them, beside a plain decoder that must agree."""

import itertools

from naive_records import Refused, naive_records

from logstore.errors import CorruptBatch
from logstore.records.check import Walk, look
from logstore.records.encode import encode
from logstore.records.keyed import keyed
from logstore.records.varint import encoded


def naive_keyed(records):
    """The expected result of ``keyed``."""
    keys = [it[2] for it in records]
    bare = [nth for nth, it in enumerate(records) if it[3] is None and it[2] is not None]
    return keys, bare


def found_keyed(batch):
    """The result of ``keyed``, and the bytes between boundaries; None if refused."""
    try:
        found = keyed(batch)
    except CorruptBatch:
        return None, None
    data, borders = found.data, found.starts
    cut = [data[begin:end] for begin, end in itertools.pairwise(borders)]
    return (found.keys, found.tombstones), cut


def naive(records, data, batch, dense):
    """The expected result of ``look`` by a decoder that creates records; None if refused."""
    if records is None:
        return None
    if dense and [it[0] for it in records] != list(range(len(records))):
        return None
    times = [(batch.base_timestamp_ms + it[1] + 2**63) % 2**64 - 2**63 for it in records] or [-1]
    keyless = sum(it[2] is None for it in records)
    return len(records), len(data), min(times), max(times), keyless


def whole(batch, dense):
    try:
        return tuple(look(batch, dense=dense))
    except CorruptBatch:
        return None


def in_parts(batch, dense, size):
    """The result of ``look``, given the bytes in pieces of ``size``."""
    walk, data = Walk(batch, dense=dense), bytes(batch.data[61:])
    try:
        for at in range(0, len(data), size):
            for _ in walk.feed(data[at : at + size]):
                pass
        return tuple(walk.end())
    except CorruptBatch:
        return None


def same_as_naive(batch, sizes=()):
    """Whether the batch is accepted; a plain decoder must agree in either case."""
    data = bytes(batch.data[61:])
    try:
        records = naive_records(data, batch.record_count, batch.last_offset_delta)
    except Refused:
        records = None
    keys, cut = found_keyed(batch)
    assert keys == (None if records is None else naive_keyed(records))
    if cut is not None:
        assert b"".join(cut) == data
        assert [naive_records(it, 1, 2**31) for it in cut] == [[it] for it in records]
    for dense in (True, False):
        expected = naive(records, data, batch, dense)
        assert whole(batch, dense) == expected
        for size in sizes or (max(7, len(data) // 50),):
            assert in_parts(batch, dense, size) == expected
    return expected is not None


def framed(delta, *, time=0, key=b"\x01", value=b"\x01", headers=b"\x00", more=0):
    body = b"\0" + encoded(time) + encoded(delta) + key + value + headers
    return encoded(len(body) + more) + body


ONE = encode([(b"", b"", (), 0)])
