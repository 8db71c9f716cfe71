"""The crash law of what MQTT keeps beside sessions, whatever a power cut leaves at any moment:

a topic retains what was acknowledged last, or what was published since; what was read is never
unread. A client that was let in has its will published, though the server dies; one that has said
good-bye, durably, has not.
"""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from clock import NOW_MS
from lossy_disk import LONG, SURVIVORS_MOST
from lossy_queues import HandCommitter
from lossy_store import CONFIG, StoreDisk

import logstore
from logstore.broker.mqtt.message import Message
from logstore.broker.mqtt.retained import Retained
from logstore.broker.mqtt.wills import Will, Wills
from logstore.slices import Slices
from logstore.storage.committer import WillCommitter

SEED = 1883
NOT_LET_IN, LET_IN, LEAVING, LEFT = range(4)


@dataclass
class Known:
    """What the clients know."""

    asked: dict = field(default_factory=dict)  # topic -> payloads, in order
    safe: dict = field(default_factory=dict)  # topic -> how many of these are acknowledged
    wills: dict = field(default_factory=dict)  # client -> one of the four


class Machine:
    """Retained messages and wills of a store in use; takes a picture of every moment."""

    def __init__(self, disk, known=None, now_ms=NOW_MS):
        self.disk = disk.mount()
        self.known = Known() if known is None else known
        self.now_ms = now_ms
        self.moments, self.ends, self.told = [], [], []
        self.store = logstore.open(f"{disk.base}/data", disk=disk, config=CONFIG)
        disk.changed = self.picture
        internals = self.store.internals()
        self.retained = Retained(
            internals.topics, lambda: self.now_ms, Slices(), lambda call: call(), 1 << 30
        )
        assert self.retained.open() is None
        self.retained.begin()
        environment = internals.groups.environment
        self.committer = HandCommitter(environment, self.told.append, self.ends.append)
        self.wills = Wills(
            WillCommitter(self.committer, environment), self.publish, lambda: self.now_ms,
            lambda at: None, 1 << 20,
        )  # fmt: skip
        self.wills.begin()

    def picture(self):
        self.moments.append((self.disk.freeze(), deepcopy(self.known), self.now_ms))

    def publish(self, messages, then):
        for it in messages:
            self.known.asked.setdefault(it.topic, [b""]).append(it.payload)
        kept = self.retained.take(messages)
        if kept is not None:
            kept[0].wait(kept[1])
        for it in messages:
            self.known.safe[it.topic] = len(self.known.asked[it.topic]) - 1
        self.picture()
        then(None)

    def retain(self, *pairs):
        self.publish([Message(topic, payload, 1, True) for topic, payload in pairs], lambda _: None)

    def connect(self, client, delay_s=0):
        self.known.wills[client] = NOT_LET_IN
        keeping = self.wills.keep(
            client, Will(client.encode(), b"gone", 1, True, delay_s), 60 if delay_s else 0
        )
        keeping.then(lambda it: self.known.wills.update({client: LET_IN}))

    def left(self, client, expiry_s=0, *, graceful=False):
        if graceful:
            self.known.wills[client] = LEAVING
        self.wills.left(SimpleNamespace(client=client, expiry_s=expiry_s), graceful=graceful)

    def turn(self):
        """What is to be kept is, and is told."""
        leaving = [it for it, state in self.known.wills.items() if state == LEAVING]
        while self.ends or self.committer.has_more or self.told:
            ends, self.ends[:] = list(self.ends), []
            for call in ends:
                call()
            if self.committer.has_more:
                self.committer.write_next()
                self.picture()
            while self.told:
                self.told.pop(0)()
                self.picture()
        self.known.wills.update(dict.fromkeys(leaving, LEFT))
        self.picture()

    def later(self, seconds):
        self.now_ms += 1000 * seconds
        self.wills.tick(self.now_ms)

    def found(self):
        cursor = self.retained.cursor(b"#")
        assert cursor.ready(lambda: None)
        found = {}
        while not cursor.over:
            portion = cursor.some()
            found.update(zip(portion.topics, portion.payloads, strict=True))
        return found

    def crash(self):
        self.disk.changed = lambda: None
        directory = self.store._directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()


def history(it):
    it.connect("a")
    it.connect("b", delay_s=5)
    it.retain((b"t", b"1"), (b"u", b"1"))
    it.turn()
    it.connect("c")
    it.retain((b"t", b"2"))
    it.turn()
    it.left("a")
    it.retain((b"u", b""))
    it.left("b", 60)
    it.turn()
    it.left("c", graceful=True)
    it.retain((b"t", b"3" * 300), (b"u", b"2"))
    it.turn()
    it.later(5)
    it.turn()
    it.connect("d")
    it.turn()
    it.retain((b"t", b""))
    it.left("d")
    it.turn()


def check(disk, known, now_ms):
    it = Machine(disk, deepcopy(known), now_ms)
    it.turn()
    it.later(60)
    it.turn()
    found = it.found()
    for topic, asked in known.asked.items():
        if topic in (b"t", b"u"):
            since = asked[known.safe.get(topic, 0) :]
            assert found.get(topic, b"") in since, f"{topic} retains {found.get(topic)}"
    for client, state in known.wills.items():
        came = client.encode() in found
        if state == LET_IN:
            assert came, f"the will of {client} is lost"
        elif state == LEFT:
            assert not came, f"{client} has said good-bye, and his will has come"
    assert len(it.wills) == 0
    it.crash()
    again = Machine(it.disk, known, now_ms)
    assert again.found() == found
    again.crash()


@pytest.mark.long
def test_what_was_acknowledged_is_retained_and_wills_come_whatever_a_power_cut_leaves(base):
    choose, states = random.Random(SEED), 0
    machine = Machine(StoreDisk(base))
    history(machine)
    machine.crash()
    assert machine.known.wills == {"a": LET_IN, "b": LET_IN, "c": LEFT, "d": LET_IN}
    moments = machine.moments if LONG else machine.moments[::4]
    for frozen, known, now_ms in moments:
        for disk in frozen.survivors(choose, SURVIVORS_MOST // 4):
            check(disk, known, now_ms)
            states += 1
    print(f"seed {SEED}: {states} states of {len(machine.moments)} moments")
    assert states > 40


def test_a_process_that_is_killed_loses_none_of_them_either(base):
    machine = Machine(StoreDisk(base))
    history(machine)
    machine.crash()
    for frozen, known, now_ms in machine.moments[:: 1 if LONG else 6]:
        check(frozen.killed(), known, now_ms)
