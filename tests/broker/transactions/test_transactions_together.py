"""Clients, a coordinator, its journal and two partitions, with crashes between any two steps: what
was committed is there, what was not is not, in all partitions and in the offsets alike."""

from hypothesis import given, note
from hypothesis import strategies as st
from transaction_parts import ABORT, ANYONE, COMMIT, TOPIC, Pids, at

from logstore.broker.transactions.journaled import Journaled
from logstore.broker.transactions.operations import (
    Offset,
    Offsets,
    Part,
    abandoned,
    decided_key,
    decision_of,
    decode_decision,
    encode_decision,
    encode_known,
    encode_staged,
    known_key,
    pid_of,
    staged_key,
)
from logstore.broker.transactions.state import State
from logstore.broker.transactions.table import Table
from logstore.broker.transactions.transactional_id import TV1, TV2, Missing
from logstore.errors import LogstoreError

PARTITIONS = 2
ADD = PARTITIONS + 1  # in place of a partition: no more than AddPartitionsToTxn
TIMEOUT_MS = 1000


class Crash(Exception):
    """The process is gone; what it has written is there."""


class Partition:
    """Batches and markers, and where the data of open transactions begins."""

    def __init__(self):
        self.entries, self.open = [], {}

    def append(self, pid, epoch, value):
        self.open.setdefault(pid, (epoch, len(self.entries)))
        self.entries.append((pid, epoch, value))

    def mark(self, pid, epoch, outcome):
        self.open.pop(pid, None)
        self.entries.append((pid, epoch, outcome))

    def outcomes(self):
        """By value: how its transaction has ended."""
        found, pending = {}, {}
        for pid, _, it in self.entries:
            if it in (ABORT, COMMIT) and not isinstance(it, str):
                found |= dict.fromkeys(pending.pop(pid, ()), it)
            else:
                pending.setdefault(pid, []).append(it)
        return found, [it for those in pending.values() for it in those]


class Coordinator:
    """As one would be over a disk on which nothing is lost."""

    def __init__(self):
        self.records, self.note, self.finished = [], Journaled().encode(), []
        self.partitions = [Partition() for _ in range(PARTITIONS)]
        self.offsets = {}  # by group
        self.pids = Pids()
        self.ticks = 0
        self.steps_left = None  # until a crash
        self.start()

    @property
    def now(self):
        return at(self.ticks)

    def step(self):
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = None
                raise Crash

    # The journal

    def tell(self, key, value):
        self.step()
        self.records.append((key, value))
        self.journaled.apply(key, value, len(self.records) - 1)
        self.step()
        return len(self.records) - 1

    def save(self):
        """A recovery point; what is below is read no more."""
        self.note, self.saved = self.journaled.encode(), len(self.records)

    def start(self):
        self.journaled = Journaled.decode(self.note)
        for place in range(getattr(self, "saved", 0), len(self.records)):
            self.journaled.apply(*self.records[place], place)
        for place, committed in self.journaled.committed():
            self.commit(committed)
            if place not in self.journaled.unfinished():
                self.journaled.finish(place)
        self.staged = self.journaled.staged.copy()
        self.table = Table(self.journaled.ids(), TIMEOUT_MS)
        for place in self.journaled.unfinished():
            key, value = self.records[place]
            decision = decode_decision(value, pid_of(key), "it")
            self.mark(decision)
            self.journaled.finish(place)
        left = [(pid, epoch) for it in self.partitions for pid, (epoch, _) in list(it.open.items())]
        left += [(pid, epoch) for pid, epoch, _ in self.staged.producers()]
        for pid, epoch in left:
            if not self.table.reopen(pid, epoch, self.now):
                self.do(abandoned(pid, epoch, self.now.ms, self.parts(pid)))

    # Decisions

    def parts(self, pid):
        return [
            Part(TOPIC, n, it.open[pid][1])
            for n, it in enumerate(self.partitions)
            if pid in it.open
        ]

    def do(self, decision):
        place = self.tell(decided_key(decision.pid), encode_decision(decision))
        for committed in self.staged.end(decision, place):
            self.step()
            self.commit(committed)
        self.mark(decision)
        self.journaled.finish(place)

    def mark(self, decision):
        for _, number, first in decision.parts:
            it = self.partitions[number]
            if it.open.get(decision.pid, (0, -1))[1] == first:
                self.step()
                it.mark(decision.pid, decision.epoch, decision.outcome)

    def commit(self, committed):
        for it in committed.offsets:
            self.offsets[committed.group] = max(self.offsets.get(committed.group, 0), it.offset)

    def become(self, it):
        """What is pending is told to the journal, and done."""
        if not it.pending:
            return it
        if it.state is State.EMPTY:
            self.tell(known_key(it.name), encode_known(it))
            return self.table.kept(it.name)
        self.do(decision_of(it, self.parts(it.pid)))
        self.table.kept(it.name)
        return self.table.completed(it.name)

    # Requests

    def initialize(self, name):
        while True:
            it = self.become(self.table.initialize(name, TIMEOUT_MS, ANYONE, self.pids, self.now))
            if it.state is State.EMPTY:
                return it.producer

    def produce(self, name, producer, number, value, missing):
        self.table.admit(name, producer, missing, self.now)
        self.step()
        if (*producer, value) in self.partitions[number].entries:
            return  # the same batch, again
        self.partitions[number].append(*producer, value)
        self.step()

    def commit_offset(self, name, producer, offset, missing):
        self.table.admit(name, producer, missing, self.now)
        offsets = Offsets(producer.epoch, self.now.ms, name, (Offset(TOPIC, 0, offset),))
        place = self.tell(staged_key(producer.pid), encode_staged(offsets))
        self.staged.stage(producer.pid, offsets, place)

    def end(self, name, producer, outcome, version):
        it = self.table.end(name, producer, outcome, version, self.pids, self.now)
        return self.become(it).producer

    def time_out(self):
        self.ticks += TIMEOUT_MS
        while (name := self.table.due(self.now)) is not None:
            self.become(self.table.fence(name, self.pids, self.now))


class Client:
    """One that does what its library would, and notes what it was told."""

    def __init__(self, name, version, coordinator):
        self.name, self.version, self.coordinator = name, version, coordinator
        self.missing = Missing.ADDED if version == TV2 else Missing.REFUSED
        self.producer = None
        self.number = 0  # of values
        self.begin()

    def begin(self):
        # What it has written, the offset that goes with it, and how it is to end, or has.
        self.values, self.offset, self.asked = [], None, None
        self.begun, self.unanswered = False, None
        self.late = False  # its time was over

    def write(self, number):
        if self.producer is None:
            self.producer = self.coordinator.initialize(self.name)
        if self.version == TV1 and not self.begun:
            self.coordinator.table.add(self.name, self.producer, self.coordinator.now)
            self.begun = True
        self.ask_again()
        if number == ADD:
            return
        self.number += 1
        if number < PARTITIONS:
            value = f"{self.name}{self.number}"
            self.values.append(value)
            self.ask(self.coordinator.produce, number, value)
        else:
            self.offset = self.number
            self.ask(self.coordinator.commit_offset, self.offset)

    def ask(self, request, *what):
        """Until it is answered."""
        self.unanswered = request, what
        request(self.name, self.producer, *what, self.missing)
        self.unanswered = None

    def ask_again(self):
        if self.unanswered is not None:
            request, what = self.unanswered
            self.ask(request, *what)

    def end(self, outcome):
        if self.producer is None or not (self.begun or self.values or self.offset):
            return
        self.ask_again()
        self.asked = self.asked if self.asked is not None else outcome
        self.producer = self.coordinator.end(self.name, self.producer, self.asked, self.version)


class World:
    def __init__(self, versions):
        self.coordinator = Coordinator()
        self.clients = [Client(f"c{n}-", it, self.coordinator) for n, it in enumerate(versions)]
        self.transactions = []  # values, offset, what was asked, what it was told

    def over(self, client, told):
        self.transactions.append((client.name, client.values, client.offset, client.asked, told))
        client.begin()

    def run(self, what, who, number):
        client = self.clients[who % len(self.clients)]
        try:
            if what == "crash":
                self.coordinator.steps_left = number
            elif what == "save":
                self.coordinator.save()
            elif what == "time":
                for it in self.clients:
                    it.late = True
                self.coordinator.time_out()
            elif what == "write" and client.asked is None:
                client.write(number)
            elif what in ("commit", "abort"):
                client.end(COMMIT if what == "commit" else ABORT)
                self.over(client, client.asked)
            elif what == "replace":  # by another instance; the one before is not heard of again
                client.producer = None
                self.over(client, None)
        except Crash:
            self.restart()
        except LogstoreError as error:
            note(f"{client.name}: {error}")
            assert client.late, "a client that did nothing wrong was refused"
            client.producer = None
            self.over(client, None)

    def restart(self):
        """Clients connect again, and go on: with the end that they had asked for, if any."""
        while True:
            try:
                self.coordinator.start()
            except Crash:
                continue
            break

    def check(self):
        self.coordinator.steps_left = None
        for client in self.clients:
            self.over(client, None)
        self.coordinator.time_out()
        found, left = {}, []
        for it in self.coordinator.partitions:
            outcomes, pending = it.outcomes()
            found |= outcomes
            left += pending
            assert not it.open
        assert not left
        assert self.coordinator.staged.producers() == []
        assert self.coordinator.journaled.unfinished() == []
        assert self.coordinator.table.open_ids() == []
        highest, unsure = {}, set()  # offsets; those of commits that were not answered
        for name, values, offset, asked, told in self.transactions:
            ended = {found[it] for it in values if it in found}
            assert len(ended) <= 1, "torn"
            if told is not None:
                assert ended <= {told}
            elif asked is not COMMIT:
                assert ended <= {ABORT}
            if offset is not None and (told is COMMIT or COMMIT in ended):
                highest[name] = offset
            elif offset is not None and told is None and not ended and asked is COMMIT:
                unsure.add((name, offset))
        for name, offset in self.coordinator.offsets.items():
            if (name, offset) in unsure and offset > highest.get(name, 0):
                highest[name] = offset
        assert self.coordinator.offsets == highest


STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, PARTITIONS)),
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, ADD)),
    st.tuples(st.sampled_from(["commit", "abort"]), st.integers(0, 1), st.just(0)),
    st.tuples(st.sampled_from(["replace", "save", "time"]), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.integers(0, 5)),
)


@given(st.lists(st.sampled_from([TV1, TV2]), min_size=2, max_size=2), st.lists(STEPS, max_size=40))
def test_transactions_are_whole_or_absent(versions, steps):
    world = World(versions)
    for step in steps:
        note(str(step))
        world.run(*step)
    world.check()
