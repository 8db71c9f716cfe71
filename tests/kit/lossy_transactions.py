"""Transactions of topics on a lossy disk, and what was promised of them at each moment.

Nothing runs by itself, as in ``lossy_queues.py``: what workers, the committer and the flusher have
to do waits until a step has it done, in an order that a seed chooses. So a decision may be synced
before the data of another transaction is, a marker before the offsets, or the other way round.

Beside the process that writes stands one that reads committed records only. It looks whenever
something has changed on the disk, in the middle of any step.
"""

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from unittest.mock import patch

from clock import NOW_MS
from lossy_queues import HandCommitter
from lossy_store import CONFIG
from transacting_kit import ANYONE, next_batch
from transaction_parts import TIMEOUT_MS
from transactions_kit import every_batch, transactions_in
from turns_by_hand import Turns

from logstore.broker.channel import Channels
from logstore.broker.committed import CommittedLog
from logstore.broker.ledger import Ledger
from logstore.broker.queues.journal import SettlementNotes, settlements_of
from logstore.broker.transactions.operations import Offset, decode_decision, pid_of
from logstore.broker.transactions.state import Outcome
from logstore.broker.transactions.table import Now
from logstore.broker.transactions.transactional_id import TV1, Missing, Producer
from logstore.budget import BUDGET_BYTES_MAX, Budget
from logstore.errors import (
    ConcurrentTransactions,
    CoordinatorLoading,
    LogstoreError,
    UnknownPartition,
)
from logstore.kept.queues import JOURNAL_NAME
from logstore.node.groups import Groups
from logstore.node.journal import NodeJournal
from logstore.node.transactions import NodeTransactions
from logstore.open_queues import OpenQueues
from logstore.open_topics import OpenTopics
from logstore.queue_topics import QueueTopics
from logstore.records.decode import decode
from logstore.storage.committer import QueueCommitter
from logstore.storage.kinds import JOURNAL, KINDS, TOPIC
from logstore.storage.reader import ReaderDirectory
from logstore.storage.writer import WriterDirectory

GROUP = "g"
NAMES = "ab"  # of the topics; each has one partition
SEGMENT_BYTES = "300"  # three batches
STEPS_MOST = 5000
SLOW = [
    "",
    *(TOPIC.directory(it, 0) for it in NAMES),
    JOURNAL.directory(JOURNAL_NAME, 0),
    "committer",
]
SHORT_MS = 1000  # as long as it takes until the journal is trimmed
COMMIT, ABORT = Outcome.COMMIT, Outcome.ABORT


def kinds(*, lax=False):
    """Settings with small segments and frequent recovery points, so that all events of large logs
    occur.
    """
    topics = {
        "segment.bytes": SEGMENT_BYTES, "index.interval.bytes": "60", "retention.ms": "-1",
        "flush.messages": "1000" if lax else "1",
    }  # fmt: skip
    small = {"segment.bytes": "400", "flush.messages": "1"}
    return {
        **KINDS,
        TOPIC.name: replace(
            TOPIC, notes=lambda: Ledger(lambda: NOW_MS, 1 << 40), recovery_bytes=500,
            settings=lambda store: topics,
        ),
        JOURNAL.name: replace(
            JOURNAL, notes=SettlementNotes, recovery_bytes=200, settings=lambda store: small
        ),
    }  # fmt: skip


@dataclass(frozen=True)
class Transaction:
    """One of them, as its client knows it."""

    client: str
    producer: Producer
    wrote: tuple = ()  # (topic, value), whether they are there or not
    offset: int | None = None  # staged
    pending: int = 0  # how much of this was not answered yet
    outcome: Outcome | None = None  # as it was asked for
    answered: bool = False
    fenced: bool = False  # the client has asked for its next producer since


@dataclass(frozen=True)
class Known:
    """What somebody who used the transactions, or read what was committed, knows of them."""

    transactions: tuple = ()
    producers: tuple = ()  # that were handed out
    shown: frozenset = frozenset()  # (topic, value): a reader has seen this as committed
    gone: frozenset = frozenset()  # the same: its topic was deleted, or may be
    clients: tuple = ()  # name and version of each


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    known: Known


class Turn(Turns):
    """With the clock of sessions."""

    def __init__(self):
        super().__init__()
        self.ms = 0
        self._timers = []

    def now(self):
        return self.ms / 1000

    def when_heard(self, call):
        call()

    def call_at(self, at, call):
        timer = SimpleNamespace(at=at, call=call)
        timer.cancel = lambda: self._timers.remove(timer)
        self._timers.append(timer)
        return timer

    @property
    def next_ms(self):
        """The time until the next event, if short enough that no client is given up."""
        waits = [round(it.at * 1000) - self.ms for it in self._timers]
        return min((max(it, 0) for it in waits if it <= SHORT_MS), default=None)

    def later(self, ms):
        self.ms += ms
        for timer in sorted(self._timers, key=lambda it: it.at):
            if timer in self._timers and timer.at <= self.now():
                self._timers.remove(timer)
                timer.call()


class Queues(OpenQueues):
    """Of a node that has none: they commit no offsets of groups."""

    def tell_decided(self, told):
        pass


class Transactions(NodeTransactions):
    """By the test's clock; nothing is finished before it is synced wherever it belongs."""

    machine = None

    def now(self):
        return Now(NOW_MS + self._turn.ms, self._turn.ms)

    def finished(self, place):
        self.machine.check_finished(place)
        super().finished(place)


@dataclass
class Client:
    """One transactional id."""

    name: str
    version: int
    producer: Producer | None = None
    at: int | None = None  # its transaction's place in Known, while that is open
    asked: bool = False  # for the next producer, or for the end; not answered yet


class Beside(ReaderDirectory):
    """The directory in another process, which reads it. One process opens a catalogue once."""

    def __init__(self, machine):
        self._catalog = machine.directory._catalog
        super().__init__(
            machine.directory.path, CONFIG, machine.disk, clock=lambda: NOW_MS,
            kinds=machine.directory.kinds,
        )  # fmt: skip

    def _open(self):
        self._open_marks()


class Reader:
    """Of what is committed of one topic, in another process."""

    def __init__(self, beside, name, entry):
        self.name, self.at = name, 0
        self.log = CommittedLog(beside.log(name, entry, 0))

    def look(self):
        """New records: (topic, value)."""
        found = []
        while batches := self.log.read(self.at, 1 << 20):
            found += _values(self.name, batches)
            self.at = batches[-1].next_offset
        return found


def _values(name, batches):
    return [(name, it.value) for batch in batches if not batch.is_control for it in decode(batch)]


class Machine:
    """A node's transactions in use; takes a picture of every moment."""

    def __init__(self, disk, choose, *, lax=False, known=None, watched=True, slow=None):
        self.disk = disk.mount()
        self.choose, self.lax, self.watched = choose, lax, watched
        self.slow = choose.choice(SLOW) if slow is None else slow  # comes last, where it may
        self.moments = []
        self.known = Known() if known is None else known
        self.clients = {}
        self.numbers = 1000 * len(self.known.producers)
        self.readers = []
        disk.changed = self.picture
        self.open()

    def picture(self):
        for reader in self.readers:
            try:
                self._shown(reader.look())
            except LogstoreError as error:
                raise AssertionError(f"a reader beside is told: {error!r}") from error
        self.moments.append(Moment(self.disk.freeze(), self.known))

    # The process

    def open(self):
        self.turn, self.calls, self.works, self.due = Turn(), [], [], {}
        self.unsafe = []  # writes: log, its mark, and the client
        self.again = []  # what clients are to ask again
        self.read = {}  # by topic, the committed records that this process has read
        path = f"{self.disk.base}/new/data"
        self.directory = WriterDirectory(
            path, CONFIG, self.disk, clock=lambda: NOW_MS, kinds=kinds(lax=self.lax)
        )
        self.directory._flusher.soon = lambda log, within_ms=0: self.due.update({log: None})
        environment = self.directory._catalog.environment
        self.topics = OpenTopics(self.directory, lambda: NOW_MS, others_write=False)
        self.beside = Beside(self)
        self.readers = [Reader(self.beside, *it) for it in self.directory.topics().items()]
        store = SimpleNamespace(
            topics=self.topics, directory=self.directory, groups=self.directory.groups,
            channels=Channels(),
        )  # fmt: skip
        around = QueueTopics(self.topics, lambda: None, self.turn.soon, None, listed=False)
        loop = SimpleNamespace(call_soon=self.turn.soon)
        with patch("logstore.node.groups.Committer", HandCommitter):
            self.groups = Groups(loop, self.turn, store, Budget(BUDGET_BYTES_MAX), around)
        self.committer = self.groups.committer
        queues = self.queues = Queues(self.directory, QueueCommitter(self.committer, environment))
        journal = NodeJournal(self.turn, queues, self.work)
        self.transactions = Transactions(self.turn, store, journal, queues, self.work, self.groups)
        self.transactions.machine = self
        self.groups.start()
        self.transactions.start()

    def work(self, first, second):
        self.works.append((first, second))

    def crash(self):
        """End the process; no more pictures are taken."""
        self.disk.changed = lambda: None
        self.readers = []
        directory = self.directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()

    # What goes on in it, one thing at a time

    def step(self):
        """Do one of the possible actions; returns whether there was any."""
        slow = self._slow()
        return (bool(slow) and self.step_without(*slow, again=False)) or self.step_without()

    def _slow(self):
        return {it for it in (*self.due, *self.directory._flusher._dirty) if it.name == self.slow}

    def step_without(self, *slow, again=True):
        """As ``step``, without a sync of these logs."""
        with self._held_back(slow):
            return self._step(again=again)

    @contextmanager
    def _held_back(self, logs):
        """Hold back these logs, as if they were written to while the others are synced."""
        flusher = self.directory._flusher
        due = [it for it in logs if self.due.pop(it, self) is not self]
        dirty = [it for it in logs if flusher._dirty.pop(it, None) is not None]
        try:
            yield
        finally:
            self.due |= dict.fromkeys(due)
            flusher._dirty |= dict.fromkeys(dirty, 0)

    def _step(self, *, again):
        can = []
        if self.turn.left or self.calls:
            can.append(self.end_turn)
        if self.works:
            can.append(self.work_next)
        if self.due:
            can += [self._sync, self._sync_one]
        if self.committer.has_more and (self.slow != "committer" or not can):
            can.append(self.committer.write_next)
        if self.turn.next_ms is not None:
            can.append(self._tick)
        if self.again and again:
            can.append(self._ask_again)
        if not can:
            return False
        self.choose.choice(can)()
        self._look()
        return True

    def _tick(self):
        self.turn.later(self.turn.next_ms)

    def _ask_again(self):
        again, self.again = self.again, []
        for ask in again:
            ask()

    def end_turn(self):
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()
        self.turn.over()

    def work_next(self):
        first, second = self.works.pop(self.choose.randrange(len(self.works)))
        found = first()
        self.calls.append(lambda: second(found))

    def _sync(self, *logs):
        """Sync as the flusher's thread, with the logs in any order."""
        flusher = self.directory._flusher
        logs = logs or list(self.due)
        dirty = list(flusher._dirty)
        self.choose.shuffle(dirty)
        flusher._dirty = dict.fromkeys(dirty)
        for log, upto in [(log, log.end) for log in logs]:
            self.due.pop(log, None)
            with suppress(UnknownPartition):  # its topic was deleted meanwhile
                flusher.wait(log, upto)

    def _sync_one(self):
        """Sync one log; writes to the others came after the start of the cycle."""
        log, flusher = self.choose.choice(list(self.due)), self.directory._flusher
        others = {it: at for it, at in flusher._dirty.items() if it is not log}
        for it in others:
            del flusher._dirty[it]
        self._sync(log)
        flusher._dirty |= others

    def _look(self):
        """Note whose writes are safe now, and read what this process shows."""
        for it in list(self.unsafe):
            log, mark, at = it
            if log.synced >= mark:
                self.unsafe.remove(it)
                self._change(at, pending=self.known.transactions[at].pending - 1)
        for name in self.topics.names():
            log = self.topics.get(name).at_hand(0)
            if log is not None:
                batches = CommittedLog(log).read(self.read.get(name, log.start), 1 << 20)
                if batches:
                    self._shown(_values(name, batches))
                    self.read[name] = batches[-1].next_offset

    def _shown(self, found):
        if new := set(found) - self.known.shown - self.known.gone:
            asked = {
                it for its in self.known.transactions if its.outcome is COMMIT for it in its.wrote
            }
            assert new <= asked, f"read as committed, and is not: {new - asked}"
            self.known = replace(self.known, shown=self.known.shown | new)

    def run(self, until=lambda: False):
        """Take steps until none is left."""
        for _ in range(STEPS_MOST):
            if until() or not self.step():
                return
        raise AssertionError("there is no end of it")

    def some(self, most=6):
        """Take some steps."""
        for _ in range(self.choose.randrange(most + 1)):
            self.step()
        if self.choose.random() < 0.3:
            self.trim()

    def trim(self):
        """Trim the journal, as the owner of queues may do at any time."""
        if self.queues.has_journal:
            with self._held_back(self._slow()):
                self.queues.trim_journal()

    def later(self, ms=SHORT_MS):
        """Let time pass."""
        self.turn.later(ms)

    # What is known

    def log(self, name):
        return self.topics.get(name).partition(0)

    def place(self, name):
        return self.topics.get(name).uuid, 0

    def _change(self, at, **changes):
        transactions = list(self.known.transactions)
        transactions[at] = replace(transactions[at], **changes)
        self.known = replace(self.known, transactions=tuple(transactions))

    def check_finished(self, place):
        """Check that a decision is synced in every log, or still in the journal."""
        if not self.watched:
            return
        journal = self.journal
        if place < journal.start:  # offsets that an earlier process has finished, and not noted
            return
        for batch in journal.read(place, 1):
            for record in decode(batch):
                if record.offset == place and record.key[:1] == b"D":
                    decision = decode_decision(record.value, pid_of(record.key), "it")
                    for part in decision.parts:
                        self._check_marked(decision.pid, part)

    def _check_marked(self, pid, part):
        topic = self.topics.by_uuid(part.topic_id)
        if topic is None:
            return
        log = topic.partition(part.partition)
        markers = [
            it.base_offset
            for it in every_batch(log)
            if it.is_control and it.producer_id == pid and it.base_offset >= part.first
        ]
        if not markers:  # the aborted records are lost, and others are in their place
            there = [it for it in every_batch(log) if it.base_offset == part.first]
            assert there, f"finished, and there is no marker in {log}"
            assert there[0].producer_id != pid, f"finished, and open in {log}"
            return
        assert markers[0] < log.synced, f"finished, and its marker in {log} is not synced"

    # Steps

    def create(self, *names):
        for name in names:
            self.topics.create(name, 1, {})
            self.readers.append(Reader(self.beside, name, self.directory.topic(name)))

    def delete(self, name):
        """Delete a topic, whatever its contents."""
        known = self.known
        gone = {it for its in known.transactions for it in its.wrote if it[0] == name}
        self.readers = [it for it in self.readers if it.name != name]
        self.read.pop(name, None)
        self.known = replace(
            known, shown=known.shown - gone, gone=known.gone | gone,
            transactions=tuple(
                replace(its, wrote=tuple(it for it in its.wrote if it not in gone))
                for its in known.transactions
            ),
        )  # fmt: skip
        self.topics.delete(name)

    def coordinator(self):
        """The coordinator, once all pending work is done."""
        found = []

        def opened():
            with suppress(CoordinatorLoading):
                found.append(self.transactions.coordinator())
            return bool(found)

        self.run(until=opened)
        return found[0] if opened() else None

    def client(self, name, version=TV1):
        self.clients[name] = Client(name, version)
        if (name, version) not in self.known.clients:
            self.known = replace(self.known, clients=(*self.known.clients, (name, version)))
        return self.clients[name]

    def initialize(self, client):
        """Start another producer; open transactions are aborted."""
        for at, it in enumerate(self.known.transactions):
            if it.client == client.name and not it.answered:
                outcome = ABORT if it.outcome is None else it.outcome
                self._change(at, outcome=outcome, fenced=True)
        client.at = client.producer = None
        client.asked = True

        def ask():
            self.coordinator().initialize(client.name, TIMEOUT_MS, ANYONE, 0, told)

        def told(it):
            if isinstance(it, ConcurrentTransactions):
                self.again.append(ask)
                return
            if isinstance(it, LogstoreError):
                raise it
            assert it.producer not in self.known.producers, f"handed out twice: {it.producer}"
            self.known = replace(self.known, producers=(*self.known.producers, it.producer))
            client.producer, client.asked = it.producer, False

        ask()

    def begin(self, client):
        """Begin a transaction, once the client has its producer."""
        self.run(until=lambda: not client.asked)
        client.at = len(self.known.transactions)
        transaction = Transaction(client.name, client.producer)
        self.known = replace(self.known, transactions=(*self.known.transactions, transaction))

    def write(self, client, *names):
        """Write a record to each of these topics."""
        for name in names:
            its = self.known.transactions[client.at]
            self.numbers += 1
            value = b"%d.%d" % (client.at, self.numbers)
            self._change(client.at, wrote=(*its.wrote, (name, value)), pending=its.pending + 1)
            self.coordinator().admit(client.name, client.producer, Missing.ADDED)
            log = self.log(name)
            mark = log.append(next_batch(log, client.producer, value)) + 1
            self.coordinator().wrote(client.producer.pid, self.place(name), log)
            log.sync_soon()
            self.unsafe.append((log, mark, client.at))

    def stage(self, client, offset):
        """Stage an offset of the client's own partition."""
        at, its = client.at, self.known.transactions[client.at]
        self._change(at, offset=offset, pending=its.pending + 1)

        def staged(error):
            if error is not None:
                raise error
            self._change(at, pending=self.known.transactions[at].pending - 1)

        topic = self.topics.get(NAMES[0])
        offsets = [Offset(topic.uuid, _partition(self.known, client.name), offset)]
        self.coordinator().stage(
            client.name, client.producer, Missing.ADDED, GROUP, offsets, staged
        )

    def end(self, client, outcome):
        at, client.at, client.asked = client.at, None, True
        self._change(at, outcome=outcome)

        def heard(it):
            if isinstance(it, LogstoreError):
                raise it
            self._change(at, answered=True)
            client.producer, client.asked = it.producer, False

        self.coordinator().end(
            client.name, client.producer, outcome, client.version, 0,
            lambda it: self.turn.soon(lambda: heard(it)),  # as its connection sends it
        )  # fmt: skip

    def take_too_long(self, client):
        """Let the transaction time out: it is aborted, and its producer fenced."""
        self._change(client.at, outcome=ABORT, fenced=True)
        client.at = client.producer = None
        self.later(TIMEOUT_MS + 1)

    # After a crash

    def settle(self):
        """Let each client continue its transaction, or abort it by its next producer."""
        assert self.coordinator() is not None
        for name, version in self.known.clients:
            client = self.client(name, version)
            its = [at for at, it in enumerate(self.known.transactions) if it.client == name]
            goes_on = its and self.can_go_on(self.known.transactions[its[-1]])
            if goes_on and self.choose.random() < 0.6:
                self._go_on(client, its[-1])
            else:
                self.initialize(client)
            self.some()
        self.run()
        assert not any(it.asked for it in self.clients.values()), "somebody is never answered"

    @staticmethod
    def can_go_on(its):
        """Whether a client would continue: all was answered but the end; otherwise it aborts."""
        something = its.wrote or its.offset is not None
        settled = not its.pending or its.outcome is ABORT
        return something and settled and not (its.answered or its.fenced)

    def _go_on(self, client, at):
        its = self.known.transactions[at]
        client.producer, client.at = its.producer, at
        if its.outcome is None and self.choose.random() < 0.5:
            self.write(client, self.choose.choice(self.topics.names()))
            self.run(until=lambda: not self.known.transactions[at].pending)
        either = self.choose.choice([COMMIT, ABORT])
        self.end(client, either if its.outcome is None else its.outcome)

    def go_on(self):
        """Let each client commit something, as if nothing had happened."""
        for client in self.clients.values():
            self.begin(client)
            self.write(client, *self.topics.names())
            self.stage(client, self.known.transactions[-1].offset or len(self.known.transactions))
            self.some()
            self.end(client, COMMIT)
        self.run()
        self.later()
        self.run()

    @property
    def journal(self):
        return self.transactions._making._telling.journal

    def journaled(self):
        return settlements_of(self.journal).transactions()

    def contents(self):
        """The committed records by topic, once no transaction is open."""
        return {name: committed_of(self.log(name), name) for name in self.topics.names()}

    def offsets(self):
        """The group's committed offsets, by partition."""
        return {place[1]: it.offset for place, it in self.directory.groups.fetch(GROUP).items()}


def committed_of(log, name):
    """(topic, value) of all records that a reader of committed records receives."""
    view, found, at = CommittedLog(log), [], log.start
    while batches := view.read(at, 1 << 20):
        found += _values(name, batches)
        at = batches[-1].next_offset
    return found


def _partition(known, name):
    return [it for it, _ in known.clients].index(name)


def check(machine):
    """Check the law, once every client is answered, and adopt the outcome."""
    for name in machine.topics.names():
        check_log(machine, name)
    contents = machine.contents()
    seen = {it for found in contents.values() for it in found}
    assert machine.known.shown <= seen, f"read before, and gone: {machine.known.shown - seen}"
    offsets = machine.offsets()
    for client, _ in machine.known.clients:
        partition = _partition(machine.known, client)
        check_client(machine, client, seen, offsets.get(partition))
    journaled = machine.journaled()
    assert not journaled.unfinished()
    assert not journaled.committed()
    assert not journaled.staged.producers()
    machine.known = replace(
        machine.known,
        transactions=tuple(_adopted(machine, it, seen) for it in machine.known.transactions),
    )


def _adopted(machine, its, seen):
    """The transaction with its actual outcome."""
    there = set()
    for name in machine.topics.names():
        there |= {*_values(name, every_batch(machine.log(name)))}
    if its.wrote:
        happened = set(its.wrote) <= seen
    else:
        happened = machine.offsets().get(_partition(machine.known, its.client)) == its.offset
    return replace(
        its, wrote=tuple(it for it in its.wrote if it in there), pending=0, answered=True,
        outcome=COMMIT if happened else ABORT,
    )  # fmt: skip


def check_log(machine, name):
    log = machine.log(name)
    begun, aborted = transactions_in(every_batch(log))
    assert not begun, f"{log}: what nobody has open is open: {begun}"
    assert log.stable == log.safe == log.end, log
    found = [it for it in _values(name, every_batch(log)) if it not in machine.known.gone]
    assert len(found) == len(set(found)), f"{log}: something is there twice: {found}"
    wrote = [it for its in machine.known.transactions for it in its.wrote if it[0] == name]
    assert set(found) <= set(wrote), f"{log}: {set(found) - set(wrote)} was never written"
    for its in machine.known.transactions:
        if not its.pending:
            there = [it for it in found if it in its.wrote]
            assert there == [it for it in its.wrote if it[0] == name], f"{log}: {there} of {its}"
    assert log.aborted(0, log.safe) == aborted, log
    reader = Reader(Beside(machine), name, machine.directory.topic(name))
    assert reader.log.safe == log.safe, log
    assert reader.look() == committed_of(log, name), log
    assert reader.log.behind.aborted(0, log.safe) == aborted, f"{log}: as others read it"


def check_client(machine, client, seen, committed):
    may = {None}
    for its in machine.known.transactions:
        if its.client != client:
            continue
        there = {it in seen for it in its.wrote}
        assert len(there) < 2, f"half of it is there: {its}"
        if its.answered:
            happened = {its.outcome is COMMIT}
        elif its.outcome is COMMIT:
            happened = there or {True, False}
        else:
            happened = {False}
        assert there <= happened, f"{its}: {there}"
        if its.offset is not None and True in happened:
            may = {its.offset} | (may if False in happened else set())
    assert committed in may, f"{client}: the group has {committed}, may have {may}"
