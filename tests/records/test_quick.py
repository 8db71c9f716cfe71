"""Plain records of mixed sizes: read in few steps where they are, and no byte of them believed."""

import pytest
from checked_records import ONE, framed, same_as_naive
from record_samples import with_records

from logstore.records.quick import QUICK_MIN, quick
from logstore.records.varint import decoded, encoded

pytestmark = pytest.mark.long

SIZES = (0, 3, 41, 63, 64, 90, 150, 300)  # of values: with lengths of one byte and of two
RECORDS = 40


def mixed(first, time, key):
    values = [b"v" * SIZES[n % len(SIZES)] for n in range(RECORDS)]
    lead = encoded(-1) if key is None else encoded(len(key)) + key
    return [
        framed(first + n, time=time + n % 3, key=lead, value=encoded(len(value)) + value)
        for n, value in enumerate(values)
    ]


WIDTHS = [(first, time) for first in (0, 70, 9000, 16_300) for time in (0, 100)]
KEYS = [None, b"", b"a key", b"k" * 63]


def in_batch(records, first):
    return with_records(ONE, b"".join(records), len(records), first + len(records) - 1)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("first", "time"), WIDTHS)
def test_records_of_mixed_sizes_are_read_in_few_steps(first, time, key):
    records = mixed(first, time, key)
    data = b"\0" + b"".join(records)
    found = quick(data, 1, RECORDS, first, starts=True)
    if (time, first) == (100, 70):
        assert found is None  # two bytes for both deltas: for ``plain``
        return
    assert found.records == RECORDS
    assert found.end == len(data)
    assert (found.least, found.most) == (time, time + 2)
    assert found.keyless == (key is None)
    for place, start in enumerate(found.starts):
        begin = start + found.key_at - (place in found.short)
        assert data[begin : begin + found.key_bytes] == (key or b"")
    sizes = list(map(len, records))
    assert found.starts == [1 + sum(sizes[:n]) for n in range(RECORDS)]
    assert same_as_naive(in_batch(records, first))


@pytest.mark.parametrize("key", KEYS[::2])
@pytest.mark.parametrize(("first", "time"), WIDTHS)
@pytest.mark.parametrize("place", [26, 28])  # a length of one byte, and of two
def test_no_byte_of_them_is_believed(first, time, key, place):
    records = mixed(first, time, key)
    good = records[place]
    outcomes = set()
    for at in [*range(min(16, len(good))), len(good) - 1]:
        for byte in {0, 1, *(good[at] ^ it for it in (1, 2, 0x40, 0x80))}:
            records[place] = good[:at] + bytes((byte,)) + good[at + 1 :]
            outcomes.add(same_as_naive(in_batch(records, first)))
    assert False in outcomes


@pytest.mark.parametrize("key", KEYS[::2])
def test_the_last_record_is_as_long_as_it_says(key):
    records = mixed(0, 0, key)
    cut = b"".join(records)[:-1]
    found = quick(b"\0" + cut, 1, RECORDS, 0, starts=True)
    assert (found.records, len(found.starts)) == (RECORDS - 1, RECORDS - 1)
    assert found.end == 1 + len(cut) + 1 - len(records[-1])
    assert decoded(records[-1], 0)[0] >> 1 > QUICK_MIN


def test_a_header_count_of_the_last_record_is_looked_at():
    records = mixed(0, 0, None)
    records[-1] = records[-1][:-1] + b"\x02"
    found = quick(b"\0" + b"".join(records), 1, RECORDS, 0, starts=True)
    assert (found.records, len(found.starts)) == (RECORDS - 1, RECORDS - 1)
    assert not same_as_naive(in_batch(records, 0))
