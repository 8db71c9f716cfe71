"""Members of a KIP-848 group that come, go, hang, come back late and commit late; in any order."""

import pytest
from coordinator_parts import Bench
from group_clients import Client
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.broker.coordinator.calls import LEAVE, LEAVE_STATIC
from logstore.broker.coordinator.view import TopicFacts

pytestmark = pytest.mark.long

CLIENTS = 4
SESSION_MS = 45_000
TOPICS = {"t": TopicFacts("id-t", 5), "u": TopicFacts("id-u", 3)}

clients = st.integers(0, CLIENTS - 1)
subscriptions = st.sampled_from([("t",), ("u",), ("t", "u")])


class ConsumerModel(RuleBasedStateMachine):
    @initialize(held=st.booleans(), asked=st.lists(subscriptions, min_size=4, max_size=4))
    def begin(self, held, asked):
        self.bench = Bench(held=held, topics=dict(TOPICS))
        self.seen, self.offset = [], 0
        self.clients = [
            Client(self.bench, number, topics, self.seen) for number, topics in enumerate(asked)
        ]

    def members(self):
        found = self.bench.coordinator.describe("g")
        return {it.id: it for it in found.members} if found is not None else {}

    @rule(number=clients, obey=st.booleans(), lost=st.booleans())
    def beat(self, number, obey, lost):
        if obey:
            self.clients[number].obey()
        self.clients[number].beat(lost=lost)

    @rule(times=st.integers(1, 3))
    def all_beat(self, times):
        for _ in range(times):
            for client in self.clients:
                client.obey()
                client.beat()

    @rule(number=clients, topics=subscriptions)
    def subscribe(self, number, topics):
        self.clients[number].topics = topics

    @rule(number=clients, static=st.booleans())
    def leave(self, number, static):
        client = self.clients[number]
        if client.epoch:
            static = static and client.instance is not None
            self.bench.beat(
                client.member_id, LEAVE_STATIC if static else LEAVE, instance=client.instance
            )
        self.clients[number] = Client(self.bench, number, client.topics, self.seen)

    @rule(number=clients)
    def start_anew(self, number):
        topics = self.clients[number].topics
        self.clients[number] = Client(self.bench, number, topics, self.seen)

    @rule(ms=st.sampled_from([1, 5000, 30_000, SESSION_MS - 1, SESSION_MS]))
    def pass_time(self, ms):
        self.bench.pass_ms(ms)

    @rule(count=st.integers(1, 6))
    def grow(self, count):
        self.bench.topics["t"] = TopicFacts("id-t", max(count, self.bench.topics["t"].partitions))
        self.bench.coordinator.topics_changed()

    @rule(generation=st.integers(0, 3))
    def make_anew(self, generation):
        self.bench.topics["u"] = TopicFacts(f"id-u{generation}", 3)
        self.bench.coordinator.topics_changed()

    @rule(number=clients)
    def commit(self, number):
        client = self.clients[number]
        if not client.epoch:
            return
        member = self.members().get(client.member_id)
        self.offset += 1
        self.bench.commit(self.offset, client.epoch, client.member_id, instance=client.instance)
        self.bench.keeper.settle()
        if member is None or member.epoch != client.epoch:
            assert self.bench.committed().get(("t", 0)) != self.offset, "from an old epoch"

    @rule(fails=st.booleans())
    def disk(self, fails):
        self.bench.disk(fails)

    @rule()
    def restart(self):
        self.bench.keeper.waiting.clear()
        for client in self.clients:
            if client.asked is not None and not client.asked:
                client.asked = None
        self.seen[:] = [answers for answers in self.seen if answers]
        self.bench.start()

    @invariant()
    def every_reply_is_given_at_most_once(self):
        assert all(len(answers) <= 1 for answers in self.seen)

    @invariant()
    def a_partition_has_one_owner(self):
        members = self.members()
        held = [place for it in members.values() for place in it.assigned]
        assert len(held) == len(set(held)), "two members hold a partition"
        # Who was put out and has not heard of it yet may still read; it can't commit.
        reading = [
            place
            for it in self.clients
            if it.member_id in members and it.epoch
            for place in it.owned & members[it.member_id].assigned
        ]
        assert len(reading) == len(set(reading))
        for it in self.clients:
            if it.epoch and it.member_id in members and members[it.member_id].epoch == it.epoch:
                assert it.owned <= members[it.member_id].assigned, "it reads what others may have"

    def teardown(self):
        for _ in range(200):
            self.bench.keeper.settle()
            for client in self.clients:
                client.obey()
                client.beat()
            self.bench.keeper.settle()
            self.bench.pass_ms(1000)
            found = self.bench.coordinator.describe("g")
            epochs = {client.epoch for client in self.clients}
            reading = {client.member_id: client.owned for client in self.clients}
            # An answer may be under way still that says what to read.
            if found is None:  # nothing was kept before a restart, and all begin anew
                continue
            heard = reading == {it.id: it.assigned for it in found.members}
            if found.state == "Stable" and epochs == {found.epoch} and heard:
                break
        else:
            raise AssertionError(f"it never settles: {found}")
        wanted = set().union(*(client.topics for client in self.clients))
        facts = [self.bench.topics[name] for name in wanted]
        places = [(it.id, number) for it in facts for number in range(it.partitions)]
        assert sorted(p for client in self.clients for p in client.owned) == sorted(places)
        self.bench.pass_ms(1_000_000)
        self.bench.keeper.settle()
        assert all(len(answers) == 1 for answers in self.seen), "a reply is missing"
        assert self.bench.coordinator._groups == {}, "all are gone, and something was left"


ConsumerModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestConsumerModel = ConsumerModel.TestCase
