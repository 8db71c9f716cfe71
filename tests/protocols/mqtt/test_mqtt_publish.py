"""What clients publish: to whom it goes, what acknowledges it, and what is refused."""

import pytest
from mqtt_kit import PACKET_BYTES_MAX, VERSIONS, connect

from logstore.broker.mqtt.message import About
from logstore.errors import LogFailed, StorageFull
from logstore.mqtt import kinds, packets, reasons, writing
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.packets import Ack, Disconnect, Ping, Publish
from logstore.mqtt.properties import Properties
from logstore.protocols.mqtt.connect import RECEIVE_MAXIMUM
from logstore.protocols.mqtt.publish import ALIAS_BYTES_MAX
from logstore.protocols.mqtt.session import BLOCKED_S, UNACKNOWLEDGED_MAX


def ended(peer, found):
    """The reason of the DISCONNECT that is the last word of its connection."""
    assert isinstance(found, Disconnect)
    if not peer.over:  # it had sent so much that more may come
        peer.door.later(1.1)
    assert peer.over
    return found.reason


class Held:
    """A ``Waiting`` that is safe when the test says so."""

    def __init__(self):
        self.failed = None
        self.is_safe = False
        self.wakes = []

    def settled(self):
        return self.is_safe

    def watch(self, wake):
        self.wakes.append(wake)

    def appended(self, log, mark):
        pass

    def safe(self, error=None):
        self.is_safe, self.failed = True, error
        for wake in self.wakes:
            wake()

    def close(self):
        self.is_safe = True


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_of_qos_0_comes_to_who_listens(door, version):
    hearer, _ = door.come("h", version=version)
    assert hearer.subscribe(b"a/+") == [0]
    peer, _ = door.come("p", version=version)
    assert peer.ask(Publish(b"a/b", b"x")) is None
    assert hearer.packets() == [Publish(b"a/b", b"x")]
    assert peer.session.door.counts.received == [1, 0, 0]
    assert peer.session.door.counts.sent == [1, 0, 0]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_of_qos_1_is_acknowledged_when_it_is_safe(door, version):
    hearer, _ = door.come("h", version=version)
    assert hearer.subscribe(b"a", qos=1) == [1]
    peer, _ = door.come("p", version=version)
    door.model.held = held = Held()
    peer.send(Publish(b"a", b"x", 1, pid=5))
    assert peer.packets() == []
    held.safe()
    door.run()
    assert peer.packets() == [Ack(kinds.PUBACK, 5)]
    [got] = hearer.packets()
    assert (got.payload, got.qos, got.dup) == (b"x", 1, False)
    hearer.send(Ack(kinds.PUBACK, got.pid))
    assert len(hearer.session.mine.out.pids) == 0


def test_acknowledgements_come_in_the_order_of_the_messages(door):
    peer, _ = door.come()
    peer.subscribe(b"#")
    door.model.held = first = Held()
    peer.send(Publish(b"a", b"", 1, pid=9), Publish(b"a", b"", 1, pid=3))
    door.model.held = second = Held()
    peer.send(Publish(b"a", b"", 1, pid=8))
    second.safe()
    assert [it for it in peer.packets() if isinstance(it, Ack)] == []
    first.safe()
    door.run()
    assert [it.pid for it in peer.packets() if isinstance(it, Ack)] == [9, 3, 8]


def test_a_ping_is_answered_whatever_waits(door):
    peer, _ = door.come()
    door.model.held = held = Held()
    peer.send(Publish(b"a", b"", 1, pid=9), Ping(kinds.PINGREQ))
    assert peer.packets() == [Ping(kinds.PINGRESP)]
    held.safe()


def test_a_publisher_is_told_that_nobody_gets_it(door):
    peer, _ = door.come()
    peer.subscribe(b"there")
    peer.send(*(Publish(it, b"", 1, pid=n) for n, it in enumerate([b"there", b"not", b"there"], 1)))
    door.run()
    found = [it for it in peer.packets() if isinstance(it, Ack)]
    nobody = reasons.NO_MATCHING_SUBSCRIBERS
    assert [(it.pid, it.reason) for it in found] == [(1, 0), (2, nobody), (3, 0)]


def test_a_publisher_of_version_3_is_told_nothing_of_that(door):
    peer, _ = door.come(version=V311)
    peer.send(Publish(b"not", b"", 1, pid=1))
    door.run()
    assert peer.got == b"\x40\2\0\1"


@pytest.mark.parametrize(
    ("error", "code"),
    [(StorageFull("full"), reasons.QUOTA), (LogFailed("failed"), reasons.UNSPECIFIED)],
)
def test_what_cannot_be_kept_is_not_acknowledged_as_if_it_were(door, error, code):
    peer, _ = door.come()
    old, _ = door.come("old", version=V311)
    door.model.held = held = Held()
    for it in (peer, old):
        it.send(Publish(b"a", b"", 1, pid=1))
    held.safe(error)
    door.run()
    assert peer.packets() == [Ack(kinds.PUBACK, 1, code)]
    assert not peer.over
    assert (old.packets(), old.over) == ([], True)


# Properties


def test_what_a_message_says_travels_with_it(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a", number=17)
    said = Properties(
        payload_format=1, content_type="text/plain", response_topic="r", correlation_data=b"\0c",
        user_properties=(("k", "v"), ("k", "w")), message_expiry_s=100,
    )  # fmt: skip
    peer, _ = door.come("p")
    peer.send(Publish(b"a", b"x", properties=said))
    door.run()
    assert hearer.packets() == [
        Publish(b"a", b"x", properties=said._replace(subscription_ids=(17,)))
    ]
    [published] = door.model.published
    user = ((b"k", b"v"), (b"k", b"w"))
    expires = door.clock() + 100_000
    assert published.about == About(1, b"text/plain", b"r", b"\0c", user, expires)


def test_to_a_client_of_version_3_nothing_travels_with_it(door):
    hearer, _ = door.come("h", version=V311)
    hearer.subscribe(b"a")
    peer, _ = door.come("p")
    peer.send(Publish(b"a", b"x", properties=Properties(content_type="x")))
    assert hearer.packets() == [Publish(b"a", b"x")]


ALIAS = Properties(topic_alias=3)


def test_a_topic_alias_stands_for_a_topic(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"#")
    peer, _ = door.come("p")
    peer.send(
        Publish(b"a", b"1", properties=ALIAS), Publish(b"", b"2", properties=ALIAS),
        Publish(b"b", b"3", properties=ALIAS), Publish(b"", b"4", properties=ALIAS),
        Publish(b"c", b"5", properties=Properties(topic_alias=65_535)),
    )  # fmt: skip
    assert hearer.packets() == [  # without aliases
        Publish(b"a", b"1"), Publish(b"a", b"2"), Publish(b"b", b"3"), Publish(b"b", b"4"),
        Publish(b"c", b"5"),
    ]  # fmt: skip


def test_an_alias_is_of_one_connection(door):
    """Clients that send again what they had sent with one end here; it is counted apart."""
    peer, _ = door.come(clean=False, expiry_s=60)
    peer.send(Publish(b"a", b"1", properties=ALIAS))
    peer.end()
    peer, _ = door.come(clean=False, expiry_s=60)
    assert ended(peer, peer.ask(Publish(b"", b"2", properties=ALIAS))) == reasons.PROTOCOL_ERROR
    assert "topic alias 3" in peer.session.closed
    assert door.door.counts.unknown_aliases == 1


@pytest.mark.parametrize(
    "said",
    [
        Publish(b"", b"x"),  # neither topic nor alias
        Publish(b"a", b"x", properties=Properties(subscription_ids=(1,))),  # [MQTT-3.3.4-6]
        Publish(b"a", b"x", properties=Properties(response_topic="a/#")),  # [MQTT-3.3.2-14]
        Publish(b"a", b"x", properties=Properties(response_topic="+")),
        Publish(b"a", b"x", properties=Properties(response_topic="")),
        Publish(b"a", b"x", properties=Properties(topic_alias=0)),
        Publish(b"a", b"x", properties=Properties(payload_format=2)),
        Publish(b"a", b"x", 1, pid=0),
        packets.Auth(0x18),
        packets.Connack(False, 0),
        packets.Answers(kinds.SUBACK, 1, b"\0"),
        packets.Answers(kinds.UNSUBACK, 1, b"\0"),
        Ping(kinds.PINGRESP),
        Disconnect(reasons.SHUTTING_DOWN),
    ],
    ids=repr,
)
def test_what_is_a_protocol_error(door, said):
    peer, _ = door.come()
    assert ended(peer, peer.ask(said)) == reasons.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x36\6\0\1a\0\1\0", reasons.MALFORMED),  # QoS 3
        (b"\x38\4\0\1a\0", reasons.MALFORMED),  # DUP of QoS 0
        (b"\x30\4\0\1\xff\0", reasons.MALFORMED),
        (b"\x30\4\0\1\0\0", reasons.MALFORMED),
        (b"\x30\x84\0\0\1a\0", reasons.MALFORMED),  # longer than it needs
        (b"\x30\xff\xff\xff\xff\x7f", reasons.MALFORMED),
        (b"\x30\5\0\1a\1\x7f", reasons.MALFORMED),  # no such property
        (b"\x30\4\0\1+\0", reasons.BAD_TOPIC),
        (b"\x30\6\0\3a/#\0", reasons.BAD_TOPIC),
        (b"\x30\xff\xff\xff\x7f", reasons.TOO_LARGE),
        (b"\x41\2\0\1", reasons.MALFORMED),
        (b"\0\0", reasons.MALFORMED),
        (b"\x40\2\0\0", reasons.PROTOCOL_ERROR),
        (b"\xc1\0", reasons.MALFORMED),
        (b"\xc0\1x", reasons.MALFORMED),
    ],
)
def test_what_is_malformed_has_its_reason_code_and_harms_nobody_else(door, raw, code):
    peer, _ = door.come()
    other, _ = door.come("other")
    other.subscribe(b"a")
    peer.give(packets.write(Publish(b"a", b"before"), V5) + raw)
    door.run()
    assert ended(peer, peer.packets()[-1]) == code
    assert other.packets() == [Publish(b"a", b"before")]
    assert not other.over


def test_a_client_of_version_3_just_ends(door):
    peer, _ = door.come(version=V311)
    peer.give(b"\x30\4\0\1+x")
    assert (peer.packets(), peer.over) == ([], True)
    assert peer.session.closed


# Bounds


def test_a_packet_has_a_maximum_size(door):
    peer, _ = door.come()
    fits = packets.write(Publish(b"a", b""), V5)
    most = PACKET_BYTES_MAX - len(fits) - 2
    peer.send(Publish(b"a", bytes(most)))
    assert not peer.over
    assert len(door.model.published) == 1
    assert ended(peer, peer.ask(Publish(b"a", bytes(most + 1)))) == reasons.TOO_LARGE


def test_a_client_is_sent_no_packet_that_is_longer_than_it_takes(door):
    """The whole packet counts, its fixed header included [MQTT-3.1.2-24]."""
    most = len(packets.write(Publish(b"a", bytes(50), 1, pid=1), V5))
    hearer, _ = door.come("h", maximum_packet_size=most, receive_maximum=1)
    hearer.subscribe(b"a", qos=1)
    peer, _ = door.come("p")
    for number, size in enumerate((52, 51, 50), 1):
        peer.send(
            Publish(b"a", bytes(size), 1, pid=number), Publish(b"a", bytes(size)),
        )  # fmt: skip
        door.run()
    got = hearer.packets()
    # A window of one is free again at once: what is not sent counts as delivered [3.1.2-25].
    assert [(it.qos, len(it.payload)) for it in got] == [(0, 52), (0, 51), (0, 50), (1, 50)] or [
        (it.qos, len(it.payload)) for it in got
    ] == [(0, 52), (1, 50), (0, 51), (0, 50)]
    assert door.door.counts.too_long == 2


def test_more_than_the_receive_maximum_is_an_error(door):
    peer, _ = door.come()
    door.model.held = held = Held()
    pids = range(1, RECEIVE_MAXIMUM + 1)
    peer.send(*(Publish(b"a", b"", 1, pid=it) for it in pids))
    assert not peer.over
    found = peer.ask(Publish(b"a", b"", 1, pid=RECEIVE_MAXIMUM + 1))
    assert ended(peer, found) == reasons.RECEIVE_MAXIMUM
    held.safe()


def test_what_is_acknowledged_counts_no_more(door):
    peer, _ = door.come()
    for _ in range(3):
        peer.send(*(Publish(b"a", b"", 1, pid=it) for it in range(1, RECEIVE_MAXIMUM + 1)))
        door.run()
        assert len(peer.packets()) == RECEIVE_MAXIMUM
    assert not peer.over


def test_a_client_of_version_3_waits_with_too_many(door):
    peer, _ = door.come(version=V311)
    door.model.held = held = Held()
    one = writing.publish(b"a", b"", flags=2, pid=1)
    for _ in range(UNACKNOWLEDGED_MAX // 1000 + 2):
        peer.give(one * 1000)
    assert len(door.model.published) <= UNACKNOWLEDGED_MAX + 1000
    assert peer.left
    held.safe()
    door.model.held = None
    door.run()
    assert not peer.left


def test_aliases_have_a_bound(door):
    peer, _ = door.come()
    topic = b"x" * 65_000
    for number in range(1, ALIAS_BYTES_MAX // len(topic) + 2):
        peer.send(Publish(topic, b"", properties=Properties(topic_alias=number)))
    assert peer.session.held_bytes == 0
    assert ended(peer, peer.packets()[-1]) == reasons.QUOTA


def test_aliases_are_counted_as_memory(door):
    peer, _ = door.come()
    for _ in range(3):
        peer.send(Publish(b"x" * 1000, b"", properties=ALIAS))
    assert 1000 <= peer.session.held_bytes <= 1200


def test_a_slow_subscriber_of_qos_0_misses_some_and_stays(door):
    hearer, _ = door.come("h")
    hearer.subscribe(b"a")
    hearer.link.unsent = 9 << 20
    peer, _ = door.come("p")
    peer.send(*(Publish(b"a", b"%d" % it) for it in range(5)))
    assert door.door.counts.dropped == 5
    hearer.link.unsent = 0
    peer.send(Publish(b"a", b"then"))
    assert hearer.packets() == [Publish(b"a", b"then")]
    assert not hearer.over


def test_nothing_is_taken_while_the_disk_is_full(door):
    peer, _ = door.come(keep_alive_s=10)
    door.free_bytes = 1
    peer.send(Publish(b"a", b"0", 1, pid=1))  # it is seen at the next one
    peer.send(Publish(b"a", b"1", 1, pid=2))
    door.run()
    assert len(door.model.published) == 1
    assert peer.left
    door.later(20)  # nor is it expected to say anything
    assert not peer.over
    door.free_bytes = 1 << 40
    door.later(BLOCKED_S)
    door.run()
    assert len(door.model.published) == 2
    assert not peer.left


def test_nothing_is_taken_while_the_queues_are_crowded(door):
    peer, _ = door.come()
    door.model.crowded = True
    peer.send(Publish(b"a", b"0"))
    assert door.model.published == []
    door.model.crowded = False
    door.later(0.01)
    assert len(door.model.published) == 1


# $ and the rest


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_publishes_to_topics_of_the_server(door, version):
    peer, _ = door.come(version=version)
    peer.send(Publish(b"$SYS/x", b"", 1, pid=1), Publish(b"$SYS/x", b""), Publish(b"a", b""))
    door.run()
    assert [it.topic for it in door.model.published] == [b"a"]
    [found] = peer.packets()
    assert found == Ack(kinds.PUBACK, 1, reasons.BAD_TOPIC if version == V5 else 0)
    assert door.door.counts.refused == 2


# Keep alive, and the end


@pytest.mark.parametrize("version", VERSIONS)
def test_silence_of_one_and_a_half_times_the_keep_alive_ends_it(door, version):
    peer, _ = door.come(version=version, keep_alive_s=10)
    door.later(14)
    peer.ask(Ping(kinds.PINGREQ))
    door.later(14.9)
    assert not peer.over
    door.later(0.2)
    found = peer.packets()
    assert peer.over
    timeout = [Disconnect] if version == V5 else []
    assert [type(it) for it in found] == timeout
    assert [it.reason for it in found] == [reasons.KEEP_ALIVE_TIMEOUT] * len(timeout)


def test_half_a_packet_is_no_sign_of_life(door):
    peer, _ = door.come(keep_alive_s=10)
    for _ in range(3):
        door.later(6)
        peer.give(b"\x30\x7f\0")
    assert peer.over


def test_without_a_keep_alive_a_client_may_be_silent_for_ever(door):
    peer, _ = door.come()
    assert peer.session.deadline is None
    door.later(1e6)
    assert not peer.over


def test_after_a_goodbye_nothing_is_taken(door):
    peer, _ = door.come()
    peer.send(Publish(b"a", b"1"), Disconnect(), Publish(b"a", b"2"))
    assert [it.payload for it in door.model.published] == [b"1"]
    assert (peer.packets(), peer.over, peer.session.closed) == ([], True, "")


def test_what_was_published_is_acknowledged_before_the_server_stops(door):
    peer, _ = door.come()
    door.model.held = held = Held()
    peer.send(Publish(b"a", b"", 1, pid=1))
    assert peer.session.leave(door.now)
    peer.flush()
    assert peer.packets() == []
    held.safe()
    door.run()
    assert [type(it) for it in peer.packets()] == [Ack, Disconnect]
    assert peer.over
    assert peer.session.closed == ""


def test_a_client_that_still_sends_hears_why_it_ends(door):
    """A socket that is closed with unread bytes takes what was sent with it."""
    peer, _ = door.come()
    peer.link.unread = 100
    assert peer.ask(connect()).reason == reasons.PROTOCOL_ERROR
    assert not peer.over
    peer.give(packets.write(Publish(b"a", b"x"), V5))
    assert door.model.published == []
    door.later(1.1)
    assert peer.over


def test_a_connection_is_ended_by_somebody_else(door):
    peer, _ = door.come()
    peer.session.end_by("an operator has ended it")
    door.run()
    [found] = peer.packets()
    assert found.reason == reasons.ADMINISTRATIVE
    assert found.properties.reason_string == "an operator has ended it"


def test_a_reason_in_words_is_left_out_where_it_is_too_long(door):
    peer, _ = door.come(maximum_packet_size=20)
    assert peer.ask(connect()) == Disconnect(reasons.PROTOCOL_ERROR)
