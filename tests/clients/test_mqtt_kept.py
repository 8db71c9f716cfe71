"""What MQTT keeps beside sessions, as clients of a server see it."""

import pytest
from mqtt_client import MqttClient
from serving import Serving

from logstore.mqtt import kinds, packets
from logstore.mqtt.kinds import V311
from logstore.mqtt.properties import NONE, Properties


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("mqtt") / "data", mqtt_port=0)
    yield server
    code, errors = server.stop()
    assert code == 0
    assert [it for it in errors.splitlines() if "a packet that only a server sends" not in it] == []


@pytest.fixture
def come(server):
    clients = []

    def one(*given, **options):
        clients.append(MqttClient(server.mqtt, *given, **options))
        return clients[-1]

    yield one
    for client in clients:
        client.close()


def seen(messages):
    return sorted((it.topic, it.payload, it.qos, it.retain) for it in messages)


def test_what_is_retained_comes_behind_the_suback_with_the_lower_qos(come):
    publisher, subscriber = come("p"), come("s")
    publisher.publish(b"home/a", b"1", 1, retain=True)
    publisher.publish(b"home/b", b"2", retain=True)
    publisher.publish(b"home/c", b"gone", 1, retain=True)
    publisher.publish(b"home/c", b"", 1, retain=True)
    assert subscriber.subscribe(b"home/#") == 0
    assert seen(subscriber.messages(2)) == [
        (b"home/a", b"1", 0, True), (b"home/b", b"2", 0, True)
    ]  # fmt: skip
    assert subscriber.subscribe(b"home/+", 1) == 1
    assert seen(subscriber.messages(2)) == [
        (b"home/a", b"1", 1, True), (b"home/b", b"2", 0, True)
    ]  # fmt: skip
    publisher.publish(b"home/a", b"3", 1, retain=True)
    assert seen(subscriber.messages(1)) == [(b"home/a", b"3", 1, False)]
    subscriber.nothing_more()


def test_retain_handling_says_whether_what_is_retained_comes_again(come):
    publisher, it = come("p"), come("s")
    publisher.publish(b"rh/a", b"1", 1, retain=True)
    assert it.subscribe(b"rh/#", retain_handling=2) == 0
    it.nothing_more()
    assert it.subscribe(b"rh/#", retain_handling=1) == 0  # it is not new
    it.nothing_more()
    assert it.subscribe(b"rh/+", retain_handling=1) == 0
    assert seen(it.messages(1)) == [(b"rh/a", b"1", 0, True)]
    for _ in range(2):
        assert it.subscribe(b"rh/+") == 0
        assert seen(it.messages(1)) == [(b"rh/a", b"1", 0, True)]
    it.nothing_more()


def test_a_shared_subscription_gets_nothing_that_is_retained(come):
    publisher, it = come("p"), come("s")
    publisher.publish(b"sh/a", b"1", 1, retain=True)
    assert it.subscribe(b"$share/g/sh/#", 1) == 1
    it.nothing_more()


@pytest.mark.parametrize("qos", [0, 1])
def test_the_subscription_identifier_comes_with_it(come, qos):
    publisher, it = come("p"), come("s")
    publisher.publish(b"id/a", b"1", 1, retain=True)
    it.subscribe(b"id/#", qos, number=7)
    [message] = it.messages(1)
    assert message.properties.subscription_ids == (7,)
    assert message.retain


def test_who_asks_for_no_local_gets_none_that_he_has_retained_himself(come):
    it, other = come("s"), come("o")
    it.publish(b"nl/mine", b"1", 1, retain=True)
    other.publish(b"nl/other", b"1", 1, retain=True)
    it.subscribe(b"nl/#", no_local=True)
    assert seen(it.messages(1)) == [(b"nl/other", b"1", 0, True)]
    it.nothing_more()


def test_what_it_says_beside_travels_with_it_and_its_expiry_is_less(come):
    publisher, it = come("p"), come("s")
    publisher.publish(
        b"ex/a", b"1", 1, retain=True, message_expiry_s=1000, content_type="text/plain",
        response_topic="r", correlation_data=b"\0\xff", payload_format=1,
        user_properties=(("a", "1"), ("a", "2")),
    )  # fmt: skip
    for qos in (0, 1):
        it.subscribe(b"ex/a", qos)
        said = it.message().properties
        assert 990 < said.message_expiry_s <= 1000
        assert (said.content_type, said.response_topic) == ("text/plain", "r")
        assert (said.correlation_data, said.payload_format) == (b"\0\xff", 1)
        assert said.user_properties == (("a", "1"), ("a", "2"))


def test_a_client_of_3_1_1_gets_the_same_without_properties(come):
    publisher, it = come("p"), come("s", version=V311)
    publisher.publish(b"v3/a", b"1", 1, retain=True, content_type="text/plain")
    for qos in (0, 1):
        it.subscribe(b"v3/a", qos)
        assert seen(it.messages(1)) == [(b"v3/a", b"1", qos, True)]


@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_published_after_the_subscription_comes_behind_what_was_retained(come, qos):
    publisher, it = come("p"), come("s")
    for n in range(700):
        publisher.publish(b"many/%03d" % n, b"old", retain=True)
    publisher.publish(b"many/last", b"old", 1, retain=True)
    it.subscribe(b"many/#", qos)
    publisher.publish(b"many/000", b"new", 1)
    found = it.messages(702)
    assert [(m.topic, m.payload) for m in found if m.payload == b"new"] == [(b"many/000", b"new")]
    assert len({m.topic for m in found if m.retain}) == 701
    if qos == 0:
        assert found[-1].payload == b"new"


@pytest.mark.long
@pytest.mark.parametrize("ends", [True, False])
def test_all_that_is_retained_comes_by_a_narrow_window_and_over_a_lost_connection(come, ends):
    """More than one look finds, and than its queue is given at a time."""
    publisher = come("p")
    for first in range(0, 3500, 500):
        for n in range(first, first + 500):
            pid = publisher.next_pid()
            publisher.send(packets.Publish(b"all/%04d" % n, b"x", 1, True, False, pid))
        for _ in range(500):
            publisher.expect(packets.Ack)
    it = come("slow", expiry_s=1000, receive_maximum=20)
    it.ask(b"all/#", 1)
    found = []
    while len(found) < 700:
        packet = it.get()
        if isinstance(packet, packets.Publish):
            found.append(packet.topic)
            it.send(packets.Ack(kinds.PUBACK, packet.pid))
    if ends:  # otherwise the next connection takes the session over
        it.close()
    it = come("slow", clean=False, expiry_s=1000, receive_maximum=20)
    assert it.connack.session_present
    publisher.publish(b"all/0000", b"live", 1)
    live = 0
    while len(set(found)) < 3500 or not live:
        message = it.message()
        found.append(message.topic)
        live += message.payload == b"live"
        assert message.retain != (message.payload == b"live")
    it.nothing_more()
    it.disconnect(session_expiry_s=0)
    for n in range(3500):
        publisher.publish(b"all/%04d" % n, b"", retain=True)


def test_what_is_longer_than_the_client_takes_is_left_out(come):
    publisher, it = come("p"), come("s", maximum_packet_size=200)
    publisher.publish(b"long/a", b"x" * 300, 1, retain=True)
    publisher.publish(b"long/b", b"y", 1, retain=True)
    for qos in (0, 1):
        it.subscribe(b"long/#", qos)
        assert seen(it.messages(1)) == [(b"long/b", b"y", qos, True)]
    it.nothing_more()


def test_the_server_tells_of_itself(come):
    it = come("s")
    it.subscribe(b"$SYS/broker/version")
    [message] = it.messages(1)
    assert message.payload.startswith(b"logstore version")
    for filter_ in (b"#", b"+/broker/version"):
        it.ask(filter_)
        while True:
            found = drained(it)
            if any(isinstance(it, packets.Answers) for it in found):
                break
        topics = [it.topic for it in found if isinstance(it, packets.Publish)]
        assert not any(topic.startswith(b"$") for topic in topics)


def drained(client):
    """What has come."""
    client.send(packets.Ping(kinds.PINGREQ))
    found = []
    while (it := client.get()) != packets.Ping(kinds.PINGRESP):
        found.append(it)
    return found


def will(topic, payload=b"bye", qos=1, *, retain=False, **said):
    return packets.Will(topic, payload, qos, retain, Properties(**said) if said else NONE)


def test_a_will_comes_when_its_client_is_lost_and_not_after_a_good_bye(come):
    listener = come("l")
    listener.subscribe(b"w/#", 1)
    come("a", will=will(b"w/a")).close()
    assert seen(listener.messages(1)) == [(b"w/a", b"bye", 1, False)]
    come("b", will=will(b"w/b")).disconnect()
    come("c", will=will(b"w/c")).disconnect(0x04)
    assert seen(listener.messages(1)) == [(b"w/c", b"bye", 1, False)]
    listener.nothing_more()


def test_a_will_comes_when_its_client_breaks_the_protocol_and_when_another_takes_over(come):
    listener = come("l")
    listener.subscribe(b"w/#", 1)
    bad = come("bad", will=will(b"w/bad"))
    bad.send(packets.Connack(False, 0))
    assert bad.expect(packets.Disconnect).reason == 0x82
    assert seen(listener.messages(1)) == [(b"w/bad", b"bye", 1, False)]
    first = come("x", will=will(b"w/x"))
    come("x").disconnect()
    assert first.expect(packets.Disconnect).reason == 0x8E
    assert seen(listener.messages(1)) == [(b"w/x", b"bye", 1, False)]


def test_a_delayed_will_does_not_come_if_its_client_is_back_and_comes_if_the_session_ends(come):
    listener = come("l")
    listener.subscribe(b"w/#", 1)
    come("d", expiry_s=100, will=will(b"w/d", will_delay_s=50)).close()
    back = come("d", clean=False, expiry_s=100, will=will(b"w/2", will_delay_s=50))
    assert back.connack.session_present
    listener.nothing_more()
    back.close()
    again = come("d")  # a clean start
    assert not again.connack.session_present
    assert seen(listener.messages(1)) == [(b"w/2", b"bye", 1, False)]


def test_a_will_may_be_retained_and_says_what_it_says(come):
    last = will(
        b"kept/r", b"offline", retain=True, message_expiry_s=500, content_type="text/plain",
        user_properties=(("a", "b"),),
    )  # fmt: skip
    listener = come("l")
    listener.subscribe(b"kept/r", 1)
    come("r", will=last).close()
    assert seen(listener.messages(1)) == [(b"kept/r", b"offline", 1, False)]
    later = come("later")
    later.subscribe(b"kept/r", 1)
    message = later.message()
    assert message.retain
    assert message.payload == b"offline"
    assert message.properties.content_type == "text/plain"
    assert 490 < message.properties.message_expiry_s <= 500


def test_a_place_for_answers_is_told_to_who_asks_and_is_a_topic(come):
    assert come("asks", responses=1).connack.properties.response_information == "reply/asks/"
    for client in ("a+b", "#"):
        assert come(client, responses=1).connack.properties.response_information is None
    assert come("does not").connack.properties.response_information is None


@pytest.mark.long
def test_many_filters_that_match_much_are_given_all_of_it_some_at_a_time(come):
    publisher, it = come("p"), come("s")
    for n in range(120):
        publisher.publish(b"wide/%03d" % n, b"x" * 5000, n % 2, retain=True)
    filters = [b"wide/#", b"wide/+", b"wide/+/#"] + [b"wide/%03d" % n for n in range(120)]
    it.send(packets.Subscribe(1, [(filter_, packets.Options(1)) for filter_ in filters]))
    assert it.expect(packets.Answers).reasons == b"\1" * len(filters)
    found = it.messages(4 * 120)
    assert len({m.topic for m in found if m.topic.startswith(b"wide/")}) == 120
    for n in range(120):
        publisher.publish(b"wide/%03d" % n, b"", retain=True)
