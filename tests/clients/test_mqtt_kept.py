"""What MQTT keeps beside sessions, as clients of a server see it."""

import pytest
from mqtt_client import MqttClient
from serving import Serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("mqtt") / "data", mqtt_port=0)
    yield server
    code, errors = server.stop()
    assert (code, errors) == (0, "")


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
