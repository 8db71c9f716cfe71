"""What the end of a connection does in one turn, with as much as it may have.

Counted are calls of functions in the sessions' thread, not time.
"""

import amqp_kit
import mqtt_kit
import pytest
import stomp_kit
from counted_turns import Thread

from bench import largest_mqtt, largest_stomp
from logstore.amqp import methods
from logstore.slices import Slices

CALLS_MAX = 39_900  # in a turn, some 10 ms
CHANNELS, CONSUMERS = 2047, 5000
FEW = 150  # and yet more than end at once


@pytest.fixture
def thread(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    return Thread()


def rabbit(tmp_path, thread):
    door = amqp_kit.Door(tmp_path)
    door.door.slices = Slices(thread.soon)
    return door, door.open()


def consume(door, peer, channels, consumers, queue, **facts):
    """So many consumers on each channel; ``queue``: which, with their numbers."""
    for number in range(1, channels + 1):
        asked = [] if number == 1 else [methods.ChannelOpen()]
        for it in range(consumers):
            name = queue % (number, it) if "%" in queue else queue
            asked.append(amqp_kit.declare(name, nowait=True, **facts))
            asked.append(amqp_kit.consume(name, f"c{it}", nowait=True))
        peer.send(*asked, channel=number)
        if number % 100 == 0:
            door.run()
    door.run()
    assert sum(len(it.subscriptions) for it in peer.session.channels.values()) == (
        channels * consumers
    )
    peer.got = b""


def to_the_end(thread, node):
    while thread.go_on() or node.turns.left:
        thread.turn(node.step)


def consumers(door):
    return sum(len(it._consumers.there) for it in door.node.queues.vhosts[b"/"].queues())


@pytest.mark.long
@pytest.mark.parametrize(
    ("channels", "count", "queue", "facts"),
    [
        (CHANNELS, 0, "", {}),
        (CHANNELS, 1, "q", {}),
        (CHANNELS, 1, "q%d.%d", {}),
        (CHANNELS, 1, "q%d.%d", {"exclusive": True}),
        (CHANNELS, 1, "q%d.%d", {"auto_delete": True}),
        (1, CONSUMERS, "q", {}),
        (1, CONSUMERS, "q%d.%d", {}),
    ],
)
def test_the_end_of_a_rabbit_connection_holds_up_nobody(
    tmp_path, thread, channels, count, queue, facts
):
    door, peer = rabbit(tmp_path, thread)
    consume(door, peer, channels, count, queue, **facts)
    thread.turn(peer.end)
    to_the_end(thread, door.node)
    assert consumers(door) == 0
    left = list(door.node.queues.vhosts[b"/"].queues())
    assert not (facts and left)
    assert thread.most <= CALLS_MAX
    door.close()


@pytest.mark.parametrize("failed", [False, True])
def test_many_consumers_of_a_channel_end_some_in_a_turn(tmp_path, thread, failed):
    door, peer = rabbit(tmp_path, thread)
    consume(door, peer, 1, FEW, "q%d.%d", auto_delete=True)
    other = door.open()
    # What is there for one that ends in a later turn is not lost with it.
    for it in range(FEW):
        other.send(amqp_kit.bind(f"q1.{it}", "amq.fanout", nowait=True))
    asked = methods.ChannelClose(200, "", 0, 0)
    if failed:
        asked = amqp_kit.declare("none", passive=True)
    thread.turn(lambda: peer.send(asked))
    assert 0 < consumers(door) < FEW
    other.publish(b"m", exchange="amq.fanout", key="")
    door.node.step()
    to_the_end(thread, door.node)
    assert consumers(door) == 0
    door.run()
    [said] = peer.methods()
    assert type(said) is (methods.ChannelClose if failed else methods.ChannelCloseOk)
    assert not list(door.node.queues.vhosts[b"/"].queues())
    door.close()


STOMP = {
    "topics": ("/topic/t.%d", {}),
    "queues": ("/queue/q.%d", {}),
    "one queue": ("/queue/q", {}),
    "durable topics": ("/topic/t.%d", {"durable": "true", "auto-delete": "false"}),
    "exclusive": ("/topic/t.%d", {"exclusive": "true", "auto-delete": "false"}),
}


def subscribed(tmp_path, thread, kind, count):
    door = stomp_kit.Door(tmp_path)
    door.door.slices = Slices(thread.soon)
    peer = door.open()
    destination, headers = STOMP[kind]
    for it in range(count):
        named = destination % it if "%" in destination else destination
        last = {"receipt": "last"} if it == count - 1 else {}  # what is to be kept of all is kept
        peer.send("SUBSCRIBE", {"destination": named, "id": str(it)} | headers | last)
    door.run()
    assert len(peer.client.subscriptions) == count
    peer.raw = b""
    return door, peer


@pytest.mark.long
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("kind", STOMP)
def test_the_end_of_a_stomp_connection_holds_up_nobody(tmp_path, thread, kind, asked):
    door, peer = subscribed(tmp_path, thread, kind, CHANNELS)
    if asked:
        thread.turn(lambda: peer.send("DISCONNECT", largest_stomp.MARKED))
    else:
        thread.turn(peer.end)
    to_the_end(thread, door.node)
    assert consumers(door) == 0
    assert bool(door.names()) == (kind not in ("topics", "exclusive"))
    assert thread.most <= CALLS_MAX
    door.close()


def test_a_stomp_client_with_many_subscriptions_is_told_when_they_have_ended(tmp_path, thread):
    door, peer = subscribed(tmp_path, thread, "topics", FEW)
    thread.turn(lambda: peer.send("DISCONNECT", {"receipt": "r"}))
    assert 0 < consumers(door) < FEW
    door.node.step()
    assert peer.got() == []
    to_the_end(thread, door.node)
    door.run()
    [receipt] = peer.got()
    assert receipt.command == "RECEIPT"
    assert door.names() == []
    door.close()


FILTERS = {
    "names": b"%x",
    "wildcards": b"%x/+/#",
    "shared": b"$share/g/%x",
    "shared wildcards": b"$share/g/%x/+/#",
}


def mqtt(tmp_path, thread, kind, count, qos, **given):
    door = mqtt_kit.Door(tmp_path)
    door.node.sessions._slices = Slices(thread.soon)
    peer, _ = door.come("c", **given)
    peer.give(largest_mqtt.subscribe([FILTERS[kind] % it for it in range(count)], qos))
    door.run()
    assert len(peer.session.mine.grants) == count
    return door, peer


def to_the_end_of_mqtt(thread, door):
    while thread.go_on() or door.node.turns.left:
        thread.turn(door.node.turn)


@pytest.mark.long
@pytest.mark.parametrize("expiry_s", [0, 1000])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("kind", FILTERS)
def test_the_end_of_an_mqtt_connection_holds_up_nobody(tmp_path, thread, kind, qos, expiry_s):
    door, peer = mqtt(tmp_path, thread, kind, 10_000, qos, expiry_s=expiry_s)
    thread.turn(peer.end)
    to_the_end_of_mqtt(thread, door)
    if expiry_s:
        session = door.node.sessions.of("c")
        assert not any(it.queue.subscriptions for it in session.out.outlets)
        thread.turn(lambda: door.node.sessions.end(session))
        to_the_end_of_mqtt(thread, door)
    assert len(door.node.space.tree) == 0
    assert not list(door.node.vhost.queues())
    assert thread.most <= CALLS_MAX
    door.close()


@pytest.mark.parametrize("kind", ["names", "shared"])
def test_an_ended_mqtt_session_gets_nothing_while_it_leaves_its_subscriptions(
    tmp_path, thread, kind
):
    door, peer = mqtt(tmp_path, thread, kind, FEW, 1, expiry_s=1000)
    peer.end()
    to_the_end_of_mqtt(thread, door)
    for it in range(FEW):
        door.node.space.publish(b"%x" % it, b"before")
    door.run()
    thread.turn(lambda: door.node.sessions.end(door.node.sessions.of("c")))
    assert 0 < len(door.node.space.tree) < FEW
    for it in range(FEW):
        if kind == "names":
            door.node.space.publish(b"%x" % it, b"after")
    # Another session of the same client begins with nothing of what the first one leaves.
    again, _ = door.come("c")
    again.give(largest_mqtt.subscribe([FILTERS[kind] % it for it in range(FEW)], 1))
    to_the_end_of_mqtt(thread, door)
    door.run()
    assert len(door.node.space.tree) == FEW
    assert sum(it.ready for it in door.node.vhost.queues()) == 0
    door.close()
