"""Whatever a client sends, it is answered or refused as RabbitMQ refuses, and nobody else knows."""

import random

import pytest
from amqp_grammar import conversation, nested, value
from amqp_kit import Door, declare, get
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.amqp import frames, methods, properties
from logstore.amqp.properties import Properties
from logstore.amqp.replies import HARD, INTERNAL_ERROR, NAMES

HELD_MAX = 4 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    door = Door(tmp_path_factory.mktemp("fuzzed"))
    yield door
    door.close()


def check(answers):
    """That these are what a server may say."""
    for _, method, *_ in answers:
        if isinstance(method, (methods.ChannelClose, methods.ConnectionClose)):
            assert method.reply_code != INTERNAL_ERROR, method
            assert (method.reply_code in HARD) is isinstance(method, methods.ConnectionClose)
            assert method.reply_text.startswith(NAMES[method.reply_code] + " - ")
            assert "\n" not in method.reply_text


def clean(door):
    """Nothing is left of what was made."""
    vhost = door.node.queues.vhosts[b"/"]
    for queue in list(vhost.queues()):
        if queue.facts.name != b"witness":
            vhost.delete_queue(queue)
    for name in (b"e", b"h", b"t", b"inner", b"no", b"x" * 255):
        vhost.delete_exchange(name)
    door.run()


def converse(door, seed, steps):
    print("seed", seed)
    peer = door.open()
    peer.ask(methods.ChannelOpen(), channel=2)
    peer.ask(declare("d"))
    chance = random.Random(seed)
    closed = 0
    for read in conversation(seed, steps):
        cut = chance.randrange(len(read) + 1)
        peer.give(read[:cut])
        peer.give(read[cut:])
        assert peer.session.held_bytes < HELD_MAX
        if chance.random() < 0.5:
            door.run()
        door.node.later(chance.choice([0, 0, 1, 100]))
        answers = peer.all()
        check(answers)
        closed += sum(isinstance(it[1], methods.ConnectionClose) for it in answers)
        for number, method, *_ in answers:
            if isinstance(method, methods.ChannelClose):
                peer.send(methods.ChannelCloseOk(), methods.ChannelOpen(), channel=number)
    door.run()
    check(peer.all())
    assert closed <= 1
    peer.give(frames.method_frame(0, methods.ConnectionCloseOk()))
    peer.end()
    door.run()
    clean(door)
    door.peers.remove(peer)


def witness(door):
    """Another one, who notices nothing."""
    peer = door.open()
    peer.ask(declare("witness"))
    peer.publish(b"mine", key="witness")
    yield
    assert peer.session.closed is None
    assert peer.ask(get("witness", no_ack=True))[-1] == b"mine"
    assert peer.ask(methods.QueueDelete(0, "witness", False, False, False)).message_count == 0
    peer.end()
    door.peers.remove(peer)


def fuzz(door, seeds, steps):
    other = witness(door)
    next(other)
    for seed in seeds:
        converse(door, seed, steps)
    assert next(other, "done") == "done"


def test_conversations_that_go_wrong_end_in_a_protocol_error_at_worst(shared):
    fuzz(shared, range(40), 10)


@pytest.mark.long
@pytest.mark.parametrize("begin", range(1000, 3000, 500))
def test_many_conversations_that_go_wrong(shared, begin):
    fuzz(shared, range(begin, begin + 500), 60)


@pytest.mark.parametrize("header", ["x-death", "CC", "BCC", "x-match"])
@settings(max_examples=15)
@given(chance=st.randoms(use_true_random=False))
def test_a_header_of_any_type_is_delivered_dies_and_is_shown(shared, header, chance):
    """Through a queue with dead letters, by every way to die."""
    given = value(chance)
    peer = shared.open()
    peer.ask(declare("d"))
    peer.ask(declare(dead_letter_exchange="", dead_letter_routing_key="d", max_length=1,
                     delivery_limit=1))  # fmt: skip
    for expiration in ("0", None, None):
        peer.publish(b"x", props=Properties(headers={header: given}, expiration=expiration))
    shared.run()
    for tag in (1, 2):
        peer.send(get(), methods.BasicReject(tag, True))
    peer.send(get("d"), get("d"))
    shared.run()
    answers = peer.all()
    check(answers)
    refused = [it[1] for it in answers if isinstance(it[1], methods.ChannelClose)]
    assert bool(refused) is (header in ("CC", "BCC") and not isinstance(given, list))
    peer.end()
    shared.run()
    clean(shared)
    shared.peers.remove(peer)


@pytest.mark.parametrize("of", ["header", "argument", "binding"])
@pytest.mark.parametrize("deep", [1, 100, 120])
def test_tables_nested_deep_are_taken_and_come_back_as_they_were(shared, of, deep):
    given = {"x-any": nested(deep)}
    peer = shared.open()
    if of == "argument":
        asked = methods.QueueDeclare(0, "q", False, False, False, False, False, given)
        assert peer.ask(asked).queue == "q"
        assert peer.ask(asked).queue == "q"
    else:
        peer.ask(declare())
    if of == "binding":
        assert peer.ask(methods.QueueBind(0, "q", "amq.headers", "", False, given)) == (
            methods.QueueBindOk()
        )
        peer.publish(b"x", exchange="amq.headers", props=Properties(headers=given))
    elif of == "header":
        peer.publish(b"x", props=Properties(headers=given))
        _, data, _ = peer.ask(get(no_ack=True))
        assert properties.read(data).headers == given
    peer.end()
    shared.run()
    clean(shared)
    shared.peers.remove(peer)
