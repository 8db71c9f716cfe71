"""Time and length: when messages and queues go by themselves (T11 to T14)."""

import pytest
from amqp_kit import (
    again,
    bind,
    bodies,
    confirms,
    consume,
    declare,
    deliveries,
    exchange,
    get,
    headers,
    message,
)

from logstore.amqp import fields, methods
from logstore.amqp.properties import Properties

DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
TEN_YEARS_MS = 315_360_000_000


def ready(door, *names):
    door.run()
    return [door.node.ready(name.encode()) for name in names]


def later(door, ms):
    door.run()
    door.node.later(ms)
    door.run()


def test_t11_what_has_expired_behind_the_head_stays_and_is_never_delivered(door, peer):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD))
    peer.publish(b"1", props=Properties(expiration="60000"))
    peer.publish(b"2", props=Properties(expiration="100"))
    later(door, 1000)
    assert peer.ask(declare(passive=True)).message_count == 2
    assert peer.ask(get())[-1] == b"1"
    assert peer.ask(get()) == methods.BasicGetEmpty("")
    _, data, body = peer.ask(get("dead"))
    assert (headers(data)["x-death"][0]["reason"], body) == ("expired", b"2")


@pytest.mark.parametrize(("queue_ms", "own_ms"), [(100, 200), (200, 100)])
def test_t11_the_shorter_time_counts(door, peer, queue_ms, own_ms):
    peer.ask(declare(message_ttl=queue_ms))
    peer.publish(b"x", props=Properties(expiration=str(own_ms)))
    later(door, 99)
    assert ready(door, "q") == [1]
    later(door, 1)
    assert ready(door, "q") == [0]


def test_t11_requeueing_does_not_renew_it_and_what_is_out_does_not_expire(door, peer):
    peer.ask(declare("dead"))
    peer.ask(declare(message_ttl=100, **DEAD))
    peer.publish(b"1", b"2")
    door.run()
    for _ in range(2):
        peer.ask(get())
    later(door, 60)
    peer.send(methods.BasicReject(1, True))
    later(door, 40)
    assert ready(door, "q", "dead") == [0, 1]
    later(door, 1000)
    assert ready(door, "q", "dead") == [0, 1]  # the other one is out
    peer.send(methods.BasicReject(2, True))
    assert ready(door, "q", "dead") == [0, 2]


def test_t11_with_no_time_at_all_a_consumer_that_waits_gets_it(door, peer):
    peer.ask(declare(message_ttl=0))
    peer.publish(b"nobody")
    door.run()
    peer.ask(consume(no_ack=True))
    peer.publish(b"somebody")
    door.run()
    assert bodies(peer) == [b"somebody"]


def test_t11_an_expiration_of_nothing_likewise(door, peer):
    peer.ask(declare())
    peer.publish(b"nobody", props=Properties(expiration="0"))
    door.run()
    peer.ask(methods.BasicQos(0, 1, False))
    peer.ask(consume())
    peer.publish(b"1", b"2", props=Properties(expiration="0"))
    door.run()
    assert bodies(peer) == [b"1"]
    peer.send(methods.BasicAck(1, False))
    door.run()
    assert (bodies(peer), ready(door, "q")) == ([], [0])


def test_t11_each_priority_has_a_head_of_its_own(door, peer):
    peer.ask(declare(max_priority=5))
    peer.publish(b"high", props=Properties(priority=5, expiration="60000"))
    peer.publish(b"low", props=Properties(priority=1, expiration="100"))
    later(door, 100)
    assert ready(door, "q") == [1]


@pytest.mark.parametrize("text", ["0", "1", "0005", "+5", "60000", str(TEN_YEARS_MS)])
def test_t12_good_expirations(door, peer, text):
    peer.ask(declare())
    peer.publish(b"x", props=Properties(expiration=text))
    peer.ask(methods.ConfirmSelect(False))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no_integer"), ("soon", "no_integer"), (" 5", "no_integer"), ("-", "no_integer"),
        ("-1", "{value_negative,-1}"), ("1.5", '{leftover_string,".5"}'),
        ("60s", '{leftover_string,"s"}'),
        (str(TEN_YEARS_MS + 1), f"{{value_too_large,{TEN_YEARS_MS + 1}}}"),
        ("9" * 40, f"{{value_too_large,{'9' * 40}}}"),
    ],
)  # fmt: skip
def test_t12_bad_expirations_end_the_channel(door, peer, text, fault):
    peer.ask(declare())
    peer.publish(b"x", props=Properties(expiration=text))
    door.run()
    assert peer.answer() == methods.ChannelClose(
        406, f"PRECONDITION_FAILED - invalid expiration '{text}': {fault}", 60, 40
    )
    assert ready(door, "q") == [0]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (-1, "{value_negative,-1}"), (TEN_YEARS_MS + 1, f"{{value_too_large,{TEN_YEARS_MS + 1}}}"),
        ("1000", '"expected integer, got longstr"'), (True, '"expected integer, got bool"'),
        (1.0, '"expected integer, got double"'), (None, '"expected integer, got void"'),
    ],
)  # fmt: skip
def test_t12_bad_times_of_queues_are_refused(peer, value, fault):
    assert peer.ask(declare(message_ttl=value)) == methods.ChannelClose(
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {fault}",
        50, 10,
    )  # fmt: skip
    again(peer)
    for good in (0, fields.Long(TEN_YEARS_MS), fields.SignedOctet(5), fields.Short(5)):
        assert peer.ask(declare(f"q{good}", message_ttl=good)).queue == f"q{good}"


def there(peer, name="q"):
    answer = peer.ask(declare(name, passive=True))
    if isinstance(answer, methods.ChannelClose):
        again(peer)
        return False
    return True


@pytest.mark.parametrize("use", ["get", "declare", "consume and cancel"])
def test_t13_use_keeps_a_queue(door, peer, use):
    peer.ask(declare(expires=100))
    for _ in range(3):
        later(door, 99)
        match use:
            case "get":
                peer.ask(get())
            case "declare":
                peer.ask(declare(expires=100))
            case _:
                peer.ask(consume())
                later(door, 1000)
                peer.ask(methods.BasicCancel("c", False))
    later(door, 99)
    assert there(peer)
    later(door, 100)
    assert not there(peer)


def test_t13_publishing_is_no_use(door, peer):
    peer.ask(declare(expires=100))
    later(door, 60)
    peer.publish(b"x")
    later(door, 40)
    assert not there(peer)


def test_t13_it_goes_with_what_it_has_and_without_dead_letters(door, peer):
    peer.ask(declare("dead"))
    peer.ask(declare(expires=100, **DEAD))
    peer.publish(b"x")
    later(door, 100)
    assert not there(peer)
    assert ready(door, "dead") == [0]


def test_t13_with_a_time_for_messages_too_both_of_two_are_delivered(door, peer):
    """LavinMQ#1134: the second was lost."""
    peer.ask(declare(expires=1000, message_ttl=500))
    peer.ask(consume(no_ack=True))
    peer.publish(b"1")
    later(door, 400)
    peer.publish(b"2")
    door.run()
    assert bodies(peer) == [b"1", b"2"]


def test_t13_never_is_no_time(peer):
    assert peer.ask(declare(expires=0)).reply_text == (
        "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"
    )


def test_t14_what_is_out_does_not_count(door, peer):
    peer.ask(declare(max_length=2))
    peer.publish(b"1", b"2")
    door.run()
    peer.ask(get())
    peer.publish(b"3")
    assert ready(door, "q") == [2]
    peer.send(methods.BasicReject(1, True))  # now there are three
    assert ready(door, "q") == [2]
    assert [peer.ask(get(no_ack=True))[-1] for _ in range(2)] == [b"2", b"3"]


def test_t14_what_comes_back_and_is_too_many_is_dropped_though_a_consumer_waits(door, peer):
    peer.ask(declare(max_length=1))
    peer.ask(methods.BasicQos(0, 1, False))
    peer.send(consume())
    peer.publish(b"old")
    door.run()
    assert bodies(peer) == [b"old"]
    peer.publish(b"new")
    door.run()
    peer.send(methods.BasicReject(1, True))
    door.run()
    assert deliveries(peer) == [("c", 2, False, b"new")]


def test_t14_bytes_are_those_of_ready_bodies(door, peer):
    peer.ask(declare(max_length_bytes=10))
    peer.publish(b"12345", b"67890", props=Properties(headers={"long": "x" * 1000}))
    assert ready(door, "q") == [2]
    peer.publish(b"!")
    assert ready(door, "q") == [2]
    assert peer.ask(get())[-1] == b"67890"


def test_t14_of_priorities_the_highest_is_dropped_first(door, peer):
    peer.ask(declare("dead"))
    peer.ask(declare(max_length=2, max_priority=9, **DEAD))
    for priority in (1, 5, 3):
        peer.publish(b"%d" % priority, props=Properties(priority=priority))
        door.run()
    assert [peer.ask(get(no_ack=True))[-1] for _ in range(2)] == [b"3", b"1"]
    _, data, body = peer.ask(get("dead"))
    assert (headers(data)["x-death"][0]["reason"], body) == ("maxlen", b"5")


@pytest.mark.parametrize("limit", [{"max_length": 2}, {"max_length_bytes": 6}])
@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_t14_what_does_not_fit_is_refused_and_other_queues_get_it(door, peer, limit, overflow):
    peer.ask(exchange("e", "fanout"))
    peer.ask(declare("dead"))
    peer.ask(declare("wide"))
    peer.ask(declare(overflow=overflow, **limit, **DEAD))
    peer.ask(bind("wide"))
    peer.ask(bind())
    peer.ask(methods.ConfirmSelect(False))
    peer.give(b"".join(message(b"m-%d" % n, exchange="e") for n in range(3)))
    door.run()
    assert confirms(peer) == [("BasicAck", 2, True), ("BasicNack", 3, False)]
    assert ready(door, "q", "wide", "dead") == [2, 3, overflow.endswith("dlx")]
    if overflow.endswith("dlx"):
        _, data, body = peer.ask(get("dead"))
        assert (headers(data)["x-death"][0]["reason"], body) == ("maxlen", b"m-2")


def test_t14_whichever_limit_is_hit_first(door, peer):
    peer.ask(declare(max_length=3, max_length_bytes=10))
    peer.publish(*[b"1"] * 4)
    assert ready(door, "q") == [3]
    peer.publish(b"123456789")
    assert ready(door, "q") == [2]


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_t14_of_length_nothing_only_a_consumer_that_waits_is_served_if_at_all(door, peer, overflow):
    peer.ask(declare(max_length=0, overflow=overflow))
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"nobody")
    door.run()
    refused = overflow != "drop-head"
    kind = "BasicNack" if refused else "BasicAck"
    assert confirms(peer) == [(kind, 1, False)]
    assert ready(door, "q") == [0]
    peer.ask(methods.BasicQos(0, 1, False))
    peer.ask(consume())
    peer.publish(b"1", b"2")
    door.run()
    found = peer.all()
    assert [it[3] for it in found if len(it) > 2] == ([] if refused else [b"1"])
    assert ready(door, "q") == [0]
    assert deliveries(peer) == []
