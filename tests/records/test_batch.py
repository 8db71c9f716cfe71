import struct

import pytest

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER, Batch, anonymous, batch_size, restamp, split
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode

MESSAGES = [(b"one", b"k", (), 1000), (b"two", None, (("h", b"x"),), 999), (None, b"", (), 1005)]


@pytest.fixture
def batch():
    return encode(
        MESSAGES,
        base_offset=40,
        leader_epoch=3,
        producer_id=77,
        producer_epoch=2,
        base_sequence=9,
        transactional=True,
    )


def patched(batch, **changes):
    names = "base_offset length leader_epoch magic crc attributes last_offset_delta base_timestamp"
    names += " max_timestamp producer_id producer_epoch base_sequence record_count"
    values = dict(zip(names.split(), HEADER.unpack_from(batch.data), strict=True)) | changes
    return HEADER.pack(*values.values()) + bytes(batch.data[61:])


def test_header_fields_are_where_kafka_has_them(batch):
    data = bytes(batch.data)
    assert int.from_bytes(data[0:8], "big") == batch.base_offset == 40
    assert int.from_bytes(data[8:12], "big") == len(data) - 12
    assert int.from_bytes(data[12:16], "big") == batch.leader_epoch == 3
    assert data[16] == 2
    assert int.from_bytes(data[17:21], "big") == batch.crc
    assert int.from_bytes(data[21:23], "big") == batch.attributes == 0x10
    assert int.from_bytes(data[23:27], "big") == batch.last_offset_delta == 2
    assert int.from_bytes(data[27:35], "big") == batch.base_timestamp_ms == 1000
    assert int.from_bytes(data[35:43], "big") == batch.max_timestamp_ms == 1005
    assert int.from_bytes(data[43:51], "big") == batch.producer_id == 77
    assert int.from_bytes(data[51:53], "big") == batch.producer_epoch == 2
    assert int.from_bytes(data[53:57], "big") == batch.base_sequence == 9
    assert int.from_bytes(data[57:61], "big") == batch.record_count == 3
    assert (batch.last_offset, batch.next_offset, batch.size) == (42, 43, len(data))


def test_flags():
    plain = encode(MESSAGES)
    assert plain.attributes == 0
    assert not any((plain.is_log_append_time, plain.is_transactional, plain.is_control))
    assert plain.compression is Compression.NONE
    full = encode(
        MESSAGES,
        compression=Compression.ZSTD,
        log_append_time=True,
        transactional=True,
        control=True,
    )
    assert full.is_log_append_time
    assert full.is_transactional
    assert full.is_control
    assert full.compression is Compression.ZSTD
    assert full.attributes == 0b0011_1100


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_makes_a_batch(batch, kind):
    same = Batch(kind(bytes(batch.data)))
    same.check()
    assert decode(same, "t", 1) == decode(batch, "t", 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"magic": 1}, "magic 1, expected 2"),
        ({"length": 50}, "length 50, expected"),
        ({"length": -1}, "length -1, expected"),
        ({"record_count": -1}, "-1 records"),
        ({"record_count": 4}, "4 records and last offset delta 2"),
        ({"record_count": 0, "last_offset_delta": -1}, "0 records and last offset delta -1"),
        ({"last_offset_delta": 1}, "3 records and last offset delta 1"),
        ({"attributes": 5}, "unknown compression 5"),
        ({"base_offset": -1}, "offset -1"),
        ({"base_offset": 2**63 - 2}, "outside"),
    ],
)
def test_a_header_that_cannot_be_is_refused(batch, changes, words):
    with pytest.raises(CorruptBatch, match=words) as caught:
        Batch(patched(batch, **changes))
    assert "\n" not in str(caught.value)


def test_a_batch_emptied_by_compaction_is_a_batch(batch):
    empty = Batch(patched(batch, record_count=0, length=49)[:61])
    assert (empty.record_count, empty.next_offset) == (0, 43)
    assert decode(empty, check=False) == []


def test_check_names_batch_and_both_crcs(batch):
    damaged = bytearray(batch.data)
    damaged[-1] ^= 1
    with pytest.raises(
        CorruptBatch, match=rf"offset 40 has CRC 0x\w{{8}}, expected {batch.crc:#x}"
    ):
        Batch(damaged).check()


def test_stamped_changes_offset_and_epoch_and_copies_no_record(batch):
    head, rest = batch.stamped(2**40, 7)
    assert rest.obj is batch.data
    again = Batch(head + bytes(rest))
    again.check()
    assert (again.base_offset, again.leader_epoch) == (2**40, 7)
    assert bytes(again.data[16:]) == bytes(batch.data[16:])
    copy = batch.with_base_offset(2**40, 7)
    assert bytes(copy.data) == head + bytes(rest)
    assert batch.base_offset == 40
    assert [it.offset for it in decode(copy)] == [2**40, 2**40 + 1, 2**40 + 2]


def test_batch_size_of_what_is_there(batch):
    data = b"junk" + bytes(batch.data)
    assert batch_size(data, 4) == batch.size
    assert [batch_size(data[: 4 + n], 4) for n in range(12)] == [None] * 12
    assert batch_size(data[:16], 4) == batch.size
    assert batch_size(b"", 0) is None
    with pytest.raises(CorruptBatch, match="length 48, expected at least 49"):
        batch_size(struct.pack(">qi", 0, 48), 0)
    with pytest.raises(CorruptBatch):
        batch_size(bytes(100), 0)


def test_split_gives_whole_batches_and_drops_a_cut_one(batch):
    other = encode([(b"x" * 500, None, (), 5)], base_offset=43, compression=Compression.LZ4)
    data = bytes(batch.data) + bytes(other.data)
    for end in range(len(data) + 1):
        whole = [it.base_offset for it in split(data[:end])]
        assert whole == [40] * (end >= batch.size) + [43] * (end >= len(data))
    assert [it.base_offset for it in split(data, batch.size)] == [43]
    (first, second) = split(data)
    assert isinstance(first.data, memoryview)
    assert first.data.obj is data
    assert second.compression is Compression.LZ4


def test_split_raises_at_a_damaged_batch(batch):
    batches = split(bytes(batch.data) + bytes(64))
    assert next(batches).base_offset == 40
    with pytest.raises(CorruptBatch):
        next(batches)


@pytest.mark.parametrize("codec", list(Compression))
def test_restamp_sets_every_timestamp_and_leaves_the_records(batch, codec):
    batch = encode(MESSAGES, compression=codec, base_offset=40, transactional=True)
    before = bytes(batch.data)
    stamped = restamp(batch, 123_456)
    stamped.check()
    assert stamped.is_log_append_time
    assert stamped.is_transactional
    assert stamped.compression is codec
    assert bytes(stamped.data[61:]) == before[61:]
    assert [it.timestamp_ms for it in decode(stamped)] == [123_456] * 3
    assert [it.value for it in decode(stamped)] == [b"one", b"two", None]
    assert bytes(batch.data) == before
    assert [it.timestamp_ms for it in decode(restamp(stamped, 5))] == [5] * 3


def test_anonymous_takes_the_producer_away_and_leaves_the_records():
    batch = encode(
        MESSAGES,
        compression=Compression.LZ4,
        producer_id=77,
        producer_epoch=2,
        base_sequence=9,
        transactional=True,
    )
    before = bytes(batch.data)
    plain = anonymous(batch)
    plain.check()
    assert (plain.producer_id, plain.producer_epoch, plain.base_sequence) == (-1, -1, -1)
    assert not plain.is_transactional
    assert plain.compression is Compression.LZ4
    assert bytes(plain.data[61:]) == before[61:]
    assert list(decode(plain)) == list(decode(batch))
    assert bytes(batch.data) == before
