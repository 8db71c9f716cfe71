"""Readers of committed records: of a log, and through the library."""

import random

import pytest
from clock import NOW_MS
from kept_channels import ORDERS_KEPT
from memory_log import MemoryLog
from storage_kit import DEADLINE_S
from transactions_kit import Producers, a_ledger, every_batch, transactions_in

import logstore
from logstore.broker.committed import CommittedLog, isolated
from logstore.errors import OffsetAboveEnd, OffsetBelowStart, Refused
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.decode import decode
from logstore.records.encode import encode

SEED = 98


@pytest.fixture
def log():
    log = MemoryLog("t-0")
    log.notes = a_ledger()
    return log


def values(batches):
    return [(it.offset, it.value) for batch in batches for it in decode(batch)]


def committed(log):
    """By the plainest reading."""
    begun, aborted = transactions_in(every_batch(log))
    end = min(begun.values(), default=log.end)
    return [
        it
        for it in every_batch(log)
        if it.next_offset <= end
        and not it.is_control
        and not any(
            it.is_transactional and it.producer_id == producer and first <= it.base_offset < last
            for producer, first, last, _ in aborted
        )
    ]


@pytest.mark.parametrize("bumps", [True, False])
@pytest.mark.parametrize("bytes_max", [1, 200, 1 << 20])
def test_exactly_what_is_committed_is_read(log, bumps, bytes_max):
    producers = Producers(random.Random(f"{SEED} {bumps}"), bumps=bumps)
    view, at, found = CommittedLog(log), 0, []
    for _ in range(150):
        log.append(producers.next())
        while at < view.safe:
            batches = view.read(at, bytes_max)
            found += values(it for it in batches if not it.is_control)
            at = batches[-1].next_offset
        assert (at, list(view.read(at, bytes_max))) == (log.stable, [])
        assert found == values(committed(log)), SEED


def test_what_is_out_of_range_is_refused_as_by_the_log(log):
    for n in range(3):
        log.append(transactional(7, n))
    log.append(marker(COMMIT, 7, 0, 0))
    log.append(transactional(8, 0))
    view = CommittedLog(log)
    assert (view.safe, view.end) == (4, 5)
    assert list(view.read(5, 1)) == []
    with pytest.raises(OffsetAboveEnd):
        view.read(6, 1)
    log.trim(2)
    with pytest.raises(OffsetBelowStart):
        view.read(1, 1)


def test_another_word_is_refused(log):
    assert isolated(log, "uncommitted") is log
    with pytest.raises(Refused, match="isolation 'read': must be committed or uncommitted"):
        isolated(log, "read")


def transactional(producer, sequence, value=b"x"):
    return encode(
        [(value, b"k", (), NOW_MS)], producer_id=producer, producer_epoch=0,
        base_sequence=sequence, transactional=True,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data", clock=lambda: NOW_MS) as store:
        yield store


def fill(log):
    """An aborted one, a committed one, a plain record, an open one."""
    for batch in (
        transactional(7, 0, b"aborted"), marker(ABORT, 7, 0, NOW_MS),
        transactional(8, 0, b"committed"), marker(COMMIT, 8, 0, NOW_MS),
        encode([(b"plain", b"k", (), NOW_MS)]), transactional(9, 0, b"open"),
    ):  # fmt: skip
        log.append(batch)
    log.wait(log.end)


class TestLibrary:
    @pytest.mark.parametrize("group", [None, "g"])
    def test_a_consumer_reads_what_is_committed(self, store, group):
        log = store.create_topic("t").partition(0)
        fill(log)
        with store.consumer("t", group=group) as consumer:
            assert [it.value for it in consumer] == [b"committed", b"plain"]
        log.append(marker(COMMIT, 9, 0, NOW_MS))
        log.wait(log.end)
        with store.consumer("t", group=group) as consumer:
            last = [b"open"] if group else [b"committed", b"plain", b"open"]
            assert [it.value for it in consumer] == last

    def test_or_all_if_it_wants_to(self, store):
        fill(store.create_topic("t").partition(0))
        with store.consumer("t", isolation="uncommitted") as consumer:
            found = [it.value for it in consumer]
        assert found == [b"aborted", b"committed", b"plain", b"open"]

    def test_another_process_reads_what_is_committed(self, store, tmp_path):
        fill(store.create_topic("t").partition(0))
        with logstore.open(tmp_path / "data", "read") as reader, reader.consumer("t") as consumer:
            assert [it.value for it in consumer] == [b"committed", b"plain"]

    def test_a_replay_leaves_out_the_rest(self, store):
        fill(store.create_topic("t").partition(0))
        [records] = store.replay("t")
        assert [it.value for it in records] == [b"committed", b"plain"]

    def test_a_channel_with_a_history_tells_what_is_committed(self, tmp_path):
        (tmp_path / "logstore.toml").write_text(ORDERS_KEPT)
        with logstore.open(tmp_path) as store:
            with store.listen("orders.eu") as first:
                store.channel("orders.eu").publish(b"made")
                assert first.get(DEADLINE_S).payload == b"made"
            log = store.topic("orders.eu").partition(0)
            with store.listen("orders.eu") as listener:
                fill(log)
                found = [listener.get(DEADLINE_S).payload for _ in range(2)]
                assert found == [b"committed", b"plain"]
