"""Members of a share group that join, subscribe, leave, hang and lose answers, in any order."""

import pytest
from coordinator_parts import Bench
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from share_clients import beat

from logstore.broker.coordinator.calls import LEAVE, Sight
from logstore.broker.coordinator.refusal import GroupError
from logstore.broker.coordinator.view import TopicFacts

pytestmark = pytest.mark.long

SESSION_MS, INTERVAL_MS = 45_000, 5000
MEMBERS = [f"m{n}" for n in range(6)]
SIZES = {"t": 3, "u": 2, "v": 1}

members = st.sampled_from(MEMBERS)
names = st.sets(st.sampled_from([*SIZES, "none"]), min_size=1)


class Client:
    """What a member knows of itself."""

    def __init__(self, topics):
        self.epoch, self.topics, self.has = 0, topics, None
        self.at, self.unheard = 0, 0  # its epoch, and how often that rose and it was not heard
        self.heard_ms = None


class ShareModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.bench = Bench(
            topics={name: TopicFacts(f"{name}.0", size) for name, size in SIZES.items()},
            group_share_max_size=4,
        )
        self.clients = {}  # those that are members, as far as they know
        self.epoch = 0  # the group's, as it was seen last
        self.hidden = frozenset()

    @property
    def server(self):
        found = self.bench.coordinator.describe("g")
        return {} if found is None else {it.id: it for it in found.members}

    def _beat(self, member, epoch, topics=None):
        hidden = self.hidden
        sight = Sight((hidden,), lambda topic: topic not in hidden)
        return beat(self.bench, member, epoch, topics, sight=sight)

    def _hear(self, client, answer):
        assert answer.error is None
        assert answer.epoch >= client.epoch
        client.epoch = client.at = answer.epoch
        client.unheard = 0
        if answer.assignment is not None:
            client.has = answer.assignment

    @staticmethod
    def _miss(client, answer):
        client.unheard += answer.epoch != client.at
        client.at = answer.epoch

    @rule(member=members, topics=names, lost=st.booleans())
    def join(self, member, topics, lost):
        there = self.server
        answer = self._beat(member, 0, topics)
        if member not in there and len(there) >= 4:
            assert answer.error is GroupError.GROUP_MAX_SIZE_REACHED
            return
        assert (answer.error, answer.assignment is None) == (None, False)
        client = self.clients[member] = Client(topics)
        client.heard_ms = self.bench.now
        (self._miss if lost else self._hear)(client, answer)

    @rule(member=members, topics=st.none() | names, lost=st.booleans())
    def go_on(self, member, topics, lost):
        client = self.clients.get(member)
        if client is None or client.epoch == 0:
            return
        there = self.server.get(member)
        answer = self._beat(member, client.epoch, topics)
        if there is None:
            assert answer.error in (GroupError.UNKNOWN_MEMBER_ID, GroupError.GROUP_ID_NOT_FOUND)
            del self.clients[member]
            return
        if answer.error is GroupError.FENCED_MEMBER_EPOCH:
            assert client.unheard > 1
            client.epoch = 0
            return
        client.heard_ms = self.bench.now
        client.topics = topics or client.topics
        if lost:
            self._miss(client, answer)
            return
        self._hear(client, answer)
        assert client.has == self.server[member].assigned

    @rule(member=members, topics=st.none() | names)
    def repeat(self, member, topics):
        """An answer is lost, and the client asks again as before."""
        self.go_on(member, topics, True)
        self.go_on(member, topics, False)

    @rule(member=members)
    def leave(self, member):
        there = member in self.server
        answer = self._beat(member, LEAVE)
        assert (answer.error is None) == there
        self.clients.pop(member, None)

    @rule(ms=st.sampled_from([1, INTERVAL_MS, SESSION_MS - 1, SESSION_MS]))
    def pass_time(self, ms):
        self.bench.pass_ms(ms)

    @rule(topic=st.sampled_from([*SIZES]), number=st.integers(0, 3), size=st.integers(0, 4))
    def change_topic(self, topic, number, size):
        """It is made, grown, deleted or made anew."""
        if size == 0:
            self.bench.topics.pop(topic, None)
        else:
            self.bench.topics[topic] = TopicFacts(f"{topic}.{number}", size)
        self.bench.coordinator.topics_changed()

    @rule(hidden=st.sets(st.sampled_from([*SIZES]), max_size=1))
    def change_rights(self, hidden):
        self.hidden = frozenset(hidden)

    @rule()
    def restart(self):
        self.bench.start()
        for member in self.clients.keys() & self.server.keys():
            self.clients[member].heard_ms = self.bench.now

    @rule()
    def all_beat(self):
        """Whoever is there and hears what it is told has what is to be."""
        for member, client in self.clients.items():
            if member in self.server:
                self._hear(client, self._beat(member, 0, client.topics))
                client.heard_ms = self.bench.now
        for member in self.clients.keys() & self.server.keys():
            client = self.clients[member]
            self._hear(client, self._beat(member, client.epoch))
        self._check_assignment()

    def _check_assignment(self):
        there = self.server
        if there.keys() != self.clients.keys() or not there:
            return
        wanted = {
            member: {
                (facts.id, n)
                for name in client.topics - self.hidden
                if (facts := self.bench.topics.get(name)) is not None
                for n in range(facts.partitions)
            }
            for member, client in self.clients.items()
        }
        for member, client in self.clients.items():
            assert client.has == there[member].assigned == there[member].target
            assert client.has <= wanted[member]
            assert bool(client.has) == bool(wanted[member])
        everything = set().union(*wanted.values())
        assert set().union(*(it.has for it in self.clients.values())) == everything
        if len({frozenset(it) for it in wanted.values()}) == 1:
            sizes = [len(it.has) for it in self.clients.values()]
            assert max(sizes) - min(sizes) <= 1

    @invariant()
    def whoever_was_heard_of_in_its_session_is_a_member(self):
        for member, client in self.clients.items():
            silent_ms = self.bench.now - client.heard_ms
            assert (member in self.server) == (silent_ms < SESSION_MS)

    @invariant()
    def epochs_only_rise_and_the_target_is_never_ahead(self):
        found = self.bench.coordinator.describe("g")
        if found is None:
            return
        assert self.epoch <= found.epoch
        self.epoch = found.epoch
        assert 0 <= found.epoch - found.target_epoch <= 1
        assert found.state == ("Stable" if found.members else "Empty")
        assert found.members or found.epoch == found.target_epoch
        assert all(it.epoch <= found.target_epoch for it in found.members)

    @invariant()
    def what_is_kept_is_what_is_there(self):
        kept = self.bench.keeper.kept.get("g")
        assert set(kept.members if kept else ()) == self.server.keys()


ShareModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestShareModel = ShareModel.TestCase
