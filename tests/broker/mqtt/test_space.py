"""The space of topics: who gets what is published at whichever door, and how."""

import pytest
from counted_turns import Thread
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_parts import Lives
from space_parts import At, Listener

from logstore.broker.mqtt.filters import matches
from logstore.broker.mqtt.mapping import PROPERTIES_BYTES_MAX
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.message import About
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing.binding import Binding
from logstore.errors import StorageFull
from logstore.settings import ChannelRule


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("space"))
    lives.open()
    yield lives
    lives.end()


@pytest.fixture
def at(lives):
    at = At(lives.node)
    yield at
    at.end()


# At most once


def test_a_message_goes_to_each_member_once_whatever_matches(at):
    one = at.member()
    at.subscribe(one, b"a/#", qos=0, id=3)
    at.subscribe(one, b"a/+", qos=0, id=1)
    at.subscribe(one, b"a/b", qos=0)
    other = at.member(version=4)
    at.subscribe(other, b"#")
    at.subscribe(at.member(), b"a/c")
    assert at.publish(b"a/b", b"1", b"2").matched == [2, 2]
    assert one.got == [(b"a/b", b"1", (1, 3)), (b"a/b", b"2", (1, 3))]
    assert other.got == [(b"a/b", b"1", ()), (b"a/b", b"2", ())]
    assert at.publish(b"b", b"3").matched == [1]
    assert at.publish(b"$SYS/a", b"4").matched == [0]


def test_who_comes_gets_nothing_of_before_and_who_leaves_all_of_it(at):
    one, other = at.member(), at.member()
    at.subscribe(one, b"#")
    at.put(b"a", b"1")
    at.subscribe(other, b"#")
    at.put(b"a", b"2")
    at.space.unsubscribe(one, b"#")
    at.put(b"a", b"3")
    at.run()
    assert one.payloads == [b"1", b"2"]
    assert other.payloads == [b"2", b"3"]
    assert at.space.unsubscribe(one, b"#") is None
    at.space.leave(other)
    assert at.publish(b"a", b"4").matched == [0]
    assert not len(at.space)
    assert not len(at.space.tree)


def test_who_leaves_in_steps_gets_nothing_from_the_first_on(at):
    one, filters = at.member(queue=True), 50
    for it in range(filters):
        at.subscribe(one, b"s/%x/+" % it, qos=1)
    queue = one.queue
    assert at.publish(b"s/31/a", b"1", qos=1).matched == [1]
    steps = at.space.leaving(one)
    one.live, one.queue = False, None
    next(steps)
    assert len(at.space.tree) == filters - 1
    assert at.publish(b"s/31/a", b"2", qos=1).matched == [0]
    assert sum(1 for _ in steps) == filters - 1
    assert not len(at.space.tree)
    assert queue.ready == 1


@pytest.mark.parametrize("filter", [b"%x", b"%x/+/#", b"+/" * 190 + b"%x"])
def test_a_unit_of_leaving_is_little_work_however_long_a_filter(at, filter):
    one, thread = at.member(), Thread()
    for it in range(50):
        at.subscribe(one, filter % it)
    steps = at.space.leaving(one)
    units = thread.turn(lambda: sum(steps))
    assert thread.calls <= 30 * units  # of which a slice has a thousand


def test_a_member_is_not_live_and_then_it_is(at):
    one = at.member()
    one.live = False
    at.subscribe(one, b"a/b")
    assert at.publish(b"a/b", b"1").matched == [0]
    at.space.changed(one)
    one.live = True
    assert at.publish(b"a/b", b"2").matched == [1]
    assert one.payloads == [b"2"]


def test_those_who_get_the_same_share_the_bytes(at):
    members = [at.member() for _ in range(20)]
    for it in members:
        at.subscribe(it, b"s/#")
    odd = at.member()
    at.subscribe(odd, b"s/#", id=7)
    at.publish(b"s/1", b"x", b"y")
    assert len({id(it.chunks[0]) for it in members}) == 1
    assert odd.chunks[0] is not members[0].chunks[0]


def test_a_member_does_not_hear_itself_where_it_wants_so(at):
    one, other = at.member(), at.member()
    at.subscribe(one, b"n/#", no_local=True, id=1)
    at.subscribe(other, b"n/#", no_local=True, id=2)
    assert at.publish(b"n/a", b"mine", publisher=one).matched == [1]
    at.publish(b"n/a", b"elses")
    at.publish(b"n/a", b"of other", publisher=other)
    assert one.payloads == [b"elses", b"of other"]
    assert other.payloads == [b"mine", b"elses"]
    at.subscribe(one, b"n/a", id=5)  # and by this one it does
    at.publish(b"n/a", b"mine", publisher=one)
    at.publish(b"n/a", b"elses")
    assert one.got[-2:] == [(b"n/a", b"mine", (5,)), (b"n/a", b"elses", (1, 5))]


def test_what_is_said_beside_the_payload_arrives(at):
    one, listener = at.member(retains=True), Listener()
    at.subscribe(one, b"p/#", retain_as_published=True)
    at.channels.subscribe(listener, b"p/1")
    about = About(content_type=b"x", user=((b"a", b"b"),))
    at.publish(b"p/1", b"1", about=about, retain=True)
    assert one.abouts == [(about, True)]
    assert listener.payloads == [b"1"]


# Acknowledged


def test_what_is_to_be_acknowledged_goes_into_queues_and_to_all_others_past_them(at):
    one, other, listener = at.member(queue=True), at.member(), Listener()
    at.subscribe(one, b"q/#", qos=1)
    at.subscribe(other, b"q/#", qos=0)
    at.channels.subscribe(listener, b"q/1")
    sent = at.publish(b"q/1", b"1", qos=1)
    assert sent.matched == [3]
    assert sent.waiting is not None
    assert at.queued(one) == [(b"q.1", b"1", 1)]
    assert not one.got
    assert other.payloads == listener.payloads == [b"1"]
    assert at.publish(b"q/1", b"0", qos=0).waiting is None  # it is connected
    assert one.payloads == [b"0"]
    assert at.queued(one) == []


def test_a_member_with_a_queue_gets_one_copy_however_many_filters_match(at):
    one = at.member(queue=True)
    at.subscribe(one, b"q/#", qos=2)
    at.subscribe(one, b"q/+", qos=0)
    at.subscribe(one, b"+/1", qos=1)
    at.publish(b"q/1", b"1", qos=2)
    assert at.queued(one) == [(b"q.1", b"1", 2)]
    assert not one.got


def test_a_publisher_without_what_it_publishes_has_a_queue(at):
    one = at.member(queue=True)
    at.subscribe(one, b"q/#", qos=1, no_local=True)
    assert at.publish(b"q/1", b"mine", qos=1, publisher=one).matched == [0]
    assert at.publish(b"q/1", b"elses", qos=1).matched == [1]
    assert at.queued(one) == [(b"q.1", b"elses", 1)]


def test_a_member_hears_itself_with_the_qos_of_the_filters_that_let_it(at):
    one = at.member(queue=True)
    at.subscribe(one, b"q/#", qos=2, no_local=True, id=1)
    at.subscribe(one, b"q/+", qos=0, id=2)
    assert at.publish(b"q/1", b"mine", qos=1, publisher=one).matched == [1]
    at.publish(b"q/1", b"elses", qos=1)
    assert at.queued(one) == [(b"q.1", b"elses", 1)]
    assert one.got == [(b"q/1", b"mine", (2,))]
    at.publish(b"q/1", b"mine", publisher=one)
    assert one.got[1:] == [(b"q/1", b"mine", (2,))]


def test_nobody_gets_it(at):
    sent = at.publish(b"nobody", b"1", qos=1)
    assert sent.matched == [0]
    assert sent.waiting.settled()


def test_what_is_sent_at_most_once_is_not_for_who_is_away_unless_that_is_wanted(at, lives):
    one = at.member(queue=True)
    one.live = False
    at.subscribe(one, b"q/#", qos=1)
    assert at.publish(b"q/1", b"1").matched == [0]
    assert at.queued(one) == []
    again = At(lives.node, keep_for_away=True)
    again.subscribe(one, b"q/#", qos=1)
    assert again.publish(b"q/1", b"2").matched == [1]
    assert again.queued(one) == [(b"q.1", b"2", 0)]
    again.space.leave(one)


def test_in_a_transaction_nothing_goes_before_it_begins(at):
    one, other = at.member(queue=True), at.member()
    at.subscribe(one, b"t", qos=2)
    at.subscribe(other, b"t")
    held, done = Transaction(), []
    sent = at.put(b"t", b"1", qos=2, held=held)
    assert sent.waiting.settled()
    assert sent.waiting.failed is None  # it can be
    at.run()
    assert not other.got
    at.node.queues.commit(held, done.append)
    at.node.run(until=lambda: done)
    assert done == [None]
    assert other.payloads == [b"1"]
    assert at.queued(one) == [(b"t", b"1", 2)]


# Across doors


def test_amqp_to_mqtt_and_channels(at):
    one, other, listener = at.member(queue=True), at.member(), Listener()
    at.subscribe(one, b"x/+", qos=1)
    at.subscribe(other, b"x/+")
    at.channels.subscribe(listener, b"x/1")
    at.run()
    at.node.publish(b"x.1", b"m", exchange=b"amq.topic")
    assert one.payloads == other.payloads == listener.payloads == [b"m"]
    at.node.publish(b"x.1", b"p", exchange=b"amq.topic", delivery_mode=2, content_type="c")
    assert one.payloads == [b"m"]
    assert other.abouts[-1] == (About(content_type=b"c"), False)
    assert other.payloads == listener.payloads == [b"m", b"p"]
    assert at.queued(one) == [(b"x.1", b"p", 1)]


def test_a_message_that_only_mqtt_hears_is_no_unroutable_one(at):
    at.subscribe(at.member(), b"x/1")
    at.run()
    assert not at.node.publish(b"x.1", b"m", exchange=b"amq.topic").unrouted
    assert at.node.publish(b"x.2", b"m", exchange=b"amq.topic").unrouted == [0]


def test_by_whichever_way_a_message_comes_to_amq_topic(at):
    one = at.member()
    at.subscribe(one, b"#")
    at.node.exchange(b"first", "fanout")
    kept = at.node.vhost.bind(Binding(b"first", b"amq.topic", b"", kind="exchange"))
    at.node.run(until=lambda: kept is None or kept.done)
    at.node.publish(b"a.b", b"1", exchange=b"first")
    assert one.got == [(b"a/b", b"1", ())]


def test_mqtt_to_queues_of_amqp_at_amq_topic(at):
    at.node.declare(b"bound")
    at.node.bind(b"amq.topic", b"bound", b"s.*.#")
    about = About(correlation=b"c", expires_at_ms=at.node.clock.now_ms + 60_000)
    assert at.publish(b"s/1/x", b"1", qos=1, about=about).matched == [1]
    assert at.publish(b"s/2", b"0").matched == [1]
    assert at.publish(b"t/2", b"0").matched == [0]
    first, second = at.taken(b"bound"), at.taken(b"bound")
    assert (first.key, first.body, first.exchange) == (b"s.1.x", b"1", b"amq.topic")
    said = at.read(first)
    assert (said.delivery_mode, said.correlation_id, said.expiration) == (2, "c", "60000")
    assert (second.key, at.read(second).delivery_mode) == (b"s.2", 1)


def test_a_queue_of_a_member_that_is_bound_too_gets_one_copy(at):
    one = at.member(queue=True)
    at.subscribe(one, b"q/#", qos=1)
    at.node.bind(b"amq.topic", one.queue.facts.name, b"q.#")
    assert at.publish(b"q/1", b"1", qos=1).matched == [1]
    assert at.queued(one) == [(b"q.1", b"1", 1)]


def test_channels_to_amqp_and_mqtt(at):
    one, listener = at.member(queue=True), Listener()
    at.subscribe(one, b"c/#", qos=1)
    at.node.declare(b"bound")
    at.node.bind(b"amq.topic", b"bound", b"c.#")
    at.channels.subscribe(listener, b"c/1")
    assert at.redis(b"c/1", b"m") == 2
    assert one.payloads == listener.payloads == [b"m"]
    got = at.taken(b"bound")
    assert (got.key, got.body) == (b"c.1", b"m")
    assert at.queued(one) == []


def test_nothing_comes_back_or_twice(at):
    """Out to AMQP, and by an exchange that leads to a channel back: once each."""
    one, listener = at.member(), Listener()
    at.subscribe(one, b"#")
    at.channels.subscribe(listener, b"a/b")
    at.node.exchange(b"a/b", "x-channel")
    kept = at.node.vhost.bind(Binding(b"amq.topic", b"a/b", b"loop", kind="exchange"))
    at.node.run(until=lambda: kept is None or kept.done)
    at.redis(b"loop", b"m")
    assert one.got == [(b"loop", b"m", ()), (b"a/b", b"m", ())]
    assert listener.payloads == [b"m"]


@pytest.mark.parametrize("name", [b"", b"\xff", b"a\0", b"a/+", b"#", b"$SYS/x", b"x" * 70_000])
def test_names_of_channels_that_are_no_topics_are_not_for_mqtt(at, name):
    one, listener = at.member(), Listener()
    for it in (b"#", b"$SYS/#", b"+/x"):
        at.subscribe(one, it)
    at.channels.subscribe(listener, name)
    assert at.redis(name, b"m") == 1
    assert not one.got
    assert listener.payloads == [b"m"]
    assert at.space.counts.no_topics == (not name.startswith(b"$"))


@pytest.mark.parametrize("key", [b"", b"\xff", b"a.*", b"$SYS.x", b"#"])
def test_routing_keys_that_are_no_topics_are_not_for_mqtt(at, key):
    one = at.member()
    for it in (b"#", b"$SYS/#"):
        at.subscribe(one, it)
    at.run()
    assert at.node.publish(key, b"m", exchange=b"amq.topic").unrouted == [0]
    assert not one.got


def test_what_no_routing_key_can_say_is_not_for_amqp(at):
    one, topic = at.member(queue=True), b"t/" * 200
    at.subscribe(one, b"t/#", qos=1)
    at.node.declare(b"bound")
    at.node.bind(b"amq.topic", b"bound", b"#")
    assert at.publish(topic, b"1", qos=1).matched == [1]
    assert at.redis(topic, b"2") == 1
    assert at.node.ready(b"bound") == 0
    assert at.queued(one) == [(topic.replace(b"/", b".")[:255], b"1", 1)]
    assert at.space.counts.no_keys == 2


def test_more_properties_than_a_frame_has_room_for_go_to_members_alone(at):
    one = at.member(queue=True)
    at.subscribe(one, b"b", qos=1)
    at.node.declare(b"bound")
    at.node.bind(b"amq.topic", b"bound", b"b")
    about = About(user=tuple((b"%d" % it, b"v" * 1000) for it in range(150)))
    assert at.publish(b"b", b"1", qos=1, about=about).matched == [2]
    assert len(at.taken(b"bound").properties) < PROPERTIES_BYTES_MAX
    assert len(at.taken(one.queue.facts.name).properties) > PROPERTIES_BYTES_MAX


def test_nobody_pays_where_nobody_listens(at):
    assert at.channels.onward is None or not at.node.vhost.topology.leads(b"amq.topic")
    at.redis(b"a", b"1")
    assert at.channels.onward is None
    at.run()
    assert at.node.vhost.route(at.node.message(b"a", b"1", exchange=b"amq.topic")) == ()
    listener = Listener()
    at.channels.subscribe(listener, b"a")
    at.run()
    assert len(at.node.vhost.route(at.node.message(b"a", b"1", exchange=b"amq.topic"))) == 1
    at.channels.leave(listener)
    at.node.publish(b"a", b"1", exchange=b"amq.topic")
    assert at.node.vhost.route(at.node.message(b"a", b"1", exchange=b"amq.topic")) == ()


def test_a_queue_that_is_full_refuses_amqps_publisher_and_is_counted_of_mqtts(at):
    one = at.member(queue=True, max_length=1, overflow="reject-publish")
    at.subscribe(one, b"f", qos=1)
    at.run()
    assert not at.node.publish(b"f", b"1", exchange=b"amq.topic", delivery_mode=2).rejected
    rejected = at.node.publish_soon(b"f", b"2", exchange=b"amq.topic", delivery_mode=2).rejected
    assert rejected == [0]
    sent = at.publish(b"f", b"3", qos=1)
    assert sent.waiting.failed is None
    assert at.space.counts.full == 1


def test_after_a_restart_it_is_known_first_whether_a_queue_has_room(tmp_path):
    lives = Lives(tmp_path)
    lives.open()
    lives.node.declare(b"q", max_length=2, overflow="reject-publish")
    lives.node.publish(b"q", b"1")
    lives.again()
    at = At(lives.node, runs=False)
    one = at.member()
    one.queue = lives.node.vhost.queue(b"q")
    at.subscribe(one, b"a", qos=1)
    first, second = at.put(b"a", b"2", qos=1), at.put(b"a", b"3", qos=1)
    assert first.waiting.parked
    assert second.waiting.parked
    at.run()
    assert first.waiting.settled()
    assert second.waiting.settled()
    assert at.space.counts.full == 1
    assert lives.node.bodies(b"q") == [b"1", b"2"]
    lives.end()


# Channels that keep a history


@pytest.fixture
def keeping(tmp_path):
    """A node of its own: its channels keep histories from now on."""
    lives = Lives(tmp_path)
    node = lives.open()
    node.channels.keep([ChannelRule("kept*", 3_600_000)], node.topics)
    at = At(node)
    yield at
    at.end()
    lives.end()


def test_a_channel_keeps_what_mqtt_and_amqp_publish(keeping):
    at = keeping
    one, other, listener = at.member(queue=True), at.member(), Listener()
    at.subscribe(one, b"kept1", qos=1)
    at.subscribe(other, b"#")
    at.channels.subscribe(listener, b"kept1")
    sent = at.publish(b"kept1", b"1", qos=1, about=About(content_type=b"x"))
    assert sent.matched == [4]  # the history, too
    at.publish(b"kept1", b"0")
    assert at.redis(b"kept1", b"r") == 3
    assert not at.node.publish(b"kept1", b"a", exchange=b"amq.topic", delivery_mode=2).rejected
    at.node.run(until=lambda: len(listener.payloads) == 4)
    assert listener.payloads == [b"1", b"0", b"r", b"a"]
    assert other.payloads == [b"1", b"0", b"r", b"a"]
    assert other.abouts == [(About(content_type=b"x"), False)]
    assert one.payloads == [b"0", b"r"]
    assert [body for _, body, _ in at.queued(one)] == [b"1", b"a"]
    [records] = at.node.records("kept1")
    assert [it.value for it in records] == [b"1", b"0", b"r", b"a"]


def test_a_history_that_is_not_open_holds_nobody_up_and_nothing_is_lost(keeping):
    at = keeping
    one = at.member()
    at.subscribe(one, b"#")
    sent = [at.put(b"kept%d" % (n % 3), b"%d" % n, qos=n % 2) for n in range(12)]
    assert not sent[1].waiting.settled()
    assert not one.got
    at.put(b"other", b"x")
    at.node.run(until=lambda: len(one.got) == 13)
    for it in sent:
        if it.waiting is not None:
            at.node.run(until=it.waiting.settled)
            assert it.waiting.failed is None
    assert [it for it in one.payloads if it != b"x"] == [b"%d" % n for n in range(12)]
    assert sum(len(it) for n in range(3) for it in at.node.records(f"kept{n}")) == 12


def test_a_topic_that_can_be_no_channel_with_a_history_is_one_without(keeping):
    at = keeping
    one = at.member()
    at.subscribe(one, b"#")
    assert at.put(b"kept/1", b"1", qos=1).matched == [1]
    at.run()
    assert one.payloads == [b"1"]
    assert not at.node.topics.names()


def test_a_history_that_takes_no_more_says_so_to_who_waits(keeping, monkeypatch):
    at = keeping
    at.subscribe(at.member(), b"#")
    at.publish(b"kept1", b"1", qos=1)

    def full(payloads, unsafe):
        raise StorageFull("no room")

    monkeypatch.setattr(at.channels.history(b"kept1"), "append", full)
    sent = at.put(b"kept1", b"2", qos=1)
    assert sent.waiting.settled()
    assert isinstance(sent.waiting.failed, StorageFull)
    rejected = at.node.publish_soon(b"kept1", b"3", exchange=b"amq.topic")
    assert rejected.rejected == [0]
    assert at.space.counts.unkept == 2


# Routes that are remembered


LEVELS = st.sampled_from([b"a", b"b", b"$x", b""])


@st.composite
def some_filters(draw):
    levels = draw(st.lists(st.one_of(LEVELS, st.just(b"+")), max_size=3))
    if not levels or draw(st.booleans()):
        levels.append(b"#")
    return b"/".join(levels) or b"+"


ACTS = st.one_of(
    st.tuples(st.just("subscribe"), st.integers(0, 3), some_filters(), st.integers(0, 2)),
    st.tuples(st.just("unsubscribe"), st.integers(0, 3), some_filters()),
    st.tuples(st.just("leave"), st.integers(0, 3)),
    st.tuples(st.just("live"), st.integers(0, 3), st.booleans()),
    st.tuples(
        st.just("publish"),
        st.lists(LEVELS, min_size=1, max_size=3).map(b"/".join).filter(bool),
        st.integers(0, 2),
    ),
)


@settings(max_examples=25)
@given(st.lists(ACTS, max_size=40))
def test_members_get_what_a_list_of_their_filters_says(lives, acts):
    at = At(lives.node)
    members = [at.member(queue=number % 2 == 0, quiet=True) for number in range(4)]
    granted = [{} for _ in members]
    expected = [[] for _ in members]
    queued = [[] for _ in members]
    number = 0
    for act, *what in acts:
        match act, what:
            case "subscribe", (n, filter, qos):
                at.subscribe(members[n], filter, qos=qos)
                granted[n][filter] = qos
            case "unsubscribe", (n, filter):
                before = at.space.unsubscribe(members[n], filter)
                qos = granted[n].pop(filter, None)
                assert (before and before.qos) == qos or before == Grant(qos)
            case "leave", (n,):
                at.space.leave(members[n])
                granted[n].clear()
            case "live", (n, live):
                at.space.changed(members[n])
                members[n].live = live
            case "publish", (topic, qos):
                number += 1
                payload = b"%d" % number
                at.put(topic, payload, qos=qos)
                for n, member in enumerate(members):
                    its = [q for f, q in granted[n].items() if matches(f, topic)]
                    if its and qos and max(its) and member.queue is not None:
                        queued[n].append(payload)
                    elif its and member.live:
                        expected[n].append(payload)
    at.run()
    assert [it.payloads for it in members] == expected
    for n, member in enumerate(members):
        if member.queue is not None:
            assert [body for _, body, _ in at.queued(member)] == queued[n]
    at.end()


def test_a_filter_forgets_the_routes_of_its_first_level_alone(at):
    for it in (b"a/#", b"b/+"):
        at.subscribe(at.member(), it)
    for topic in (b"a/1", b"b/1", b"c/1"):
        at.publish(topic, b"x")
    routes = {it: at.channels.route(it) for it in (b"a/1", b"b/1", b"c/1")}
    at.subscribe(at.member(), b"a/+/z")
    assert at.channels.route(b"b/1") is routes[b"b/1"]
    assert at.channels.route(b"c/1") is routes[b"c/1"]
    assert at.channels.route(b"a/1") is not routes[b"a/1"]
    at.subscribe(at.member(), b"b/1")
    assert at.channels.route(b"b/1") is not routes[b"b/1"]
    at.subscribe(at.member(), b"+/1")
    assert at.channels.route(b"c/1") is not routes[b"c/1"]


def test_routes_that_are_remembered_have_bounds(at, monkeypatch):
    monkeypatch.setattr("logstore.broker.channel.ROUTES_MAX", 50)
    at.subscribe(at.member(), b"#")
    for number in range(200):
        at.publish(b"u/%d" % number, b"x")
        assert len(at.channels._routes) <= 50
    for number in range(500):  # each is forgotten at once
        one = at.member()
        at.subscribe(one, b"v/%d" % number)
        at.publish(b"v/%d" % number, b"x")
        at.space.leave(one)
    assert at.channels._in_levels <= 101
    monkeypatch.setattr("logstore.broker.channel.ROUTE_RECEIVERS_MAX", 100)
    for _ in range(20):
        at.subscribe(at.member(), b"w/#")
    for number in range(30):
        at.publish(b"w/%d" % number, b"x")
        assert sum(it.receivers for it in at.channels._routes.values()) <= 100 + 21


def test_a_topic_that_takes_long_is_searched_for_in_steps(at):
    for number in range(1 << 12):
        bits = f"{number:012b}"
        at.subscribe(at.odd, b"/".join(b"+" if it == "1" else b"a" for it in bits) + b"/x")
    late = at.member()
    topic = b"/".join([b"a"] * 12 + [b"x"])
    assert not at.channels.is_quick(topic)
    steps = at.channels.searching(topic)
    next(steps)
    at.subscribe(late, b"a/+/#")
    assert all(it < 2000 for it in steps)
    assert at.channels.is_quick(topic)
    assert at.space.preparing([topic, b"quick"]) is None
    at.space.changed(late)
    prepared = at.space.preparing([topic, b"quick"])
    assert prepared is not None
    assert all(it < 2000 for it in prepared)
    assert at.space.preparing([topic]) is None
    at.publish(topic, b"1")
    assert at.odd.payloads == late.payloads == [b"1"]
    at.space.leave(at.odd)


def test_a_member_with_thousands_of_filters_may_change(at):
    one = at.member()
    for number in range(1500):
        at.subscribe(one, b"m/%d" % number)
    at.publish(b"m/7", b"1")
    at.space.changed(one)
    one.live = False
    assert at.publish(b"m/7", b"2").matched == [0]
    at.space.leave(one)
    assert not len(at.space.tree)


def test_a_space_without_queues_needs_none(lives):
    at = At(lives.node, joined=False)
    one = at.member()
    at.subscribe(one, b"a")
    sent = at.publish(b"a", b"1", qos=1)
    assert sent.matched == [1]
    assert sent.waiting.settled()
    assert not at.space.crowded
    at.end()


def test_what_is_sent_at_most_once_waits_for_a_group(at):
    group, one = at.member(queue=True), at.member(queue=True)
    group.live, group.shared = False, True
    at.subscribe(group, b"t", qos=2)
    at.subscribe(one, b"t", qos=1)
    at.put(b"t", b"1")
    at.run()
    assert at.queued(group) == [(b"t", b"1", 0)]
    assert at.queued(one) == []
    assert one.payloads == [b"1"]
