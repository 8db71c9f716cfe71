"""Random sessions of MQTT clients, the same with mosquitto and with us: what they see is compared.

Clients come and go, take over, subscribe, do not acknowledge, and are published to with each QoS.
After each step all that is under way has arrived: a message to each client itself follows it, with
each QoS. What comes of filters that overlap is compared once, without QoS and RETAIN:
of that mosquitto makes copies.
"""

import os
import random
import shutil
import socket
import subprocess
import time

import pytest
from mqtt_client import MqttClient
from rabbit_parts import free_port
from serving import DEADLINE_S, Serving

from logstore.broker.mqtt.filters import matches
from logstore.mqtt import kinds, packets
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.properties import Properties

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="no mosquitto here"),
]

SETTINGS = """\
listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
"""
ACTORS = ("a", "b", "c")
WORDS = ("x", "y", "")
STEPS = 60
SEEDS = int(os.environ.get("MQTT_SEEDS", "6"))
NEVER = (1 << 32) - 1
OWN = b"own/"  # the topics by which clients are told that all has come
LAST_WILL = b"will/"


class Actor:
    """A client of one server."""

    def __init__(self, address, name, *, version, clean, lasting, acks, life=0):
        self.life = b"%d" % life
        will = packets.Will(LAST_WILL + name.encode(), self.life, 0, False)
        if version == V5:
            given = {"expiry_s": NEVER if lasting else 0}
        else:
            given, clean = {}, clean or not lasting
        self.client = MqttClient(
            address, name, version=version, clean=clean, will=will, keep_alive_s=0, **given
        )
        self.name = name.encode()
        self.acks = acks
        self.got = []
        self.present = self.client.connack.session_present

    def subscribe(self, filter_, qos, **options):
        """What it is granted; what is retained may come before."""
        self.client.ask(filter_, qos, **(options if self.client.version == V5 else {}))
        return self._until(packets.Answers).reasons

    def publish(self, topic, payload, qos, retain):
        """What comes meanwhile is heard."""
        pid = self.client.next_pid() if qos else 0
        self.client.send(packets.Publish(topic, payload, qos, retain, False, pid))
        while qos and self._until(packets.Ack).kind != (kinds.PUBACK if qos == 1 else kinds.PUBREC):
            pass
        if qos == 2:
            self.client.send(packets.Ack(kinds.PUBREL, pid))
            while self._until(packets.Ack).kind != kinds.PUBCOMP:
                pass

    def unsubscribe(self, filter_):
        self.client.send(packets.Unsubscribe(self.client.next_pid(), [filter_]))
        self._until(packets.Answers)

    def hear(self, marks):
        """All that comes before these messages to itself; without its own."""
        left = set(marks)
        while left:
            packet = self._until(packets.Publish)
            if packet.topic == OWN + self.name:
                left.discard((packet.payload, packet.qos))
        self.client.send(packets.Ping(kinds.PINGREQ))  # what it has acknowledged is known
        self._until(packets.Ping)
        got, self.got = self.got, []
        return [it for it in got if not it[0].startswith((OWN, LAST_WILL))]

    def _until(self, kind):
        while True:
            packet = self.client.get()
            assert packet is not None, f"{self.name}: the server has closed the connection"
            if isinstance(packet, packets.Publish):
                self._take(packet)
            elif isinstance(packet, packets.Ack) and packet.kind == kinds.PUBREL:
                self.client.send(packets.Ack(kinds.PUBCOMP, packet.pid))
            if isinstance(packet, kind):
                return packet

    def _take(self, it):
        own = it.topic.startswith(OWN)
        self.got.append((it.topic, it.payload, it.qos, it.retain, it.dup))
        if it.qos and (self.acks or own):
            kind = kinds.PUBACK if it.qos == 1 else kinds.PUBREC
            self.client.send(packets.Ack(kind, it.pid))


class Side:
    """One server, with all clients of it."""

    def __init__(self, address):
        self.address = address
        self.actors = {}
        for name in ACTORS:  # nothing is left of their sessions
            MqttClient(address, name).disconnect()
        self.publisher = MqttClient(address, "publisher", version=V5)
        self.witness = MqttClient(address, "witness", version=V5)
        self.witness.subscribe(LAST_WILL + b"#")
        self.mark = self.lives = 0

    def seen(self):
        """What each client has got since it was asked before."""
        self.mark += 1
        text = b"%d" % self.mark
        for it in self.actors.values():
            for qos in range(3):
                self.publisher.publish(OWN + it.name, text, qos)
        return {
            name: it.hear({(text, qos) for qos in range(3)})
            for name, it in sorted(self.actors.items())
        }

    def connect(self, name, how):
        before = self.actors.pop(name, None)
        self.lives += 1
        actor = Actor(self.address, name, life=self.lives, **how)
        if before is not None:  # taken over
            while before.client.get() is not None:
                pass
            before.client.close()  # mosquitto does not send all wills then
        present = actor.present
        actor.subscribe(OWN + actor.name, 2)
        self.actors[name] = actor
        return present

    def part(self, name, *, graceful):
        actor = self.actors.pop(name)
        if graceful:
            actor.client.send(packets.Disconnect())
            while actor.client.get() is not None:
                pass
            actor.client.close()
            return
        actor.client.close()
        while self.witness.message()[:2] != (LAST_WILL + actor.name, actor.life):
            pass

    def cut(self):
        """Without a word."""
        for it in (self.publisher, self.witness, *(it.client for it in self.actors.values())):
            it.close()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    port = free_port()
    path = tmp_path_factory.mktemp("mosquitto")
    (path / "conf").write_text(SETTINGS.format(port=port))
    with open(path / "log", "wb") as log:
        process = subprocess.Popen(["mosquitto", "-c", path / "conf"], stdout=log, stderr=log)
    until = time.monotonic() + DEADLINE_S
    while True:  # nobody tells when it listens
        assert process.poll() is None, (path / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < until
    yield "127.0.0.1", port
    process.terminate()
    process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serving = Serving(tmp_path_factory.mktemp("same") / "data", resp_port=-1, mqtt_port=0)
    yield serving.mqtt
    code, errors = serving.stop()
    assert code == 0
    assert "Traceback" not in errors


class Story:
    """Steps by chance, done at both sides."""

    def __init__(self, seed, sides):
        self.chance = random.Random(seed)
        self.sides = sides
        self.filters = {name: set() for name in ACTORS}
        self.lasting = dict.fromkeys(ACTORS, False)
        # mosquitto knows options of version 5 of who comes back by another, and does not have a
        # subscription take those of a later one with the same filter.
        self.versions = {name: self.chance.choice((V311, V5)) for name in ACTORS}
        self.options = {}
        self.told = []

    def both(self, what, call):
        self.told.append(what)
        ours, theirs = [call(it) for it in self.sides]
        assert ours == theirs, self.story()

    def story(self):
        return "\n".join(map(str, self.told))

    def step(self):
        chance = self.chance
        name = chance.choice(ACTORS)
        there = name in self.sides[0].actors
        if not there or chance.random() < 0.1:
            self.connect(name)
        else:
            act = chance.choices(
                (self.subscribe, self.unsubscribe, self.part, self.publish), (4, 1, 1, 8)
            )[0]
            act(name)
        self.compare()

    def connect(self, name):
        chance = self.chance
        how = {
            "version": self.versions[name], "clean": chance.random() < 0.3,
            "lasting": chance.random() < 0.7, "acks": chance.random() < 0.7,
        }  # fmt: skip
        clean = how["clean"] or (how["version"] == V311 and not how["lasting"])
        if clean or not self.lasting[name]:
            self.filters[name].clear()
        self.lasting[name] = how["lasting"] and (how["version"] == V5 or not clean)
        self.both(("connect", name, how), lambda side: side.connect(name, how))

    def part(self, name):
        graceful = self.chance.random() < 0.5
        self.both(("part", name, graceful), lambda side: side.part(name, graceful=graceful))
        if not self.lasting[name]:
            self.filters[name].clear()

    def filter(self):
        chance = self.chance
        levels = [chance.choice((*WORDS, "+")) for _ in range(chance.randint(1, 3))]
        if chance.random() < 0.3:
            levels[-1] = "#"
        return "/".join(levels).encode() or b"#"

    def subscribe(self, name):
        filter_, qos = self.filter(), self.chance.randint(0, 2)
        options = {
            "no_local": self.chance.random() < 0.3,
            "retain_as_published": self.chance.random() < 0.3,
            "retain_handling": self.chance.choice((0, 0, 1, 2)),
        }  # fmt: skip
        options = self.options.setdefault((name, filter_), options)
        self.filters[name].add(filter_)
        self.both(
            ("subscribe", name, filter_, qos, options),
            lambda side: side.actors[name].subscribe(filter_, qos, **options),
        )

    def unsubscribe(self, name):
        filter_ = self.chance.choice(sorted(self.filters[name]) or [b"none"])
        self.filters[name].discard(filter_)
        self.both(
            ("unsubscribe", name, filter_), lambda side: side.actors[name].unsubscribe(filter_)
        )

    def publish(self, name):
        chance = self.chance
        topic = "/".join(chance.choice(WORDS) for _ in range(chance.randint(1, 3))) or "x"
        qos, retain = chance.randint(0, 2), chance.random() < 0.15
        payload = b"" if retain and chance.random() < 0.3 else b"%d" % len(self.told)
        # What a client has itself retained mosquitto sends it, though it wants none of its own.
        if chance.random() < 0.3 and not retain:
            self.both(
                ("publish", topic, payload, qos, retain, name),
                lambda side: side.actors[name].publish(topic.encode(), payload, qos, retain),
            )
            return
        self.both(
            ("publish", topic, payload, qos, retain),
            lambda side: side.publisher.publish(topic.encode(), payload, qos, retain=retain) and 0,
        )

    def compare(self):
        try:
            ours, theirs = [it.seen() for it in self.sides]
        except TimeoutError:
            told = [[it.name, it.got] for side in self.sides for it in side.actors.values()]
            raise AssertionError(f"{self.story()}\nnothing comes any more: {told}") from None
        self.told.append(("seen", ours))
        for name in ours:
            assert self.plain(name, ours[name]) == self.plain(name, theirs[name]), (
                f"{self.story()}\n{name} saw\n{ours[name]}\nand with mosquitto\n{theirs[name]}"
            )

    def plain(self, name, messages):
        """As it is compared."""
        found = []
        for topic, payload, qos, retain, dup in messages:
            over = sum(matches(it, topic) for it in self.filters[name]) > 1
            if over and self.told[-2][-1] == name:  # its own, which mosquitto may keep from it
                continue
            over = over or dup  # it may have been when it came first
            entry = (topic, payload, None if over else qos, None if over else retain, dup)
            if not (over and entry in found):
                found.append(entry)
        return sorted(found, key=repr)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_clients_see_the_same_with_mosquitto_and_with_us(server, mosquitto, seed):
    sides = [Side(server), Side(mosquitto)]
    story = Story(seed, sides)
    try:
        for _ in range(STEPS):
            story.step()
        for topic in sorted({it[1] for it in story.told if it[0] == "publish" and it[4]}):
            for side in sides:
                side.publisher.publish(topic.encode(), b"", 1, retain=True)
    finally:
        for side in sides:
            side.cut()


class Expiring:
    """What is left at one server, a while later, of sessions and messages that expire."""

    def __init__(self, address):
        self.address = address
        self.witness = MqttClient(address, "watches")
        self.witness.subscribe(LAST_WILL + b"#")
        self.publisher = MqttClient(address, "gives")
        for name, expiry_s in (("short", 1), ("long", 100), ("away", NEVER)):
            client = MqttClient(address, name, clean=True, expiry_s=expiry_s)
            client.subscribe(b"expires/#", 1)
            client.disconnect()
        for word, said in (("never", {}), ("soon", {"message_expiry_s": 1}),
                           ("later", {"message_expiry_s": 100})):  # fmt: skip
            for kind, retain in ((b"expires/", False), (b"kept/", True)):
                topic = kind + word.encode()
                self.publisher.publish(topic, word.encode(), 1, retain=retain, **said)
        # Its will is the sign that three seconds are over.
        will = packets.Will(LAST_WILL + b"clock", b"", 0, False, Properties(will_delay_s=3))
        MqttClient(address, "clock", clean=True, expiry_s=100, will=will).close()

    def left(self):
        """Once it has come."""
        assert self.witness.message().topic == LAST_WILL + b"clock"
        present = {}
        for name in ("short", "long", "away"):
            client = MqttClient(self.address, name, clean=False, expiry_s=0)
            present[name] = client.connack.session_present
            if name == "away":
                told = [self.told(it) for it in client.messages(2)]
                client.nothing_more()
            client.close()
        client = MqttClient(self.address, "looks", clean=True)
        client.ask(b"kept/#", 1)
        client.expect(packets.Answers)
        kept = sorted(self.told(it) for it in client.messages(2))
        client.nothing_more()
        for word in (b"never", b"soon", b"later"):
            self.publisher.publish(b"kept/" + word, b"", 1, retain=True)
        for it in (client, self.witness, self.publisher):
            it.close()
        return present, told, kept

    @staticmethod
    def told(message):
        """With whether its expiry has been counted down."""
        left_s = message.properties.message_expiry_s
        return message.topic, message.payload, left_s is not None, (left_s or 0) < 100


def test_what_expires_is_gone_with_mosquitto_and_with_us(server, mosquitto):
    ours, theirs = [it.left() for it in [Expiring(server), Expiring(mosquitto)]]
    assert ours == theirs
    present, told, kept = ours
    assert present == {"short": False, "long": True, "away": True}
    assert [it[0] for it in told] == [b"expires/never", b"expires/later"]
    assert [it[2:] for it in told] == [(False, True), (True, True)]
    assert [it[0] for it in kept] == [b"kept/later", b"kept/never"]
