"""Every refusal with its code, its words, and the class and method that it answers."""

import pytest
from amqp_kit import again, consume, declare, message
from amqp_refused import FULL, REFUSED, SETUP, STATE_ERRORS, Publish

from logstore.amqp import methods
from logstore.amqp.frames import method_frame


def other(door):
    """A connection that has made what the cases need."""
    peer = door.open()
    for method in SETUP:
        peer.ask(method)
    peer.publish(b"x", key=FULL.method.routing_key)
    door.run()
    return peer


def framed(asked):
    method, given = asked
    return message(
        b"x", method.exchange, method.routing_key, props=given, immediate=method.immediate
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_in_the_words_of_rabbitmq(door, peer, name):
    other(door)
    asked, expected = REFUSED[name]
    peer.give(framed(asked) if isinstance(asked, Publish) else method_frame(1, asked))
    door.run()
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
    peer.ask(declare())
    peer.ask(consume(tag="c"))
    assert peer.ask(consume(tag="c", no_ack=no_ack)) == methods.ConnectionClose(
        530, "NOT_ALLOWED - attempt to reuse consumer tag 'c'", 60, 20
    )
