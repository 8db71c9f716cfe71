"""What clients want to hear: filters, options, answers, and what is not granted."""

import pytest
from mqtt_kit import VERSIONS

from logstore.mqtt import kinds, packets, reasons
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.packets import (
    Answers,
    Disconnect,
    Options,
    Ping,
    Publish,
    Subscribe,
    Unsubscribe,
)
from logstore.mqtt.properties import Properties
from logstore.protocols.mqtt.subscribe import FILTERS_AT_ONCE


def failed(code, version):
    return code if version == V5 else 0x80


@pytest.mark.parametrize("version", VERSIONS)
def test_each_filter_has_its_answer(door, version):
    peer, _ = door.come(version=version)
    bad = failed(reasons.BAD_FILTER, version)
    packet = Subscribe(9, [
        (b"a", Options(0)), (b"b/+", Options(1)), (b"#", Options(2)), (b"a/#/b", Options(0)),
        (b"a+", Options(0)), (b"", Options(0)), (b"$share/a", Options(0)),
        (b"$share//a", Options(0)), (b"$share/+/a", Options(0)), (b"+/#", Options(0)),
    ])  # fmt: skip
    found = peer.ask(packet)
    assert found == Answers(kinds.SUBACK, 9, bytes((0, 1, 2, bad, bad, bad, bad, bad, bad, 0)))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_wanted_any_more_comes_no_more(door, version):
    peer, _ = door.come(version=version)
    peer.subscribe(b"a", b"b")
    found = peer.ask(Unsubscribe(4, [b"a", b"c", b"a"]))
    said = bytes((0, reasons.NO_SUBSCRIPTION, reasons.NO_SUBSCRIPTION))
    assert found == Answers(kinds.UNSUBACK, 4, said if version == V5 else b"")
    peer.send(Publish(b"a", b"x"), Publish(b"b", b"y"))
    assert peer.packets() == [Publish(b"b", b"y")]


def test_a_client_gets_one_copy_with_the_numbers_of_all_its_subscriptions(door):
    peer, _ = door.come()
    peer.subscribe(b"a/+", number=3)
    peer.subscribe(b"a/#", number=200)
    peer.subscribe(b"#")
    other, _ = door.come("other")
    other.subscribe(b"a/b", number=7)
    peer.send(Publish(b"a/b", b"x"))
    assert peer.packets() == [
        Publish(b"a/b", b"x", properties=Properties(subscription_ids=(3, 200)))
    ]
    assert other.packets() == [Publish(b"a/b", b"x", properties=Properties(subscription_ids=(7,)))]


def test_a_subscription_is_replaced_by_one_with_the_same_filter(door):
    peer, _ = door.come()
    peer.subscribe(b"a", number=1, qos=1)
    peer.subscribe(b"a", number=2)
    peer.send(Publish(b"a", b"x", 1, pid=1))
    door.run()
    got = [it for it in peer.packets() if isinstance(it, Publish)]
    assert [(it.qos, it.properties.subscription_ids) for it in got] == [(0, (2,))]


@pytest.mark.parametrize("as_published", [False, True])
def test_retain_is_sent_as_it_was_published_to_who_asks_for_that(door, as_published):
    peer, _ = door.come()
    peer.subscribe(b"a", retain_as_published=as_published)
    peer.send(Publish(b"a", b"x", retain=True), Publish(b"a", b"y"))
    assert [it.retain for it in peer.packets()] == [as_published, False]


def test_a_shared_subscription_asks_for_no_local(door):
    """[MQTT-3.8.3-4]"""
    peer, _ = door.come()
    found = peer.ask(Subscribe(1, [(b"$share/g/a", Options(0, no_local=True))]))
    assert (found.reason, peer.over) == (reasons.PROTOCOL_ERROR, True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("named", [b"\xff", b"a\0b", b"$share/g/\xff", b"\xed\xa0\x80"])
def test_a_filter_that_is_no_text_is_malformed(door, version, named):
    peer, _ = door.come(version=version)
    peer.send(Subscribe(1, [(named, Options(0))]))
    door.run()
    assert peer.over
    if version == V5:
        assert [it.reason for it in peer.packets()] == [reasons.MALFORMED]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x82\3\0\1\0", reasons.PROTOCOL_ERROR),  # no filter
        (b"\x80\7\0\1\0\0\1a\0", reasons.MALFORMED),
        (b"\x82\7\0\0\0\0\1a\0", reasons.PROTOCOL_ERROR),
        (b"\x82\7\0\1\0\0\1a\3", reasons.PROTOCOL_ERROR),
        (b"\x82\7\0\1\0\0\1a\x40", reasons.MALFORMED),
        (b"\x82\7\0\1\0\0\1a\x30", reasons.PROTOCOL_ERROR),
        (b"\x82\x09\0\1\2\x0b\0\0\1a\0", reasons.PROTOCOL_ERROR),
        (b"\xa2\3\0\1\0", reasons.PROTOCOL_ERROR),
        (b"\xa2\6\0\0\0\0\1a", reasons.PROTOCOL_ERROR),
    ],
)
def test_what_is_wrong_with_a_subscription_ends_the_connection(door, raw, code):
    peer, _ = door.come()
    peer.give(raw)
    door.run()
    [found] = peer.packets()
    assert (found.reason, peer.over) == (code, True)


def test_many_filters_are_taken_some_at_a_time(door):
    """And what comes after them waits; nobody else does."""
    peer, _ = door.come()
    other, _ = door.come("other")
    filters = [(b"a/%d" % it, Options(0)) for it in range(50 * FILTERS_AT_ONCE)]
    peer.send(Subscribe(1, filters), Ping(kinds.PINGREQ))
    assert peer.packets() == []
    assert 0 < len(peer.session.mine.grants) < len(filters)
    other.send(Ping(kinds.PINGREQ))
    assert other.packets() == [Ping(kinds.PINGRESP)]
    door.run()
    found = peer.packets()
    assert [type(it) for it in found] == [Answers, Ping]
    assert found[0].reasons == bytes(len(filters))
    assert len(peer.session.mine.grants) == len(filters)
    gone = peer.ask(Unsubscribe(2, [it for it, _ in filters]))
    assert gone.reasons == bytes(len(filters))
    assert len(peer.session.mine.grants) == 0


def test_a_client_that_goes_while_its_filters_are_taken(door):
    peer, _ = door.come(clean=False, expiry_s=60)
    filters = [(b"a/%d" % it, Options(0)) for it in range(50 * FILTERS_AT_ONCE)]
    peer.send(Subscribe(1, filters))
    peer.end()
    door.run()
    assert peer.packets() == []
    again, found = door.come(clean=False, expiry_s=60)
    assert found.session_present
    assert len(again.session.mine.grants) < len(filters)


def test_an_error_among_many_filters_ends_the_connection(door):
    peer, _ = door.come()
    filters = [(b"a/%d" % it, Options(0)) for it in range(30 * FILTERS_AT_ONCE)]
    peer.send(Subscribe(1, [*filters, (b"a\0", Options(0))]))
    door.run()
    [found] = peer.packets()
    assert (type(found), found.reason) == (Disconnect, reasons.MALFORMED)
    assert peer.over


def test_a_session_may_have_so_many_subscriptions(door):
    peer, _ = door.come()
    most = door.node.sessions.subscriptions_max
    for at in range(0, most, 1000):
        some = [b"a/%d" % it for it in range(at, min(at + 1000, most))]
        assert set(peer.subscribe(*some)) == {0}
    assert peer.subscribe(b"more") == [reasons.QUOTA]
    assert peer.subscribe(b"a/1") == [0]  # which it has
    old, _ = door.come("old", version=V311)
    assert old.subscribe(b"x") == [0]


def test_subscriptions_of_a_session_that_lasts_are_there_again(door):
    peer, _ = door.come(clean=False, expiry_s=60)
    peer.subscribe(b"a", b"b", qos=1)
    peer.end()
    other, _ = door.come("other")
    other.ask(Publish(b"a", b"x", 1, pid=1))
    other.send(Publish(b"b", b"lost"))  # QoS 0, and nobody is there
    again, found = door.come(clean=False, expiry_s=60)
    door.run()
    got = again.packets()
    assert [(it.payload, it.qos) for it in got] == [(b"x", 1)] or got == []
    if not got:
        assert found[1].payload == b"x"


def test_what_is_not_acknowledged_is_sent_again_with_its_number(door):
    """[MQTT-4.4.0-1]: when the client comes back, and only then."""
    peer, _ = door.come(clean=False, expiry_s=60)
    peer.subscribe(b"a", qos=1)
    other, _ = door.come("other")
    other.ask(*(Publish(b"a", b"%d" % it, 1, pid=it) for it in (1, 2, 3)))
    first = peer.packets()
    assert [it.payload for it in first] == [b"1", b"2", b"3"]
    peer.send(packets.Ack(kinds.PUBACK, first[1].pid))
    door.later(1000)
    assert peer.packets() == []
    peer.end()
    _, found = door.come(clean=False, expiry_s=60)
    again = [it for it in found if isinstance(it, Publish)]
    assert [(it.pid, it.payload, it.dup) for it in again] == [
        (first[0].pid, b"1", True), (first[2].pid, b"3", True)
    ]  # fmt: skip


def test_an_error_acknowledgement_settles_a_message(door):
    """[MQTT-4.4.0-2]"""
    peer, _ = door.come()
    peer.subscribe(b"a", qos=1)
    peer.send(Publish(b"a", b"x", 1, pid=1))
    door.run()
    [got] = [it for it in peer.packets() if isinstance(it, Publish)]
    peer.send(packets.Ack(kinds.PUBACK, got.pid, reasons.NOT_AUTHORIZED))
    assert len(peer.session.mine.out.pids) == 0


def test_a_client_has_no_more_unacknowledged_than_it_takes(door):
    peer, _ = door.come(receive_maximum=2)
    peer.subscribe(b"a", qos=1)
    other, _ = door.come("other")
    other.ask(*(Publish(b"a", b"%d" % it, 1, pid=it) for it in range(1, 6)))
    got = peer.packets()
    assert [it.payload for it in got] == [b"1", b"2"]
    peer.ask(packets.Ack(kinds.PUBACK, got[0].pid))
    door.run()
    peer.look()
    assert len(peer.session.mine.out.pids) == 2
