"""Compaction of logs with transactions, against a plain list of all that was ever written.

Whatever happens, a reader of what is committed sees of each key the last value, by our own view and
as Kafka's consumer goes by the lists of aborted transactions; no marker goes before its time, and
with enough runs all go of which nothing else is left.
"""

from dataclasses import replace
from typing import NamedTuple

import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from transactions_kit import every_batch, read_as_kafka, transactions_in

import logstore
from logstore.broker.committed import CommittedLog
from logstore.broker.ledger import Ledger, producers_of
from logstore.config import Config
from logstore.records.control import ABORT, COMMIT, marker, outcome_of
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.disk import Disk
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job, untold
from logstore.upkeep.rewrite import Rewrite

EXPIRATION_MS = 10_000
SETTINGS = {
    "cleanup.policy": "compact,delete", "segment.bytes": 500, "index.interval.bytes": 100,
    "min.cleanable.dirty.ratio": 0, "retention.ms": -1, "compression.sealed": "zstd",
}  # fmt: skip
CONFIG = Config({
    "upkeep.interval.ms": ("-1", "test"),
    "producer.id.expiration.ms": (str(EXPIRATION_MS), "test"),
})  # fmt: skip


class ThisProcess(Disk):
    """Has the heavy part done without a child process, and never waits: no power is cut here."""

    def sync(self, fd):
        """It is as if it were on disk."""

    def sync_directory(self, path):
        """Likewise."""


class Written(NamedTuple):
    """One record of the history."""

    offset: int
    key: bytes
    value: bytes | None
    producer: int | None
    transaction: int | None  # its number


class History:
    """A store whose one log is written to, and all that was."""

    def __init__(self, path, *, bumps):
        self.path, self.bumps, self.clock = path, bumps, Clock()
        self.rows, self.ended, self.open = [], {}, {}  # outcomes, by transaction; by producer
        self.sequences, self.epochs = {}, {}
        self.markers = {}  # offset: (producer, epoch, outcome, transaction or None)
        self.count = 0
        self.store = None
        self.reopen()
        self.store.create_topic("t", settings=SETTINGS)

    def reopen(self):
        if self.store is not None:
            self.store.close()
        self.store = logstore.open(self.path, clock=self.clock, config=CONFIG, disk=ThisProcess())

    @property
    def log(self):
        return self.store.topic("t").partition(0)

    def write(self, producer, keys, *, deletes, transactional=True):
        rows, first = [], self.log.end
        if producer is not None and transactional and producer not in self.open:
            self.count += 1
            self.open[producer] = self.count
        for n, key in enumerate(keys):
            value = None if deletes else b"%d" % (first + n) * 9
            rows.append((value, b"k%d" % key, (), self.clock()))
            self.rows.append(
                Written(first + n, rows[-1][1], value, producer,
                        self.open.get(producer) if transactional else None)
            )  # fmt: skip
        more = {}
        if producer is not None:
            sequence = self.sequences.get(producer, 0)
            self.sequences[producer] = sequence + len(rows)
            more = {
                "producer_id": producer, "producer_epoch": self.epochs.get(producer, 0),
                "base_sequence": sequence, "transactional": transactional,
            }  # fmt: skip
        assert self.log.append(encode(rows, **more)) == first
        self.log.wait(self.log.end)

    def end(self, producer, outcome):
        """Also where it has nothing here."""
        number = self.open.pop(producer, None)
        if number is not None:
            self.ended[number] = outcome
        if self.bumps:
            self.epochs[producer] = self.epochs.get(producer, 0) + 1
            self.sequences[producer] = 0
        epoch = self.epochs.get(producer, 0)
        at = self.log.append(marker(outcome, producer, epoch, self.clock()))
        self.log.wait(at + 1)
        self.markers[at] = producer, epoch, outcome, number

    def compact(self, retention_ms, memory_bytes=1 << 20, job="compact"):
        before = {it.base_offset: it for it in every_batch(self.log) if it.is_control}
        asked = replace(self.store.topic("t").settings, delete_retention_ms=retention_ms)
        worker = Here(ThisProcess())
        done = Rewrite(self.log, "t", 0, asked, memory_bytes, worker, untold, -1, self.clock()).run(
            Job(job)
        )
        after = {it.base_offset: it for it in every_batch(self.log) if it.is_control}
        assert set(after) <= set(before)
        for at in set(before) - set(after):  # it had its time, and that is over
            assert before[at].delete_horizon_ms is not None
            assert before[at].delete_horizon_ms <= self.clock()
        for at, batch in after.items():
            if batch.delete_horizon_ms != before[at].delete_horizon_ms:
                assert before[at].delete_horizon_ms is None
                assert batch.delete_horizon_ms == self.clock() + retention_ms
            assert decode(batch) == decode(before[at])
        return done

    def cut(self, share):
        """At the border of a segment."""
        bases = [it for it in self.log.bases() if it <= self.log.stable]
        self.log.trim(bases[int(share * (len(bases) - 1))])

    # What must hold

    def _is_committed(self, row):
        return row.transaction is None or self.ended.get(row.transaction) == COMMIT

    def latest(self):
        """By key: the last value that is committed, and stable."""
        found = {}
        for it in self.rows:
            if self._is_committed(it) and self.log.start <= it.offset < self.log.stable:
                found[it.key] = it.offset, it.value
        return {key: it for key, it in found.items() if it[1] is not None}

    def check(self, share):
        wanted, log = self.latest(), self.log
        at = log.start + int(share * (log.safe - log.start))
        views = [_shown(self._by_view(at), at), _shown(read_as_kafka(log, at, 300), at)]
        allowed = {it.offset for it in self.rows if self._is_committed(it)}
        for shown in views:
            assert {it.offset for it in shown} <= allowed
            last = {it.key: (it.offset, it.value) for it in shown}
            last = {key: it for key, it in last.items() if it[1] is not None}
            assert last == {key: it for key, it in wanted.items() if it[0] >= at}
        self._check_markers()
        self._check_producers()

    def _by_view(self, at):
        view = CommittedLog(self.log)
        while batches := view.read(at, 300):
            yield from batches
            at = batches[-1].next_offset

    def _check_markers(self):
        log, batches = self.log, list(every_batch(self.log))
        there = {it.base_offset: it for it in batches if it.is_control}
        numbers = {it.offset: it.transaction for it in self.rows}
        left = {
            numbers[batch.base_offset] for batch in batches
            if batch.is_transactional and not batch.is_control
        }  # fmt: skip
        for at, (_, _, outcome, number) in self.markers.items():
            if number in left:
                assert at in there
                assert outcome_of(there[at]) == outcome
        entries = {it.last for it in log.aborted(log.start, log.safe)}
        told = {
            at for at, (_, _, outcome, number) in self.markers.items()
            if outcome == ABORT and number is not None and at in there
        }  # fmt: skip
        assert entries == told
        begun, aborted = transactions_in(batches)  # as an index made anew would have it
        assert set(begun) <= set(self.open)
        assert {it[2] for it in aborted} <= entries

    def _check_producers(self):
        """A ledger that is made of what is left knows those that are active as the log's does."""
        again = Ledger(self.clock, EXPIRATION_MS)
        for batch in every_batch(self.log):
            again.appended(batch, batch.base_offset)
        found = dict(again.producers())
        for pid, known in producers_of(self.log).producers():
            last = known.sent[-1] if known.sent else None
            if last is not None and last.base_offset < self.log.start:
                continue
            if last is None and not any(
                at >= self.log.start and its[:2] == (pid, known.epoch)
                for at, its in self.markers.items()
            ):
                continue  # so is its marker
            assert found[pid].epoch == known.epoch
            if last is not None:
                assert found[pid].sent[-1].last_sequence == last.last_sequence


def _shown(batches, at):
    """The records from ``at`` on: a batch may begin below."""
    return [
        Written(it.offset, it.key, it.value, None, None)
        for batch in batches if not batch.is_control
        for it in decode(batch) if it.offset >= at
    ]  # fmt: skip


PRODUCERS = st.integers(1, 3)
KEYS = st.lists(st.integers(0, 4), min_size=1, max_size=3)
OUTCOMES = st.sampled_from([ABORT, COMMIT])
WHOLE = st.tuples(st.just("whole"), PRODUCERS, KEYS, st.booleans(), OUTCOMES)
SETTLED = st.tuples(st.just("settled"), OUTCOMES)  # else what is open holds compaction up
COMPACTIONS = st.tuples(
    st.just("compact"), st.sampled_from([0, 0, 1000, 5000]),
    st.sampled_from([1, 300, 1 << 20, 1 << 20]), st.sampled_from(["compact"] * 3 + ["recompress"]),
)  # fmt: skip
ACTS = st.one_of(
    WHOLE, WHOLE, WHOLE, SETTLED, SETTLED, COMPACTIONS, COMPACTIONS, COMPACTIONS,
    st.tuples(st.just("write"), PRODUCERS, KEYS, st.booleans()),
    st.tuples(st.just("end"), PRODUCERS, OUTCOMES),
    st.tuples(st.just("plain"), st.sampled_from([None, 9]), KEYS, st.booleans()),
    st.tuples(st.just("later"), st.sampled_from([1000, 5000, EXPIRATION_MS])),
    st.tuples(st.just("rounds"), st.sampled_from([0, 1000, 5000]), st.sampled_from([1, 2000])),
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("reopen")),
)  # fmt: skip


def do(history, what, *given):
    match what, given:
        case "whole", (producer, keys, deletes, outcome):
            history.write(producer, keys, deletes=deletes)
            history.end(producer, outcome)
        case "settled", (outcome,):
            for producer in list(history.open):
                history.end(producer, outcome)
            history.log.roll()
        case "compact", (retention_ms, memory_bytes, job):
            history.compact(retention_ms, memory_bytes, job)
        case "rounds", (retention_ms, ms):
            for _ in range(3):
                history.write(None, [5], deletes=False, transactional=False)
                history.log.roll()
                history.compact(retention_ms)
                history.clock.ms += ms
        case "write", (producer, keys, deletes):
            history.write(producer, keys, deletes=deletes)
        case "end", (producer, outcome):
            history.end(producer, outcome)
        case "plain", (producer, keys, deletes):
            history.write(producer, keys, deletes=deletes, transactional=False)
        case "later", (ms,):
            history.clock.ms += ms
        case "cut", (share,):
            history.cut(share)
        case "reopen", ():
            history.reopen()


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, min_size=5, max_size=60), st.booleans(), st.floats(0, 1))
def test_whatever_happens_readers_see_what_is_committed(tmp_path_factory, acts, bumps, share):
    history = History(tmp_path_factory.mktemp("markers"), bumps=bumps)
    try:
        for act in acts:
            do(history, *act)
            history.check(share)
        for producer in list(history.open):
            history.end(producer, ABORT)
        history.write(None, [9], deletes=False, transactional=False)
        history.log.roll()
        history.clock.ms += EXPIRATION_MS
        for _ in range(4):
            history.compact(1000)
            history.clock.ms += 1000
            history.check(share)
        assert [it for report in history.store.verify() for it in report.findings] == []
        left = list(every_batch(history.log))
        numbers = {it.offset: it.transaction for it in history.rows}
        alive = {numbers[it.base_offset] for it in left if not it.is_control}
        assert {history.markers[it.base_offset][3] for it in left if it.is_control} <= alive
    finally:
        history.store.close()
