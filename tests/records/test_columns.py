"""Records of mixed sizes compared by columns: read at once where they fit, no byte believed."""

import pytest
from checked_records import ONE, framed, same_as_naive
from record_samples import with_records

from logstore.records.columns import COLUMNS_MIN, columns
from logstore.records.varint import encoded

pytestmark = pytest.mark.long

SIZES = (0, 3, 41, 57, 58, 63, 64, 90, 150, 300, 8000)  # with lengths of one byte and of two
RECORDS = 66
WIDTHS = [(first, time) for first in (0, 70, 9000, 16_300) for time in (0, 100, 9000, -9000)]
KEYS = [None, b"", b"a key", b"k" * 63]
BEFORE = b"\0\0"  # of records before


def mixed(first, time, key):
    values = [b"v" * SIZES[n % len(SIZES)] for n in range(RECORDS)]
    lead = encoded(-1) if key is None else encoded(len(key)) + key
    return [
        framed(first + n, time=time + n % 3, key=lead, value=encoded(len(value)) + value)
        for n, value in enumerate(values)
    ]


def in_batch(records, first):
    return with_records(ONE, b"".join(records), len(records), first + len(records) - 1)


def found_in(records, first):
    data = BEFORE + b"".join(records)
    return columns(data, len(BEFORE), len(records), first, starts=True)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("first", "time"), WIDTHS)
def test_records_of_mixed_sizes_are_compared_at_once(first, time, key):
    records = mixed(first, time, key)
    found = found_in(records, first)
    # To where an offset delta takes a byte more; a whole head is cut out of each, so perhaps not
    # of the last.
    most = min([RECORDS, *(it - first for it in (64, 8192) if it > first)])
    assert most - 1 <= found.records <= most
    sizes = list(map(len, records))
    starts = [len(BEFORE) + sum(sizes[:n]) for n in range(RECORDS + 1)]
    assert found.starts == starts[: found.records]
    assert found.end == starts[found.records]
    assert (found.least, found.most) == (time, time + 2)
    assert found.keyless == (key is None)
    data = BEFORE + b"".join(records)
    for place, start in enumerate(found.starts):
        begin = start + found.key_at - (place in found.short)
        assert data[begin : begin + found.key_bytes] == (key or b"")
    assert same_as_naive(in_batch(records, first))


@pytest.mark.parametrize("key", KEYS[::2])
@pytest.mark.parametrize(("first", "time"), WIDTHS)
@pytest.mark.parametrize("place", [0, 34, 38])  # lengths of one byte and of two
def test_no_byte_of_them_is_believed(first, time, key, place):
    records = mixed(first, time, key)
    good = records[place]
    whole = found_in(records, first)
    outcomes = set()
    for at in [*range(min(16, len(good))), len(good) - 1]:
        for byte in {0, 1, 0x80, *(good[at] ^ it for it in (1, 2, 0x40, 0x80))} - {good[at]}:
            records[place] = good[:at] + bytes((byte,)) + good[at + 1 :]
            outcomes.add(same_as_naive(in_batch(records, first)))
            found = found_in(records, first)
            if found is not None and found.records > place:
                # A byte of a key, of a value or of a timestamp: all is where it was.
                assert found.starts == whole.starts[: found.records]
                taken = in_batch(records[: found.records], first)
                assert same_as_naive(taken)
    assert False in outcomes


@pytest.mark.parametrize("place", [40, 41, RECORDS - 1])
def test_headers_are_left_to_others(place):
    records = mixed(70, 100, None)
    records[place] = records[place][:-1] + b"\x02"
    found = found_in(records, 70)
    assert found is None or found.records <= place


def test_few_are_left_to_others():
    assert found_in(mixed(70, 100, None)[: COLUMNS_MIN - 1], 70) is None
