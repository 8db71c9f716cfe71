"""Declaring, and when queues and exchanges go by themselves (T21 to T24)."""

import pytest
from amqp_kit import (
    again,
    bind,
    consume,
    declare,
    delete,
    exchange,
    get,
    soft,
    unbind,
)

from logstore.amqp import fields, methods

V = "in vhost '/'"
LOCKED = (
    f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' {V}. It could be "
    "originally declared on another connection or the exclusive property value does not match "
    "that of the original declaration."
)


def differs(argument, received, current, of="queue 'q'"):
    return (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for {of} {V}: received {received} "
        f"but current is {current}"
    )


def test_t21_a_passive_declare_compares_nothing_and_finds_what_is_locked(door, peer):
    peer.ask(declare(durable=True, message_ttl=5))
    assert peer.ask(declare(passive=True, exclusive=False, max_length=9)).queue == "q"
    assert peer.ask(declare("no", passive=True)) == soft(404, f"NOT_FOUND - no queue 'no' {V}")
    again(peer)
    peer.ask(delete())
    peer.ask(declare(exclusive=True))
    assert door.open().ask(declare(passive=True)) == soft(405, LOCKED)


def test_t21_a_name_of_the_servers_may_be_declared_again_and_not_made(peer):
    name = peer.ask(declare("")).queue
    assert (name[:8], len(name)) == ("amq.gen-", 30)
    assert peer.ask(declare("")).queue != name
    assert peer.ask(declare(name)).queue == name
    peer.ask(delete(name))
    assert peer.ask(declare(name)) == soft(
        403, f"ACCESS_REFUSED - queue name '{name}' contains reserved prefix 'amq.*'"
    )


def test_t21_no_name_means_the_queue_that_was_declared_last_on_the_channel(door, peer):
    for asked, ids in (
        (get(""), (60, 70)), (consume(""), (60, 20)), (bind("", "amq.fanout"), (50, 20)),
        (delete(""), (50, 40)), (methods.QueuePurge(0, "", False), (50, 30)),
    ):  # fmt: skip
        assert peer.ask(asked) == soft(404, "NOT_FOUND - no previously declared queue", ids)
        again(peer)
    peer.ask(declare("first"))
    peer.ask(declare("second"))
    peer.ask(declare("first", passive=True))
    peer.publish(b"1", key="first")
    assert peer.ask(get("", no_ack=True))[-1] == b"1"
    assert peer.ask(bind("", "amq.fanout")) == methods.QueueBindOk()
    peer.publish(b"2", exchange="amq.fanout")
    assert peer.ask(methods.QueuePurge(0, "", False)) == methods.QueuePurgeOk(1)
    assert peer.ask(consume("")) == methods.BasicConsumeOk("c")
    peer.send(delete(""))
    door.run()
    assert peer.methods() == [methods.QueueDeleteOk(0), methods.BasicCancel("c", True)]
    assert peer.ask(declare("second", passive=True)).queue == "second"


def test_t21_a_quorum_queue_has_a_name_of_its_own(peer):
    assert peer.ask(declare("", durable=True, queue_type="quorum")) == soft(
        406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
    )


def test_t22_the_owner_is_checked_first_then_what_it_is_then_its_arguments(door, peer):
    peer.ask(declare(durable=True, message_ttl=5, max_length=5))
    order = [
        (declare(exclusive=True, auto_delete=True, message_ttl=6), 405, LOCKED),
        (declare(auto_delete=True, message_ttl=6), 406, differs("durable", "'false'", "'true'")),
        (declare(durable=True, auto_delete=True, message_ttl=6), 406,
            differs("auto_delete", "'true'", "'false'")),
        (declare(durable=True, max_length=6, message_ttl=6), 406,
            differs("x-message-ttl", "'6'", "'5'")),
        (declare(durable=True, max_length=6, message_ttl=5), 406,
            differs("x-max-length", "'6'", "'5'")),
        (declare(durable=True, max_length=5), 406,
            differs("x-message-ttl", "none", "the value '5' of type 'signedint'")),
        (declare(durable=True, max_length=5, message_ttl=5, expires=9), 406,
            differs("x-expires", "the value '9' of type 'signedint'", "none")),
    ]  # fmt: skip
    for asked, code, text in order:
        assert peer.ask(asked) == soft(code, text)
        again(peer)
    assert peer.ask(declare(durable=True, max_length=5, message_ttl=5)).queue == "q"
    peer.ask(declare("mine", exclusive=True))
    close = door.open().ask(declare("mine", durable=True, auto_delete=True, max_length=1))
    assert close.reply_code == 405


def test_t22_numbers_are_equal_in_any_width_and_texts_are_none(peer):
    peer.ask(declare(message_ttl=5))
    for same in (fields.Long(5), fields.SignedOctet(5), fields.Octet(5), fields.Short(5)):
        assert peer.ask(declare(message_ttl=same)).queue == "q"
    assert peer.ask(declare(message_ttl="5")).reply_text == differs("x-message-ttl", "'5'", "'5'")


def test_t22_no_type_is_classic_and_unknown_arguments_are_not_compared(peer):
    peer.ask(declare(anything="one"))
    assert peer.ask(declare(queue_type="classic", anything="other", more=[1])).queue == "q"
    assert peer.ask(declare(durable=False, queue_type="quorum")).reply_text == differs(
        "x-queue-type", "the value 'quorum' of type 'longstr'", "none"
    )  # fmt: skip


def test_t22_of_exchanges(peer):
    peer.ask(exchange(**{"alternate-exchange": "a", "x-unknown": 1}))
    of = "exchange 'e'"
    order = [
        (exchange(kind="fanout", durable=True), differs("type", "'fanout'", "'direct'", of)),
        (exchange(durable=True, auto_delete=True), differs("durable", "'true'", "'false'", of)),
        (exchange(auto_delete=True, internal=True),
            differs("auto_delete", "'true'", "'false'", of)),
        (exchange(internal=True), differs("internal", "'true'", "'false'", of)),
        (exchange(**{"alternate-exchange": "b"}),
            differs("alternate-exchange", "'b'", "'a'", of)),
        (exchange(),
            differs("alternate-exchange", "none", "the value 'a' of type 'longstr'", of)),
    ]  # fmt: skip
    for asked, text in order:
        assert peer.ask(asked) == soft(406, text, (40, 10))
        again(peer)
    same = exchange(**{"alternate-exchange": "a", "x-unknown": 2})
    assert peer.ask(same) == methods.ExchangeDeclareOk()


@pytest.mark.parametrize("end", ["close", "lost", "silent"])
def test_t23_an_exclusive_queue_is_free_at_the_moment_its_connection_ends(door, end):
    for _ in range(5):
        peer = door.open(heartbeat=10 if end == "silent" else 0)
        assert peer.ask(declare("mine", exclusive=True, durable=True)).queue == "mine"
        match end:
            case "close":
                peer.send(methods.ConnectionClose(200, "", 0, 0), channel=0)
                assert peer.methods() == [methods.ConnectionCloseOk()]
            case "lost":
                peer.session.finish(door.now)
            case _:
                while peer.session.closed is None:
                    door.now = peer.session.deadline
                    peer.look()
        assert door.node.queues.vhosts[b"/"].topology.queue(b"mine") is None


def test_t23_an_exclusive_queue_never_outlives_the_process_though_it_says_so(door, peer):
    peer.ask(declare("mine", exclusive=True, durable=True))
    peer.publish(b"x", key="mine")
    door.run()
    door.kill()
    assert door.open().ask(declare("mine", passive=True)).reply_code == 404


@pytest.mark.parametrize("end", ["cancel", "channel", "connection", "lost"])
def test_t24_an_auto_delete_queue_goes_with_its_last_consumer(door, peer, end):
    peer.ask(declare(auto_delete=True))
    peer.publish(b"1", b"2")
    peer.ask(get(no_ack=True))  # which does not count
    other = door.open()
    other.send(consume(tag="other"))
    peer.send(consume(tag="mine"))
    door.run()
    other.send(methods.BasicCancel("other", False))
    assert door.open().ask(declare(passive=True)).consumer_count == 1
    match end:
        case "cancel":
            peer.send(methods.BasicCancel("mine", False))
        case "channel":
            peer.send(methods.ChannelClose(200, "", 0, 0))
        case "connection":
            peer.send(methods.ConnectionClose(200, "", 0, 0), channel=0)
        case _:
            peer.end()
    door.run()
    assert door.open().ask(declare(passive=True)).reply_code == 404


def test_t24_without_a_consumer_ever_it_stays_also_over_a_restart(door, peer):
    peer.ask(declare(auto_delete=True, durable=True))
    peer.end()
    door.again()
    peer = door.open()
    assert peer.ask(declare(passive=True)).queue == "q"
    peer.ask(consume())
    peer.ask(methods.BasicCancel("c", False))
    assert peer.ask(declare(passive=True)).reply_code == 404


@pytest.mark.parametrize("end", ["unbind", "delete", "lost"])
def test_t24_an_auto_delete_exchange_goes_with_its_last_binding_and_so_on(door, peer, end):
    peer.ask(exchange("up", "fanout", auto_delete=True))
    peer.ask(exchange("e", auto_delete=True))
    peer.ask(methods.ExchangeBind(0, "e", "up", "", False, {}))
    assert peer.ask(exchange("e", passive=True)) == methods.ExchangeDeclareOk()
    owner = door.open()
    owner.ask(declare(exclusive=True))
    for key in ("1", "2"):
        owner.ask(bind(key=key))
    owner.ask(unbind(key="1"))
    assert peer.ask(exchange("e", passive=True)) == methods.ExchangeDeclareOk()
    match end:
        case "unbind":
            owner.ask(unbind(key="2"))
        case "delete":
            owner.ask(delete())
        case _:
            owner.end()
    for name in ("e", "up"):
        assert peer.ask(exchange(name, passive=True)).reply_code == 404
        again(peer)


def test_t24_an_exchange_is_not_deleted_as_a_destination(peer):
    peer.ask(exchange("source", "fanout"))
    peer.ask(exchange("e", auto_delete=True))
    peer.ask(methods.ExchangeBind(0, "e", "source", "", False, {}))
    peer.ask(methods.ExchangeUnbind(0, "e", "source", "", False, {}))
    assert peer.ask(exchange("e", passive=True)) == methods.ExchangeDeclareOk()


def test_t24_a_destination_that_is_deleted_leaves_the_ring_of_its_source(door, peer):
    peer.ask(exchange("source", "x-consistent-hash"))
    peer.ask(exchange("e", "fanout"))
    peer.ask(declare())
    peer.ask(bind(source="source", key="1"))
    peer.ask(methods.ExchangeBind(0, "e", "source", "100", False, {}))
    peer.ask(methods.ExchangeDelete(0, "e", False, False))
    for n in range(20):
        peer.publish(b"x", exchange="source", key=str(n), mandatory=True)
    door.run()
    assert (door.node.ready(b"q"), peer.all()) == (20, [])


def test_t24_if_unused_and_if_empty(peer):
    peer.ask(declare())
    peer.publish(b"x")
    assert peer.ask(delete(if_empty=True)) == soft(
        406, f"PRECONDITION_FAILED - queue 'q' {V} not empty", (50, 40)
    )
    again(peer)
    peer.ask(declare("used"))
    peer.ask(consume("used"))
    assert peer.ask(delete("used", if_unused=True)) == soft(
        406, f"PRECONDITION_FAILED - queue 'used' {V} in use", (50, 40)
    )
