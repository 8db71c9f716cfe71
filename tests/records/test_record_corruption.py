import random

import pytest
from naive_records import Refused, naive_records
from record_samples import CODECS, with_crc, with_records

from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.decode import decode, keys
from logstore.records.encode import encode, recode
from logstore.records.varint import encoded

pytestmark = pytest.mark.long

MESSAGES = [
    (b"value %d" % n, b"key %d" % n if n % 3 else None, (("h", None),) * (n % 2), 1000 + 40 * n)
    for n in range(6)
]
ALIKE = [(b"value %02d" % n, b"key %02d" % n, (), 1000 + n) for n in range(90)]
SHAPES = {"mixed": MESSAGES, "alike": ALIKE}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_prefix_is_refused(codec, shape):
    data = bytes(encode(SHAPES[shape], compression=codec).data)
    for end in range(len(data)):
        with pytest.raises(CorruptBatch):
            Batch(data[:end])
    with pytest.raises(CorruptBatch):
        Batch(data + b"\0")


@pytest.mark.parametrize("codec", CODECS)
def test_every_flipped_bit_is_refused_or_outside_the_crc(codec):
    batch = encode(MESSAGES, compression=codec, base_offset=5)
    records = decode(batch)
    for bit in range(8 * batch.size):
        data = bytearray(batch.data)
        data[bit // 8] ^= 0x80 >> bit % 8
        stamped = bit < 64 or 96 <= bit < 128  # base offset, leader epoch
        if not stamped:
            with pytest.raises(CorruptBatch):
                decode(Batch(data))
        elif bit == 0:
            with pytest.raises(CorruptBatch, match="outside"):  # a negative offset
                Batch(data)
        else:
            again = decode(Batch(data))
            assert [it[3:] for it in again] == [it[3:] for it in records]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", SHAPES)
def test_damage_under_a_good_crc_is_refused_or_decodes(codec, shape):
    rng = random.Random(f"{codec} {shape}")
    good = bytes(encode(SHAPES[shape], compression=codec).data)
    refused = []
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(61, len(data))
            data[at] = rng.choice((0, 1, 3, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        batch = Batch(with_crc(data))
        try:
            records = decode(batch, bytes_max=1_000_000)
        except CorruptBatch as error:
            refused.append(str(error))
        else:
            assert len(records) == batch.record_count
            offsets = [it.offset for it in records]
            assert offsets == sorted(set(offsets))
            assert offsets[-1] <= batch.last_offset
            assert keys(batch) == [it.key for it in records]
    assert len(refused) > 100
    assert all("offset 0" in it and "\n" not in it for it in refused)


def same_as_naive(batch):
    """Whether ``batch`` decodes; in either case the plain decoder must say the same."""
    try:
        expected = naive_records(
            bytes(batch.data[61:]), batch.record_count, batch.last_offset_delta
        )
    except Refused:
        with pytest.raises(CorruptBatch):
            decode(batch)
        return False
    found = decode(batch)
    base_offset, base_timestamp_ms = batch.base_offset, batch.base_timestamp_ms
    assert [(it.offset - base_offset, *it[4:]) for it in found] == [
        (delta, key, value, headers) for delta, _, key, value, headers in expected
    ]
    assert [(it.timestamp_ms - base_timestamp_ms) % 2**64 for it in found] == [
        it[1] % 2**64 for it in expected
    ]
    return True


@pytest.mark.parametrize("shape", SHAPES)
def test_no_byte_is_believed_that_a_plain_decoder_would_refuse(shape):
    good = encode(SHAPES[shape])
    outcomes = []
    # Five has no divisor in common with a record's size, so each byte of a record has its turn.
    for at in range(61, good.size, 1 if shape == "mixed" else 5):
        for byte in {good.data[at] ^ it for it in (1, 2, 3, 0x40, 0x80, 0x81)} | {0, 1, 0x80}:
            data = bytearray(good.data)
            data[at] = byte
            outcomes.append(same_as_naive(Batch(with_crc(data))))
    assert True in outcomes
    assert False in outcomes


@pytest.mark.parametrize("shape", SHAPES)
def test_spliced_records_decode_as_a_plain_decoder_has_them(shape):
    rng = random.Random(shape)
    good = bytes(encode(SHAPES[shape]).data[61:])
    outcomes = []
    for _ in range(2000):
        at, size = rng.randrange(len(good)), rng.choice((0, 1, 2, 3))
        varint = encoded(rng.choice((-2, -1, 0, 1, 5, 63, 64, 8191, 8192, 2**31 - 1)))
        data = good[:at] + rng.choice((varint, b"", b"\x80", rng.randbytes(2))) + good[at + size :]
        count = len(SHAPES[shape]) + rng.choice((0, 0, -1, 1))
        outcomes.append(same_as_naive(with_records(ONE, data, count, count + 40)))
    assert True in outcomes
    assert False in outcomes


def body(delta, *, time=0, key=b"\x01", value=b"\x01", headers=b"\x00", attributes=b"\0"):
    return attributes + encoded(time) + encoded(delta) + key + value + headers


def framed(body, more=0):
    return encoded(len(body) + more) + body


ONE = encode([(b"", b"", (), 0)])


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (framed(body(0), 1), "length"),
        (framed(body(0), -1), "length says"),
        (encoded(-1) + body(0), "length -1"),
        (framed(body(1)), "offset 1, the last is 0"),
        (framed(body(-1)), "offset -1, expected above -1"),
        (framed(body(0, key=encoded(-2))), "key has length -2"),
        (framed(body(0, value=encoded(-2))), "value has length -2"),
        (framed(body(0, value=encoded(100))), "length|cut off"),
        (framed(body(0, key=encoded(2**31 - 1))), "length|cut off"),
        (framed(body(0, headers=encoded(-1))), "-1 headers"),
        (framed(body(0, headers=encoded(2**31 - 1))), "2147483647 headers"),
        (framed(body(0, headers=encoded(1) + encoded(-1) + encoded(-1))), "key has length -1"),
        (framed(body(0, headers=encoded(1) + encoded(0) + encoded(-2))), "value has length -2"),
        (framed(body(0, headers=encoded(1) + encoded(0) + encoded(9))), "headers end"),
        (framed(body(0, headers=encoded(2) + encoded(0) + encoded(0))), "2 headers|cut off"),
        (framed(body(0, headers=b"\0\0")), "length says|headers end"),
        (framed(body(0)) + b"\0", "1 bytes follow"),
        (framed(body(0, key=b"\xff" * 5 + b"\x01")), "varint"),
        (framed(body(0, key=b"\xff\xff\xff\xff\x7f")), "too many bits"),
        (b"\xff" * 12, "varint"),
        (framed(body(0))[:-1], "do not fit"),
        (b"", "do not fit"),
    ],
)
def test_a_crafted_record_is_refused(records, words):
    with pytest.raises(CorruptBatch, match=words):
        decode(with_records(ONE, records))


def test_a_count_beyond_the_bytes_is_refused_before_any_work():
    records = framed(body(0)) * 3
    batch = with_records(ONE, records, count=2**31 - 1, last_offset_delta=2**31 - 2)
    with pytest.raises(CorruptBatch, match="2147483647 records do not fit into 21 bytes"):
        decode(batch)


@pytest.mark.parametrize("count", [2, 40])
def test_offsets_that_do_not_rise_are_refused(count):
    records = framed(body(0)) * count
    with pytest.raises(CorruptBatch, match="offset 0, expected above 0"):
        decode(with_records(ONE, records, count=count, last_offset_delta=count))


@pytest.mark.parametrize(
    "deltas",
    [
        [0],
        [3],
        [0, 2, 3],
        [5, 6, 100, 8191, 8192, 70_000],
        list(range(30, 90)),
        [*range(20), *range(40, 60), *range(100, 140)],
        [*range(20), *range(8180, 8250)],
    ],
)
@pytest.mark.parametrize("codec", CODECS)
def test_a_compacted_batch_keeps_its_offsets(deltas, codec):
    records = b"".join(framed(body(it, value=encoded(2) + b"%02d" % (it % 100))) for it in deltas)
    batch = with_records(ONE, records, count=len(deltas), last_offset_delta=deltas[-1] + 5)
    batch = recode(batch, codec).with_base_offset(1000)
    assert [it.offset for it in decode(batch)] == [1000 + it for it in deltas]
    assert [it.value for it in decode(batch)] == [b"%02d" % (it % 100) for it in deltas]
    assert batch.next_offset == 1000 + deltas[-1] + 6


def test_reserved_record_attributes_are_read_over():
    batch = with_records(ONE, framed(body(0, attributes=b"\x7f", key=encoded(1) + b"k")))
    assert decode(batch)[0].key == b"k"


def test_numbers_in_more_bytes_than_they_need_are_read():
    """Java reads them; no writer is known to make them."""
    for null in (b"\x81\x00", b"\x81\x80\x00"):
        padded = b"\0" + b"\x80\x00" + b"\x80\x80\x00" + b"\x82\x80\x00k" + null + b"\0"
        assert same_as_naive(with_records(ONE, framed(padded)))
        assert same_as_naive(with_records(ONE, framed(b"\0\0\0\x01" + null + b"\0")))
        assert same_as_naive(with_records(ONE, framed(b"\0\0\0" + null + b"\x01" + b"\0")))
    empty = framed(b"\0\0\0\x80\x80\x00\x80\x80\x00\0")
    assert decode(with_records(ONE, empty))[0][4:] == (b"", b"", ())


def test_timestamps_wrap_as_javas_longs_do():
    low, high = -(2**63), 2**63 - 1
    sent = [(b"", None, (), it) for it in (low, high, 0, low, high, -1)]
    assert [it.timestamp_ms for it in decode(encode(sent))] == [low, high, 0, low, high, -1]
    near = with_records(encode([(b"", None, (), high)]), framed(body(0, time=1)))
    assert decode(near)[0].timestamp_ms == low


def test_recode_gives_no_good_crc_to_damage():
    data = bytearray(encode(MESSAGES).data)
    data[-1] ^= 1
    with pytest.raises(CorruptBatch, match="CRC"):
        recode(Batch(data), Compression.ZSTD)


def test_the_crc_is_left_out_when_asked():
    data = bytearray(encode(MESSAGES).data)
    data[17] ^= 1
    assert decode(Batch(data), check=False) == decode(encode(MESSAGES))
    with pytest.raises(CorruptBatch, match="CRC"):
        decode(Batch(data))
