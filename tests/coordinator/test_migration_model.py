"""Members of both protocols in one group that come, go, hang and come back, in any order."""

import itertools

import pytest
from coordinator_parts import SESSION_MS, Bench, places_of, text_of
from group_clients import Client as New
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.broker.coordinator.calls import LEAVE
from logstore.broker.coordinator.refusal import GroupError
from logstore.broker.coordinator.view import TopicFacts

pytestmark = pytest.mark.long

PARTITIONS = 5
CLASSIC, NEW = range(3), range(3, 6)
REJOIN = {GroupError.REBALANCE_IN_PROGRESS, GroupError.COORDINATOR_NOT_AVAILABLE}

classics, news = st.sampled_from(CLASSIC), st.sampled_from(NEW)


class Classic:
    """A consumer of the classic protocol, one step at a time; number 1 is eager, 2 static."""

    def __init__(self, bench, number, seen):
        self.bench, self.number, self.seen = bench, number, seen
        self.instance = f"static-{number}" if number == 2 else None
        self.eager = number == 1
        self.member_id, self.joined, self.synced, self.asked = "", None, False, None
        self.reads = set()

    def step(self):
        if self.asked is not None:
            what, answers = self.asked
            if answers:
                self.asked = None
                what(answers[0])
        elif self.joined is None:
            if self.eager:
                self.reads = set()
            metadata = b"t|" + text_of(self.reads).encode()
            self.ask(self.on_joined, self.bench.join(
                self.member_id, f"c{self.number}", self.instance,
                protocols=[("range", metadata)], id_required=self.instance is None,
            ))  # fmt: skip
        elif not self.synced:
            self.ask(self.on_synced, self.bench.sync(
                self.joined, self.assignments(), self.instance
            ))  # fmt: skip
        else:
            self.on_error(self.bench.heartbeat(self.joined, self.instance))

    def ask(self, what, answers):
        self.seen.append(answers)
        self.asked = what, answers

    def assignments(self):
        """As a cooperative assignor does: nobody is given what another one reads still."""
        if self.joined.leader != self.joined.member_id or self.joined.skip_assignment:
            return None
        ids = [it.id for it in self.joined.members]
        owned = {it.id: places_of(it.metadata.decode().partition("|")[2])
                 for it in self.joined.members}  # fmt: skip
        wanted = {
            member: {("t", n) for n in range(at, PARTITIONS, len(ids))}
            for at, member in enumerate(ids)
        }
        given = {}
        for member in ids:
            others = set().union(*(them for it, them in owned.items() if it != member))
            given[member] = b"=" + text_of(wanted[member] - others).encode()
        return given

    def on_joined(self, answer):
        if answer.error is GroupError.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
        elif answer.error is None:
            self.member_id, self.joined, self.synced = answer.member_id, answer, False
        else:
            self.on_error(answer.error)

    def on_synced(self, answer):
        if answer.error is not None:
            self.on_error(answer.error)
            return
        assigned = set(places_of(answer.assignment[1:].decode()))
        revoked, self.reads, self.synced = self.reads - assigned, assigned, True
        if revoked and not self.eager:
            self.joined = None  # so that others may have them

    def on_error(self, error):
        if error is None:
            return
        self.joined, self.synced = None, False
        if error not in REJOIN:
            self.reads = set()
            if error is not GroupError.ILLEGAL_GENERATION:
                self.member_id = ""


class MigrationModel(RuleBasedStateMachine):
    @initialize(held=st.booleans(), delay_ms=st.sampled_from([0, 3000]))
    def begin(self, held, delay_ms):
        self.bench = Bench(
            held=held, topics={"t": TopicFacts("id-t", PARTITIONS)},
            group_initial_rebalance_delay_ms=delay_ms,
        )  # fmt: skip
        self.seen = []
        self.clients = [self.anew(number) for number in (*CLASSIC, *NEW)]

    def anew(self, number):
        if number in CLASSIC:
            return Classic(self.bench, number, self.seen)
        return New(self.bench, number, ("t",), self.seen)

    def described(self):
        return self.bench.coordinator.describe("g")

    @rule(number=classics, times=st.integers(1, 4))
    def classic_steps(self, number, times):
        for _ in range(times):
            self.clients[number].step()

    @rule(number=news, obey=st.booleans(), lost=st.booleans())
    def new_beats(self, number, obey, lost):
        if obey:
            self.clients[number].obey()
        self.clients[number].beat(lost=lost)

    @rule(times=st.integers(1, 4))
    def all_go_on(self, times):
        for _ in range(times):
            for client in self.clients:
                if isinstance(client, Classic):
                    client.step()
                elif client.epoch:
                    client.obey()
                    client.beat()

    @rule(number=st.sampled_from([*CLASSIC, *NEW]), says_so=st.booleans())
    def leave(self, number, says_so):
        client = self.clients[number]
        if says_so and isinstance(client, Classic) and client.member_id:
            self.bench.leave(client.member_id, client.instance)
        elif says_so and isinstance(client, New) and client.epoch:
            self.bench.beat(client.member_id, LEAVE, instance=client.instance)
        self.clients[number] = self.anew(number)

    @rule(ms=st.sampled_from([1, 3000, SESSION_MS - 1, SESSION_MS, 45_000]))
    def pass_time(self, ms):
        self.bench.pass_ms(ms)

    @rule(fails=st.booleans())
    def disk(self, fails):
        self.bench.disk(fails)

    @rule()
    def restart(self):
        self.bench.keeper.waiting.clear()
        for client in self.clients:
            if isinstance(client, Classic):
                if client.asked is not None and not client.asked[1]:
                    client.asked = None
                    client.joined = None
            elif client.asked is not None and not client.asked:
                client.asked = None
        self.seen[:] = [answers for answers in self.seen if answers]
        self.bench.start()

    @invariant()
    def every_reply_is_given_at_most_once(self):
        assert all(len(answers) <= 1 for answers in self.seen)

    @invariant()
    def a_member_reads_what_it_holds_and_holds_it_alone(self):
        found = self.described()
        if found is None or found.kind == "simple":
            return
        members = {it.id: it for it in found.members}
        reading = {
            it.member_id: {("id-t", n) for _, n in it.reads}
            for it in self.clients
            if isinstance(it, Classic) and it.member_id in members
        }
        for one, other in itertools.combinations(reading.values(), 2):
            assert not one & other, "two members of the classic protocol read a partition"
        if found.kind == "classic":
            return
        held = [place for it in members.values() for place in it.assigned]
        assert len(held) == len(set(held)), "two members hold a partition"
        for member, reads in reading.items():
            assert reads <= members[member].assigned, "a member reads what it does not hold"

    @invariant()
    def no_epoch_is_told_before_it_is_kept(self):
        kept = self.bench.keeper.kept.get("g")
        told = [it.epoch for it in self.clients if isinstance(it, New)]
        told += [
            it.joined.generation for it in self.clients if isinstance(it, Classic) and it.joined
        ]
        assert max(told) <= (0 if kept is None else kept.epoch)

    def teardown(self):
        """With everybody alive, all is read by somebody in the end, and by one alone."""
        if not hasattr(self, "bench"):
            return
        self.bench.keeper.held, self.bench.keeper.error = False, None
        self.bench.keeper.settle()
        for _ in range(60):
            for client in self.clients:
                if isinstance(client, Classic):
                    client.step()
                else:
                    client.obey()
                    client.beat()
            self.bench.pass_ms(1000)
        reads = [("id-t", n) for it in self.clients if isinstance(it, Classic) for _, n in it.reads]
        reads += [place for it in self.clients if isinstance(it, New) for place in it.owned]
        assert sorted(reads) == [("id-t", n) for n in range(PARTITIONS)]


TestMigration = MigrationModel.TestCase
TestMigration.settings = settings(max_examples=150, stateful_step_count=50)
