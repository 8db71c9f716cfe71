"""What other nodes of a cluster make and delete, as this node's model shows it."""

import contextlib

import pytest
from facts_kit import read_anew, settle
from following_parts import FollowingNode
from heard_audit import Heard
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_log import MemoryLog
from queue_parts import Consumer, props
from roaming_parts import Common

from logstore.broker.policies import Policy
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import Replaced
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.cluster.facts import key_of
from logstore.errors import ClusterUnreachable, LogstoreError, Refused
from logstore.kept.queues import (
    KeptBinding,
    KeptExchange,
    KeptNews,
    KeptPolicy,
    KeptQueue,
    KeptVhost,
)
from logstore.kept.users import KeptPermission, KeptUser


class Pair:
    """Two nodes that have begun."""

    def __init__(self, common=None):
        self.log = MemoryLog("facts")
        self.a, self.b = (FollowingNode(self.log, n, common) for n in (1, 2))
        for it in (self.a, self.b):
            it.keeper.begin(lambda error: None)
        settle(self.a, self.b)
        for it in (self.a, self.b):
            it.begin()
        self.settle()

    def settle(self):
        settle(self.a, self.b)

    def same(self):
        """What both have, and one who begins now."""
        self.settle()
        third = FollowingNode(self.log, 3)
        settle(third)
        third.begin()
        expected = third.definitions()
        assert self.a.definitions() == expected
        assert self.b.definitions() == expected
        facts = read_anew(self.log)
        assert [it.fact for key, it in facts._said.items() if facts.counting(key) is None] == []
        for node in (self.a, self.b):  # what it keeps is what is kept, by number
            for vhost in node.model.vhosts.values():
                rows = vhost.rows
                for row in (*rows.exchanges.values(), *rows.bindings.values()):
                    assert facts.counting(key_of(row)) == row
                assert {it.id for it in rows.queues.values() if it.facts.lasts} <= {
                    it.id for it in facts.routing().queues
                }
        return expected

    def names(self, kind):
        return [it["name"] for it in self.same()[kind]]


@pytest.fixture
def pair():
    return Pair()


def declare(node, name=b"q", *, durable=True, exclusive=False, auto_delete=False, owner=None):
    facts = QueueFacts(name, durable, exclusive, auto_delete, Arguments())
    return node.vhost.declare_queue(facts, owner)


def exchange(node, name=b"x", kind="topic", *, durable=True, auto_delete=False):
    return node.vhost.declare_exchange(ExchangeFacts(name, kind, durable, auto_delete))


def bind(node, source=b"x", to=b"q", key=b"k", kind="queue"):
    return node.vhost.bind(Binding(source, to, key, kind=kind))


def lasting(node, name=b"q"):
    return node.vhost.topology.queue(name)


# What comes


def test_what_one_makes_the_other_has(pair):
    node = pair.a
    declare(node)
    exchange(node)
    exchange(node, b"y", "fanout")
    bind(node)
    bind(node, b"x", b"y", b"#", "exchange")
    bind(node, b"amq.direct")
    node.vhost.set_policies([Policy("p", "^q", {"max-length": 5})])
    node.model.add_vhost(b"other")
    found = pair.same()
    assert [len(found[it]) for it in ("queues", "exchanges", "bindings", "policies", "vhosts")] == [
        1, 2, 3, 1, 2,
    ]  # fmt: skip
    assert lasting(pair.b).limits.max_length == 5


def test_what_one_deletes_the_other_has_no_more(pair):
    declare(pair.a)
    exchange(pair.a)
    exchange(pair.a, b"y")
    bind(pair.a)
    bind(pair.a, b"y")
    pair.a.vhost.set_policies([Policy("p", "^q", {"max-length": 5})])
    pair.settle()
    pair.b.vhost.unbind(Binding(b"x", b"q", b"k"))
    assert pair.names("queues") == ["q"]
    pair.b.vhost.delete_exchange(b"x")
    pair.b.vhost.set_policies(removed=["p"])
    pair.settle()
    assert lasting(pair.a).limits.max_length is None
    pair.b.vhost.delete_queue(lasting(pair.b))
    found = pair.same()
    assert [len(found[it]) for it in ("queues", "exchanges", "bindings", "policies")] == [
        0,
        1,
        0,
        0,
    ]


@pytest.mark.parametrize("owned", [True, False])
def test_consumers_of_a_queue_that_another_node_deletes_end_and_its_logs_with_the_owner(
    pair, owned
):
    declare(pair.a)
    pair.settle()
    queue, consumer = lasting(pair.b), Consumer()
    queue.subscribe(consumer)
    pair.b.vhost.publish([((queue,), Message(b"", b"q", props(), b"body"))])
    pair.settle()
    pair.b.owned = owned
    pair.a.vhost.delete_queue(lasting(pair.a))
    pair.settle()
    assert consumer.is_cancelled
    assert (queue.gone, lasting(pair.b)) == (True, None)
    assert bool(pair.b.logs.deleted) == owned


def test_messages_of_a_queue_that_nodes_share_are_deleted_by_who_deletes_it():
    common = Common()
    deleted = []
    common.delete_all = deleted.append
    pair = Pair(common)
    pair.a.model.add_vhost(b"other")
    queue, _ = declare(pair.a)
    pair.settle()
    other = pair.b.model.vhosts[b"other"]
    second, _ = other.declare_queue(queue.facts)
    pair.settle()
    assert isinstance(lasting(pair.b), RoamingQueue)
    records = pair.log.end
    pair.a.vhost.set_policies([Policy("p", "^q", {"message-ttl": 5})])
    pair.settle()
    assert lasting(pair.b).limits.ttl_ms == 5
    assert pair.log.end == records + 1, "what a policy comes to is not kept for each queue"
    pair.b.owned = pair.a.owned = False
    pair.b.vhost.delete_queue(lasting(pair.b))
    pair.settle()
    pair.a.model.delete_vhost(b"other")
    pair.settle()
    assert deleted == [queue.id, second.id]
    assert lasting(pair.a) is None


def test_connections_to_a_host_that_another_node_deletes_end(pair):
    pair.a.model.add_vhost(b"other")
    pair.settle()
    vhost = pair.b.model.vhosts[b"other"]
    told = []

    class Guest:
        def vhost_gone(self):
            told.append(self)

    vhost.guests[Guest()] = None
    facts = QueueFacts(b"q", True, False, False, Arguments())
    pair.a.model.vhosts[b"other"].declare_queue(facts)
    pair.b.model.vhosts[b"other"].declare_queue(facts._replace(durable=False))
    pair.settle()
    pair.a.model.delete_vhost(b"other")
    assert pair.names("vhosts") == ["/"]
    assert len(told) == 1
    assert vhost.gone


def test_what_a_node_has_changed_itself_is_not_changed_again(pair):
    queue, _ = declare(pair.a)
    exchange(pair.a)
    bind(pair.a)
    pair.settle()
    assert lasting(pair.a) is queue
    assert [it.key for it in pair.a.vhost.topology.bindings_from(b"x")] == [b"k"]
    records = pair.log.end
    pair.settle()
    assert pair.log.end == records


def test_a_queue_that_is_made_and_deleted_at_once_does_not_come_again(pair):
    queue, _ = declare(pair.a)
    pair.a.turn()
    pair.a.vhost.delete_queue(queue)
    pair.a.turn()
    assert lasting(pair.a) is None
    assert pair.names("queues") == []


# At one moment


def test_both_declare_the_same_queue(pair):
    (_, one), (second, other) = declare(pair.a), declare(pair.b)
    waiting = second.kept
    pair.settle()
    assert (one.error, other.error) == (None, None)
    assert isinstance(waiting.error, Replaced), "what was published to it is nowhere"
    assert lasting(pair.a).id == lasting(pair.b).id
    assert pair.names("queues") == ["q"]


def test_of_a_queue_that_could_not_be_kept_nothing_is_remembered(pair):
    declare(pair.a)
    _, other = declare(pair.b, auto_delete=True)
    pair.settle()
    assert isinstance(other.error, Refused)
    assert [it.vhost._replaced for it in (pair.a, pair.b)] == [set(), set()]


def test_two_declare_different_queues_of_one_name(pair):
    declare(pair.a)
    _, other = declare(pair.b, auto_delete=True)
    pair.settle()
    assert "another node at the same moment: try again" in str(other.error)
    assert [it["auto_delete"] for it in pair.same()["queues"]] == [False]


def test_two_declare_different_exchanges_of_one_name(pair):
    exchange(pair.a)
    other = exchange(pair.b, kind="fanout")
    pair.settle()
    assert isinstance(other.error, Refused)
    assert [it["type"] for it in pair.same()["exchanges"]] == ["topic"]


def test_both_declare_and_bind_the_same(pair):
    pendings = []
    for node in (pair.a, pair.b):
        declare(node)
        exchange(node)
        pendings += [bind(node), bind(node, b"amq.topic"), bind(node, key=node.keeper._token)]
    pair.settle()
    assert [it.error for it in pendings] == [None] * 6
    assert len(pair.same()["bindings"]) == 4
    again = bind(pair.b)
    assert again is None, "it is there"


def test_both_add_the_same_host(pair):
    one, other = (it.model.add_vhost(b"other") for it in (pair.a, pair.b))
    pair.settle()
    assert (one.error, other.error) == (None, None)
    vhosts = [it.model.vhosts[b"other"].rows for it in (pair.a, pair.b)]
    assert vhosts[0].number == vhosts[1].number
    assert pair.names("vhosts") == ["/", "other"]


def test_both_set_a_policy_of_one_name(pair):
    declare(pair.a)
    pair.settle()
    pair.a.vhost.set_policies([Policy("p", "^q", {"max-length": 5})])
    pair.b.vhost.set_policies([Policy("p", "^q", {"max-length": 6})])
    assert [it["definition"] for it in pair.same()["policies"]] == [{"max-length": 6}]
    assert [lasting(it).limits.max_length for it in (pair.a, pair.b)] == [6, 6]


def test_a_queue_of_one_connection_goes_when_another_node_makes_one_of_its_name_that_lasts(pair):
    mine, _ = declare(pair.b, durable=False, exclusive=True, owner=object())
    declare(pair.a)
    pair.settle()
    assert mine.gone
    assert lasting(pair.b).facts.lasts


def test_nothing_is_half_done_where_there_are_no_numbers(pair):
    declare(pair.a)
    exchange(pair.a)
    pair.settle()

    def none():
        raise ClusterUnreachable("no broker answers")

    pair.a.numbers.check = none
    for act in (
        lambda: exchange(pair.a, b"y"), lambda: bind(pair.a),
        lambda: pair.a.vhost.set_policies([Policy("p", "q", {"max-length": 1})]),
    ):  # fmt: skip
        with pytest.raises(ClusterUnreachable):
            act()
    assert [len(pair.same()[it]) for it in ("exchanges", "bindings", "policies")] == [1, 0, 0]


# What goes by itself


def test_what_is_of_this_node_alone_goes_with_what_another_node_deletes(pair):
    declare(pair.a)
    pair.settle()
    exchange(pair.b, b"mine", durable=False, auto_delete=True)
    bind(pair.b, b"mine")
    pair.a.vhost.delete_queue(lasting(pair.a))
    pair.settle()
    assert not pair.b.vhost.topology.has_exchange(b"mine")


def test_an_exchange_that_goes_by_itself_goes_everywhere(pair):
    declare(pair.a)
    exchange(pair.a, auto_delete=True)
    bind(pair.a)
    pair.settle()
    pair.b.vhost.unbind(Binding(b"x", b"q", b"k"))
    assert pair.names("exchanges") == []


def test_an_exchange_whose_last_bindings_two_nodes_remove_stays(pair):
    declare(pair.a)
    exchange(pair.a, auto_delete=True)
    bind(pair.a)
    bind(pair.a, key=b"l")
    pair.settle()
    pair.a.vhost.unbind(Binding(b"x", b"q", b"k"))
    pair.b.vhost.unbind(Binding(b"x", b"q", b"l"))
    assert pair.names("exchanges") == ["x"]


def test_nothing_of_what_is_not_known_here_does_harm(pair):
    pair.a.following.show(
        KeptNews(
            came=[KeptQueue(70, 77, "q"), KeptBinding(71, 72, 70, "")],
            gone=[
                KeptVhost(77, "never"), KeptQueue(78, 1, "n"), KeptExchange(79, 1, "x", "topic"),
                KeptBinding(80, 79, 78, ""), KeptPolicy(81, 1, "p", "", "all"),
            ],
        )
    )  # fmt: skip
    assert pair.names("vhosts") == ["/"]


# Users


def test_users_of_another_node_are_shown_and_told_to_its_audit_log_alone(pair):
    audits = [Heard(), Heard()]
    for node, audit in zip((pair.a, pair.b), audits, strict=True):
        node.access.audit = audit
    heard = []
    pair.b.access.watch(lambda: heard.append(pair.b.access.version))
    version = pair.b.access.version
    pair.a.access.change([KeptUser("al"), KeptPermission("al", "/", ".*", "", "")])
    pair.settle()
    assert list(pair.b.access.users) == ["al"]
    assert pair.b.access.permissions == pair.a.access.permissions
    assert heard == [version + 1]
    assert [len(it) > 0 for it in audits] == [True, False]
    pair.b.access.change(forget=[KeptUser("al")])
    pair.settle()
    assert dict(pair.a.access.users) == {}


# At random

NAMES = st.sampled_from([b"q", b"r"])
EXCHANGES = st.sampled_from([b"x", b"y", b"amq.topic"])
BINDINGS = st.builds(
    lambda source, to, key: Binding(source, to[0], key, kind=to[1]),
    EXCHANGES,
    st.one_of(st.tuples(NAMES, st.just("queue")), st.tuples(EXCHANGES, st.just("exchange"))),
    st.sampled_from([b"", b"k"]),
)
QUEUES = st.builds(
    lambda name, auto, durable: QueueFacts(name, durable, False, auto, Arguments()),
    NAMES, st.booleans(), st.sampled_from([True, True, True, False]),
)  # fmt: skip
DECLARED = st.builds(
    ExchangeFacts, EXCHANGES, st.sampled_from(["topic", "fanout"]), st.just(True), st.booleans()
)
POLICIES = st.builds(lambda most: Policy("p", "q", {"max-length": most}), st.integers(1, 3))
USERS = st.builds(lambda tag: KeptUser("al", tags=(tag,)), st.sampled_from("ab"))


def within(act):
    """In one of two hosts."""

    def within_it(node, other, what):
        vhost = node.model.vhosts.get(b"other") if other else None
        return act(node.vhost if vhost is None else vhost, what)

    return within_it


def an_act(act, what):
    return st.tuples(st.just(act), st.booleans(), what)


NOTHING = st.none()
ACTS = st.one_of(
    an_act(within(lambda it, facts: it.declare_queue(facts)[1]), QUEUES),
    an_act(within(lambda it, name: it.delete_queue(it.queue(name))[1]), NAMES),
    an_act(within(lambda it, facts: it.declare_exchange(facts)), DECLARED),
    an_act(within(lambda it, name: it.delete_exchange(name)), EXCHANGES),
    an_act(within(lambda it, binding: it.bind(binding)), BINDINGS),
    an_act(within(lambda it, binding: it.bind(binding)), BINDINGS),
    an_act(within(lambda it, binding: it.unbind(binding)), BINDINGS),
    an_act(within(lambda it, policy: it.set_policies([policy])), POLICIES),
    an_act(within(lambda it, _: it.set_policies(removed=["p"])), NOTHING),
    an_act(lambda node, *_: node.model.add_vhost(b"other"), NOTHING),
    an_act(lambda node, *_: node.model.delete_vhost(b"other"), NOTHING),
    an_act(lambda node, _, user: node.access.change([user]), USERS),
    an_act(lambda node, *_: node.access.change(forget=[KeptUser("al")]), NOTHING),
)
STEPS = st.lists(st.tuples(st.booleans(), st.one_of(st.none(), ACTS)), max_size=24)


def come_to_the_same(steps):
    pair = Pair()
    pendings = []
    for first, step in steps:
        node = pair.a if first else pair.b
        if step is None:
            node.turn()
            continue
        act, *what = step
        with contextlib.suppress(LogstoreError):
            pendings.append(act(node, *what))
    pair.same()
    assert all(it is None or it.done for it in pendings)


@settings(max_examples=4)
@given(STEPS)
def test_whatever_two_nodes_do_their_models_come_to_the_same(steps):
    come_to_the_same(steps)


@pytest.mark.long
@settings(max_examples=1500)
@given(STEPS)
def test_whatever_two_nodes_do_many_times_their_models_come_to_the_same(steps):
    come_to_the_same(steps)
