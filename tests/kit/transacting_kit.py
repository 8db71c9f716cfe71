"""A coordinator of transactions over logs in memory that are synced when a test says."""

from collections import deque

from broker_parts import UnsyncedLog
from clock import NOW_MS
from transaction_parts import TIMEOUT_MS, TOPIC, Pids
from transactions_kit import a_ledger

from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.transacting.coordinator import SYNCED_WITHIN_MS, TransactionCoordinator
from logstore.broker.transacting.loading import load, started
from logstore.broker.transacting.telling import Telling
from logstore.broker.transactions.table import Now, Table
from logstore.broker.transactions.transactional_id import NO_EPOCH, NO_PID, Missing, Producer
from logstore.errors import Damaged, LogFailed, UnknownPartition
from logstore.records.control import outcome_of
from logstore.records.encode import encode
from logstore.slices import Slices

ANYONE = Producer(NO_PID, NO_EPOCH)


class HeldLog(UnsyncedLog):
    """Wakes its watchers as it is synced, or fails."""

    def __init__(self, name, notes):
        super().__init__(name)
        self.notes = notes
        self.gone = False

    def append(self, batch):
        if self.gone:
            raise UnknownPartition(f"{self.name}: its topic was deleted")
        return super().append(batch)

    def read(self, at, bytes_max):
        return [it for it in super().read(at, bytes_max) if it.base_offset < self.synced]

    def sync(self):
        super().sync()
        self._news()

    def fail(self):
        self.failed = True
        self._news()

    def _news(self):
        for wake in list(self._watchers.values()):
            wake()

    def check_failure(self):
        if self.gone:
            raise UnknownPartition(f"{self.name}: its topic was deleted")
        if self.failed:
            raise LogFailed(f"{self.name}: failed")


class Node:
    """What a coordinator has around it; with ``before``, the same after a kill.

    ``lost``: what was not synced is gone; ``broken``: places of logs that can't be opened.
    """

    def __init__(self, before=None, *, lost=True, broken=()):
        self.ms = 0 if before is None else before.ms
        self.calls, self.alarms, self.done = deque(), [], []
        self.pids = Pids() if before is None else before.pids
        self.offsets = {} if before is None else before.offsets  # (group, topic, partition)
        self.offsets_fail = None
        self.journal = HeldLog("journal", SettlementNotes())
        self.logs = {}
        if before is not None:
            _copy(before.journal, self.journal, lost=lost)
            for place, its in before.logs.items():
                if not its.gone:
                    _copy(its, self.log(place), lost=lost)
        self.journal.notes.freeze()
        journaled = self.journal.notes.transactions()
        loaded = load(self.journal, journaled, Places(self.logs, broken))
        self.table = Table(loaded.journaled.ids())
        self._ended = False
        telling = Telling(self.journal, lambda: NOW_MS + self.ms, self.soon, self._end_soon)
        self.telling = telling
        self.coordinator = TransactionCoordinator(
            self.table, loaded.journaled.staged, telling, self
        )
        self.started = False  # whether something new may begin
        self.begin(loaded.journaled)
        Slices(self.soon).begin(started(loaded, self.coordinator), self._begin)

    def begin(self, journaled):
        """Start, before anything else."""

    def _begin(self, error):
        assert error is None
        self.started = True

    def log(self, place):
        if place not in self.logs:
            self.logs[place] = HeldLog(f"{place[0][:1].hex()}-{place[1]}", a_ledger())
        return self.logs[place]

    # Around

    def new_pid(self):
        return self.pids()

    def now(self):
        return Now(NOW_MS + self.ms, self.ms)

    def soon(self, call):
        self.calls.append(call)

    def alarm(self, ticks_ms):
        self.alarms.append(ticks_ms)

    def commit(self, committed, place, done):
        if self.offsets_fail is not None:
            done(self.offsets_fail)
            return
        for group, offsets in committed:
            for it in offsets:
                key = group, it.topic_id, it.partition
                if self.offsets.get(key, (-1, 0))[0] < place:
                    self.offsets[key] = place, it.offset
        done(None)

    def finished(self, place):
        self.done.append(place)
        self.journal.notes.ended(place)

    def _end_soon(self):
        self._ended = True

    # What a test does

    def turn(self):
        """Run until nothing is left, without syncs."""
        while self.calls or self._ended:
            while self.calls:
                self.calls.popleft()()
            if self._ended:
                self._ended = False
                self.telling.end_turn()

    def sync(self, *logs):
        """Sync these logs, or all; then let the time pass after which markers must be synced."""
        for its in logs or (*self.logs.values(), self.journal):
            its.sync()
        self.turn()
        if any(self.ms < it <= self.ms + SYNCED_WITHIN_MS for it in self.alarms):
            self.pass_time(SYNCED_WITHIN_MS)

    def settle(self):
        for _ in range(6):
            self.sync()

    def initialize(self, name="copier", asked=ANYONE, connection=0, timeout_ms=TIMEOUT_MS):
        heard = []
        self.coordinator.initialize(name, timeout_ms, asked, connection, heard.append)
        self.turn()
        return heard

    def producer(self, name="copier"):
        heard = self.initialize(name)
        self.sync()
        self.sync()
        [it] = heard
        return it.producer

    def write(self, producer, place=(TOPIC, 0), name="copier", missing=Missing.ADDED, value=b"x"):
        """Write as a Produce request does; returns the record's place."""
        self.coordinator.admit(name, producer, missing)
        its = self.log(place)
        at = its.append(next_batch(its, producer, value))
        self.coordinator.wrote(producer.pid, place, its)
        return at

    def stage(self, producer, *offsets, group="g", name="copier", missing=Missing.ADDED):
        heard = []
        self.coordinator.stage(name, producer, missing, group, offsets, heard.append)
        self.turn()
        return heard

    def end(self, producer, outcome, version=2, name="copier", connection=0, then=None):
        heard = []
        then = then or heard.append
        self.coordinator.end(name, producer, outcome, version, connection, then)
        self.turn()
        return heard

    def pass_time(self, ms):
        self.ms += ms
        self.coordinator.look_at_times()
        self.turn()

    def markers(self, place=(TOPIC, 0)):
        """Outcomes and epochs of the markers."""
        its = self.log(place)
        return [
            (outcome_of(it), it.producer_epoch)
            for it in super(HeldLog, its).read(0, 1 << 30)
            if it.is_control
        ]


def next_batch(its, producer, value=b"x"):
    """The producer's next batch in a transaction."""
    known = dict(its.notes.producers()).get(producer.pid)
    going_on = known is not None and known.epoch == producer.epoch and known.sent
    return encode(
        [(value, b"k", (), NOW_MS)], producer_id=producer.pid, producer_epoch=producer.epoch,
        base_sequence=known.sent[-1].last_sequence + 1 if going_on else 0, transactional=True,
    )  # fmt: skip


class Places:
    """``Logs`` of a node, but for those that are broken."""

    def __init__(self, logs, broken=()):
        self._logs = logs
        self._broken = broken

    def log(self, place):
        if place in self._broken:
            raise Damaged(f"{place}: is damaged")
        return self._logs.get(place)

    def undecided(self, *, recover):
        return [
            (place, its)
            for place, its in self._logs.items()
            if its.notes.open and place not in self._broken
        ]


def _copy(old, new, *, lost):
    for batch in super(HeldLog, old).read(old.start, 1 << 30):
        if not lost or batch.next_offset <= old.synced:
            new.append(batch)
    new.sync()
