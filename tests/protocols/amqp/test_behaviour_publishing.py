"""Confirms, returns, alternate exchanges, copies (T15 to T17, T31)."""

import pytest
from amqp_kit import (
    bind,
    confirms,
    declare,
    delete,
    exchange,
    get,
    headers,
    message,
    soft,
)

from logstore.amqp import methods
from logstore.amqp.properties import Properties


def confirming(peer, *queues):
    for queue in queues:
        peer.ask(declare(queue))
    peer.ask(methods.ConfirmSelect(False))


@pytest.mark.parametrize("how", ["purge", "expire", "drop", "delete"])
def test_t15_what_was_published_is_confirmed_whatever_became_of_it(door, peer, how):
    peer.ask(declare(durable=True, **({"max_length": 1} if how == "drop" else {})))
    peer.ask(methods.ConfirmSelect(False))
    other = door.open()
    expires = Properties(expiration="0" if how == "expire" else None)
    peer.publish(b"1", b"2", b"3", props=expires)
    if how == "purge":
        other.send(methods.QueuePurge(0, "q", False))
    elif how == "delete":
        other.send(delete())
    door.run()
    found = confirms(peer)
    assert {it[0] for it in found} == {"BasicAck"}
    assert found[-1][1] == 3


def test_t15_acks_and_nacks_in_turn_speak_each_for_their_own(door, peer):
    peer.ask(declare("full", max_length=0, overflow="reject-publish"))
    confirming(peer, "free")
    keys = ["free", "full", "full", "free", "free", "full", "free"]
    peer.give(b"".join(message(b"x", key=key) for key in keys))
    door.run()
    told = {}
    for kind, tag, multiple in confirms(peer):
        first = max(told, default=0) + 1 if multiple else tag
        told |= dict.fromkeys(range(first, tag + 1), kind)
    assert [told[n] for n in range(1, 8)] == [
        "BasicAck" if key == "free" else "BasicNack" for key in keys
    ]  # fmt: skip


def test_t15_channels_count_their_own(door, peer):
    confirming(peer, "q")
    peer.ask(methods.ChannelOpen(), channel=2)
    peer.ask(methods.ConfirmSelect(False), channel=2)
    peer.publish(b"1", b"2", channel=1)
    peer.publish(b"3", channel=2)
    door.run()
    found = [(number, it.delivery_tag) for number, it in peer.all()]
    assert sorted(found)[-1] == (2, 1)
    assert max(tag for number, tag in found if number == 1) == 2


def test_t16_every_return_comes_before_the_ack_of_its_tag(door, peer):
    confirming(peer, "q")
    keys = ["q", "no", "q", "no", "no"]
    peer.give(b"".join(
        message(b"%d" % n, key=key, mandatory=True) for n, key in enumerate(keys, 1)
    ))  # fmt: skip
    door.run()
    acked, seen = 0, []
    for it in peer.all():
        if isinstance(it[1], methods.BasicReturn):
            assert int(it[3]) > acked
            seen.append(it[3])
        else:
            acked = it[1].delivery_tag
    assert (acked, seen) == (5, [b"2", b"4", b"5"])


def test_t16_a_return_has_the_whole_message(peer):
    given = Properties(content_type="text/plain", headers={"a": 1}, message_id="7", priority=3)
    peer.publish(b"x" * 200_000, key="no", mandatory=True, props=given)
    method, data, body = peer.answer()
    assert method == methods.BasicReturn(312, "NO_ROUTE", "", "no")
    assert body == b"x" * 200_000
    assert headers(data) == {"a": 1}


def alternates(peer, **bound):
    """e -> its alternate f -> its alternate g; each may have a queue of its own."""
    peer.ask(exchange("g", "fanout"))
    peer.ask(exchange("f", "fanout", **{"alternate-exchange": "g"}))
    peer.ask(exchange("e", "direct", **{"alternate-exchange": "f"}))
    for source, key in bound.items():
        peer.ask(declare(source))
        peer.ask(bind(source, source, key))


def counts(door, *names):
    door.run()
    return [door.node.ready(name.encode()) for name in names]


def test_t17_the_alternate_is_asked_where_the_exchanges_own_routes_are_none(door, peer):
    alternates(peer, e="k", f="", g="")
    peer.publish(b"x", exchange="e", key="k", mandatory=True)
    assert counts(door, "e", "f", "g") == [1, 0, 0]
    peer.publish(b"x", exchange="e", key="other", mandatory=True)
    assert counts(door, "e", "f", "g") == [1, 1, 0]
    peer.ask(delete("f"))
    peer.publish(b"x", exchange="e", key="other", mandatory=True)
    assert counts(door, "e", "g") == [1, 1]
    assert peer.all() == []


def test_t17_a_message_is_returned_where_the_whole_chain_has_no_queue(peer):
    alternates(peer)
    peer.publish(b"x", exchange="e", key="k", mandatory=True)
    assert peer.answer()[0] == methods.BasicReturn(312, "NO_ROUTE", "e", "k")


def test_t17_an_alternate_that_is_not_there_is_none(door, peer):
    peer.ask(exchange("e", "direct", **{"alternate-exchange": "late"}))
    peer.publish(b"x", exchange="e", key="k", mandatory=True)
    assert peer.answer()[0].reply_code == 312
    peer.ask(exchange("late", "fanout"))
    peer.ask(declare())
    peer.ask(bind("q", "late"))
    peer.publish(b"x", exchange="e", key="k", mandatory=True)
    assert (counts(door, "q"), peer.all()) == ([1], [])


def test_t17_alternates_in_a_ring_end(peer):
    peer.ask(exchange("e", "direct", **{"alternate-exchange": "f"}))
    peer.ask(exchange("f", "direct", **{"alternate-exchange": "e"}))
    peer.publish(b"x", exchange="e", key="k", mandatory=True)
    assert peer.answer()[0].reply_code == 312


def test_t17_an_exchange_that_is_bound_is_a_route_though_no_queue_is_there(door, peer):
    alternates(peer, f="")
    peer.ask(exchange("empty", "fanout"))
    peer.ask(methods.ExchangeBind(0, "empty", "e", "k", False, {}))
    peer.publish(b"x", exchange="e", key="k", mandatory=True)
    assert peer.answer()[0].reply_code == 312  # and the alternate has not had it
    assert counts(door, "f") == [0]


@pytest.mark.parametrize("name", ["CC", "BCC"])
@pytest.mark.parametrize(("value", "kind"), [("q", "longstr"), (5, "signedint"), ({}, "table"),
                                             (True, "bool"), (None, "void")])  # fmt: skip
def test_t31_copies_are_arrays(door, peer, name, value, kind):
    peer.ask(declare())
    peer.publish(b"x", props=Properties(headers={name: value}))
    assert peer.answer() == soft(
        406,
        f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{name}",{kind}}}',
        (60, 40),
    )
    assert counts(door, "q") == [0]


def test_t31_each_queue_has_one_copy_and_nobody_sees_blind_ones(door, peer):
    for name in ("q", "cc", "bcc"):
        peer.ask(declare(name))
    given = Properties(headers={"CC": ["cc", "q", "bcc"], "BCC": ["bcc", "cc"], "other": 1})
    peer.publish(b"x", props=given)
    for name in ("q", "cc", "bcc"):
        method, data, _ = peer.ask(get(name, no_ack=True))
        assert (method.routing_key, method.message_count) == ("q", 0)
        assert headers(data) == {"CC": ["cc", "q", "bcc"], "other": 1}


def test_t31_copies_go_by_any_exchange_and_have_a_part_in_what_is_mandatory(door, peer):
    peer.ask(exchange("e", "topic"))
    peer.ask(declare())
    peer.ask(bind("q", "e", "a.*"))
    copied = Properties(headers={"BCC": ["a.b"]})
    peer.publish(b"x", exchange="e", key="no", mandatory=True, props=copied)
    assert (counts(door, "q"), peer.all()) == ([1], [])


def test_t31_copies_of_a_transaction(door, peer):
    for name in ("q", "cc"):
        peer.ask(declare(name))
    peer.ask(methods.TxSelect())
    peer.publish(b"x", props=Properties(headers={"CC": ["cc"]}))
    assert counts(door, "q", "cc") == [0, 0]
    peer.ask(methods.TxCommit())
    assert counts(door, "q", "cc") == [1, 1]
