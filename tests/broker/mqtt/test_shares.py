"""Shared subscriptions: each message to one session of the group (MQTT 5.0, 4.8.2)."""

import pytest
from mqtt_sessions import MqttLives

from logstore.broker.mqtt.shares import queue_name

FILTER = b"$share/g/a/+"


@pytest.fixture
def lives(tmp_path):
    lives = MqttLives(tmp_path)
    lives.open()
    yield lives
    lives.end()


@pytest.fixture
def node(lives):
    return lives.node


def pids(line):
    return [it.pid for it in line.sent]


def two(node, **given):
    found = []
    for client in ("one", "other"):
        session, _, line = node.come(client, **given)
        node.subscribe(session, FILTER, qos=2)
        found += [session, line]
    return found


def test_each_message_comes_to_one_of_them(node):
    _, first, _, second = two(node)
    numbers = [b"%d" % n for n in range(10)]
    for it in numbers:
        node.send(b"a/b", it)
    assert first.bodies
    assert second.bodies
    assert sorted(first.bodies + second.bodies, key=int) == numbers


def test_to_who_is_not_there_comes_nothing(node):
    one, first, _, second = two(node)
    node.go(one)
    node.send(b"a/b", b"1", b"2", b"3")
    assert (first.bodies, second.bodies) == ([], [b"1", b"2", b"3"])


def test_what_one_has_not_acknowledged_another_gets_at_once(node):
    one, first, other, second = two(node)
    node.send(b"a/b", b"1", b"2", b"3", b"4")
    mine = first.bodies
    assert 0 < len(mine) < 5
    node.ack(one, *pids(first)[:1])
    second.forget()
    node.go(one)
    assert second.bodies == mine[1:]
    assert all(it.dup for it in second.sent)
    node.ack(other, *other.out.pids)
    assert not one.out.pids or not list(one.out.pids)


def test_a_message_of_qos_2_that_was_sent_is_the_sessions(node):
    one, first, _, second = two(node)
    node.send(b"a/b", *[b"%d" % n for n in range(4)], qos=2)
    mine = first.bodies
    assert mine
    second.forget()
    node.go(one)
    assert second.bodies == []
    _, present, again = node.come("one")
    assert present
    assert [(it.payload, it.dup) for it in again.sent] == [(it, True) for it in mine]


def test_what_of_qos_2_was_sent_to_a_session_that_is_over_nobody_gets(node):
    one, first, other, second = two(node)
    node.send(b"a/b", *[b"%d" % n for n in range(4)], qos=2)
    assert first.bodies
    second.forget()
    node.go(one, expiry_s=0)
    assert second.bodies == []
    for pid in list(other.out.pids):
        other.exact.received([pid])
    node.run()
    other.exact.completed(list(other.out.pids))
    node.run()
    queue = node.vhost.topology.queue(queue_name(FILTER))
    assert (queue.ready, queue.out) == (0, 0)


def test_a_group_without_members_is_gone_with_what_waits(node):
    one, _, other, _ = two(node)
    node.go(one)
    node.go(other)
    node.send(b"a/b", b"1")
    name = queue_name(FILTER)
    assert node.vhost.topology.queue(name).ready == 1
    node.come("one", clean=True)
    assert node.vhost.topology.queue(name).ready == 1
    node.come("other", clean=True)
    assert node.vhost.topology.queue(name) is None


def test_what_waits_is_there_after_a_restart(lives):
    one, _, other, _ = two(lives.node)
    lives.node.go(one)
    lives.node.go(other)
    lives.node.send(b"a/b", b"1", b"2")
    node = lives.kill()
    _, present, line = node.come("other")
    assert present
    assert line.bodies == [b"1", b"2"]


def test_who_unsubscribes_may_acknowledge_what_it_has(node):
    one, first, other, second = two(node)
    node.send(b"a/b", *[b"%d" % n for n in range(6)])
    theirs = pids(first)
    node.unsubscribe(one, FILTER)
    node.send(b"a/b", b"6")
    assert len(first.sent) == len(theirs)
    node.ack(one, *theirs)
    node.ack(other, *pids(second))
    queue = node.vhost.topology.queue(queue_name(FILTER))
    assert (queue.ready, queue.out) == (0, 0)


def test_a_queue_that_somebody_deletes_is_made_again(node):
    one, first, _, second = two(node)
    node.vhost.delete_queue(node.vhost.topology.queue(queue_name(FILTER)))
    node.run()
    node.send(b"a/b", b"1", b"2", b"3")
    assert sorted(first.bodies + second.bodies) == [b"1", b"2", b"3"]
    node.ack(one, *pids(first))


def test_a_very_long_filter_has_a_queue_of_its_own(node):
    filters = [b"$share/g/" + b"x" * 300, b"$share/g/" + b"x" * 301]
    names = {queue_name(it) for it in filters}
    assert len(names) == 2
    session, _, line = node.come("one")
    node.subscribe(session, *filters)
    node.send(b"x" * 300, b"1")
    assert line.bodies == [b"1"]


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("other", [b"$share/g/b", b"b"])
def test_room_in_the_window_is_for_all_queues_of_a_session_in_turn(node, other, qos):
    session, _, line = node.come(window=1)
    for it in (b"$share/g/a", other):
        node.subscribe(session, it, qos=qos)
    node.send(b"a", b"1", qos=qos)
    node.send(b"b", b"2", qos=qos)
    node.send(b"a", b"3", b"4", qos=qos)
    for _ in range(3):
        last = pids(line)[-1:]
        if qos == 1:
            node.ack(session, *last)
        else:
            session.exact.received(last)
            node.run()
            session.exact.completed(last)
            node.run()
    assert sorted(line.bodies) == [b"1", b"2", b"3", b"4"]
    assert line.bodies != [b"1", b"3", b"4", b"2"]  # each has its turn
