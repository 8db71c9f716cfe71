"""Streams as an AMQP client sees them: methods, replies, and the rights that they need."""

import pytest
from amqp_kit import (
    Door,
    again,
    bind,
    bodies,
    confirms,
    consume,
    declare,
    deliveries,
    exchange,
    get,
    hard,
    headers,
    soft,
)
from amqp_kit import delete as delete_queue
from amqp_users import Users, opened

from logstore.access.resources import TOPIC
from logstore.amqp import methods
from logstore.amqp.fields import Long
from logstore.kept.users import ANYONE

S = {"queue_type": "stream"}
WHERE = "queue 's' in vhost '/'"


def stream(queue="s", **given):
    return declare(queue, durable=True, **S, **given)


@pytest.fixture
def door(tmp_path):
    door = Door(tmp_path)
    yield door
    door.close()


@pytest.fixture
def peer(door):
    peer = door.open()
    assert peer.ask(stream()) == methods.QueueDeclareOk("s", 0, 0)
    return peer


def consuming(door, tag="c", prefetch=10, **arguments):
    peer = door.open()
    peer.ask(methods.BasicQos(0, prefetch, False))
    peer.send(consume("s", tag, nowait=True, **arguments))
    door.run()
    return peer


def test_what_is_published_is_delivered_with_its_offset(door, peer):
    peer.publish(b"0", b"1", key="s")
    door.run()
    it = consuming(door, stream_offset="first")
    door.run()
    found = it.all()
    delivered = [(x[1].delivery_tag, x[1].redelivered, x[3]) for x in found]
    assert delivered == [(1, False, b"0"), (2, False, b"1")]
    offsets = [headers(x[2])["x-stream-offset"] for x in found]
    assert offsets == [Long(0), Long(1)]
    assert {type(x) for x in offsets} == {Long}
    assert peer.ask(declare("s", passive=True)) == methods.QueueDeclareOk("s", 2, 1)


def test_prefetch_and_acknowledgements_decide_how_much_comes(door, peer):
    it = consuming(door, prefetch=2, stream_offset="first")
    peer.publish(*(b"%d" % n for n in range(6)), key="s")
    door.run()
    assert bodies(it) == [b"0", b"1"]
    it.send(methods.BasicAck(1, False))
    door.run()
    assert bodies(it) == [b"2"]
    it.send(methods.BasicNack(2, False, True), methods.BasicReject(3, False))
    door.run()
    assert bodies(it) == [b"3", b"4"]
    it.send(methods.BasicAck(0, True))
    door.run()
    assert bodies(it) == [b"5"]


def test_recovering_brings_what_comes_next(door, peer):
    it = consuming(door, prefetch=1, stream_offset="first")
    peer.publish(b"0", b"1", key="s")
    door.run()
    assert bodies(it) == [b"0"]
    it.send(methods.BasicRecover(True))
    door.run()
    assert bodies(it) == [b"1"]


def test_publishers_hear_of_it_once_it_is_safe(door, peer):
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"0", b"1", key="s")
    door.run()
    assert confirms(peer) == [("BasicAck", 2, True)]
    assert door.node.topics.get("s").partition(0).safe == 2


def test_what_the_topic_does_not_take_is_refused(door):
    door.node.topics.create("s", 1, {"max.message.bytes": "500"})
    peer = door.open()
    peer.ask(stream())
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"0", b"x" * 1000, b"2", key="s")
    door.run()
    assert ("BasicNack", 2, False) in confirms(peer)
    assert peer.ask(declare("s", passive=True)).message_count == 2


def test_a_transaction_publishes_and_acknowledges(door, peer):
    peer.publish(b"0", b"1", b"2", key="s")
    door.run()
    it = consuming(door, prefetch=1, stream_offset="first")
    assert bodies(it) == [b"0"]
    it.ask(methods.TxSelect())
    it.publish(b"3", key="s")
    it.send(methods.BasicAck(1, False))
    door.run()
    assert bodies(it) == []
    it.send(methods.TxCommit())
    door.run()
    assert bodies(it) == [b"1"]
    assert peer.ask(declare("s", passive=True)).message_count == 4
    it.publish(b"4", key="s")
    it.send(methods.BasicAck(2, False))
    it.send(methods.TxRollback())
    door.run()
    assert bodies(it) == []
    assert peer.ask(declare("s", passive=True)).message_count == 4


REFUSED = [
    (get("s"), hard(540, f"NOT_IMPLEMENTED - basic.get not supported by stream queues {WHERE}",
        60, 70)),
    (methods.QueuePurge(0, "s", False), hard(
        540, f"NOT_IMPLEMENTED - queue.purge not supported by stream queues {WHERE}", 50, 30)),
    (consume("s"), soft(
        406, f"PRECONDITION_FAILED - consumer prefetch count is not set for '{WHERE}'", (60, 20))),
    (declare("s", durable=True), soft(
        406, f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for {WHERE}: received none but"
        " current is the value 'stream' of type 'longstr'")),
    (declare("n", **S), soft(
        406, "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'n' in vhost '/'")),
    (stream("n", message_ttl=5), soft(
        406, "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'n' in vhost '/' of queue"
        " type rabbit_stream_queue")),
    (stream("n", max_age="soon"), soft(
        406, "PRECONDITION_FAILED - invalid arg 'x-max-age' for queue 'n' in vhost '/':"
        " invalid_max_age")),
    (stream(""), soft(
        406, "PRECONDITION_FAILED - Cannot declare a server-named queue for type"
        " rabbit_stream_queue")),
]  # fmt: skip


@pytest.mark.parametrize(("method", "reply"), REFUSED)
def test_what_is_refused_is_refused_in_rabbitmqs_words(door, peer, method, reply):
    assert peer.ask(method) == reply


def test_neither_without_acknowledgements_nor_with_a_channels_limit(door, peer):
    peer.ask(methods.BasicQos(0, 5, False))
    assert peer.ask(consume("s", no_ack=True)) == hard(
        540, f"NOT_IMPLEMENTED - automatic acknowledgement not supported by stream queues {WHERE}",
        60, 20,
    )  # fmt: skip
    other = door.open()
    other.ask(methods.BasicQos(0, 5, False))
    other.ask(methods.BasicQos(0, 5, True))
    assert other.ask(consume("s")) == hard(
        540, f"NOT_IMPLEMENTED - {WHERE} does not support global qos", 60, 20
    )
    third = door.open()
    assert third.ask(declare("s", passive=True)) == methods.QueueDeclareOk("s", 0, 0)


def test_an_offset_that_means_nothing_ends_the_channel_alone(door, peer):
    peer.ask(methods.BasicQos(0, 5, False))
    assert peer.ask(consume("s", stream_offset="soon")) == soft(
        406, f"PRECONDITION_FAILED - invalid arg 'x-stream-offset' for {WHERE}:"
        ' {invalid_stream_offset_arg,{longstr,<<"soon">>}}', (60, 20),
    )  # fmt: skip
    again(peer)
    assert peer.ask(declare("s", passive=True)) == methods.QueueDeclareOk("s", 0, 0)


def test_it_is_deleted_with_its_topic_and_consumers_are_told(door, peer):
    it = consuming(door)
    peer.publish(b"0", key="s")
    door.run()
    it.all()
    assert peer.ask(delete_queue("s", if_empty=True)).reply_text.endswith("not empty")
    again(peer)
    assert peer.ask(delete_queue("s", if_unused=True)).reply_text.endswith("in use")
    again(peer)
    assert peer.ask(delete_queue("s")) == methods.QueueDeleteOk(0)
    assert it.answer() == methods.BasicCancel("c", True)
    assert door.node.topics.get("s") is None


def test_consumers_are_told_when_the_topic_is_deleted(door, peer):
    it = consuming(door)
    door.node.topics.delete("s")
    door.run()
    assert it.answer() == methods.BasicCancel("c", True)
    assert peer.ask(declare("s", passive=True)).reply_code == 404


def test_a_long_message_goes_through(door, peer):
    body = bytes(range(256)) * 2000
    peer.publish(body, key="s")
    door.run()
    it = consuming(door, stream_offset="first")
    door.run()
    assert bodies(it) == [body]


# Rights


@pytest.fixture
def users():
    return Users("al")


@pytest.fixture
def guarded(tmp_path, users):
    door = users.door(tmp_path)
    yield door
    door.close()


def closed(peer, method):
    reply = peer.ask(method)
    return (reply.reply_code, reply.reply_text) if hasattr(reply, "reply_code") else None


def test_rights_to_the_queue_are_enough_for_a_stream_of_ones_own(guarded, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(guarded)
    assert peer.ask(stream()) == methods.QueueDeclareOk("s", 0, 0)
    peer.publish(b"0", key="s")
    peer.ask(methods.BasicQos(0, 5, False))
    peer.send(consume("s", nowait=True, stream_offset="first"))
    guarded.run()
    assert bodies(peer) == [b"0"]
    peer.ask(exchange("e"))
    assert peer.ask(bind("s", "e")) == methods.QueueBindOk()
    peer.send(delete_queue("s"))
    guarded.run()
    assert peer.methods() == [methods.QueueDeleteOk(0), methods.BasicCancel("c", True)]


@pytest.mark.parametrize("lacking", ["read", "write", "delete"])
def test_a_topic_that_is_there_needs_all_rights_to_it(guarded, users, lacking):
    """Whoever has rights to the queue would have them to the topic then."""
    guarded.node.topics.create("s", 1, {})
    users.permit("al", ".*", ".*", ".*")
    for operation in {"read", "write", "delete"} - {lacking}:
        users.allow("al", operation, TOPIC, "s")
    word = {"delete": "configure"}.get(lacking, lacking)
    refused = f"ACCESS_REFUSED - {word} access to topic 's' in vhost '/' refused for user 'al'"
    peer = opened(guarded)
    assert closed(peer, stream()) == (403, refused)
    assert list(guarded.node.queues.vhosts[b"/"].queues()) == []
    users.allow("al", lacking, TOPIC, "s")
    again(peer)
    assert peer.ask(stream()) == methods.QueueDeclareOk("s", 0, 0)


@pytest.mark.parametrize(
    ("operation", "method", "word"),
    [
        ("create", stream("new"), "configure"), ("read", consume("s"), "read"),
        ("write", bind("s", "amq.fanout"), "write"), ("delete", delete_queue("s"), "configure"),
    ],
)  # fmt: skip
def test_a_rule_that_denies_the_topic_denies_the_stream(guarded, users, operation, method, word):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(guarded)
    peer.ask(stream())
    peer.ask(methods.BasicQos(0, 5, False))
    users.allow("al", operation, TOPIC, ANYONE, allow=False)
    code, text = closed(peer, method)
    assert code == 403
    assert text.startswith(f"ACCESS_REFUSED - {word} access to topic")


def test_a_consumer_ends_when_a_rule_denies_the_topic(guarded, users):
    users.permit("al", ".*", ".*", ".*")
    peer = opened(guarded)
    peer.ask(stream())
    peer.ask(methods.BasicQos(0, 5, False))
    peer.ask(consume("s"))
    users.allow("al", "read", TOPIC, "s", allow=False)
    guarded.run()
    assert [type(it) for it in peer.methods()] == [methods.BasicCancel]
    assert deliveries(peer) == []
