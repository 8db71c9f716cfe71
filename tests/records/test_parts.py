"""Records a part at a time: the same as all at once, and never much more open than a part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_samples import CODECS, fields, messages, with_records

from logstore.errors import CorruptBatch
from logstore.records import compression
from logstore.records.batch import HEADER_BYTES
from logstore.records.compression import Compression, decompress, decompressed
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.records.parts import parts


@pytest.fixture(scope="module", autouse=True)
def small_steps():
    """Chunks of a few bytes, so that a record of any size is cut anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "STEP_BYTES", 16)
        yield


def rows(batch, **options):
    return [record for part in parts(batch, "t", 3, **options) for record in part.records]


def outcome(read):
    """The records, or that there are none."""
    try:
        return read()
    except CorruptBatch:
        return None


sizes = st.integers(1, 40)


@given(messages, st.sampled_from(CODECS), st.booleans(), sizes)
def test_the_parts_are_the_whole(sent, codec, log_append_time, part_bytes):
    batch = encode(sent, compression=codec, base_offset=7, log_append_time=log_append_time)
    assert rows(batch, part_bytes=part_bytes) == decode(batch, "t", 3)


@given(messages, st.data())
def test_garbage_is_refused_in_parts_as_it_is_at_once(sent, data):
    batch = encode(sent, base_offset=7)
    records = bytearray(batch.data[HEADER_BYTES:])
    for at in data.draw(st.lists(st.integers(0, len(records) - 1), max_size=3)):
        records[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 20))
    records = bytes(records[: len(records) - cut]) + data.draw(st.binary(max_size=9))
    count = data.draw(st.integers(0, len(sent) + 1))
    damaged = with_records(batch, records, count, max(count, len(sent)) - 1)
    part_bytes = data.draw(sizes)
    assert outcome(lambda: rows(damaged, part_bytes=part_bytes)) == outcome(
        lambda: decode(damaged, "t", 3)
    )


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.GZIP, Compression.LZ4])
def test_what_is_before_the_damage_comes_first(codec):
    sent = [(b"%4d" % n, None, (), n) for n in range(100)]
    good = encode(sent)
    records = bytearray(good.data[HEADER_BYTES:])
    records[-1] ^= 2  # the last record has a header less than it says
    batch = with_records(good, compression.compress(codec, bytes(records)), attributes=codec)
    found = []

    def read():
        for part in parts(batch):
            found.extend(part.records)

    with pytest.raises(CorruptBatch, match=r"batch at offset 0: "):
        read()
    assert found
    assert fields(found) == sent[: len(found)]


def test_no_more_is_open_than_a_part(monkeypatch):
    batch = encode([(bytes(1 << 20), None, (), 0)] * 64, compression=Compression.ZSTD)
    opened = []

    def counted(*arguments):
        for chunk in decompressed(*arguments):
            opened.append(len(chunk))
            yield chunk

    monkeypatch.setattr("logstore.records.parts.decompressed", counted)
    reading = parts(batch)
    taken = 0
    for part in reading:
        taken += len(part.records)
        assert sum(opened) <= (taken + 3) << 20
        if taken >= 5:
            break
    reading.close()
    assert sum(opened) < 10 << 20


def test_what_follows_the_last_record_is_not_opened(monkeypatch):
    """A batch of 10 KB said that it has one record, and held 64 MB behind it."""
    batch = encode([(b"v", None, (), 0)])
    follows = bytes(batch.data[HEADER_BYTES:]) + bytes(64 << 20)
    data = compression.compress(Compression.ZSTD, follows)
    opened = []

    def counted(*arguments):
        for chunk in decompressed(*arguments):
            opened.append(len(chunk))
            yield chunk

    monkeypatch.setattr("logstore.records.parts.decompressed", counted)
    with pytest.raises(CorruptBatch, match="bytes or more follow the last record"):
        rows(with_records(batch, data, attributes=Compression.ZSTD))
    assert sum(opened) <= 4 << 20


def test_a_record_over_the_bound_is_not_opened():
    batch = encode([(b"small", None, (), 0), (bytes(64 << 20), None, (), 0)], base_offset=5,
                   compression=Compression.ZSTD)  # fmt: skip
    reading = parts(batch, record_bytes_max=4 << 20)
    assert fields(next(reading).records) == [(b"small", None, (), 0)]
    with pytest.raises(CorruptBatch, match="the record at offset 6 has 671"):
        next(reading)


def test_a_length_that_no_batch_holds_is_refused_at_once():
    """2**31 - 1 bytes: nothing is gathered for that."""
    record = b"\xfe\xff\xff\xff\x0f" + bytes(200)
    batch = with_records(encode([(b"", None, (), 0)]), record)
    with pytest.raises(CorruptBatch, match=r"batch at offset 0: .* 2147483647"):
        rows(batch)


@pytest.mark.parametrize("claimed", [1 << 20, 1 << 28])
def test_a_snappy_block_that_claims_more_than_it_can_hold_is_refused(claimed):
    with pytest.raises(CorruptBatch, match="claims"):
        decompress(Compression.SNAPPY, varint(claimed) + bytes(50))


def varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
