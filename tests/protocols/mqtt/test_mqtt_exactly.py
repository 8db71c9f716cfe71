"""QoS 2 at the door: each message once, whatever is sent again."""

import pytest
from mqtt_kit import VERSIONS

from logstore.mqtt import kinds, reasons
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import Ack, Disconnect, Publish
from logstore.protocols.mqtt.connect import RECEIVE_MAXIMUM


def payloads(door):
    return [it.payload for it in door.model.published]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_that_comes_again_is_acknowledged_and_not_taken(door, version):
    hearer, _ = door.come("h", version=version)
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p", version=version)
    assert peer.ask(Publish(b"a", b"x", 2, pid=5)) == Ack(kinds.PUBREC, 5)
    assert peer.ask(Publish(b"a", b"x", 2, pid=5, dup=True)) == Ack(kinds.PUBREC, 5)
    assert peer.ask(Publish(b"a", b"x", 2, pid=5)) == Ack(kinds.PUBREC, 5)  # whatever its DUP says
    assert payloads(door) == [b"x"]
    assert peer.ask(Ack(kinds.PUBREL, 5)) == Ack(kinds.PUBCOMP, 5)
    assert peer.ask(Publish(b"a", b"y", 2, pid=5)) == Ack(kinds.PUBREC, 5)
    assert payloads(door) == [b"x", b"y"]
    assert [it.payload for it in hearer.packets()] == [b"x", b"y"]


def test_a_message_that_comes_twice_in_one_read_is_taken_once(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p")
    again = Publish(b"a", b"1", 2, pid=1)
    peer.send(again, Publish(b"a", b"2", 2, pid=2), again, Publish(b"a", b"3", 2, pid=3))
    door.run()
    assert [it.pid for it in peer.packets()] == [1, 2, 1, 3]
    assert payloads(door) == [b"1", b"2", b"3"]


def test_a_message_that_comes_again_on_the_next_connection_is_known(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p", expiry_s=60)
    assert peer.ask(Publish(b"a", b"x", 2, pid=5)).kind == kinds.PUBREC
    peer.end()
    peer, _ = door.come("p", clean=False, expiry_s=60)
    assert peer.ask(Publish(b"a", b"x", 2, pid=5, dup=True)) == Ack(kinds.PUBREC, 5)
    assert payloads(door) == [b"x"]
    peer, _ = door.come("p", clean=True, expiry_s=60)
    assert peer.ask(Publish(b"a", b"x", 2, pid=5)).kind == kinds.PUBREC
    assert payloads(door) == [b"x", b"x"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_release_of_nothing_is_answered(door, version):
    peer, _ = door.come("p", version=version)
    reason = reasons.PACKET_ID_NOT_FOUND if version == V5 else reasons.SUCCESS
    for _ in range(3):
        assert peer.ask(Ack(kinds.PUBREL, 9)) == Ack(kinds.PUBCOMP, 9, reason)
    assert peer.session.door.counts.unknown_packets == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_gets_a_message_in_four_packets(door, version):
    hearer, _ = door.come("h", version=version)
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p", version=version)
    peer.ask(Publish(b"a", b"x", 2, pid=1))
    [got] = hearer.packets()
    assert (got.payload, got.qos, got.dup) == (b"x", 2, False)
    session = hearer.session.mine
    assert hearer.ask(Ack(kinds.PUBREC, got.pid)) == Ack(kinds.PUBREL, got.pid)
    assert hearer.ask(Ack(kinds.PUBREC, got.pid)) == Ack(kinds.PUBREL, got.pid)
    assert session.queue.out == 1
    assert hearer.ask(Ack(kinds.PUBCOMP, got.pid)) is None
    assert (session.queue.out, session.queue.ready, len(session.out.pids)) == (0, 0, 0)


def test_what_a_client_does_not_want_is_over(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p")
    peer.ask(Publish(b"a", b"x", 2, pid=1))
    [got] = hearer.packets()
    assert hearer.ask(Ack(kinds.PUBREC, got.pid, reasons.UNSPECIFIED)) is None
    session = hearer.session.mine
    assert (session.queue.out, len(session.out.pids)) == (0, 0)
    unknown = Ack(kinds.PUBREL, got.pid, reasons.PACKET_ID_NOT_FOUND)
    assert hearer.ask(Ack(kinds.PUBREC, got.pid)) == unknown


def test_the_next_connection_goes_on_where_the_last_one_ended(door):
    hearer, _ = door.come("h", expiry_s=60)
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p")
    for n in (1, 2, 3):
        peer.ask(Publish(b"a", b"%d" % n, 2, pid=n))
    first, second, third = hearer.packets()
    assert hearer.ask(Ack(kinds.PUBREC, first.pid)).kind == kinds.PUBREL
    assert hearer.ask(Ack(kinds.PUBREC, second.pid)).kind == kinds.PUBREL
    assert hearer.ask(Ack(kinds.PUBCOMP, first.pid)) is None
    hearer.end()
    hearer, (connack, released, again) = door.come("h", clean=False, expiry_s=60)
    assert connack.session_present
    assert released == Ack(kinds.PUBREL, second.pid)
    assert (again.pid, again.payload, again.dup) == (third.pid, b"3", True)


def test_an_acknowledgement_of_another_qos_is_a_protocol_error(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a/1", qos=1)
    hearer.subscribe(b"a/2", qos=2)
    peer, _ = door.come("p")
    peer.ask(Publish(b"a/1", b"x", 1, pid=1))
    [got] = hearer.packets()
    found = hearer.ask(Ack(kinds.PUBREC, got.pid))
    assert isinstance(found, Disconnect)
    assert found.reason == reasons.PROTOCOL_ERROR


def test_what_is_not_released_counts_as_unacknowledged(door):
    peer, _ = door.come("p")
    for n in range(1, RECEIVE_MAXIMUM + 1):
        peer.send(Publish(b"a", b"x", 2, pid=n))
    door.run()
    assert len(peer.packets()) == RECEIVE_MAXIMUM
    found = peer.ask(Publish(b"a", b"x", 2, pid=RECEIVE_MAXIMUM + 1))
    assert isinstance(found, Disconnect)
    assert found.reason == reasons.RECEIVE_MAXIMUM


def test_a_client_that_uses_its_whole_quota_is_not_cut_off_while_some_is_acknowledged(door):
    peer, _ = door.come("p")
    pids = range(1, RECEIVE_MAXIMUM + 1)
    link = peer.session.link
    link.wake = lambda: None  # its turn has not come
    peer.send(*[Publish(b"a", b"x", 2, pid=n) for n in pids[:-1]])
    door.node.run()
    assert not peer.session.mine.arrivals._coming
    del link.wake
    peer.send(Publish(b"a", b"x", 2, pid=pids[-1]))
    door.run()
    assert [it.kind for it in peer.packets()] == [kinds.PUBREC] * RECEIVE_MAXIMUM


def test_a_client_that_releases_all_it_has_sent_may_send_as_much_again(door):
    peer, _ = door.come("p")
    for _ in range(2):
        peer.send(*[Publish(b"a", b"x", 2, pid=n) for n in range(1, RECEIVE_MAXIMUM + 1)])
        door.run()
        assert len(peer.packets()) == RECEIVE_MAXIMUM
        peer.send(*[Ack(kinds.PUBREL, n) for n in range(1, RECEIVE_MAXIMUM + 1)])
        door.run()
        assert [it.pid for it in peer.packets()] == [*range(1, RECEIVE_MAXIMUM + 1)]


def test_what_is_refused_is_refused_as_often_as_it_comes_in_one_read(door):
    peer, _ = door.come("p")
    again = Publish(b"$SYS/x", b"1", 2, pid=1)
    peer.send(again, again, Publish(b"a", b"2", 2, pid=2), again)
    door.run()
    assert [(it.pid, it.reason >= 0x80) for it in peer.packets()] == [
        (1, True), (1, True), (2, False), (1, True),
    ]  # fmt: skip
    assert payloads(door) == [b"2"]


@pytest.mark.parametrize("version", VERSIONS)
def test_releases_of_known_and_unknown_messages_in_one_read_are_all_answered(door, version):
    peer, _ = door.come("p", version=version)
    peer.send(*[Publish(b"a", b"x", 2, pid=n) for n in (1, 2, 3)])
    door.run()
    peer.packets()
    peer.send(*[Ack(kinds.PUBREL, n) for n in (1, 9, 2, 2, 3, 1)])
    door.run()
    found = peer.packets()
    assert sorted(it.pid for it in found) == [1, 1, 2, 2, 3, 9]
    bad = reasons.PACKET_ID_NOT_FOUND if version == V5 else reasons.SUCCESS
    assert {it.pid: it.reason for it in found} == {1: 0, 2: 0, 3: 0, 9: bad}


def test_receipts_and_completions_of_many_in_one_read(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a", qos=2)
    peer, _ = door.come("p")
    peer.send(*[Publish(b"a", b"%d" % n, 2, pid=n) for n in range(1, 6)])
    door.run()
    got = [it.pid for it in hearer.packets()]
    hearer.send(*[Ack(kinds.PUBREC, it) for it in [*got, got[0], 9999]])
    door.run()
    found = hearer.packets()
    assert [it.pid for it in found if not it.reason] == got
    assert [it.pid for it in found if it.reason] == [9999]
    hearer.send(*[Ack(kinds.PUBCOMP, it) for it in got])
    door.run()
    session = hearer.session.mine
    assert (session.queue.out, session.queue.ready, len(session.out.pids)) == (0, 0, 0)


@pytest.mark.parametrize("expiry_s", [None, 60])
def test_a_release_that_stands_twice_in_one_read_is_answered_twice(door, expiry_s):
    """Which is kept before it is answered, where the session lasts; others wait for that, too."""
    peer, _ = door.come(clean=False, expiry_s=expiry_s)
    other, _ = door.come("other", clean=False, expiry_s=60)
    for it in (peer, other):
        it.ask(Publish(b"a", b"x", 2, pid=7))
    release = Ack(kinds.PUBREL, 7)
    peer.send(release, release)
    other.send(release)
    door.run()
    assert peer.packets() == [Ack(kinds.PUBCOMP, 7)] * 2
    assert other.packets() == [Ack(kinds.PUBCOMP, 7)]
    assert peer.ask(Publish(b"a", b"another", 2, pid=7)).pid == 7
    assert payloads(door) == [b"x", b"x", b"another"]
