import pytest
from hypothesis import given
from hypothesis import strategies as st
from mostly_long import mostly_long
from record_samples import CODECS, INT64, fields, messages

from logstore.records import encode as encode_file
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.decode import decode, keys
from logstore.records.encode import (
    Columns,
    Pieces,
    by_column,
    encode,
    encode_columns,
    encoded_size_max,
    header_section,
    recode,
)
from logstore.records.record import Message, Record


@given(messages, st.sampled_from(CODECS), st.integers(0, 2**62), st.booleans())
def test_what_is_encoded_is_decoded(sent, codec, base_offset, transactional):
    batch = encode(sent, compression=codec, base_offset=base_offset, transactional=transactional)
    records = decode(batch, "topic", 3)
    assert fields(records) == sent
    assert [it.offset for it in records] == [base_offset + n for n in range(len(sent))]
    assert {(it.topic, it.partition) for it in records} == {("topic", 3)}
    assert batch.record_count == len(sent)
    assert batch.next_offset == base_offset + len(sent)
    assert batch.base_timestamp_ms == sent[0][3]
    assert batch.max_timestamp_ms == max(it[3] for it in sent)
    assert batch.is_transactional == transactional
    assert keys(batch) == [it[1] for it in sent]


@given(messages)
def test_headers_that_were_framed_before_make_the_same_batch(sent):
    columns = Columns(*by_column(sent))
    sections = [header_section(headers) for _, _, headers, _ in sent]
    assert encode_columns(columns, sections=sections).data == encode(sent).data


@given(st.lists(st.binary(max_size=300), max_size=5), st.binary(max_size=9) | st.none(), INT64)
def test_a_value_in_pieces_makes_the_same_batch(pieces, key, timestamp):
    value = Pieces(pieces)
    assert (len(value), bytes(value)) == (len(b"".join(pieces)), b"".join(pieces))
    section = header_section((("name", b"value"),))
    batches = [
        encode_columns(Columns([it], [key], [()], [timestamp]), sections=[section])
        for it in (value, bytes(value))
    ]
    batches[0].check()
    assert batches[0].data == batches[1].data


def test_a_long_value_is_joined_once(monkeypatch):
    """As one piece, and makes the batch that a short one would."""
    made = []
    of_pieces = encode_file._of_pieces
    monkeypatch.setattr(
        encode_file, "_of_pieces", lambda *given: made.append(given) or of_pieces(*given)
    )
    value = bytes(range(256)) * 257
    batch = encode([(value, b"key", (("name", b"value"),), 5)])
    assert len(made) == 1
    monkeypatch.setattr(encode_file, "LONG_BYTES", len(value))
    assert encode([(value, b"key", (("name", b"value"),), 5)]).data == batch.data
    assert len(made) == 1
    packed = encode([(value * 2, None, (), 5)], compression=Compression.GZIP)
    assert [it.value for it in decode(packed)] == [value * 2]


@given(messages, st.sampled_from(CODECS), INT64)
def test_log_append_time_covers_all_records(sent, codec, timestamp_ms):
    sent = [(*it[:3], timestamp_ms) if n == 0 else it for n, it in enumerate(sent)]
    batch = encode(sent, compression=codec, log_append_time=True)
    assert {it.timestamp_ms for it in decode(batch)} == {max(it[3] for it in sent)}
    assert [it[:3] for it in fields(decode(batch))] == [it[:3] for it in sent]


@given(messages, st.sampled_from(CODECS), st.sampled_from(CODECS))
def test_recode_changes_the_compression_and_nothing_else(sent, before, after):
    batch = encode(
        sent,
        compression=before,
        base_offset=9,
        producer_id=4,
        producer_epoch=1,
        base_sequence=8,
        transactional=True,
        leader_epoch=6,
    )
    other = recode(batch, after)
    assert other.compression is after
    assert decode(other) == decode(batch)
    kept = [name for name in Batch.__slots__ if name not in ("data", "crc", "attributes")]
    assert [getattr(other, it) for it in kept] == [getattr(batch, it) for it in kept]
    assert other.attributes & ~7 == batch.attributes & ~7
    assert bytes(recode(other, before).data) == bytes(batch.data)


@given(messages)
def test_size_bound_holds_and_is_near(sent):
    bound = sum(encoded_size_max(value, key, headers) for value, key, headers, _ in sent)
    used = encode(sent).size - 61
    assert used <= bound
    headers = sum(len(it[2]) for it in sent)
    names = sum(len(name) for it in sent for name, _ in it[2])
    assert bound - used <= 40 * len(sent) + 10 * headers + 3 * names


@pytest.mark.parametrize("count", [1, 15, 16, 17, 65, 200, 8300])
@pytest.mark.parametrize("key_width", mostly_long([None, 0, 10], [10]))
@pytest.mark.parametrize("step_ms", [0, 1, 70, 9000, -3])
def test_records_of_equal_layout(count, key_width, step_ms):
    sent = [
        (b"%08d" % n, None if key_width is None else b"%0*d" % (key_width, n), (), n * step_ms)
        for n in range(count)
    ]
    if key_width == 0:
        sent = [(value, b"", (), timestamp_ms) for value, _, _, timestamp_ms in sent]
    assert fields(decode(encode(sent))) == sent


@given(
    st.lists(
        st.tuples(
            st.integers(1, 60),
            st.sampled_from([None, 0, 8, 60, 70]),
            st.sampled_from([None, 0, 3, 80, 200]),
            st.sampled_from([(), (("a", b"1"),)]),
            st.sampled_from([0, 1, 100, 20_000]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_runs_of_equal_layout_between_others(runs):
    sent = []
    for count, key_size, value_size, headers, step_ms in runs:
        for n in range(count):
            value = None if value_size is None else bytes([n]) * value_size
            key = None if key_size is None else bytes([n + 1]) * key_size
            sent.append((value, key, headers, (sent[-1][3] if sent else 0) + step_ms))
    assert fields(decode(encode(sent))) == sent


def test_messages_are_encoded_as_they_are():
    batch = encode([Message(b"v", b"k", (), 5), Message(None, timestamp_ms=6)])
    assert decode(batch, "t", 2) == [
        Record("t", 2, 0, 5, b"k", b"v", ()),
        Record("t", 2, 1, 6, None, None, ()),
    ]
    assert all(type(it) is Record for it in decode(batch))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (("text", None, (), 0), "value must be bytes or None, not str"),
        ((bytearray(b"x"), None, (), 0), "value must be bytes or None, not bytearray"),
        ((b"", 5, (), 0), "key must be bytes or None, not int"),
        ((b"", None, ((b"h", b""),), 0), "header's key must be str, not bytes"),
        ((b"", None, (("h", "x"),), 0), "header's value must be bytes or None, not str"),
        ((b"", None, (), 1.5), "timestamp must be int"),
        ((b"", None, (), None), "timestamp must be int"),
    ],
)
def test_wrong_types_are_named(message, words):
    with pytest.raises(TypeError, match=words):
        encode([message])
    with pytest.raises(TypeError):
        encode([(b"", b"", (), 0), message, (b"", b"", (), 9)])


def test_what_no_batch_can_hold():
    with pytest.raises(ValueError, match="at least one message"):
        encode([])
    with pytest.raises(ValueError, match="64 bits"):
        encode([(b"", None, (), 2**63)])
    with pytest.raises(ValueError, match="64 bits"):
        encode([(b"", None, (), 0), (b"", None, (), -(2**63) - 1)])


def test_one_header_key_twice_and_null_values_survive():
    headers = (("h", b"1"), ("h", None), ("", b""), ("h", b"1"), ("ключ", b"\xff"))
    assert decode(encode([(b"", b"", headers, 0)]))[0].headers == headers


def test_compression_levels_are_taken():
    sent = [(b"some text that repeats " * 50, b"%d" % n, (), n) for n in range(50)]
    for codec, low, high in (
        (Compression.GZIP, 1, 9),
        (Compression.ZSTD, 1, 19),
        (Compression.LZ4, 0, 12),
    ):
        quick, small = (encode(sent, compression=codec, level=level) for level in (low, high))
        assert fields(decode(quick)) == fields(decode(small)) == sent
        assert small.size < quick.size
