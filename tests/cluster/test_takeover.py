"""Partitions that one node at a time owns: claims, the fence, and what the next owner finds."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.cluster.claims import CLAIM, Claims, Word, batch_of, word_of
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.takeover import BEAT_EVERY_S, Stage, Takeover
from logstore.errors import CorruptStore, FencedProducer
from logstore.records.batch import with_producer
from logstore.records.decode import decode
from logstore.records.encode import encode

NAME = "logstore-journal-0"


def batch(*values):
    return encode([(value, None, (), NOW_MS) for value in values])


class Node:
    """A process that may own the partition, over a broker that others use, too."""

    def __init__(self, name, beside=None, seed=0):
        self.name = name
        self.client = OneNode(seed, beside=beside, transactions=True)
        self.taking = None
        self.found = []

    def take(self):
        self.found = []
        start, safe = [
            self.client.wait_for(
                lambda then, it=it: self.client.offsets.at_time(("t", 0), it, then)
            )
            for it in (-2, -1)
        ]
        self._bounds = start[0], safe[0]
        self.taking = Takeover(self, self.name, f"{self.name}:9999", self)

    # Around

    def named(self, then):
        self.client.identities.named(NAME, then)

    def opened(self, identify):
        client = self.client
        return ClusterLog(
            ("t", 0), client.writer, client.fetcher, client.offsets, identify, client.wait_for,
            *self._bounds,
        )  # fmt: skip

    def last_claim(self, then):
        claims = Claims()
        for it in super(type(self.broker), self.broker).read(self.broker.start, 1 << 30):
            claims.admits(it)
        then(claims.owner)

    def now(self):
        return self.client.now()

    def now_ms(self):
        return int(self.client.now() * 1000)

    def soon(self, call):
        self.client.soon(call)

    def changed(self):
        pass

    # State

    def apply(self, found):
        self.found += [it.value for it in decode(found)]

    # What a test does

    @property
    def broker(self):
        return self.client.topics.get("t").partition(0)

    @property
    def stage(self):
        return None if self.taking is None else self.taking.stage

    def append(self, *values):
        return self.taking.append(batch(*values))


@pytest.fixture
def nodes():
    one = Node("a")
    one.client.topics.create("t", 1, {})
    others = [Node(it, one.client) for it in "bc"]
    return [one, *others]


def pass_time(nodes, seconds=1):
    first, *others = (it.client for it in nodes)
    first.pass_time(seconds, others)


def take(nodes, which):
    nodes[which].take()
    pass_time(nodes, 3)
    assert nodes[which].stage is Stage.OWNED
    return nodes[which]


def there(nodes):
    """All values at the broker but claims and beats."""
    log = nodes[0].client.topics.get("t").partition(0)
    return [
        it.value for found in super(type(log), log).read(0, 1 << 30) if word_of(found) is None
        for it in decode(found)
    ]  # fmt: skip


def test_the_next_owner_finds_what_the_one_before_has_appended(nodes):
    first = take(nodes, 0)
    first.append(b"a", b"b")
    pass_time(nodes)
    second = take(nodes, 1)
    assert second.found == [b"a", b"b"]
    assert second.taking.claims.owner.word.node == "b"
    second.append(b"c")
    pass_time(nodes)
    third = take(nodes, 2)
    assert third.found == [b"a", b"b", b"c"]


def test_whoever_owned_it_before_is_refused(nodes):
    first = take(nodes, 0)
    first.append(b"a")
    pass_time(nodes)
    take(nodes, 1)
    mark = first.append(b"late")
    pass_time(nodes, 2)
    assert first.stage is Stage.LOST
    assert isinstance(first.taking.failure, FencedProducer)
    assert first.taking.log.done <= mark
    assert there(nodes) == [b"a"]
    with pytest.raises(FencedProducer):
        first.append(b"later")


def test_a_retry_of_a_fenced_owner_stands_nowhere(nodes):
    first = take(nodes, 0)
    first.append(b"a")
    pass_time(nodes)
    first.client.up = False
    first.client.cut()
    first.append(b"sent when it is too late")
    pass_time(nodes)
    second = take(nodes, 1)
    first.client.up = True
    pass_time(nodes, 3)
    assert first.stage is Stage.LOST
    second.append(b"b")
    pass_time(nodes)
    assert there(nodes) == [b"a", b"b"]


def test_what_was_there_and_not_told_of_is_the_next_owners(nodes):
    first = take(nodes, 0)
    first.client.deaf = True
    first.append(b"a")
    first.client.run()
    first.client.cut()
    second = take(nodes, 1)
    assert second.found == [b"a"]


def test_what_a_leader_has_let_through_is_not_there_for_readers(nodes):
    first = take(nodes, 0)
    owner = first.taking.claims.owner
    first.append(b"a")
    pass_time(nodes)
    second = take(nodes, 1)
    second.append(b"b")
    pass_time(nodes)
    log = nodes[0].client.topics.get("t").partition(0)
    log.notes._producers.clear()  # as a broker does that has lost what it knew
    log.append(with_producer(batch(b"zombie"), (owner.pid, owner.epoch, 7)))
    log.append(batch(b"stranger"))
    third = take(nodes, 2)
    assert there(nodes) == [b"a", b"b", b"zombie", b"stranger"]
    assert third.found == [b"a", b"b"]


def test_an_owner_that_has_nothing_to_say_says_so(nodes):
    first = take(nodes, 0)
    log = nodes[0].client.topics.get("t").partition(0)
    first.taking.beat()
    pass_time(nodes)
    before = log.end
    first.client.first._time.now += BEAT_EVERY_S
    first.taking.beat()
    pass_time(nodes)
    assert log.end == before + 1
    second = take(nodes, 1)
    assert second.taking.claims.seen_ms >= first.now_ms() - 5000


def test_a_leader_that_has_forgotten_the_owner_ends_it(nodes):
    first = take(nodes, 0)
    first.append(b"a")
    pass_time(nodes)
    first.taking.log._writer._identity.sequence += 5  # as if what is between were lost
    first.append(b"b")
    pass_time(nodes, 2)
    assert first.stage is Stage.LOST
    again = take(nodes, 0)
    assert again.found == [b"a"]


def test_words_that_are_none_are_refused():
    good = Word(CLAIM, "a", "a:1", NOW_MS)
    assert word_of(batch_of(good)) == good
    for value in (
        b"", b"[]", b'{"kind": 1}', b'{"kind":"claim","node":"a"}',
        b'{"kind":"\xff"}', b'{"a":' + b"[" * 100_000,
    ):  # fmt: skip
        with pytest.raises(CorruptStore):
            word_of(encode([(value, b"__owner", (), NOW_MS)]))
    with pytest.raises(CorruptStore, match="update this node"):
        word_of(batch_of(Word(CLAIM, "a", "a:1", NOW_MS, format=2)))
    assert not Claims().admits(batch(b"of nobody"))


class OwnersModel(RuleBasedStateMachine):
    """Nodes take the partition from each other at any moment, and are cut off, deaf, or away."""

    @initialize()
    def begin(self):
        one = Node("0")
        one.client.topics.create("t", 1, {})
        self.nodes = [one, *(Node(str(it), one.client, it) for it in (1, 2))]
        self.number = 0
        self.told = []  # values, in the order in which an owner has heard that they stand
        self.marks = {}  # by owner: (mark, value) not told yet

    @rule(which=st.integers(0, 2), waits=st.booleans())
    def take(self, which, waits):
        node = self.nodes[which]
        node.client.up = True
        self.hear()
        node.take()
        self.marks[which] = []
        if waits:
            pass_time(self.nodes, 2)

    @rule(count=st.integers(1, 5))
    def append(self, count):
        """All who take themselves for the owner do."""
        for which, node in enumerate(self.nodes):
            for _ in range(count if node.stage is Stage.OWNED else 0):
                value = b"%d" % self.number
                self.number += 1
                self.marks[which].append((node.append(value), value))

    @rule(seconds=st.sampled_from([0.05, 0.5, 1]))
    def time(self, seconds):
        pass_time(self.nodes, seconds)
        self.hear()

    @rule(which=st.integers(0, 2))
    def cut(self, which):
        self.nodes[which].client.cut()

    @rule(which=st.integers(0, 2))
    def deaf(self, which):
        client = self.nodes[which].client
        client.deaf = True
        client.run()
        client.cut()
        client.deaf = False

    @rule(which=st.integers(0, 2))
    def away(self, which):
        client = self.nodes[which].client
        client.up = not client.up
        if not client.up:
            client.cut()

    def hear(self):
        for which, waiting in self.marks.items():
            log = self.nodes[which].taking.log
            while log is not None and waiting and waiting[0][0] < log.done:
                self.told.append(waiting.pop(0)[1])

    @invariant()
    def an_owner_has_found_all_that_was_told(self):
        for node in getattr(self, "nodes", ()):
            if node.stage is Stage.OWNED:
                assert sorted(set(node.found)) == sorted(node.found)

    def teardown(self):
        if not hasattr(self, "nodes"):
            return
        for node in self.nodes:
            node.client.up = True
        pass_time(self.nodes, 5)
        self.hear()
        last = self.nodes[0]
        last.take()
        pass_time(self.nodes, 5)
        assert last.stage is Stage.OWNED
        assert last.found == there(self.nodes)  # this broker forgets nothing
        assert [it for it in last.found if it in set(self.told)] == sorted(self.told, key=int)
        assert set(self.told) <= set(last.found)


TestOwners = OwnersModel.TestCase
TestOwners.settings = settings(max_examples=8, stateful_step_count=15)
