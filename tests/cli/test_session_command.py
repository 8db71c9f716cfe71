"""``logstore session``: sessions of MQTT clients in a directory that no server has."""

import json

import pytest

import logstore as library
from logstore.broker.mqtt.session import queue_name
from logstore.kept.mqtt import NEVER, KeptSession, KeptSubscription
from logstore.storage import mqtt

LEFT_MS = 1_700_000_000_000


@pytest.fixture
def kept(data):
    """Two sessions that a server has left, one of them with messages that wait."""
    with library.open(data) as store:
        queue = store.queue(queue_name("sensor-7").decode(), durable=True)
        store.exchange("amq.topic")
        for it in (b"1", b"2"):
            store.exchange("").publish(it, key=queue.name)
        rows = [
            KeptSession(1001, "sensor-7", "al", 1000, 5, 60, LEFT_MS),
            KeptSession(1002, "lamp", "", 0, 4, NEVER, LEFT_MS),
            KeptSubscription(1001, 1, b"a/#", 1, True, False, 9),
            KeptSubscription(1001, 2, b"b", 2),
        ]
        store.internals().groups.environment.transact(
            mqtt.TABLES, lambda it: mqtt.change(it, rows, ())
        )


def test_sessions_are_listed_with_what_waits_for_them(kept, logstore):
    found = json.loads(logstore("session", "list", "--json").out)
    assert found == [
        {
            "client": "lamp", "user": "", "connected": False, "expiry_s": None,
            "subscriptions": 0, "queue": None, "ready": 0, "unacked": 0,
            "left": "2023-11-14T22:13:20.000Z", "expires": None,
        },
        {
            "client": "sensor-7", "user": "al", "connected": False, "expiry_s": 60,
            "subscriptions": 2, "queue": "mqtt-subscription-sensor-7qos1", "ready": 2,
            "unacked": 0, "left": "2023-11-14T22:13:20.000Z",
            "expires": "2023-11-14T22:14:20.000Z",
        },
    ]  # fmt: skip
    lines = logstore("session", "list").lines
    assert lines[0].split()[0] == "CLIENT"
    assert lines[1].split() == ["lamp", "-", "no", "never", "0", "0", "0"]


def test_one_is_described_with_its_subscriptions(kept, logstore):
    found = json.loads(logstore("session", "describe", "sensor-7", "--json").out)
    assert [it["filter"] for it in found["subscriptions"]] == ["a/#", "b"]
    assert found["subscriptions"][0] == {
        "filter": "a/#", "qos": 1, "no_local": True, "retain_as_published": False, "id": 9,
    }  # fmt: skip
    shown = logstore("session", "describe", "sensor-7").out
    assert "a/#" in shown
    assert "sensor-7" in shown
    error = logstore("session", "describe", "nobody", code=1).err
    assert "MQTT client 'nobody' has no session" in error


def test_one_is_ended_with_its_queue(kept, logstore):
    assert logstore("session", "end", "sensor-7").out == "ended 1 session\n"
    assert [it["client"] for it in json.loads(logstore("session", "list", "--json").out)] == [
        "lamp"
    ]
    assert "sensor-7" not in logstore("queue", "list").out
    assert (
        "MQTT client 'sensor-7' has no session"
        in logstore("session", "end", "sensor-7", code=1).err
    )
