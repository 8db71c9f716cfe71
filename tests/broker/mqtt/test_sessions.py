"""MQTT sessions: what outlives a connection, and what comes again on the next one."""

import pytest
from mqtt_sessions import Line, MqttLives
from queue_parts import Consumer

from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.message import About
from logstore.broker.mqtt.session import TooManySubscriptions, queue_name
from logstore.broker.mqtt.sessions import SessionsFull, limits_of
from logstore.kept.mqtt import NEVER
from logstore.settings import StoreSettings


@pytest.fixture
def lives(tmp_path):
    lives = MqttLives(tmp_path)
    lives.open()
    yield lives
    lives.end()


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory):
    lives = MqttLives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


@pytest.fixture
def node(long_lived):
    """As good as new: to make one takes 0.1 s."""
    long_lived.counts_anew()
    yield long_lived
    for it in list(long_lived.sessions.there()):
        long_lived.sessions.end(it)
    long_lived.run()
    long_lived.empty()


def pids(line):
    return [it.pid for it in line.sent]


def test_a_message_comes_with_the_lower_of_both_qos_and_waits_for_its_acknowledgement(node):
    session, present, line = node.come()
    assert not present
    node.subscribe(session, b"a/+")
    node.send(b"a/b", b"1", b"2", qos=2)
    assert [(it.topic, it.payload, it.qos, it.dup, it.ids) for it in line.sent] == [
        (b"a/b", b"1", 1, False, ()), (b"a/b", b"2", 1, False, ()),
    ]  # fmt: skip
    first, second = pids(line)
    assert (second - first) % 65_535 == 1
    assert session.queue.out == 2
    node.ack(session, first, second)
    assert (session.queue.out, session.queue.ready) == (0, 0)


def test_one_copy_with_the_highest_qos_and_all_identifiers(node):
    session, _, line = node.come()
    node.subscribe(session, b"a/#", qos=0, id=7)
    node.subscribe(session, b"a/+", qos=1, id=9)
    node.subscribe(session, b"b", qos=1, id=11)
    node.send(b"a/b", b"1")
    assert [(it.qos, set(it.ids)) for it in line.sent] == [(1, {7, 9})]


def test_no_more_than_the_window_is_unacknowledged_and_an_acknowledgement_brings_the_next(node):
    session, _, line = node.come(window=2)
    node.subscribe(session, b"a")
    node.send(b"a", b"1", b"2", b"3", b"4")
    assert line.bodies == [b"1", b"2"]
    node.ack(session, pids(line)[0])
    assert line.bodies == [b"1", b"2", b"3"]
    node.ack(session, *pids(line)[1:])
    assert line.bodies == [b"1", b"2", b"3", b"4"]


def test_an_unacknowledged_message_comes_again_on_the_next_connection_with_its_id_and_first(node):
    session, _, line = node.come(window=3)
    node.subscribe(session, b"a")
    node.send(b"a", b"1", b"2", b"3", b"4")
    node.ack(session, pids(line)[1])
    before = [(it.payload, it.pid) for it in line.sent if it.payload != b"2"]
    node.go(session)
    node.send(b"a", b"5")
    again, present, line = node.come(window=10)
    assert again is session
    assert present
    assert [(it.payload, it.pid) for it in line.sent][:3] == before
    assert [it.dup for it in line.sent] == [True, True, True, False]
    assert line.bodies == [b"1", b"3", b"4", b"5"]
    node.ack(session, *pids(line))
    assert (session.queue.out, session.queue.ready) == (0, 0)


def test_nothing_comes_again_on_the_same_connection(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.send(b"a", b"1")
    node.later(1 << 30)
    node.send(b"a", b"2")
    assert line.bodies == [b"1", b"2"]


def test_what_comes_again_keeps_to_a_smaller_window(node):
    session, _, line = node.come(window=4)
    node.subscribe(session, b"a")
    node.send(b"a", b"1", b"2", b"3", b"4", b"5")
    node.go(session)
    _, _, line = node.come(window=2)
    assert line.bodies == [b"1", b"2"]
    node.ack(session, pids(line)[0])
    assert line.bodies == [b"1", b"2", b"3"]
    node.ack(session, *pids(line)[1:])
    assert line.bodies == [b"1", b"2", b"3", b"4", b"5"]


def test_what_comes_again_waits_for_room_in_the_line(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.send(b"a", b"1", b"2")
    node.go(session)
    line = Line()
    line.room = 0
    node.come(line=line)
    assert line.sent == []
    line.room = 1 << 20
    session.out.drained()
    node.run()
    assert line.bodies == [b"1", b"2"]


def test_an_acknowledged_message_is_not_sent_again_though_it_was_to_be(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.send(b"a", b"1", b"2", b"3")
    had = pids(line)
    node.go(session)
    line = Line()
    line.room = 0
    node.come(line=line)
    node.ack(session, had[1])
    line.room = 1 << 20
    session.out.drained()
    node.run()
    assert line.bodies == [b"1", b"3"]


def test_what_is_longer_than_the_client_takes_counts_as_delivered_and_frees_its_place(node):
    session, _, line = node.come(window=1, line=Line(packet_max=10))
    node.subscribe(session, b"a")
    node.send(b"a", bytes(11), b"2", bytes(12), b"3")
    assert line.bodies == [b"2"]
    node.ack(session, *pids(line))
    assert line.bodies == [b"2", b"3"]
    assert node.sessions.counts.too_long == 2
    node.ack(session, pids(line)[1])
    assert (session.queue.out, session.queue.ready) == (0, 0)


def test_an_acknowledgement_of_nothing_is_counted_and_changes_nothing(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.send(b"a", b"1", b"2")
    had = pids(line)
    node.ack(session, 0, had[1] + 10, had[0], had[0])
    assert node.sessions.counts.unknown_acks == 3
    assert session.queue.out == 1


def test_messages_come_while_the_client_is_away_as_many_as_it_is_told(node):
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    for n in range(300):
        node.send(b"a", b"%d" % n)
    _, _, line = node.come(window=1000)
    assert line.bodies == [b"%d" % n for n in range(300)]


@pytest.mark.parametrize("end", ["again", "kill"])
def test_a_session_and_its_messages_outlive_the_process(lives, end):
    node = lives.node
    session, _, line = node.come(user="u")
    node.subscribe(session, b"a/#", qos=1, id=5, no_local=True, retain_as_published=True)
    node.subscribe(session, b"b", qos=2)
    node.send(b"a/x", b"1", b"2")
    node.ack(session, pids(line)[0])
    node.go(session)
    node.send(b"b", b"3")
    number, queue = session.number, session.queue.id
    node = getattr(lives, end)()
    session = node.sessions.of("c")
    assert (session.number, session.queue.id) == (number, queue)
    assert dict(session.grants)[b"a/#"] == (1, True, True, 5)
    again, present, line = node.come(user="u")
    assert again is session
    assert present
    # What was settled in the last moment may come again after a kill, never be lost.
    assert line.bodies[-2:] == [b"2", b"3"]
    assert len(line.sent) == 2 or end == "kill"
    assert line.sent[-2].dup


def test_a_session_without_expiry_ends_with_its_connection_and_leaves_no_queue(lives):
    node = lives.node
    session, _, _ = node.come(expiry_s=0)
    node.subscribe(session, b"a")
    queue = session.queue
    assert (queue.facts.name, queue.facts.exclusive) == (b"mqtt-subscription-cqos1", True)
    node.go(session)
    assert session.ended
    assert queue.gone
    assert list(node.vhost.queues()) == []
    _, present, line = node.come(expiry_s=0)
    assert not present
    assert line.sent == []


@pytest.mark.parametrize("subscribed", [False, True])
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("expiry_s", [0, 60, NEVER])
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("first_s", [0, 60, NEVER])
def test_session_present_says_whether_there_is_a_session_not_whether_it_has_a_queue(
    node, first_s, clean, expiry_s, version, subscribed
):
    session, present, _ = node.come(expiry_s=first_s, version=version)
    assert not present
    if subscribed:
        node.subscribe(session, b"a")
    node.go(session)
    again, present, line = node.come(clean=clean, expiry_s=expiry_s, version=version)
    goes_on = first_s > 0 and not clean
    assert present == goes_on
    assert (again is session) == goes_on
    assert (b"a" in again.grants) == (goes_on and subscribed)
    node.send(b"a", b"1")
    assert line.bodies == ([b"1"] if goes_on and subscribed else [])
    assert len(list(node.vhost.queues())) == (goes_on and subscribed)


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("first_s", [0, 60])
@pytest.mark.parametrize("socket_first", [False, True])
def test_both_orders_of_a_takeover_end_alike(node, first_s, clean, socket_first):
    session, _, old = node.come(expiry_s=first_s)
    node.subscribe(session, b"a")
    node.send(b"a", b"1")
    if socket_first:
        node.go(session)
    again, present, line = node.come(expiry_s=first_s, clean=clean)
    if not socket_first:
        assert old.ends == ["taken over"]
        node.sessions.left(session, old)  # its socket is closed only then
        node.run()
    goes_on = first_s > 0 and not clean
    assert present == goes_on
    assert again.connected
    assert not again.ended
    assert [(it.payload, it.dup) for it in line.sent] == ([(b"1", True)] if goes_on else [])


def test_a_session_of_another_user_is_never_gone_on_with(node):
    session, _, _ = node.come(user="alice")
    node.subscribe(session, b"a")
    node.send(b"a", b"secret")
    again, present, line = node.come(user="bob")
    assert session.ended
    assert not present
    assert line.sent == []
    assert not len(again.grants)


def test_a_session_expires_in_the_walls_time(node):
    session, _, _ = node.come(expiry_s=60)
    node.subscribe(session, b"a")
    node.go(session)
    node.later(59_999)
    assert not session.ended
    node.later(1)
    assert session.ended
    assert list(node.vhost.queues()) == []


def test_a_session_does_not_expire_while_it_is_connected(node):
    session, _, _ = node.come(expiry_s=1)
    node.go(session)
    node.come(expiry_s=1)
    node.later(100_000)
    assert not session.ended
    node.go(session)
    node.later(999)
    assert not session.ended
    node.later(1)
    assert session.ended


def test_the_last_word_about_the_expiry_counts(node):
    session, _, _ = node.come(expiry_s=60)
    node.go(session, expiry_s=10)
    node.later(10_000)
    assert session.ended
    session, _, _ = node.come(expiry_s=60)
    node.go(session, expiry_s=0)
    assert session.ended
    session, _, _ = node.come(expiry_s=60)
    node.go(session, expiry_s=NEVER)
    node.later(1 << 40)
    assert not session.ended


@pytest.mark.parametrize("end", ["again", "kill"])
def test_expiry_passes_while_the_process_is_down(lives, end):
    node = lives.node
    short, _, _ = node.come("short", expiry_s=60)
    node.subscribe(short, b"a")
    long, _, _ = node.come("long", expiry_s=3600)
    node.subscribe(long, b"a")
    node.go(short)
    node.go(long)
    node.run(until=lambda: not node.committer._queue)
    lives.clock.now_ms += 60_000
    node = getattr(lives, end)()
    node.later(0)
    assert [it.client for it in node.sessions.there()] == ["long"]
    assert [it.facts.name for it in node.vhost.queues()] == [queue_name("long")]


def test_of_a_process_that_was_killed_sessions_expire_from_when_it_was_seen_alive(lives):
    node = lives.node
    node.come(expiry_s=3600)
    node.later(60_000)
    node.later(60_000)
    lives.clock.now_ms += 3600_000
    node = lives.kill()
    node.later(0)
    assert len(node.sessions) == 0


def test_a_session_that_was_connected_when_the_process_was_killed_is_there(lives):
    node = lives.node
    session, _, line = node.come(expiry_s=3600)
    node.subscribe(session, b"a")
    node.send(b"a", b"1")
    lives.clock.now_ms += 3599_000
    node = lives.kill()
    _, present, line = node.come(expiry_s=3600)
    assert present
    assert line.bodies == [b"1"]


def test_after_a_clean_start_nothing_of_the_old_session_comes_back_after_a_kill(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    node.send(b"a", b"old")
    node.come(clean=True, expiry_s=0)
    node = lives.kill()
    assert len(node.sessions) == 0
    assert list(node.vhost.queues()) == []
    session, present, line = node.come()
    assert not present
    node.subscribe(session, b"a")
    assert line.sent == []


def test_the_session_that_was_left_longest_ago_goes_where_there_are_too_many(lives, caplog):
    lives.close()
    lives.node_type = type("Few", (lives.node_type,), {})
    lives.node_type.limits = lives.node_type.limits._replace(sessions_max=2)
    node = lives.open()
    for client in ("a", "b"):
        session, _, _ = node.come(client)
        node.go(session)
    node.come("a")
    node.come("c")
    assert [it.client for it in node.sessions.there()] == ["a", "c"]
    assert "client 'b' ends" in caplog.text
    node.come("d")  # all others are connected
    assert len(node.sessions) == 3
    node.go(node.sessions.of("c"))
    assert [it.client for it in node.sessions.there()] == ["a", "d"]
    assert node.sessions.counts.crowded_out == 2


def test_after_a_kill_those_that_were_connected_are_not_the_oldest(lives):
    node = of_settings(lives, mqtt_sessions_max=2)
    session, _, _ = node.come("old")
    node.go(session)
    node.later(1000)
    node.come("connected")
    node = lives.kill()
    node.come("new")
    assert [it.client for it in node.sessions.there()] == ["connected", "new"]


def test_of_two_rows_of_one_client_the_later_one_counts(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    twice = session.fact()._replace(id=session.number + 100, queue=0)
    node.wait_for(node.sessions.keep([twice]))
    node = lives.kill()
    (session,) = node.sessions.there()
    assert session.number == twice.id
    assert list(node.vhost.queues()) == []
    node = lives.again()
    assert len(node.keeper.load().sessions) == 1


def test_a_client_has_no_more_subscriptions_than_it_may(lives):
    lives.close()
    lives.node_type = type("Few", (lives.node_type,), {})
    lives.node_type.limits = lives.node_type.limits._replace(subscriptions_max=2)
    node = lives.open()
    session, _, _ = node.come()
    node.subscribe(session, b"a", b"b")
    with pytest.raises(TooManySubscriptions):
        node.subscribe(session, b"b", b"c")
    assert [it for it, _ in session.grants] == [b"a", b"b"]
    node.subscribe(session, b"b", qos=0)
    node.unsubscribe(session, b"a")
    node.subscribe(session, b"c")


def of_settings(lives, bytes_max=1 << 40, **given):
    lives.close()
    lives.node_type = type("Few", (lives.node_type,), {})
    lives.node_type.limits = limits_of(StoreSettings(**given), bytes_max)
    return lives.open()


@pytest.mark.parametrize(
    ("overflow", "left"), [("drop-head", [b"3", b"4", b"5"]), ("drop-new", [b"1", b"2", b"3"])]
)
def test_no_more_waits_for_a_client_than_may(lives, overflow, left):
    node = of_settings(lives, mqtt_queued_messages_max=3, mqtt_queued_overflow=overflow)
    session, _, line = node.come(window=1)
    node.subscribe(session, b"a")
    node.send(b"a", b"under way")
    for it in (b"1", b"2", b"3", b"4", b"5"):
        node.send(b"a", it)
    node.go(session)
    _, _, line = node.come(window=10)
    assert line.bodies == [b"under way", *left]


def test_no_more_bytes_wait_for_a_client_than_may(lives):
    node = of_settings(lives, mqtt_queued_bytes_max=1024)
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    for n in range(5):
        node.send(b"a", bytes([n]) * 400)
    _, _, line = node.come()
    assert [it[0] for it in line.bodies] == [3, 4]


def test_sessions_take_no_more_memory_than_they_may(lives, caplog):
    node = of_settings(lives, bytes_max=100_000)
    for n in range(100):
        session, _, _ = node.come(f"c{n}")
        node.subscribe(session, b"a/%d" % n)
        node.go(session)
    assert node.sessions.held_bytes <= 100_000
    assert 5 < len(node.sessions) < 40
    assert node.sessions.counts.crowded_out + len(node.sessions) == 100
    assert "there is no memory for more" in caplog.text
    assert node.sessions.of("c99") is not None


def test_clients_that_are_there_keep_their_sessions_and_others_are_not_let_in(lives):
    node = of_settings(lives, bytes_max=100_000)
    sessions = []
    while not node.sessions.crowded:
        sessions.append(node.come(f"c{len(sessions)}", expiry_s=0)[0])
    with pytest.raises(SessionsFull):
        node.come("one more", expiry_s=0)
    assert len(sessions) > 10
    assert all(it.connected for it in sessions)
    with pytest.raises(TooManySubscriptions, match="no memory"):
        node.subscribe(sessions[0], b"a")
    for it in sessions[5:]:
        node.go(it)
    node.subscribe(sessions[0], b"a")
    assert node.come("new")[0].connected


def test_what_is_not_acknowledged_counts_as_memory_and_the_window_becomes_small(lives):
    node = of_settings(lives, bytes_max=500_000)
    session, _, line = node.come(window=65_535)
    node.subscribe(session, b"a")
    before = node.sessions.held_bytes
    for _ in range(6):
        node.send(b"a", *[b"x"] * 1000)
    assert node.sessions.held_bytes > 500_000 > before
    assert 3000 < len(line.sent) < 6000
    node.ack(session, *pids(line))
    assert len(line.sent) == 6000
    node.ack(session, *pids(line)[3000:])
    assert node.sessions.held_bytes - before < 64 * 150


def test_no_session_outlives_its_connection_longer_than_it_may(lives):
    node = of_settings(lives, mqtt_session_expiry_max_s=60)
    session, _, _ = node.come(expiry_s=NEVER)
    assert session.expiry_s == 60
    node.go(session, expiry_s=NEVER)
    node.later(60_000)
    assert session.ended


def test_unsubscribed_is_unsubscribed_after_a_restart_too(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a", b"b")
    assert node.unsubscribe(session, b"a", b"nothing") == [True, False]
    node = lives.again()
    assert [it for it, _ in node.sessions.of("c").grants] == [b"b"]


def test_what_was_subscribed_again_counts_as_it_was_said_last(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a", b"b", qos=2, id=3)
    node.subscribe(session, b"a", qos=0, id=4)
    node = lives.again()
    assert dict(node.sessions.of("c").grants) == {
        b"a": (0, False, False, 4), b"b": (2, False, False, 3),
    }  # fmt: skip


def test_a_queue_that_somebody_deletes_is_made_again(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.send(b"a", b"1")
    node.delete(b"mqtt-subscription-cqos1")
    node.send(b"a", b"2")
    assert line.bodies == [b"1", b"2"]
    node.ack(session, *pids(line))
    node.go(session)
    node.delete(b"mqtt-subscription-cqos1")
    node.run()
    assert [it.facts.name for it in node.vhost.queues()] == [queue_name("c")]
    node.send(b"a", b"3")
    _, _, line = node.come()
    assert line.bodies == [b"3"]


def test_a_queue_that_is_gone_again_and_again_is_made_again_later(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    for _ in range(10):
        if session.queue is not None and not session.queue.gone:
            gone, session.queue_made_ms = session.queue, node.clock()
            node.vhost.goes(gone)
            node.run()
    made = node.queues.totals.created
    node.run()
    assert node.queues.totals.created == made
    node.later(1000)
    node.send(b"a", b"1")
    assert line.bodies == [b"1"]


def test_a_consumer_that_has_the_queue_for_itself_is_waited_for(node, caplog):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    consumer = Consumer(exclusive=True)
    session.queue.subscribe(consumer)
    _, _, line = node.come()
    node.later(3000)
    node.send(b"a", b"1")
    assert consumer.bodies == [b"1"]
    consumer.channel.end()
    session.queue.unsubscribe(consumer)
    node.later(1000)
    assert line.bodies == [b"1"]
    assert caplog.text.count("gets nothing of its queue") == 1


def test_what_waits_by_a_right_that_is_lost_does_not_come(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"secret/#", b"plain")
    node.go(session)
    node.send(b"secret/1", b"s")
    node.send(b"plain", b"p")
    had, pending = session.unsubscribe([b"secret/#"], forbidden=True)
    node.wait_for(pending)
    assert had == [True]
    node = lives.kill()
    session, _, line = node.come()
    assert line.bodies == [b"p"]
    assert node.sessions.counts.not_for_it == 1
    node.ack(session, *pids(line))
    assert (session.queue.ready, session.queue.out) == (0, 0)


def test_of_qos_0_nothing_says_that_it_comes_again(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    node.send(b"a", b"1")
    node = lives.kill()
    session = node.sessions.of("c")
    node.wait_for(session.subscribe([(b"a", Grant(0))]))
    _, _, line = node.come()
    assert [(it.payload, it.qos, it.pid, it.dup) for it in line.sent] == [(b"1", 0, 0, False)]


def test_expirations_of_amqp_are_each_messages_own(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    for _ in range(2):
        node.publish(queue_name("c"), b"x", expiration="5000")
        node.later(1000)
    _, _, line = node.come()
    first, second = [it.about.expires_at_ms for it in line.sent]
    assert second - first == 1000


def test_a_queue_that_somebody_deletes_while_its_client_is_away_is_there_after_a_kill(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    node.go(session)
    node.delete(b"mqtt-subscription-cqos1")
    node.run(until=lambda: session.queue.kept is None)
    node.send(b"a", b"1")
    node = lives.kill()
    _, _, line = node.come()
    assert line.bodies == [b"1"]


def test_a_queue_of_a_session_that_is_gone_goes_at_the_next_start(lives):
    node = lives.node
    session, _, _ = node.come()
    node.subscribe(session, b"a")
    fact = session.fact()
    node.wait_for(node.sessions.keep((), [fact]))  # and no more: the process was killed then
    node = lives.kill()
    assert list(node.vhost.queues()) == []


def test_client_ids_of_all_lengths_have_queues_of_their_own(node):
    names = {queue_name("x" * n) for n in range(1, 257)}
    assert len(names) == 256
    assert max(map(len, names)) <= 255
    session, _, line = node.come("ü" * 128)
    node.subscribe(session, b"a")
    node.send(b"a", b"1")
    assert line.bodies == [b"1"]


def test_two_clients_with_one_id_are_told_of_once(node, caplog):
    for _ in range(8):
        node.come()
    assert caplog.text.count("two clients may have the same id") == 1
    assert node.sessions.counts.taken_over == 7


def test_properties_of_a_message_come_with_it(node):
    session, _, line = node.come()
    node.subscribe(session, b"a", retain_as_published=True)
    about = About(1, b"text/plain", b"re/ply", b"\xff\0", ((b"k", b"1"), (b"k", b"2")), None)
    node.send(b"a", b"1", about=about, retain=True)
    (sent,) = line.sent
    assert (sent.about, sent.retain) == (about, True)
    node.subscribe(session, b"a")
    node.send(b"a", b"2", retain=True)
    assert not line.sent[1].retain


def test_a_message_expires_in_the_queue_and_not_once_it_was_sent(node):
    session, _, line = node.come(window=1)
    node.subscribe(session, b"a")
    about = About(expires_at_ms=node.clock() + 5000)
    node.send(b"a", b"1", b"2", about=about)
    assert line.bodies == [b"1"]
    node.go(session)
    node.later(6000)
    _, _, line = node.come()
    assert line.bodies == [b"1"]
    assert line.sent[0].about == about
    assert session.queue.ready == 0


def test_what_other_doors_put_into_the_queue_comes_if_it_is_a_topic(node):
    session, _, line = node.come()
    node.subscribe(session, b"a")
    node.publish(queue_name("c"), b"direct")
    node.exchange(b"e", "topic")
    node.bind(b"e", queue_name("c"), b"#")
    node.publish(b"x.y", b"1", exchange=b"e", delivery_mode=2)
    node.publish(b"x.#", b"2", exchange=b"e", delivery_mode=2)
    assert [(it.topic, it.payload) for it in line.sent] == [
        (b"mqtt-subscription-cqos1", b"direct"), (b"x/y", b"1"),
    ]  # fmt: skip
    assert node.sessions.counts.not_for_it == 1
