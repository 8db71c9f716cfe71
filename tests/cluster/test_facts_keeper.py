"""Changes of facts by several nodes: kept once read back, second where another was before."""

from collections import Counter
from dataclasses import replace

import pytest
from clock import NOW_MS
from cluster_kit import OneNode
from facts_kit import OwnNumbers, SharingNode, read_anew, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_log import MemoryLog

from logstore.cluster import facts_keeper
from logstore.cluster.facts import Facts, key_of
from logstore.cluster.facts_follower import FactsFollower
from logstore.cluster.facts_keeper import BATCH_RECORDS, FactsKeeper
from logstore.errors import ClusterBehind, LogFailed, RecordTooLarge, Refused, SchemaTooNew
from logstore.kept.queues import (
    KeptBinding,
    KeptExchange,
    KeptPolicy,
    KeptQueue,
    KeptTopicRoute,
    KeptVhost,
)
from logstore.kept.users import KeptUser
from logstore.log import NOT_KNOWN
from logstore.records.encode import encode

HOST = KeptVhost(1, "/")


class Nodes:
    """Two, that have the host ``/``."""

    def __init__(self):
        self.log = MemoryLog("facts")
        self.a, self.b = SharingNode(self.log, 1), SharingNode(self.log, 2)
        begun = []
        self.a.keeper.begin(begun.append)
        self.b.keeper.begin(begun.append)
        self.settle()
        assert begun == [None, None]

    def settle(self):
        settle(self.a, self.b)

    def counting(self):
        """What counts, as all come to it; nothing else is left in the log."""
        facts = read_anew(self.log)
        for it in (self.a, self.b):
            assert sorted(map(repr, rows(it.follower.facts))) == sorted(map(repr, rows(facts)))
        left = [it.fact for key, it in facts._said.items() if facts.counting(key) is None]
        assert left == []
        return rows(facts)


def rows(facts):
    it = facts.routing()
    return [*it.vhosts, *it.exchanges, *it.queues, *it.bindings, *it.policies]


@pytest.fixture
def nodes():
    return Nodes()


def queue(number, **given):
    return KeptQueue(number, 1, "q", **given)


# Kept


def test_a_change_is_kept_once_its_node_has_read_it_back(nodes):
    keeping = nodes.a.queues.change([queue(10)])
    nodes.a.turn()
    assert (nodes.log.end > 1, keeping.done) == (True, False)
    nodes.settle()
    assert (keeping.done, keeping.error) == (True, None)
    assert nodes.b.queues.load().queues == [queue(10)]


def test_what_is_changed_while_a_batch_is_on_its_way_goes_with_the_next_one(nodes):
    batches = []
    append = nodes.log.append
    nodes.log.append = lambda batch: batches.append(batch.record_count) or append(batch)
    told = []
    for number in range(10, 15):
        fact = KeptQueue(number, 1, f"q{number}")
        nodes.a.queues.change([fact]).then(lambda it, n=number: told.append(n))
        if number == 10:
            nodes.a.turn()
    nodes.settle()
    assert batches == [1, 4]
    assert told == [10, 11, 12, 13, 14]


class Looked(Counter):
    """One that nobody goes round."""

    def items(self):
        raise AssertionError("all that wait were looked at for one batch")


def test_a_batch_that_is_read_back_goes_round_none_of_those_that_wait(nodes):
    """Of 65,536 that may wait, it would copy every one with each batch."""
    keeper = nodes.a.keeper
    keeper._keeping, keeper._forgetting = Looked(), Looked()
    for number in range(10, 15):
        keeper.change([KeptQueue(number, 1, f"q{number}")])
        nodes.a.turn()
    for number in range(10, 13):
        keeper.change((), [KeptQueue(number, 1, f"q{number}")])
    nodes.settle()
    assert (len(keeper._keeping), len(keeper._forgetting)) == (0, 0)
    assert sorted(it.id for it in nodes.counting() if isinstance(it, KeptQueue)) == [13, 14]


def test_several_nodes_that_begin_make_the_same_host():
    log = MemoryLog("facts")
    both = [SharingNode(log, 1), SharingNode(log, 2)]
    begun = []
    for it in both:
        it.keeper.begin(begun.append)
    settle(*both)
    assert begun == [None, None]
    assert rows(read_anew(log)) == [HOST]


def test_what_is_made_and_forgotten_in_one_turn_is_not_there(nodes):
    keepings = [nodes.a.queues.change([queue(10)]), nodes.a.queues.change((), [queue(10)])]
    nodes.settle()
    assert [(it.done, it.error) for it in keepings] == [(True, None)] * 2
    assert nodes.counting() == [HOST]


# Second


def test_of_two_that_declare_the_same_both_have_it(nodes):
    one, other = nodes.a.queues.change([queue(10)]), nodes.b.queues.change([queue(20)])
    nodes.settle()
    assert (one.error, other.error) == (None, None)
    assert nodes.counting() == [HOST, queue(10)]


def test_of_two_that_declare_different_ones_the_second_is_told(nodes):
    one = nodes.a.queues.change([queue(10)])
    other = nodes.b.queues.change([queue(20, arguments={"n": 1})])
    nodes.settle()
    assert (one.done, one.error) == (True, None)
    assert (
        str(other.error) == "queue 'q' was declared by another node at the same moment: try again"
    )
    assert nodes.counting() == [HOST, queue(10)]


def test_an_argument_of_another_type_makes_another_queue(nodes):
    nodes.a.queues.change([queue(10, arguments={"n": True})])
    other = nodes.b.queues.change([queue(20, arguments={"n": 1})])
    nodes.settle()
    assert isinstance(other.error, Refused)


def test_what_refers_to_a_second_one_refers_to_the_first(nodes):
    exchange = KeptExchange(11, 1, "x", "topic")
    nodes.a.queues.change([exchange])
    nodes.a.queues.change([queue(12)])
    keepings = [
        nodes.b.queues.change([replace(exchange, id=21), KeptBinding(22, 21, 12, "together")]),
        nodes.b.queues.change([queue(23)]),
        nodes.b.queues.change([KeptBinding(24, 21, 23, "later")]),
    ]
    nodes.settle()
    assert [(it.done, it.error) for it in keepings] == [(True, None)] * 3
    assert nodes.counting() == [
        HOST, exchange, queue(12),
        KeptBinding(22, 11, 12, "together"), KeptBinding(24, 11, 12, "later"),
    ]  # fmt: skip
    gone = nodes.b.queues.change((), [KeptBinding(24, 21, 23, "later"), queue(23)])
    nodes.settle()
    assert gone.error is None
    assert nodes.counting() == [HOST, exchange]


def test_a_change_that_is_refused_leaves_nothing_of_it(nodes):
    nodes.a.queues.change([KeptExchange(11, 1, "x", "topic")])
    refused = nodes.b.queues.change([queue(20), KeptExchange(21, 1, "x", "fanout")])
    nodes.settle()
    assert isinstance(refused.error, Refused)
    assert nodes.counting() == [HOST, KeptExchange(11, 1, "x", "topic")]


def test_changes_end_in_their_order_although_one_is_sent_again(nodes):
    exchange = KeptExchange(11, 1, "x", "topic")
    nodes.a.queues.change([exchange, queue(12)])
    told = []
    change = [replace(exchange, id=21), KeptBinding(22, 21, 12, "")]
    nodes.b.queues.change(change).then(lambda it: told.append(1))
    nodes.b.queues.change([KeptQueue(23, 1, "r")]).then(lambda it: told.append(2))
    nodes.settle()
    assert told == [1, 2]


def test_users_are_told_of_in_the_order_of_the_log_although_a_change_before_is_sent_again(nodes):
    exchange = KeptExchange(11, 1, "x", "topic")
    told = []
    nodes.b.keeper.follow(access=lambda it: told.append(it.keep[0].tags))
    nodes.a.queues.change([exchange, queue(12)])
    nodes.a.turn()
    nodes.b.queues.change([replace(exchange, id=21), KeptBinding(22, 21, 12, "")])
    nodes.b.users.change([KeptUser("al", tags=("mine",))]).then(lambda it: told.append(("mine",)))
    nodes.b._soon = {nodes.b.keeper._send: None}  # its own batch goes before it reads a's
    nodes.b.turn()
    nodes.a.users.change([KeptUser("al", tags=("theirs",))])
    settle(nodes.a)
    nodes.settle()
    assert told == [("mine",), ("theirs",)]
    assert KeptBinding(22, 11, 12, "") in nodes.counting()


def test_of_policies_of_one_name_the_later_one_counts(nodes):
    policy = KeptPolicy(10, 1, "p", ".*", "all", 0, {"expires": 1})
    nodes.a.queues.change([policy])
    later = nodes.b.queues.change([replace(policy, id=20, priority=9)])
    nodes.settle()
    assert later.error is None
    assert nodes.counting() == [HOST, replace(policy, priority=9)]


# Strays


def test_a_queue_that_another_node_has_forgotten_does_not_come_again(nodes):
    nodes.a.queues.change([queue(10)])
    nodes.settle()
    nodes.a.queues.change((), [queue(10)])
    nodes.a.queues.change([queue(11, auto_delete=True)])
    altered = nodes.b.queues.change([queue(10, ttls=(5,))])
    nodes.a.turn()
    nodes.b.turn()
    nodes.settle()
    assert "was just deleted by another node: try again" in str(altered.error)
    assert nodes.counting() == [HOST, queue(11, auto_delete=True)]


def test_what_is_known_to_be_forgotten_is_not_changed(nodes):
    nodes.a.queues.change([queue(10)])
    nodes.settle()
    nodes.a.queues.change((), [queue(10)])
    settle(nodes.a)
    altered = nodes.b.queues.change([queue(10, ttls=(5,))])
    end = nodes.log.end
    nodes.settle()
    assert (altered.done, nodes.log.end) == (True, end)
    assert isinstance(altered.error, Refused)


@pytest.mark.parametrize("known", [True, False])
def test_a_policy_that_is_set_after_another_node_has_deleted_it_is_made_anew(nodes, known):
    policy = KeptPolicy(10, 1, "p", ".*", "all", 0, {"expires": 1})
    nodes.a.queues.change([policy])
    nodes.settle()
    nodes.a.queues.change((), [policy])
    nodes.a.turn()
    altered = nodes.b.queues.change([replace(policy, priority=9)])
    if known:
        settle(nodes.a)
    nodes.settle()
    assert altered.error is None
    [_, found] = nodes.counting()
    assert replace(found, id=10) == replace(policy, priority=9)


# Gone


def test_what_belongs_to_what_another_node_deletes_is_refused(nodes):
    nodes.a.queues.change([queue(10), KeptExchange(11, 1, "x", "topic")])
    nodes.settle()
    gone = nodes.a.queues.change((), [queue(10)])
    bound = nodes.b.queues.change([KeptBinding(20, 11, 10, "k")])
    nodes.settle()
    assert gone.error is None
    assert "was just deleted by another node: try again" in str(bound.error)
    assert nodes.counting() == [HOST, KeptExchange(11, 1, "x", "topic")]


def test_what_another_node_has_bound_meanwhile_goes_with_a_queue(nodes):
    nodes.a.queues.change([queue(10), KeptExchange(11, 1, "x", "topic")])
    nodes.settle()
    bound = nodes.b.queues.change([KeptBinding(20, 11, 10, "k")])
    nodes.b.turn()
    nodes.a.queues.change((), [queue(10)])
    nodes.settle()
    assert bound.error is None
    assert nodes.counting() == [HOST, KeptExchange(11, 1, "x", "topic")]


def test_a_host_goes_at_once_and_what_it_had_after_it_in_small_batches(nodes):
    host = KeptVhost(10, "big")
    queues = [KeptQueue(100 + n, 10, f"q{n}") for n in range(BATCH_RECORDS * 3)]
    for it in (host, *queues):
        nodes.a.queues.change([it])
    nodes.settle()
    seen = []
    nodes.b.keeper.follow(lambda it: seen.append(len(it.gone)))
    counts = []
    append = nodes.log.append
    nodes.log.append = lambda batch: counts.append(batch.record_count) or append(batch)
    nodes.a.queues.change((), [*queues, host])
    nodes.settle()
    assert seen == [len(queues) + 1]
    assert max(counts) <= BATCH_RECORDS
    assert nodes.counting() == [HOST]


def test_what_is_gone_already_is_forgotten_without_a_record(nodes):
    end = nodes.log.end
    keeping = nodes.a.queues.change((), [queue(10)])
    nodes.settle()
    assert (keeping.done, keeping.error, nodes.log.end) == (True, None, end)


def test_second_ones_whose_maker_has_died_go_with_the_first(nodes):
    nodes.a.queues.change([queue(10)])
    nodes.settle()
    dead = SharingNode(nodes.log, 3)
    dead.queues.change([queue(30)])
    while not any(it == key_of(queue(30)) for it in read_anew(nodes.log)._said):
        dead.keeper._facts = Facts()
        dead.keeper._send()
    nodes.settle()
    nodes.a.queues.change((), [queue(10)])
    nodes.settle()
    assert nodes.counting() == [HOST]


# What is shown


def test_what_a_node_is_about_to_forget_is_not_shown_to_it(nodes):
    shown = []
    nodes.a.keeper.follow(shown.append)
    nodes.a.queues.change([queue(10)])
    nodes.a.turn()
    nodes.a.queues.change((), [queue(10)])
    nodes.settle()
    assert [it.came for it in shown if it.came] == []
    assert nodes.counting() == [HOST]


def test_what_could_not_be_forgotten_is_shown_again(nodes):
    nodes.a.queues.change([queue(10)])
    nodes.settle()
    shown = []
    nodes.a.keeper.follow(shown.append)

    def refuse(batch):
        raise ClusterBehind("no room: try again")

    append, nodes.log.append = nodes.log.append, refuse
    keeping = nodes.a.queues.change((), [queue(10)])
    nodes.settle()
    nodes.log.append = append
    assert isinstance(keeping.error, ClusterBehind)
    assert [it.came for it in shown] == [[queue(10)]]


def test_users_that_this_node_has_changed_are_not_told_to_it(nodes):
    told = {it: [] for it in "ab"}
    nodes.a.keeper.follow(access=told["a"].append)
    nodes.b.keeper.follow(access=told["b"].append)
    keeping = nodes.a.users.change([KeptUser("al")])
    nodes.settle()
    assert keeping.error is None
    assert told["a"] == []
    assert [it.keep for it in told["b"]] == [[KeptUser("al")]]
    assert nodes.b.users.load().users == [KeptUser("al")]


def test_a_user_who_is_forgotten_unknown_is_gone_where_another_node_has_made_him_meanwhile(nodes):
    nodes.a.users.change([KeptUser("al")])
    nodes.a.turn()
    nodes.b.users.change((), [KeptUser("al")])
    nodes.settle()
    assert nodes.a.users.load().users == nodes.b.users.load().users == ()


def test_a_user_whose_record_is_damaged_can_be_forgotten(nodes):
    nodes.log.append(encode([(b"\1garbage", b"auser\0al", (), NOW_MS)]))
    nodes.settle()
    [damaged] = nodes.a.users.load().damaged
    nodes.a.users.change((), [damaged])
    nodes.settle()
    assert nodes.b.users.load().damaged == []


# Refused


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ([KeptTopicRoute(2, 1, "t", "x", "k")], Refused, "publish to them"),
        ([queue(10, arguments={"n": "x" * 1_000_000})], RecordTooLarge, "change less"),
        ([KeptUser("no\udcff text")], Refused, "is not allowed"),
    ],
)
def test_what_can_not_be_kept_there_is_refused(nodes, facts, error, words):
    end = nodes.log.end
    keeping = nodes.a.keeper.change(facts)
    assert not keeping.done, "whoever asks must have time to listen"
    nodes.settle()
    assert isinstance(keeping.error, error)
    assert words in str(keeping.error)
    assert nodes.log.end == end


def test_of_changes_that_wait_there_are_so_many_at_most(nodes, monkeypatch):
    monkeypatch.setattr(facts_keeper, "WAITING_MAX", 3)
    keepings = [nodes.a.queues.change([KeptQueue(n, 1, f"q{n}")]) for n in range(10, 15)]
    nodes.settle()
    assert [it.error is None for it in keepings] == [True] * 3 + [False] * 2
    assert isinstance(keepings[-1].error, ClusterBehind)


def test_nothing_waits_for_its_time(nodes):
    schedules = nodes.a.queues.schedules
    assert schedules.index.logs() == ()
    refused = schedules.write(b"x", [], [], 0)
    assert str(refused.error).startswith("messages can't be delayed in front of a cluster")


@pytest.mark.parametrize("fault", ["newer", "failed", "closed", "trimmed"])
def test_whoever_waits_is_told_why_nothing_is_read_any_more(nodes, fault):
    ends = []
    first = nodes.a.queues.change([queue(10)])
    nodes.a.turn()
    second = nodes.a.queues.change((), [queue(10)])
    if fault == "newer":
        nodes.log.append(encode([(b"x", b"znew", (), NOW_MS)]))
    elif fault == "failed":

        def fail():
            raise LogFailed("it was deleted")

        nodes.log.check_failure = fail
    elif fault == "closed":
        nodes.a.keeper.close()
    else:
        nodes.log.trim(nodes.log.end)
    nodes.a.follower.read_to_end(ends.append)
    settle(nodes.a)
    after = nodes.a.queues.change([queue(11)])
    settle(nodes.a)
    expected = SchemaTooNew if fault == "newer" else Exception
    for it in (second, after):
        assert isinstance(it.error, expected)
    assert first.done
    assert len(ends) == 1


# Reading to the end


def test_who_looks_for_a_name_reads_what_another_node_has_made(nodes):
    nodes.b.queues.change([queue(10)])
    settle(nodes.b)
    found = []
    nodes.a.follower.read_to_end(lambda it: found.append((it, nodes.a.queues.load().queues)))
    settle(nodes.a)
    assert found == [(None, [queue(10)])]


def test_many_who_look_at_one_time_ask_together_and_those_after_them_again(nodes):
    asked = []
    nodes.a.follower._ask_end = asked.append
    told = []
    for n in range(5):
        nodes.a.follower.read_to_end(lambda it, n=n: told.append(n))
    assert len(asked) == 1
    asked[0]((nodes.log.end, -1))
    assert told == [0]
    assert len(asked) == 2, "who came since asks again: it may end elsewhere by now"
    asked[1]((nodes.log.end, -1))
    assert (told, len(asked)) == ([0, 1, 2, 3, 4], 2)


def test_who_looks_is_told_when_the_cluster_does_not_answer(nodes):
    asked, told = [], []
    nodes.a.follower._ask_end = asked.append
    nodes.a.follower.read_to_end(told.append)
    asked[0](LogFailed("no answer"))
    assert [str(it) for it in told] == ["no answer"]


@pytest.mark.parametrize("known", [True, False])
def test_a_batch_that_was_compacted_before_it_was_read_is_read_back(nodes, known):
    """All that it says was said anew meanwhile, so that none of its records is there."""
    keeping = nodes.a.queues.change([queue(10)])
    append = nodes.log.append
    nodes.log.append = lambda batch: append(encode([(b"\1", b"q12345678", (), NOW_MS)]))
    if not known:
        nodes.log.offset_of = lambda mark: NOT_KNOWN
    nodes.settle()
    assert (keeping.done, keeping.error) == (True, None)


def test_a_batch_is_not_taken_for_read_where_nobody_tells_the_end(nodes, monkeypatch):
    """It would be kept, although another node was first to make one of its name."""
    nodes.b.queues.change([queue(20)])
    nodes.b.turn()
    asked = []
    nodes.a.follower._ask_end = asked.append
    monkeypatch.setattr(nodes.log, "offset_of", lambda mark: NOT_KNOWN)
    with monkeypatch.context() as slow:  # what is acknowledged arrives later
        slow.setattr(nodes.a.follower, "_read", lambda: False)
        keeping = nodes.a.queues.change([queue(10, auto_delete=True)])
        settle(nodes.a)
        asked.pop()(LogFailed("no answer"))
        settle(nodes.a)
        assert not keeping.done
    asked.pop()((nodes.log.end, -1))
    nodes.a.follower._news()
    settle(nodes.a)
    assert isinstance(keeping.error, Refused)


# Several, at random


def come_to_the_same(data):
    nodes = Nodes()
    both = [nodes.a, nodes.b]
    kept, forgotten = [], set()  # facts, what became of them, and whose they are
    for _ in range(data.draw(st.integers(1, 25))):
        node = both[data.draw(st.integers(0, 1))]
        there = rows(node.follower.facts) + [it[0] for it in kept[-1:] if it[2] is node]
        act = data.draw(st.sampled_from(["turn", "turn", "make", "make", "forget", "alter"]))
        if act == "turn":
            node.turn()
        elif act == "forget":
            fact = data.draw(st.sampled_from(there))
            if fact != HOST:
                forgotten.add(type(fact))
                node.queues.change((), [fact])
        elif act == "alter":
            for fact in there:
                if isinstance(fact, KeptPolicy):
                    node.queues.change([replace(fact, priority=data.draw(st.integers(3, 9)))])
                elif isinstance(fact, KeptQueue):
                    node.queues.change([replace(fact, ttls=(data.draw(st.integers(0, 9)),))])
        else:
            fact = data.draw(made(node.numbers.next, there))
            kept.append((fact, node.queues.change([fact]), node))
    nodes.settle()
    counting = nodes.counting()
    assert all(it.done for _, it, _ in kept)
    assert not any(it.follower._waiting or any(it.keeper._order.values()) for it in both)
    for it in both:
        assert (it.keeper._size, +it.keeper._keeping, +it.keeper._forgetting) == (0, {}, {})
    if not forgotten:
        for fact, keeping, _ in kept:
            named = [it for it in counting if type(it) is type(fact) and name(it) == name(fact)]
            assert keeping.error is not None or named or isinstance(fact, KeptBinding)


@settings(max_examples=3)
@given(st.data())
def test_any_turns_of_two_nodes_come_to_the_same(data):
    come_to_the_same(data)


@pytest.mark.long
@settings(max_examples=500)
@given(st.data())
def test_many_turns_of_two_nodes_come_to_the_same(data):
    come_to_the_same(data)


def name(fact):
    return getattr(fact, "name", None)


def made(next_number, there):
    hosts = [it.id for it in there if isinstance(it, KeptVhost)]
    exchanges = [it.id for it in there if isinstance(it, KeptExchange)]
    ends = [*exchanges, *(it.id for it in there if isinstance(it, KeptQueue))]
    number = next_number()
    of = st.sampled_from(hosts)
    found = [
        st.builds(KeptVhost, st.just(number), st.sampled_from("vw")),
        st.builds(KeptQueue, st.just(number), of, st.sampled_from("qr"), st.booleans()),
        st.builds(
            KeptExchange, st.just(number), of, st.sampled_from("xy"),
            st.sampled_from(["topic", "fanout"]),
        ),
        st.builds(
            KeptPolicy, st.just(number), of, st.just("p"), st.just(".*"), st.just("all"),
            st.integers(0, 2),
        ),
    ]  # fmt: skip
    if exchanges:
        found.append(
            st.builds(
                KeptBinding,
                st.just(number),
                st.sampled_from(exchanges),
                st.sampled_from(ends),
                st.sampled_from(["", "k"]),
            )
        )
    return st.one_of(found)


# Over brokers


class Brokered:
    """Two nodes over one broker."""

    def __init__(self):
        first = OneNode(1)
        self.clients = [first, OneNode(2, beside=first)]
        self.keepers = [self._keeper(n, it) for n, it in enumerate(self.clients)]

    @staticmethod
    def _keeper(number, client):
        log = client.log("facts")
        follower = FactsFollower(
            log, client.soon, lambda then: client.offsets.at_time(("facts", 0), -1, then)
        )
        return FactsKeeper(
            follower, log, client.soon, lambda: NOW_MS, bytes([number]), OwnNumbers(number << 20)
        )

    def wait_for(self, begin):
        heard = []
        begin(heard.append)
        for _ in range(200):
            if heard:
                return heard[0]
            for it in self.clients:
                it.pass_time(0.05)
        raise AssertionError("nothing was heard")

    def queues(self):
        """As each of them has read them by now."""
        for it in self.keepers:
            assert self.wait_for(it.read_to_end) is None
        found = [it.routing().queues for it in self.keepers]
        assert found[0] == found[1]
        return found[0]


def test_two_nodes_over_a_broker_have_the_same_facts():
    both = Brokered()
    one, other = both.keepers
    assert both.wait_for(one.begin) is None
    assert both.wait_for(one.change([queue(10)]).then).error is None
    assert both.wait_for(other.begin) is None
    assert other.routing().queues == [queue(10)]
    keepings = [it.change([KeptQueue(20 + n, 1, "r")]) for n, it in enumerate(both.keepers)]
    for it in keepings:
        assert both.wait_for(it.then).error is None
    assert len(both.queues()) == 2


def test_a_change_whose_answer_is_lost_is_kept_once():
    both = Brokered()
    one, other = both.keepers
    assert both.wait_for(one.begin) is None
    both.clients[0].deaf = True
    keeping = one.change([queue(10)])
    both.clients[0].pass_time(0.5)
    assert not keeping.done
    both.clients[0].cut()
    both.clients[0].deaf = False
    assert both.wait_for(keeping.then).error is None
    assert both.wait_for(other.begin) is None
    assert both.queues() == [queue(10)]
    assert both.wait_for(other.change((), [queue(10)]).then).error is None
    assert both.queues() == []
