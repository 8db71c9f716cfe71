"""What one packet of an MQTT client may do in one turn, for every kind, as large as it may be.

Counted are calls of functions in the sessions' thread, not time.
"""

from functools import cache
from types import SimpleNamespace

import pytest
from counted_turns import Thread
from mqtt_kit import Door

from bench import largest_mqtt
from bench.largest_mqtt import ENDED
from logstore.mqtt import kinds
from logstore.protocols.mqtt.door import MqttLimits
from logstore.protocols.mqtt.phase import Phase
from logstore.slices import Slices

ELEMENTS = 20_000
CALLS_MAX = 39_900  # in a turn, some 10 ms
READ_BYTES = 512 << 10
ENDS = {"DISCONNECT", "AUTH"}  # packets after which there is no connection
OF_MQTT = [it.name for it in largest_mqtt.mqtt(20, 2000)]

pytestmark = pytest.mark.long


@pytest.fixture
def thread(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    return Thread()


@cache
def large():
    return {it.name: it for it in largest_mqtt.mqtt(ELEMENTS)}


@pytest.mark.parametrize("name", OF_MQTT)
def test_no_mqtt_packet_does_more_in_a_turn(tmp_path, thread, name):
    it = large()[name]
    door = Door(tmp_path, limits=MqttLimits(largest_mqtt.PACKET_BYTES, 8 << 20, 100))
    door.door.slices, door.door.stopwatch = Slices(thread.soon), thread.now
    door.model.publish = published
    peer = door.connect()
    if not it.connect:
        peer.send(largest_mqtt.CONNECT)
    for data in it.before:
        say(thread, door, peer, data)
    thread.most = 0
    say(thread, door, peer, it.data)
    assert thread.most <= CALLS_MAX
    ends = it.name.endswith(ENDED) or it.name.split()[0] in ENDS
    assert (peer.session.phase is not Phase.RUNNING) == ends
    door.close()


def published(messages, held=None):
    """To somebody who costs nothing: what it costs to reach many is bounded by channels."""
    return SimpleNamespace(waiting=None, matched=[1] * len(messages))


def say(thread, door, peer, data):
    """Until all of it is taken and answered."""
    at, quiet, session = 0, 0, peer.session
    while quiet < 3 and session.closed is None:
        view = memoryview(data)[at : at + max(READ_BYTES, session.wants)]
        taken = thread.turn(lambda view=view: session.receive(view, door.now)) if view else 0
        at += taken
        went_on = thread.go_on()
        thread.turn(door.node.turn)
        out = thread.turn(lambda: session.outgoing(1 << 20))
        peer.link.pushed.clear()
        quiet = 0 if taken or went_on or out else quiet + 1
    door.run()
    assert at == len(data) or session.closed is not None


def test_every_packet_of_a_client_has_its_largest():
    from_servers = {"CONNACK", "SUBACK", "UNSUBACK", "PINGRESP"}
    names = {it.replace(",", "").split()[0] for it in OF_MQTT}
    assert names == set(kinds.NAMES.values()) - from_servers


def test_what_is_too_much_is_among_them():
    """One of each kind that readers of packets have stumbled over."""
    for words in (
        ("CONNECT", "256 MiB"), ("CONNECT", "unknown properties"), ("PUBLISH", "65,535 levels"),
        ("PUBLISH", "retained at 65,535 levels"), ("PUBLISH", "65,535 in flight"),
        ("PUBREL", "all identifiers"), ("PUBREL", "of nothing"), ("PUBLISH", "unknown properties"),
        ("PUBLISH", "not UTF-8"), ("SUBSCRIBE", "not UTF-8"), ("PUBLISH", "256 MiB"),
    ):  # fmt: skip
        assert any(all(it in name for it in words) for name in OF_MQTT), words
