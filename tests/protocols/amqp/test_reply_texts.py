"""Every refusal with its code, its words, and the class and method that it answers."""

import pytest
from amqp_kit import Door, again, consume, declare, message
from amqp_refused import FULL, REFUSED, SETUP, STATE_ERRORS, Publish

from logstore.amqp import methods
from logstore.amqp.frames import method_frame


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A door, where a connection has made what the cases need: none of them changes any of it."""
    door = Door(tmp_path_factory.mktemp("texts"))
    peer = door.open()
    for method in SETUP:
        peer.ask(method)
    peer.publish(b"x", key=FULL.method.routing_key)
    door.run()
    yield door
    assert peer.session.closed is None
    door.close()


@pytest.fixture
def peer(shared):
    peer = shared.open()
    yield peer
    peer.end()
    shared.peers.remove(peer)


def framed(asked):
    method, given = asked
    return message(
        b"x", method.exchange, method.routing_key, props=given, immediate=method.immediate
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_in_the_words_of_rabbitmq(shared, peer, name):
    asked, expected = REFUSED[name]
    peer.give(framed(asked) if isinstance(asked, Publish) else method_frame(1, asked))
    shared.run()
    assert peer.answer() == expected
    if isinstance(expected, methods.ConnectionClose):
        return
    peer.give(message(b"dropped") + method_frame(1, declare("dropped")))
    assert peer.all() == []
    again(peer)
    assert peer.ask(declare("dropped", passive=True)).reply_code == 404
    assert peer.session.closed is None


@pytest.mark.parametrize("name", STATE_ERRORS)
def test_a_method_out_of_state_ends_the_connection(peer, name):
    channel, method, expected = STATE_ERRORS[name]
    assert peer.ask(method, channel) == expected
    peer.give(message(b"ignored") + method_frame(0, methods.ConnectionCloseOk()))
    assert peer.session.closed == expected.reply_text


@pytest.mark.parametrize("no_ack", [False, True])
def test_a_consumer_tag_that_is_in_use_ends_the_connection(peer, no_ack):
    peer.ask(consume("q2", "c"))
    assert peer.ask(consume("q2", "c", no_ack=no_ack)) == methods.ConnectionClose(
        530, "NOT_ALLOWED - attempt to reuse consumer tag 'c'", 60, 20
    )
