"""Batches of another log, taken over with their bytes (a mirror between two stores)."""

import struct

import pytest
from record_samples import CODECS, with_crc, with_records

from logstore.broker.admission import kept
from logstore.broker.rules import Rules
from logstore.config import Config
from logstore.errors import CorruptBatch, InvalidRecord
from logstore.records.batch import Batch, restamp
from logstore.records.decode import decode
from logstore.records.encode import encode, rebatched, recode

TIMES = (5000, 7000, 6000)


def rules(**settings):
    given = {name.replace("_", "."): value for name, value in settings.items()}
    return Rules("t", Config().topic(given))


def batch(codec=CODECS[0], key=b"k"):
    messages = [(b"value", key, (), it) for it in TIMES]
    return encode(messages, compression=codec, base_offset=40)


def claiming(batch, max_ms):
    data = bytearray(batch.data)
    struct.pack_into(">q", data, 35, max_ms)
    return Batch(with_crc(data))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("claim", [-1, 6999, 7001])
def test_a_maximum_timestamp_that_is_not_true_is_put_right(codec, claim):
    found = kept(rules(), claiming(batch(codec), claim))
    found.check()
    assert (found.max_timestamp_ms, found.base_offset) == (7000, 40)
    assert [it.timestamp_ms for it in decode(found)] == list(TIMES)


@pytest.mark.parametrize("codec", CODECS)
def test_a_true_batch_keeps_its_bytes(codec):
    sent = batch(codec)
    assert kept(rules(), sent) is sent
    stamped = restamp(sent, 9000)
    assert kept(rules(), stamped) is stamped


def test_a_compacted_batch_keeps_the_maximum_of_what_is_gone():
    sent = batch()
    first = sent.data[61 : 61 + 1 + sent.data[61] // 2]
    thin = rebatched(sent, 1, bytes(first))
    assert kept(rules(), thin) is thin
    assert kept(rules(), claiming(thin, 4000)).max_timestamp_ms == 5000
    empty = rebatched(sent, 0, b"")
    assert kept(rules(), empty) is empty


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_batch_is_not_taken_over(codec):
    for count in (2, 4):
        lie = with_records(batch(), bytes(batch().data[61:]), count, 9)
        with pytest.raises(CorruptBatch, match="record"):
            kept(rules(), recode(lie, codec))
    flipped = bytearray(batch(codec).data)
    flipped[-1] ^= 1
    with pytest.raises(CorruptBatch, match="CRC"):
        kept(rules(), Batch(flipped))


def test_a_compacted_topic_and_a_codec_of_its_own_are_kept_to():
    with pytest.raises(InvalidRecord, match="needs a key"):
        kept(rules(cleanup_policy="compact"), batch(key=None))
    found = kept(rules(compression_type="zstd"), claiming(batch(), -1))
    found.check()
    assert (found.compression.name, found.max_timestamp_ms) == ("ZSTD", 7000)
