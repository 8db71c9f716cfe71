"""Some records of a batch are what decoding all of it gives of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.crc import crc32c
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.records.keyed import keyed, thinned
from logstore.records.picked import picked

HEADERS = (("a", b"1"), ("b", None))

messages = st.lists(
    st.tuples(
        st.none() | st.binary(max_size=300),
        st.none() | st.binary(max_size=20),
        st.sampled_from([(), HEADERS]),
        st.integers(0, 2**41),
    ),
    min_size=1,
    max_size=40,
)


@given(messages, st.sampled_from([Compression.NONE, Compression.GZIP]), st.booleans(), st.data())
def test_what_is_picked_is_as_it_is_decoded(these, codec, append_time, data):
    batch = encode(these, compression=codec, base_offset=7, log_append_time=append_time)
    offsets = data.draw(st.lists(st.integers(0, 60), unique=True).map(sorted))
    assert picked(batch, offsets) == [it for it in decode(batch) if it.offset in offsets]


def test_of_a_batch_with_gaps_those_are_found_that_are_there():
    batch = encode([(b"%d" % n, b"k", (), n) for n in range(20)], base_offset=100)
    left = thinned(batch, keyed(batch).spans([0, 5, 19]))
    assert [it.offset for it in picked(left, [100, 101, 105, 119, 120])] == [100, 105, 119]
    assert picked(left, [105])[0].value == b"5"


def test_a_damaged_batch_is_refused():
    raw = bytearray(encode([(b"x" * 50, None, (), 0)] * 20).data)
    raw[-1] ^= 1
    with pytest.raises(CorruptBatch):
        picked(Batch(raw), [3])


@given(st.data())
def test_no_damage_behind_a_good_checksum_is_taken_for_a_record(data):
    """Whoever made the checksum may have made the records wrong."""
    raw = bytearray(encode([(b"v%d" % n, b"k", HEADERS, n) for n in range(20)]).data)
    at = data.draw(st.integers(61, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    raw[17:21] = crc32c(bytes(raw[21:])).to_bytes(4)
    offset = data.draw(st.integers(0, 19))
    try:
        found = picked(Batch(raw), [offset])
    except CorruptBatch:
        return
    assert [it.offset for it in found] in ([], [offset])
