"""Compaction where there are transactions: what is committed stays, what was aborted goes."""

import random

import pytest
from clock import NOW_MS
from transactions_kit import every_batch, transactions_in

import logstore
from logstore.broker.committed import CommittedLog
from logstore.config import Config
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.disk import Disk

SEED = 1498

SETTINGS = {
    "cleanup.policy": "compact", "segment.bytes": 1200, "index.interval.bytes": 100,
    "min.cleanable.dirty.ratio": 0, "delete.retention.ms": 0,
}  # fmt: skip


class ThisProcess(Disk):
    """Has the heavy part done without a child process."""


@pytest.fixture
def store(tmp_path, clock):
    config = Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(tmp_path / "data", clock=clock, config=config, disk=ThisProcess()) as store:
        yield store


class Writers:
    """Two with transactions, one without; of a few keys."""

    def __init__(self, rng):
        self.rng, self.sequences, self.open, self.value = rng, {}, set(), 0

    def next(self):
        producer = self.rng.randrange(3)
        if producer in self.open and self.rng.random() < 0.4:
            self.open.discard(producer)
            return marker(self.rng.choice([ABORT, COMMIT]), producer, 0, NOW_MS)
        if producer < 2:
            self.open.add(producer)
        self.value += 1
        sequence = self.sequences[producer] = self.sequences.get(producer, -1) + 1
        row = (b"%d" % self.value, b"k%d" % self.rng.randrange(6), (), NOW_MS)
        return encode(
            [row], producer_id=producer, producer_epoch=0, base_sequence=sequence,
            transactional=producer < 2,
        )  # fmt: skip


def latest(log):
    """By key: offset and value of the last that is committed."""
    view, found, at = CommittedLog(log), {}, log.start
    while batches := view.read(at, 1 << 20):
        for batch in batches:
            for record in decode(batch) if not batch.is_control else ():
                found[record.key] = record.offset, record.value
        at = batches[-1].next_offset
    return found


def test_the_last_that_is_committed_of_each_key_stays(store):
    rng = random.Random(SEED)
    log = store.create_topic("t", settings=SETTINGS).partition(0)
    writers = Writers(rng)
    for _ in range(25):
        for _ in range(rng.randrange(30)):
            log.append(writers.next())
        log.wait(log.end)
        expected, stable = latest(log), log.stable
        size = log.bytes()
        list(store.compaction("t", seal=rng.random() < 0.5))
        assert (latest(log), log.stable) == (expected, stable), SEED
        assert log.bytes() <= size
        told = {(it.producer_id, it.last): it.first for it in log.aborted(0, log.safe)}
        for producer, first, last, _ in transactions_in(every_batch(log))[1]:  # what is left of it
            assert told[producer, last] <= first, SEED
    for producer in sorted(writers.open):
        log.append(marker(ABORT, producer, 0, NOW_MS))
    log.wait(log.end)
    expected = latest(log)
    list(store.compaction("t", seal=True))
    assert latest(log) == expected
    left = [it for batch in every_batch(log) if not batch.is_control for it in decode(batch)]
    assert {it.key: (it.offset, it.value) for it in left} == expected, SEED


def test_what_an_open_transaction_has_written_is_not_looked_at(store):
    log = store.create_topic("t", settings=SETTINGS).partition(0)
    log.append(encode([(b"old", b"k", (), NOW_MS)]))
    log.append(
        encode([(b"new", b"k", (), NOW_MS)], producer_id=1, producer_epoch=0, base_sequence=0,
               transactional=True)
    )  # fmt: skip
    log.wait(log.end)
    list(store.compaction("t", seal=True))
    log.append(marker(ABORT, 1, 0, NOW_MS))
    log.wait(log.end)
    assert latest(log) == {b"k": (0, b"old")}
    list(store.compaction("t", seal=True))
    assert latest(log) == {b"k": (0, b"old")}


def test_an_aborted_tombstone_deletes_nothing(store):
    log = store.create_topic("t", settings=SETTINGS).partition(0)
    log.append(encode([(b"old", b"k", (), NOW_MS)]))
    log.append(
        encode([(None, b"k", (), NOW_MS)], producer_id=1, producer_epoch=0, base_sequence=0,
               transactional=True)
    )  # fmt: skip
    log.append(marker(ABORT, 1, 0, NOW_MS))
    log.wait(log.end)
    for _ in range(3):
        list(store.compaction("t", seal=True))
    assert latest(log) == {b"k": (0, b"old")}
