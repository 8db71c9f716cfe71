"""Keys and places of records, against what decoding says; and batches of some of their records."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import with_crc

from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.records.keyed import keyed, thinned

key_sets = st.lists(st.none() | st.binary(max_size=9) | st.just(b"k" * 200), max_size=4)
shapes = st.tuples(
    st.none() | st.binary(max_size=70) | st.just(b"v" * 9000),
    st.none() | st.binary(min_size=4, max_size=4) | st.binary(max_size=70),
    st.integers(0, 300),
)


def check(messages, codec=Compression.NONE):
    batch = encode(messages, compression=codec, base_offset=7)
    found, records = keyed(batch), decode(batch)
    assert found.keys == [it.key for it in records]
    assert found.tombstones == [
        place for place, it in enumerate(records) if it.value is None and it.key is not None
    ]
    assert len(found.starts) == len(records) + 1
    assert found.starts[-1] == len(found.data)
    for some in ([], [0], range(0, len(records), 3), range(len(records))):
        thin = thinned(batch, found.spans(some))
        thin.check()
        assert decode(thin) == [records[place] for place in some]


@pytest.mark.long
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(shapes, st.integers(1, 90)), min_size=1, max_size=4),
    st.sampled_from(list(Compression)),
)
def test_runs_of_records_of_any_layout(runs, codec):
    messages, time = [], 0
    for (value, key, step), count in runs:
        for _ in range(count):
            time += step
            messages.append((value, key, (), time))
    check(messages, codec)


def test_a_long_batch_whose_offset_deltas_grow():
    check([(b"%0100d" % n, b"key-%08d" % (n * 7 % 1000), (), n * 3) for n in range(20_000)])


def test_tombstones_within_a_run_of_others():
    check([(None if n % 5 else b"", b"key-%04d" % n, (("h", b"x"),), n) for n in range(500)])


@pytest.mark.parametrize("at", range(61, 130))
def test_a_damaged_record_with_a_good_checksum_is_told_or_read_as_it_stands(at):
    data = bytearray(encode([(b"value", b"key%d" % n, (), n) for n in range(6)]).data)
    if at >= len(data):
        pytest.skip("behind the end")
    for byte in (0, 1, 0x7F, 0x80, 0xFF):
        data[at] = byte
        try:
            found = keyed(Batch(with_crc(bytes(data))))
        except CorruptBatch:
            continue
        assert len(found.keys) == 6
