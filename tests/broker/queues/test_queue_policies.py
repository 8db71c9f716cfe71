"""Policies take effect on the queues and exchanges that there are."""

import pytest
from queue_parts import Channel, Consumer
from turns_by_hand import Turns

from logstore.broker.policies import (
    POLICIES_MAX,
    InvalidPolicy,
    Policies,
    Policy,
    TooManyPolicies,
)
from logstore.broker.queues import dying
from logstore.broker.queues.deaths import dead_letter
from logstore.broker.queues.governing import Governing
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.queue import LOOK_MAX, SINGLE_COST
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.errors import StorageFull


@pytest.fixture
def node(shared):
    return shared


def policy(name="p", pattern="^q", priority=0, apply_to="all", **definition):
    settings = {key.replace("_", "-"): value for key, value in definition.items()}
    return Policy(name, pattern, settings, priority, apply_to)


def change(node, put=(), removed=()):
    pending = node.vhost.set_policies(put, removed)
    node.run(until=lambda: pending.done)
    assert pending.error is None


def give(node, **given):
    change(node, [policy(**given)])


def numbers(*of):
    return [b"%d" % n for n in of]


def test_a_queue_that_is_there_is_limited_and_freed(node):
    queue = node.declare(b"q")
    node.publish(b"q", *numbers(0, 1, 2, 3))
    give(node, max_length=2)
    assert (queue.policy.name, queue.ready) == ("p", 2)
    node.publish(b"q", b"4")
    assert queue.ready == 2
    change(node, removed=["p"])
    node.publish(b"q", b"5")
    assert queue.policy is None
    assert node.bodies(b"q") == numbers(3, 4, 5)


def test_a_queue_that_is_declared_later_is_limited(node):
    give(node, max_length=1)
    node.declare(b"q")
    node.declare(b"other")
    for name in (b"q", b"other"):
        node.publish(name, b"0", b"1")
    assert (node.ready(b"q"), node.ready(b"other")) == (1, 2)


def test_the_smaller_one_of_argument_and_policy_counts(node):
    small, large = node.declare(b"q1", max_length=1), node.declare(b"q2", max_length=5)
    give(node, max_length=3)
    assert (small.limits.max_length, large.limits.max_length) == (1, 3)


def test_a_policy_of_a_higher_priority_counts_instead(node):
    queue = node.declare(b"q")
    give(node, max_length=1)
    give(node, name="high", priority=1, max_length_bytes=5)
    assert (queue.limits.max_length, queue.limits.max_bytes) == (None, 5)
    change(node, removed=["high"])
    assert (queue.limits.max_length, queue.limits.max_bytes) == (1, None)


def test_policies_are_there_after_a_restart(lives):
    node = lives.node
    node.declare(b"q", durable=True)
    node.exchange(b"qx")
    give(node, max_length=2, priority=2.5, alternate_exchange="other", delivery_limit=7)
    give(node, name="gone", expires=5)
    change(node, removed=["gone"])
    for again in (lives.again, lives.kill):
        node = again()
        [found] = node.vhost.policies
        assert found == policy(
            max_length=2, priority=2.5, alternate_exchange="other", delivery_limit=7
        )
        assert {type(it) for it in found.definition.values()} == {int, str}
        assert node.vhost.topology.alternate(b"qx") == b"other"


def test_a_policy_that_is_changed_has_one_row(lives):
    node = lives.node
    for length in (1, 2, 3):
        give(node, max_length=length)
    kept = node.logs.keeper.load()
    assert [it.definition["max-length"] for it in kept.policies] == [3]


def test_what_can_not_be_changes_nothing(node):
    give(node, max_length=2)
    with pytest.raises(InvalidPolicy):
        node.vhost.set_policies([policy(max_length=5), policy(name="b", max_length="x")])
    assert list(node.vhost.policies) == [policy(max_length=2)]


@pytest.mark.long
def test_a_virtual_host_has_a_bounded_number(node):
    many = [policy(name=f"p{n}", max_length=1) for n in range(POLICIES_MAX)]
    pending = node.vhost.set_policies(many)
    with pytest.raises(TooManyPolicies):  # although none of them is kept yet
        node.vhost.set_policies([policy(name="one more", max_length=1)])
    node.run(until=lambda: pending.done)
    with pytest.raises(TooManyPolicies):
        node.vhost.set_policies([policy(name="one more", max_length=1)])
    node.vhost.set_policies([policy(name="p1", max_length=2)])
    node.vhost.set_policies([policy(name="one more", max_length=1)], ["p0"])


def test_what_is_not_kept_does_not_count(lives, monkeypatch):
    node = lives.node
    queue = node.declare(b"q")
    give(node, max_length=1)

    def full():
        raise StorageFull("no space left")

    monkeypatch.setattr(node.committer._environment, "check_room", full)
    pendings = [
        node.vhost.set_policies([policy(max_length=5), policy(name="new", max_length=7)]),
        node.vhost.set_policies([policy(name="new", max_length=8)], ["p"]),
    ]
    node.run(until=lambda: all(it.done for it in pendings))
    assert {type(it.error) for it in pendings} == {StorageFull}
    assert queue.limits.max_length == 1
    monkeypatch.undo()
    change(node, removed=["p"])
    node = lives.again()
    assert node.logs.keeper.load().policies == []


@pytest.mark.long
def test_thousands_of_queues_are_gone_through_in_many_turns(node):
    pendings = [
        node.vhost.declare_queue(queue.facts._replace(name=b"q%d" % n))
        for queue in [node.declare(b"q")]
        for n in range(1000)
    ]
    node.run(until=lambda: all(it is None or it.done for _, it in pendings))
    pending = node.vhost.set_policies([policy(max_length=1)])
    turns = 0
    while not pending.done:
        node.turn()
        turns += 1
        assert turns < 100_000
    assert turns > 4
    assert {it.limits.max_length for it in node.vhost.queues()} == {1}


def test_patterns_that_take_long_are_tried_for_few_names_in_a_turn():
    """Of a pattern of 4 ms for a name, a turn tried 190: 0.8 s."""
    now_s, looked_at, turns = 0.0, [], Turns()

    def apply(it):
        nonlocal now_s
        now_s += 0.003
        looked_at.append(it)

    def keep(put, removed):
        kept = Pending()
        kept.finish(None)
        return kept

    names = [b"%d" % n for n in range(100)]
    governing = Governing(
        Policies(), keep, list, lambda: names, apply, turns.soon, {"p": policy(max_length=1)}.get,
        clock=lambda: now_s,
    )  # fmt: skip
    done = governing.change([policy(max_length=1)])
    assert len(looked_at) == 2
    for _ in range(49):
        assert not done.done
        turns.over()
    assert done.done
    assert sorted(looked_at) == sorted(names)


# Limits, live


def test_messages_that_are_there_keep_their_lifetime(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"old")
    node.later(10)
    give(node, message_ttl=1000)
    node.publish(b"q", b"new")
    node.later(10)
    give(node, message_ttl=100)
    node.publish(b"q", b"newest")
    for again in (lambda: lives.node, lives.again, lives.kill):
        node = again()
        assert node.vhost.queue(b"q").stock.deadline is not None
    node.later(500)
    assert node.get(b"q", no_ack=True).delivery.body == b"old"
    assert node.get(b"q", no_ack=True).delivery.body == b"new"
    assert node.get(b"q") is None


def test_a_policy_that_goes_leaves_the_lifetime_that_messages_had(lives):
    node = lives.node
    give(node, message_ttl=100)
    node.declare(b"q")
    node.publish(b"q", b"0")
    node.later(10)
    change(node, removed=["p"])
    node.publish(b"q", b"1")
    node = lives.again()
    assert node.ready(b"q") == 2
    node.later(200)
    assert node.bodies(b"q") == [b"1"]


@pytest.mark.long
def test_a_change_that_queues_were_not_told_of_counts_from_the_start_on(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"old")
    node.later(10)
    # Its row is kept, and the process ends before the queues' are.
    rows = node.vhost._rows
    pending = rows.keep_policies([policy(message_ttl=100)], [])
    node.run(until=lambda: pending.done)
    node = lives.kill()
    node.later(10)
    node.publish(b"q", b"new")
    node = lives.again()
    node.later(500)
    assert node.bodies(b"q") == [b"old"]


@pytest.mark.long
def test_an_empty_queue_forgets_earlier_lifetimes(node):
    queue = node.declare(b"q")
    for ttl in range(100, 140):
        node.publish(b"q", b"0")
        node.later(10)
        give(node, message_ttl=ttl)
    assert len(queue.stock.earlier) == 16
    node.bodies(b"q")
    give(node, message_ttl=5)
    assert queue.stock.earlier == ()
    assert queue.lifetimes() == (5,)


def test_a_queue_that_is_idle_goes_when_a_policy_says_so(node):
    node.declare(b"q")
    node.later(5000)
    give(node, expires=1000)
    node.later(999)
    assert node.vhost.topology.queue(b"q") is not None  # it has all of the time
    node.later(1)
    assert node.vhost.topology.queue(b"q") is None


def test_dead_letters_go_where_a_policy_says(node):
    node.declare(b"dead")
    queue = node.declare(b"q")
    node.publish(b"q", *numbers(0, 1, 2))
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    give(node, dead_letter_exchange="", dead_letter_routing_key="dead")
    channel.reject(1)
    node.run()
    assert node.bodies(b"dead") == [b"0"]
    change(node, removed=["p"])
    node.get(b"q", channel, no_ack=False)
    channel.reject(2)
    node.run()
    assert (node.bodies(b"dead"), queue.ready, queue.out) == ([], 1, 0)


def test_dead_letters_that_nobody_took_go_when_the_exchange_does(node):
    queue = node.declare(b"q", queue_type="quorum")
    give(node, dead_letter_exchange="missing", dead_letter_strategy="at-least-once")
    node.publish(b"q", b"0")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    channel.reject(1)
    node.run()
    assert (queue.out, len(queue.dead_letters)) == (1, 1)
    change(node, removed=["p"])
    assert (queue.out, len(queue.dead_letters), queue.dead_letters.dropped) == (0, 0, 1)


def test_dead_letters_that_fail_on_their_way_go_when_the_exchange_did(node, monkeypatch):
    node.declare(b"dead")
    queue = node.declare(b"q")
    give(node, dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", *numbers(0, 1))
    channel = Channel()
    for _ in range(2):
        node.get(b"q", channel, no_ack=False)
    commits = []
    monkeypatch.setattr(queue.dead_letters, "_commit", lambda held, then: commits.append(then))
    channel.reject(0, multiple=True)
    node.run()
    change(node, removed=["p"])
    assert queue.out == 2
    [then] = commits
    then(StorageFull("no space left"))
    node.run()
    assert (queue.out, len(queue.dead_letters), queue.dead_letters.dropped) == (0, 0, 2)


def test_a_delivery_limit_is_set_for_quorum_queues(node):
    quorum, classic = node.declare(b"q1", queue_type="quorum"), node.declare(b"q2")
    give(node, delivery_limit=0)
    for queue in (quorum, classic):
        node.publish(queue.facts.name, b"0")
        channel = Channel()
        node.get(queue.facts.name, channel, no_ack=False)
        channel.requeue(1)
        node.run()
    assert (quorum.ready, classic.ready) == (0, 1)


def test_publishers_are_refused_when_a_policy_says_so(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", *numbers(0, 1))
    give(node, max_length=2, overflow="reject-publish")
    assert node.publish(b"q", b"2").rejected == [0]
    node = lives.again()
    queue = node.vhost.queue(b"q")
    assert queue in node.queues.uncounted or queue.is_open()
    node.run()
    assert node.publish(b"q", b"2").rejected == [0]
    change(node, removed=["p"])
    assert node.publish(b"q", b"2").rejected == []


def test_consumers_have_messages_as_long_as_a_policy_says(node):
    queue = node.declare(b"q")
    give(node, consumer_timeout=5000)
    consumer = Consumer()
    queue.subscribe(consumer)
    node.publish(b"q", b"0")
    node.later(6000)
    assert consumer.is_cancelled
    assert queue.ready == 1


def test_consumers_have_messages_for_ever_again_once_a_policy_is_gone(node):
    queue = node.declare(b"q")
    give(node, consumer_timeout=5000)
    consumer = Consumer()
    queue.subscribe(consumer)
    node.publish(b"q", b"0")
    change(node, removed=["p"])
    node.later(6000)
    assert not consumer.is_cancelled
    assert queue.out == 1


# Bytes, which were not counted before


@pytest.mark.parametrize("durable", [True, False])
def test_bytes_of_a_queue_in_use_are_limited(node, durable):
    queue = node.declare(b"q", durable=durable, max_priority=2)
    for n in range(20):
        node.publish(b"q", b"%04d" % n, priority=n % 3)
    channel = Channel()
    for _ in range(6):
        node.get(b"q", channel, no_ack=False)
    channel.requeue(2)
    channel.ack(3)
    node.run()
    before = queue.ready
    give(node, max_length_bytes=1000)
    assert not queue.stock.sizing
    assert queue.stock.ready_bytes == 4 * before
    channel.requeue(4)
    node.run()
    assert queue.stock.ready_bytes == 4 * queue.ready
    give(node, max_length_bytes=20)
    assert (queue.ready, queue.stock.ready_bytes) == (5, 20)
    change(node, removed=["p"])
    node.publish(b"q", b"much more than that is")
    assert queue.ready == 6


@pytest.mark.long
def test_what_comes_and_goes_while_bytes_are_counted_is_counted_once(node):
    queue = node.declare(b"q")
    for n in range(100):
        node.publish(b"q", b"%010d" % n)
    channel = Channel()
    for _ in range(30):
        node.get(b"q", channel, no_ack=False)
    pending = node.vhost.set_policies([policy(max_length_bytes=100_000)])
    tag, turns = 0, 0
    while not (pending.done and not queue.stock.sizing):
        node.turn()
        turns += 1
        if tag < 30:
            tag += 1
            (channel.ack if tag % 2 else channel.requeue)(tag)
        node.publish_soon(b"q", b"new")
        assert turns < 1_000_000
    node.run()
    bodies = node.bodies(b"q")
    assert queue.stock.ready_bytes == 0
    node.publish(b"q", b"1234567890")
    assert queue.stock.ready_bytes == 10
    assert len(bodies) == 70 + tag // 2 + turns


def test_bytes_of_a_queue_that_is_not_open_are_counted_when_it_is(lives):
    lives.node.declare(b"q")
    lives.node.publish(b"q", *[b"0123456789"] * 5)
    node = lives.again()
    pending = node.vhost.set_policies([policy(max_length_bytes=30)])
    node.run(until=lambda: pending.done)
    queue = node.vhost.queue(b"q")
    assert (node.ready(b"q"), queue.stock.ready_bytes) == (3, 30)


def test_a_purge_while_bytes_are_counted_leaves_none(node):
    queue = node.declare(b"q")
    node.publish(b"q", *[b"0123456789"] * 5)
    pending = node.vhost.set_policies([policy(max_length_bytes=1000)])
    while not queue.stock.sizing and not pending.done:
        node.turn()
    purged = []
    queue.purge(purged.append)
    node.run(until=lambda: purged and not queue.stock.sizing)
    assert queue.stock.ready_bytes == 0


# Exchanges


def test_an_alternate_exchange_comes_and_goes(node):
    node.declare(b"rest")
    node.exchange(b"qx", "direct")
    node.exchange(b"other", "fanout")
    node.bind(b"other", b"rest")
    node.publish(b"k", b"0", exchange=b"qx")
    give(node, alternate_exchange="other", apply_to="exchanges")
    node.publish(b"k", b"1", exchange=b"qx")
    give(node, alternate_exchange="nowhere", apply_to="exchanges")
    node.publish(b"k", b"2", exchange=b"qx")
    give(node, alternate_exchange="other", apply_to="exchanges")
    node.exchange(b"qy", "direct")  # one that comes later
    node.publish(b"k", b"3", exchange=b"qy")
    change(node, removed=["p"])
    node.publish(b"k", b"4", exchange=b"qx")
    assert node.bodies(b"rest") == [b"1", b"3"]
    assert node.vhost.topology.policy(b"qx") is None


def test_an_argument_beats_a_policy_of_alternates(node):
    arguments = arguments_of({"alternate-exchange": "own"})
    node.vhost.declare_exchange(ExchangeFacts(b"qx", "direct", arguments=arguments))
    give(node, alternate_exchange="other")
    assert node.vhost.topology.alternate(b"qx") == b"own"
    assert node.vhost.topology.policy(b"qx").name == "p"


def test_exchanges_of_the_server_have_policies_too(node):
    give(node, pattern="^amq\\.topic$", alternate_exchange="other")
    assert node.vhost.topology.alternate(b"amq.topic") == b"other"
    assert node.vhost.topology.alternate(b"amq.direct") is None


def test_an_exchange_that_goes_leaves_nothing_behind(node):
    give(node, alternate_exchange="other")
    node.exchange(b"qx")
    assert list(node.vhost.topology.alternates(b"other")) == [b"qx"]
    node.vhost.delete_exchange(b"qx")
    node.run()
    assert list(node.vhost.topology.alternates(b"other")) == []


# Virtual hosts


def test_policies_are_of_one_virtual_host_and_go_with_it(lives):
    node = lives.node
    node.add_vhost(b"shop")
    give(node.within(b"shop"), max_length=1)
    node.declare(b"q")
    assert not list(node.queues.vhosts[b"/"].policies)
    assert node.delete_vhost(b"shop") is None
    node = lives.again()
    assert node.logs.keeper.load().policies == []


def test_what_is_settled_stays_as_long_as_a_policy_says(lives):
    node = lives.node
    queue = node.declare(b"q", retention_ms=5000)
    node.publish(b"q", b"0")
    give(node, retention_ms=1000, retention_bytes=7)
    node.run()
    [lane] = queue.stock.order
    wanted = {"retention.ms": "1000", "retention.bytes": "7"}
    assert queue.stock.retention == wanted
    assert (lane.log.settings.retention_ms, lane.log.settings.retention_bytes) == (1000, 7)


# What many messages go by, at once


def most_of_a_turn(node, counted, until):
    """The largest number by which ``counted`` grew in one turn."""
    most, turns = 0, 0
    while not until():
        before = len(counted)
        node.turn()
        most, turns = max(most, len(counted) - before), turns + 1
        assert turns < 100_000
    return most


def many(node, count=500, **given):
    queue = node.declare(b"q", **given)
    node.publish(b"q", *numbers(*range(count)))
    return queue


@pytest.mark.long
def test_of_many_that_die_at_once_some_go_in_a_turn(node, monkeypatch):
    """Thousands that a new limit drops held the loop for a quarter of a second."""
    queue, dead, letters = many(node), node.declare(b"dead"), []

    def counting(*given):
        letters.append(1)
        return dead_letter(*given)

    monkeypatch.setattr(dying, "dead_letter", counting)
    limited = policy(max_length=5, dead_letter_exchange="", dead_letter_routing_key="dead")
    node.vhost.set_policies([limited])
    most = most_of_a_turn(node, letters, lambda: dead.ready == 495)
    assert 0 < most <= dying.STEP_MAX
    assert (queue.ready, queue.out, len(letters)) == (5, 0, 495)
    assert node.bodies(b"dead") == numbers(*range(495))


@pytest.mark.parametrize("durable", [True, False])
def test_of_many_that_are_dying_some_go_in_a_turn_when_their_queue_is_deleted(
    node, monkeypatch, durable
):
    """All that had died went in the turn of the deletion: a million would take a minute."""
    queue, letters = many(node, durable=durable), []
    node.declare(b"dead", durable=durable)

    def counting(*given):
        letters.append(1)
        return dead_letter(*given)

    monkeypatch.setattr(dying, "dead_letter", counting)
    limited = policy(max_length=5, dead_letter_exchange="", dead_letter_routing_key="dead")
    node.vhost.set_policies([limited])
    while not queue.dying:
        node.turn()
    node.vhost.delete_queue(queue)
    assert queue.gone
    assert node.queues.on_the_way  # a server that stops waits for it
    most = most_of_a_turn(node, letters, lambda: not node.queues.on_the_way)
    assert 0 < most <= dying.STEP_MAX
    node.run()
    assert node.bodies(b"dead") == numbers(*range(len(letters)))
    assert len(letters) > dying.STEP_MAX


def test_of_many_bytes_that_are_too_much_some_go_in_a_turn(node, monkeypatch):
    """Each is taken alone then, since the next may be small: 2,000 in a turn took 50 ms."""
    queue, taken = many(node), []
    take = queue.stock.take

    def counting(*given, **more):
        taken.append(1)
        return take(*given, **more)

    monkeypatch.setattr(queue.stock, "take", counting)
    node.vhost.set_policies([policy(max_length_bytes=15)])
    most = most_of_a_turn(node, taken, lambda: queue.ready == 5)
    assert 0 < most <= LOOK_MAX // SINGLE_COST
    assert len(taken) >= 495
