"""Markers, byte for byte as Kafka writes them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.records.control import (
    ABORT,
    COMMIT,
    MARKER_BYTES,
    marker,
    outcome_of,
    with_delete_horizon,
)
from logstore.records.decode import decode
from logstore.records.encode import encode, rebatched
from logstore.records.latest import latest


def test_a_marker_has_the_bytes_that_kafka_writes():
    batch = marker(COMMIT, 7, 3, 1_700_000_000_000, coordinator_epoch=5)
    assert len(batch.data) == MARKER_BYTES
    assert bytes(batch.data[21:23]) == b"\x00\x30"  # transactional, control
    assert bytes(batch.data[61:]) == bytes.fromhex("20 00 00 00 08 0000 0001 0c 0000 00000005 00")
    [record] = decode(batch)
    assert (record.key, record.value) == (b"\0\0\0\1", b"\0\0\0\0\0\5")


@given(
    st.sampled_from([ABORT, COMMIT]), st.integers(0, 2**62), st.integers(0, 2**15 - 1),
    st.integers(0, 2**40), st.integers(0, 2**31 - 1),
)  # fmt: skip
def test_a_marker_says_what_it_was_made_of(outcome, producer, epoch, now_ms, coordinator):
    batch = Batch(marker(outcome, producer, epoch, now_ms, coordinator).data)
    batch.check()
    assert batch.is_control
    assert batch.is_transactional
    assert (batch.producer_id, batch.producer_epoch) == (producer, epoch)
    assert (batch.base_sequence, batch.record_count) == (-1, 1)
    assert batch.max_timestamp_ms == now_ms
    assert outcome_of(batch) == outcome


def test_an_unknown_type_ends_nothing():
    data = bytearray(marker(ABORT, 1, 0, 0).data)
    data[69] = 9
    assert outcome_of(Batch(bytes(data))) is None


def test_a_control_batch_without_a_marker_is_damage():
    with pytest.raises(CorruptBatch, match="has no marker"):
        outcome_of(encode([(b"", None, (), 0)], control=True))


@pytest.mark.parametrize("outcome", [ABORT, COMMIT])
@pytest.mark.parametrize("later_ms", [0, 1, 63, 64, 86_400_000, 2**40])
def test_a_marker_that_is_to_go_says_when_and_what_it_said_before(outcome, later_ms):
    now_ms = 1_700_000_000_000
    batch = marker(outcome, 7, 3, now_ms, coordinator_epoch=5).with_base_offset(44)
    assert batch.delete_horizon_ms is None
    going = Batch(with_delete_horizon(batch, now_ms + later_ms).data)
    going.check()
    assert going.delete_horizon_ms == now_ms + later_ms
    assert decode(going) == decode(batch)
    assert outcome_of(going) == outcome
    assert (going.max_timestamp_ms, latest(going)) == (now_ms, now_ms)
    kept = ("base_offset", "next_offset", "producer_id", "producer_epoch", "base_sequence")
    assert [getattr(going, it) for it in kept] == [getattr(batch, it) for it in kept]
    assert going.is_control
    assert going.is_transactional


def test_a_marker_that_kafkas_cleaner_has_emptied_ends_nothing():
    assert outcome_of(rebatched(marker(ABORT, 1, 0, 0), 0, b"")) is None


@given(st.binary(max_size=40))
def test_no_bytes_of_a_control_batch_are_believed(records):
    batch = rebatched(marker(ABORT, 1, 0, 0), 1, records)
    with suppress(CorruptBatch):
        assert outcome_of(batch) in (ABORT, COMMIT, None)
