import random
from itertools import pairwise

import pytest
from crafted import DAMAGED, three
from hypothesis import given
from hypothesis import strategies as st

from logstore.records.compression import Compression
from logstore.records.encode import encode
from logstore.upkeep.salvage import Lost, salvage

BASE = 700
COUNT = 12


def make_batches(codec=Compression.NONE):
    rng, made, offset = random.Random(3), [], BASE
    for _ in range(COUNT):
        messages = [
            (rng.randbytes(rng.randrange(90)), b"k", (), 5) for _ in range(rng.randrange(1, 6))
        ]
        batch = encode(messages, base_offset=offset, compression=codec)
        made.append(batch)
        offset = batch.next_offset
    return made


BATCHES = make_batches()
STARTS = [sum(it.size for it in BATCHES[:n]) for n in range(COUNT + 1)]
DATA = b"".join(bytes(it.data) for it in BATCHES)


def offsets(found):
    return [it.batch.base_offset for it in found.intact]


def without(*places):
    return [it.base_offset for n, it in enumerate(BATCHES) if n not in places]


def test_a_sound_segment(monkeypatch):
    found = salvage(DATA, BASE)
    assert [bytes(it.batch.data) for it in found.intact] == [bytes(it.data) for it in BATCHES]
    assert [it.position for it in found.intact] == STARTS[:-1]
    assert (found.lost, found.bytes_lost) == ((), 0)


def test_zeros_written_ahead_are_no_loss():
    found = salvage(DATA + bytes(1000), BASE)
    assert (offsets(found), found.lost, found.bytes_lost) == (without(), (), 0)


def test_nothing_at_all():
    assert salvage(b"", BASE).intact == ()
    found = salvage(b"%PDF-1.7 " * 99, BASE)
    assert (found.intact, found.lost) == ((), (Lost(BASE, None),))


@pytest.mark.parametrize("field", ["length", "magic", "crc", "attributes", "records"])
def test_a_bit_of_one_batch_costs_that_batch(field):
    at = {"length": 9, "magic": 16, "crc": 18, "attributes": 22, "records": 64}[field]
    data = bytearray(DATA)
    data[STARTS[4] + at] ^= 0x20
    found = salvage(bytes(data), BASE)
    assert offsets(found) == without(4)
    lost = Lost(BATCHES[4].base_offset, BATCHES[4].next_offset - 1)
    assert (found.lost, found.bytes_lost) == ((lost,), BATCHES[4].size)


@pytest.mark.parametrize("flipped", [0x01, 0x80])
def test_a_wrong_base_offset_costs_nothing_where_the_gap_tells_the_right_one(flipped):
    data = bytearray(DATA)
    data[STARTS[4] + 6] ^= flipped  # up or out of the segment's reach, or down
    data[STARTS[4] + 7] ^= 0x03
    found = salvage(bytes(data), BASE)
    assert offsets(found) == without()
    assert found.lost == ()
    found.intact[4].batch.check()


def test_a_wrong_base_offset_at_an_end():
    data = bytearray(DATA)
    data[STARTS[0] + 5] ^= 1
    assert offsets(salvage(bytes(data), BASE)) == without(0)
    data = bytearray(DATA)
    data[STARTS[-2] + 5] ^= 1  # nothing after it tells: believed, and the gap before it named
    found = salvage(bytes(data), BASE)
    assert offsets(found)[:-1] == without(COUNT - 1)
    assert found.lost == (Lost(BATCHES[-1].base_offset, offsets(found)[-1] - 1),)


def test_a_cut_off_end_and_a_missing_beginning():
    found = salvage(DATA[:-3], BASE)
    assert offsets(found) == without(COUNT - 1)
    assert found.lost == (Lost(BATCHES[-1].base_offset, None),)
    found = salvage(DATA[5:], BASE)
    assert offsets(found) == without(0)
    assert found.lost == (Lost(BASE, BATCHES[1].base_offset - 1),)


def test_a_whole_batch_within_a_value_is_not_a_record_of_the_log():
    inner = bytes(encode([(b"inner", None, (), 5)], base_offset=BASE + 1).data)
    outer = [encode([(inner, None, (), 5)], base_offset=BASE + n) for n in range(3)]
    data = b"".join(bytes(it.data) for it in outer)
    assert [it.batch.base_offset for it in salvage(data, BASE).intact] == [BASE, BASE + 1, BASE + 2]


@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(1, 255)), max_size=12))
def test_whatever_is_damaged_all_that_is_untouched_comes_back(damage):
    data, hit = bytearray(DATA), set()
    for at, value in damage:
        data[at] ^= value
    for n in range(COUNT):
        if data[STARTS[n] : STARTS[n + 1]] != DATA[STARTS[n] : STARTS[n + 1]]:
            hit.add(n)
    found = salvage(bytes(data), BASE)
    whole = [bytes(it.batch.data) for it in found.intact]
    untouched = [bytes(BATCHES[n].data) for n in range(COUNT) if n not in hit]
    crowd = sum(
        1 for n in hit if data[STARTS[n] + 8 : STARTS[n + 1]] == DATA[STARTS[n] + 8 : STARTS[n + 1]]
    )
    if not crowd:  # a wrong base offset may be believed over a right one, where they are as many
        assert [it for it in whole if it in untouched] == untouched
    for it in found.intact:
        it.batch.check()
    covered = [(it.batch.base_offset, it.batch.next_offset) for it in found.intact]
    covered += [(it.first, it.last + 1) for it in found.lost if it.last is not None]
    covered.sort()
    assert all(end == begin for (_, end), (begin, _) in pairwise(covered))


@pytest.mark.parametrize("codec", Compression)
def test_in_every_codec(codec):
    made = make_batches(codec)
    data = bytearray(b"".join(bytes(it.data) for it in made))
    data[made[0].size + 70] ^= 1
    found = salvage(bytes(data), BASE)
    assert [it.batch.base_offset for it in found.intact] == [
        it.base_offset for n, it in enumerate(made) if n != 1
    ]


@pytest.mark.parametrize("make", DAMAGED.values(), ids=DAMAGED)
def test_a_batch_whose_records_cannot_be_read_is_lost(make):
    """Its checksum is right: it was copied as intact."""
    damaged = make().with_base_offset(BASE + 3)
    batches = [
        three().with_base_offset(BASE), damaged, three().with_base_offset(damaged.next_offset)
    ]  # fmt: skip
    found = salvage(b"".join(bytes(it.data) for it in batches), BASE)
    assert offsets(found) == [BASE, damaged.next_offset]
    assert found.lost == (Lost(BASE + 3, damaged.last_offset),)
    assert found.bytes_lost == damaged.size
