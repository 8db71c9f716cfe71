"""What the check accepts, a plain decoder accepts, and the other way round."""

import random

import pytest
from checked_records import ONE, framed, in_parts, same_as_naive, whole
from hypothesis import given
from hypothesis import strategies as st
from record_samples import CODECS, messages, with_crc, with_records

from logstore.errors import CorruptBatch
from logstore.records import check
from logstore.records.batch import Batch
from logstore.records.check import Walk, look
from logstore.records.encode import encode, recode
from logstore.records.keyed import keyed, thinned
from logstore.records.varint import encoded


def uniform(count, value=b"v" * 40, key=None, headers=(), step=0):
    return [(value, key, headers, 1_700_000_000_000 + step * n) for n in range(count)]


def mixed(count, seed=1, key=None, headers=(), step=1):
    rng = random.Random(seed)
    return [
        (rng.randbytes(rng.randrange(150)), key, headers, 1_700_000_000_000 + step * n // 7)
        for n in range(count)
    ]


SHAPES = {
    "uniform": uniform(90),
    "uniform, keyed": uniform(90, key=b"key"),
    "uniform, with headers": uniform(90, headers=(("a", b"1"), ("b", None))),
    "uniform, at other times": uniform(200, step=1),
    "uniform, long apart": uniform(90, step=1_000_000),
    "uniform, backwards": uniform(90, step=-70),
    "uniform, without values": uniform(90, value=None, key=b"k"),
    "uniform, empty": uniform(90, value=b""),
    "mixed": mixed(150),
    "mixed, keyed": mixed(150, key=b"key"),
    "mixed, at other times": mixed(150, step=700),
    "mixed, keyed, at other times": mixed(150, key=b"key", step=700),
    "mixed, with and without keys": [
        (value, None if n % 9 == 0 else b"k" * (n % 70), headers, time)
        for n, (value, _, headers, time) in enumerate(mixed(200))
    ],
    "mixed, with headers": mixed(90, headers=(("a", b"1"),)),
    "mixed, with headers of their own": [
        (value, key, (("trace", b"%d" % n * (n % 40)), ("b", None)), time)
        for n, (value, key, _, time) in enumerate(mixed(60, step=3))
    ],
    "mixed, backwards": mixed(90, step=-700),
    "long": uniform(20, value=b"v" * 9000),
    "uniform, keyed, without every fifth value": [
        (None if n % 5 == 0 else b"", b"k" * 9, (), 0) for n in range(90)
    ],
    "one": uniform(1),
}
# As compaction leaves them: every third record is gone, and later all but one in fifty.
WITH_GAPS = ["uniform, keyed", "uniform, with headers", "mixed, at other times", "mixed, keyed"]
SHAPES |= {f"{name}, with gaps": SHAPES[name] for name in WITH_GAPS}


def made(shape):
    batch = encode(SHAPES[shape])
    if not shape.endswith("with gaps"):
        return batch
    places = [it for it in range(batch.record_count) if it % 3 and (it < 70 or it % 50 == 1)]
    return thinned(batch, keyed(batch).spans(places))


@given(messages, st.sampled_from(CODECS), st.booleans())
def test_every_batch_that_we_make_is_accepted(sent, codec, dense):
    batch = encode(sent, compression=codec)
    facts = look(batch, dense=dense)
    times = [it[3] for it in sent]
    assert facts[0] == len(sent)
    assert facts[2:] == (min(times), max(times), sum(it[1] is None for it in sent))
    assert same_as_naive(recode(batch, CODECS[0]))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_accepted_whole_and_in_parts(shape):
    assert same_as_naive(made(shape), sizes=(1, 7, 64, 1000))


@pytest.mark.parametrize("make", [uniform, mixed])
@pytest.mark.parametrize("facts", [{}, {"key": b"k"}, {"headers": (("a", b"1"),)}, {"step": 3}])
def test_batches_of_many_records_are_accepted(make, facts):
    sent = make(20_000, **facts)
    batch = encode(sent)
    times = [it[3] for it in sent]
    keyless = 0 if "key" in facts else len(sent)
    expected = (len(sent), batch.size - 61, min(times), max(times), keyless)
    assert look(batch, dense=True) == expected
    assert look(batch, dense=False) == expected
    assert in_parts(batch, True, 100_000) == expected


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_no_byte_is_believed_that_a_plain_decoder_would_refuse(shape):
    good = made(shape)
    outcomes = set()
    # Five has no divisor in common with a record's size, so each byte of a record has its turn.
    for at in range(61, good.size, max(5, good.size // 200 // 5 * 5 + 1)):
        for byte in {good.data[at] ^ it for it in (1, 2, 0x40, 0x80)} | {0, 1}:
            data = bytearray(good.data)
            data[at] = byte
            outcomes.add(same_as_naive(Batch(with_crc(data))))
    assert False in outcomes


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_spliced_records_are_accepted_where_a_plain_decoder_takes_them(shape):
    rng = random.Random(shape)
    base = made(shape)
    good = bytes(base.data[61:])
    outcomes = set()
    for _ in range(1000):
        at, size = rng.randrange(len(good)), rng.choice((0, 1, 2, 3))
        varint = encoded(rng.choice((-2, -1, 0, 1, 5, 63, 64, 8191, 8192, 2**31 - 1)))
        data = good[:at] + rng.choice((varint, b"", b"\x80", rng.randbytes(2))) + good[at + size :]
        more = rng.choice((0, 0, -1, 1))
        count, last = base.record_count + more, max(base.last_offset_delta + more, 0)
        batch = with_records(base, data, count, last + rng.choice((0, 40)))
        outcomes.add(same_as_naive(batch))
    assert False in outcomes


@pytest.mark.parametrize(
    ("records", "count", "words"),
    [
        (b"\xff" * 50, 3, "varint at byte 0"),
        (framed(0), 2, "end in record 1, the header says 2"),
        (framed(0) + framed(1), 1, "7 bytes follow the last record"),
        (framed(0) + framed(0), 2, "record 1 has offset delta 0, expected 1"),
        (framed(0) * 40, 40, "record 1 has offset delta 0, expected 1"),
        (framed(2**31 - 1), 1, "record 0 has offset delta 2147483647, expected 0"),
        (framed(0, more=1), 1, "end in record 0"),
        (framed(0, more=-1), 1, "does not fit into its own length"),
        (encoded(-1) + framed(0), 1, "has length -1"),
        (framed(0, key=encoded(-2)), 1, "key of length -2"),
        (framed(0, value=encoded(-2)), 1, "value of length -2"),
        (framed(0, value=encoded(2**31 - 1)), 1, "does not fit"),
        (framed(0, headers=encoded(-1)), 1, "-1 headers"),
        (framed(0, headers=encoded(2**31 - 1)), 1, "2147483647 headers"),
        (framed(0, headers=encoded(1) + encoded(-1) + encoded(-1)), 1, "without a key"),
        (framed(0, headers=encoded(1) + encoded(0) + encoded(-2)), 1, "header value of length -2"),
        (framed(0, headers=b"\0\0"), 1, "headers that end at byte 1 of 2"),
        (b"", 1, "end in record 0"),
    ],
)
def test_what_is_wrong_is_said(records, count, words):
    batch = with_records(ONE, records, count, count - 1)
    with pytest.raises(CorruptBatch, match=f"^batch at offset 0: .*{words}"):
        look(batch, dense=True)


@pytest.mark.parametrize("step", [2, 7, 150])
@pytest.mark.parametrize("first", [0, 63, 64, 8190, 2**20 - 20])
@pytest.mark.parametrize("size", [[40], [3, 70, 200]])
def test_offset_deltas_with_gaps_are_read_many_at_a_time(first, step, size):
    deltas = range(first, first + 400 * step, step)
    values = [b"v" * size[n % len(size)] for n in range(400)]
    records = b"".join(
        framed(it, value=encoded(len(value)) + value)
        for it, value in zip(deltas, values, strict=True)
    )
    batch = with_records(ONE, records, 400, deltas[-1])
    walk = Walk(batch, dense=False)
    for _ in walk.feed(records):
        pass
    assert (walk.end().records, walk.slow) == (400, 0)
    assert same_as_naive(batch)
    assert not same_as_naive(with_records(ONE, records, 400, deltas[-1] - 1))


@pytest.mark.parametrize("first", [0, 64, 8190, 16_380, 2**20 - 20, 2**21, 2**30])
@pytest.mark.parametrize("size", [3, 40])
def test_offset_deltas_of_every_width_are_followed(first, size):
    deltas = range(first, first + 40)
    records = b"".join(framed(it, value=encoded(size) + b"v" * size) for it in deltas)
    batch = with_records(ONE, records, 40, first + 39)
    assert look(batch, dense=False).records == 40
    assert (whole(batch, True) is None) == (first > 0)
    assert whole(with_records(ONE, records, 40, max(first + 38, 39)), False) == (
        look(batch, dense=False) if first == 0 else None
    )


def test_no_step_looks_at_more_than_so_many_records(monkeypatch):
    monkeypatch.setattr(check, "STEP_RECORDS", 100)
    batch = encode(mixed(1000))
    walk = Walk(batch, dense=True)
    seen = [walk.looked_at for _ in walk.feed(bytes(batch.data[61:]))]
    assert seen == list(range(100, 1001, 100))


def test_a_record_without_an_end_is_gone_through_once_its_bytes_are_there():
    """Not again for each piece that comes."""
    batch = encode([(b"v" * 1_000_000, None, (), 0)])
    walk, data, steps = Walk(batch, dense=True), bytes(batch.data[61:]), 0
    for at in range(0, len(data), 1000):
        steps += sum(1 for _ in walk.feed(data[at : at + 1000]))
    assert (steps, walk.end().records) == (1, 1)


@pytest.mark.parametrize("more", [1, 2])
def test_a_last_record_that_claims_more_than_is_there_is_refused(more):
    """Its headers are known from the records before, and end where the bytes do."""
    headers = encoded(1) + encoded(1) + b"a" + encoded(1) + b"1"
    records = b"".join(framed(it, value=encoded(it) + b"v" * it, headers=headers) for it in (0, 1))
    last = framed(2, value=encoded(2) + b"vv", headers=headers, more=more)
    assert not same_as_naive(with_records(ONE, records + last, 3, 2))
