"""Members of a classic group that come, go, hang, come back late and commit late; in any order."""

import pytest
from coordinator_parts import SESSION_MS, Bench
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.broker.coordinator.refusal import GroupError

PARTITIONS = 5
CLIENTS = 4
REJOIN = {GroupError.REBALANCE_IN_PROGRESS, GroupError.COORDINATOR_NOT_AVAILABLE}

clients = st.integers(0, CLIENTS - 1)


class Client:
    """Does what a consumer does, one step at a time; knows only what it was told."""

    def __init__(self, bench, number, seen):
        self.bench, self.number, self.seen = bench, number, seen
        self.instance = f"static-{number}" if number == 0 else None
        self.member_id = ""
        self.joined = self.parts = self.asked = None  # asked: (what, answers)

    @property
    def stable(self):
        return self.asked is None and self.parts is not None

    def step(self):
        if self.asked is not None:
            what, answers = self.asked
            if answers:
                self.asked = None
                what(answers[0])
        elif self.joined is None:
            self.ask(self.on_joined, self.bench.join(
                self.member_id, f"c{self.number}", self.instance,
                id_required=self.number % 2 == 0,
            ))  # fmt: skip
        elif self.parts is None:
            self.ask(self.on_synced, self.bench.sync(
                self.joined, self.assignments(), self.instance
            ))  # fmt: skip
        else:
            self.on_error(self.bench.heartbeat(self.joined, self.instance))

    def ask(self, what, answers):
        self.seen.calls.append(answers)
        self.asked = what, answers

    def assignments(self):
        if self.joined.leader != self.joined.member_id or self.joined.skip_assignment:
            return None
        ids = [it.id for it in self.joined.members]
        return {member: bytes(range(at, PARTITIONS, len(ids))) for at, member in enumerate(ids)}

    def on_joined(self, answer):
        if answer.error is GroupError.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
        elif answer.error is None:
            self.member_id, self.joined = answer.member_id, answer
        else:
            self.on_error(answer.error)

    def on_synced(self, answer):
        if answer.error is None:
            self.parts = answer.assignment
            self.seen.assignment_given(self.joined, self.parts, self.instance)
        else:
            self.on_error(answer.error)

    def on_error(self, error):
        if error is None:
            return
        self.joined = self.parts = None
        if error not in REJOIN:
            self.member_id = ""


class Seen:
    """All that any client was ever told."""

    def __init__(self):
        self.calls = []
        self.leaders = {}  # by generation
        self.owners = {}  # by generation and partition
        self.highest = 0

    def told(self, answer):
        """As it is given, not as it is heard: that may be late."""
        if answer.error is not None:
            return
        if answer.generation not in self.leaders:
            assert answer.generation > self.highest, "an old generation was given out again"
            self.highest = answer.generation
        if answer.members and not answer.skip_assignment:
            leader = self.leaders.setdefault(answer.generation, answer.member_id)
            assert leader == answer.member_id
        self.leaders.setdefault(answer.generation, answer.leader)

    def assignment_given(self, joined, parts, instance):
        for part in parts:
            # A static member that started anew is the same owner under another id.
            owner = instance or joined.member_id
            key = joined.generation, part
            assert self.owners.setdefault(key, owner) == owner, "two owners in one generation"


class ClassicModel(RuleBasedStateMachine):
    @initialize(held=st.booleans(), delay_ms=st.sampled_from([0, 3000]))
    def begin(self, held, delay_ms):
        self.bench = Bench(held=held, group_initial_rebalance_delay_ms=delay_ms)
        self.seen = Seen()
        self.bench.told = self.seen.told
        self.clients = [Client(self.bench, number, self.seen) for number in range(CLIENTS)]
        self.offset = 0

    @rule(number=clients, times=st.integers(1, 4))
    def act(self, number, times):
        for _ in range(times):
            self.clients[number].step()

    @rule(times=st.integers(1, 3))
    def all_act(self, times):
        for _ in range(times):
            for client in self.clients:
                client.step()

    @rule(number=clients)
    def leave(self, number):
        client = self.clients[number]
        if client.member_id:
            self.bench.leave(client.member_id, client.instance)
        self.clients[number] = Client(self.bench, number, self.seen)

    @rule(number=clients)
    def start_anew(self, number):
        """Killed, and started again: it knows nothing, and the old one says nothing any more."""
        self.clients[number] = Client(self.bench, number, self.seen)

    @rule(ms=st.sampled_from([1, 500, 3000, SESSION_MS - 1, SESSION_MS, 40_000]))
    def pass_time(self, ms):
        self.bench.pass_ms(ms)

    @rule(number=clients)
    def commit(self, number):
        client = self.clients[number]
        if client.joined is None:
            return
        found = self.bench.coordinator.describe("g")
        generation, member_id = client.joined.generation, client.joined.member_id
        current = found is not None and found.epoch == generation and any(
            it.id == member_id for it in found.members
        )  # fmt: skip
        self.offset += 1
        self.bench.commit(self.offset, generation, member_id, instance=client.instance)
        self.bench.keeper.settle()
        if not current:
            assert self.bench.committed().get(("t", 0)) != self.offset, "from an old generation"

    @rule(fails=st.booleans())
    def disk(self, fails):
        self.bench.disk(fails)

    @rule()
    def restart(self):
        """What was asked is never answered; what was not durable never was."""
        self.bench.keeper.waiting.clear()
        for client in self.clients:
            if client.asked is not None and not client.asked[1]:
                client.on_error(GroupError.COORDINATOR_NOT_AVAILABLE)
                client.asked = None
        self.seen.calls = [answers for answers in self.seen.calls if answers]
        self.bench.start()

    @invariant()
    def every_reply_is_given_at_most_once(self):
        assert all(len(answers) <= 1 for answers in self.seen.calls)

    def teardown(self):
        """Whatever has happened: when all behave, they settle, and all is given out."""
        for _ in range(200):
            self.bench.keeper.settle()
            for client in self.clients:
                client.step()
            self.bench.keeper.settle()
            self.bench.pass_ms(1000)
            generations = {it.joined.generation for it in self.clients if it.stable}
            found = self.bench.coordinator.describe("g")
            # Those who were killed as they joined are members until their session is over.
            if found is None:  # nothing was kept before a restart, and all begin anew
                continue
            members = {it.id for it in found.members} == {it.member_id for it in self.clients}
            calm = all(it.stable for it in self.clients) and generations == {found.epoch}
            if members and calm and found.state == "Stable":
                break
        else:
            raise AssertionError("it never settles")
        parts = sorted(part for client in self.clients for part in client.parts)
        assert parts == list(range(PARTITIONS))
        self.bench.keeper.settle()
        self.bench.pass_ms(2_000_000)
        self.bench.keeper.settle()
        assert all(len(answers) == 1 for answers in self.seen.calls), "a reply is missing"
        assert self.bench.coordinator._groups == {}, "all are gone, and something was left"


ClassicModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestClassicModel = pytest.mark.long(ClassicModel.TestCase)
