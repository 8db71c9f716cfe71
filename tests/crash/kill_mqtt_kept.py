"""Kill a real server with SIGKILL while MQTT clients retain messages and leave wills; ask the next.

    python -m tests.crash.kill_mqtt_kept --rounds 100 [--seed 7]

In each round clients retain numbered messages with QoS 1, or take them away, and come and go with
wills that are retained; then the server is killed at a random moment, and the next one is asked:

    each topic retains what was acknowledged last, or what was published since; nobody sees less
    than somebody has seen; whoever was let in and has not said good-bye has his will there; of who
    has said good-bye it comes only if the server had no time to hear of it.
"""

import random
import signal
import time
from dataclasses import dataclass, field

from logstore.mqtt import kinds, packets
from logstore.mqtt.properties import Properties
from tests.kit.killing import begin
from tests.kit.mqtt_client import MqttClient
from tests.kit.serving import Serving

ROUNDS_OF_A_STORE = 25
STEPS_MOST = 30
TOPICS = 12
EXTRA_S = 0.004
BYTES_MOST = 3000  # short ones are in memory, long ones in the log alone


@dataclass
class Topic:
    """What is known of one."""

    published: list = field(default_factory=lambda: [b""])  # in order
    safe: int = 0  # how many of these are acknowledged, or were seen


@dataclass
class Totals:
    rounds: int = 0
    safe: int = 0
    wills: int = 0

    def __str__(self):
        return f"{self.rounds} rounds: {self.safe} acknowledged, {self.wills} wills came"


class Round:
    """One life of a server."""

    def __init__(self, server, choose, topics, totals):
        self.server, self.choose, self.topics, self.totals = server, choose, topics, totals
        self.publisher = MqttClient(server.mqtt, "publisher")
        self.sent = {}  # packet id -> topic, and which of its messages
        self.connected = {}  # client -> connection, and the topic of its will
        self.must, self.may = set(), set()  # topics of wills
        self.count = 0

    def run(self):
        steps = [self.retain] * 4 + [self.heard] * 2 + [self.come] * 2 + [self.go, self.lose]
        for _ in range(self.choose.randrange(3, STEPS_MOST)):
            self.choose.choice(steps)()

    def retain(self):
        for _ in range(self.choose.randrange(1, 6)):
            name = b"t/%d" % self.choose.randrange(TOPICS)
            topic = self.topics.setdefault(name, Topic())
            payload = b""
            if self.choose.random() < 0.8:
                payload = b"%d|" % len(topic.published) + bytes(self.choose.randrange(BYTES_MOST))
            topic.published.append(payload)
            pid = self.publisher.next_pid()
            self.sent[pid] = topic, len(topic.published) - 1
            self.publisher.send(packets.Publish(name, payload, 1, True, False, pid))

    def heard(self):
        self.publisher.send(packets.Ping(kinds.PINGREQ))
        while (it := self.publisher.get()) != packets.Ping(kinds.PINGRESP):
            self.acknowledged(it)

    def acknowledged(self, ack):
        assert ack.kind == kinds.PUBACK
        topic, number = self.sent.pop(ack.pid)
        topic.safe = max(topic.safe, number)
        self.totals.safe += 1

    def come(self):
        self.count += 1
        name, topic = f"c{self.count}", b"will/%d/%d" % (self.totals.rounds, self.count)
        lasts = self.choose.random() < 0.5
        delay_s = self.choose.choice([0, 0, 1000]) if lasts else 0
        will = packets.Will(topic, b"gone", 1, True, Properties(will_delay_s=delay_s))
        client = MqttClient(self.server.mqtt, name, will=will, expiry_s=2000 if lasts else 0)
        self.connected[name] = client, topic, delay_s

    def go(self):
        """With a good-bye, which the server may not come to."""
        if self.connected:
            client, topic, _ = self.connected.pop(self.choose.choice(list(self.connected)))
            self.may.add(topic)
            client.disconnect()

    def lose(self):
        if self.connected:
            client, topic, delay_s = self.connected.pop(self.choose.choice(list(self.connected)))
            (self.may if delay_s else self.must).add(topic)
            client.close()

    def over(self):
        """The server is killed."""
        while (it := self.publisher.get()) is not None:
            self.acknowledged(it)
        for client, topic, delay_s in self.connected.values():
            (self.may if delay_s else self.must).add(topic)
            client.close()
        self.publisher.close()


def retained(server):
    """What a new client is given, when the wills that are due are published."""
    client = MqttClient(server.mqtt, "asks")
    client.subscribe(b"#")
    client.publish(b"behind", b"")  # what is published now comes after all that is retained
    found = {}
    while (it := client.expect(packets.Publish)).topic != b"behind":
        found[it.topic] = it.payload
    client.close()
    return found


def check(topics, one, found, totals):
    """The law; from then on what was seen is what is known."""
    for name, topic in topics.items():
        payload = found.get(name, b"")
        since = topic.published[topic.safe :]
        assert payload in since, f"{name} retains {payload[:9]}, not one of the last {len(since)}"
        topic.published, topic.safe = [payload], 0
    wills = {it for it in found if it.startswith(b"will/%d/" % totals.rounds)}
    assert not one.must - wills, f"wills are lost: {one.must - wills}"
    assert wills <= one.must | one.may, f"wills came of nobody: {wills - one.must - one.may}"
    totals.wills += len(wills)


def served(path):
    return Serving(path, resp_port=-1, mqtt_port=0, upkeep_interval_ms=50)


def run(rounds, seed, path):
    choose, topics, totals = random.Random(seed), {}, Totals()
    for _ in range(rounds):
        server = served(path)
        try:
            one = Round(server, choose, topics, totals)
            one.run()
            one.retain()  # of which nothing is waited for
            time.sleep(choose.uniform(0, EXTRA_S))  # the random moment itself
        finally:
            code, errors = server.stop(signal.SIGKILL)
        assert code == -signal.SIGKILL, errors
        assert "Traceback" not in errors, errors
        one.over()
        server = served(path)
        try:
            check(topics, one, retained(server), totals)
        finally:
            code, errors = server.stop()
        assert code == 0, errors
        assert "Traceback" not in errors, errors
        totals.rounds += 1
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, ROUNDS_OF_A_STORE)
