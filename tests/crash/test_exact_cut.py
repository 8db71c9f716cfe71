"""Exactly once, whatever a power cut leaves at any moment of short histories.

One client sends messages of QoS 2, another gets them, and both do what the standard says (4.3.3,
4.4): each remembers what it has not heard of, goes through a reconnection, and sends again what is
not acknowledged. What the first was told is done, the second gets; nothing comes twice.
"""

import random
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from lossy_disk import SURVIVORS_MOST, some
from lossy_queues import Machine
from lossy_store import StoreDisk
from mqtt_sessions import Line, PlainSpace

from logstore.broker.mqtt import mapping
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.sessions import Sessions, Wanted
from logstore.broker.queues.message import Message
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.transaction import Transaction
from logstore.kept.mqtt import NEVER
from logstore.storage.committer import MqttCommitter

SEED = 20260602
SURVIVORS = max(4, SURVIVORS_MOST // 200)
MOMENTS = 12
SENT, RECEIVED = "sent", "received"  # of a message, as its sender knows it
WINDOW = 4
TOPIC = b"t"


@dataclass
class Known:
    """What both clients know, who never lose anything."""

    now_ms: int
    unacked: dict = field(default_factory=dict)  # of the sender: pid -> [number, how far it is]
    done: list = field(default_factory=list)  # numbers that were completed, as they were
    next_number: int = 0
    last_pid: int = 0
    got: list = field(default_factory=list)  # of the receiver: numbers, as they came
    held: set = field(default_factory=set)  # pids that are not released
    subscribed: bool = False

    def copy(self):
        return deepcopy(self)


class Receiver(Line):
    """The client that gets messages, at the other end of its line."""

    def __init__(self, machine, session):
        super().__init__()
        self.machine, self.session = machine, session

    def send(self, messages):
        for it in messages:
            assert it.qos == 2
            self.machine.calls.append(lambda it=it: self._publish(it))
        return []

    def release(self, pids):
        for pid in pids:
            self.machine.calls.append(lambda pid=pid: self._release(pid))

    @property
    def lives(self):
        return self.session().line is self

    def _publish(self, it):
        if self.lives:
            known = self.machine.known
            if it.pid not in known.held:
                known.held.add(it.pid)
                known.got.append(int(it.payload))
            unknown = self.session().exact.received([it.pid])
            assert not unknown, "a message was sent, and its PUBREC is of nothing that is known"

    def _release(self, pid):
        if self.lives:
            self.machine.known.held.discard(pid)
            self.session().exact.completed([pid])


class Exactly(Machine):
    """Two clients and their sessions; takes a picture of every moment."""

    def __init__(self, disk, choose, known=None):
        super().__init__(disk, choose)
        self.known = Known(self.now_ms) if known is None else known.copy()

    def open(self):
        super().open()
        environment = self.directory._catalog.environment
        self.space = PlainSpace(self)
        self.space.node = self
        self.sessions = Sessions(
            self.queues, self.space, MqttCommitter(self.committer, environment)
        )

    def surroundings(self):
        return Surroundings()

    # The receiver

    def receiver_comes(self):
        line = Receiver(self, lambda: self.sessions.of("receiver"))
        there = self.sessions.of("receiver")
        if there is not None and there.connected:
            self.sessions.left(there, there.line)
        connected = self.sessions.connect(Wanted("receiver", "", False, NEVER, 5, line))
        session, kept = connected.session, connected.kept
        assert connected.present or not self.known.subscribed

        def let_in():
            if session.line is line:
                session.begin(WINDOW)

        self._begin(lambda: kept is None or kept.done, let_in)

    def receiver_goes(self):
        session = self.sessions.of("receiver")
        if session.connected:
            self.sessions.left(session, session.line)

    def subscribe(self):
        pending = self.sessions.of("receiver").subscribe([(TOPIC, Grant(2))])

        def done():
            self.known.subscribed = True

        self._begin(lambda: pending.done, done)

    # The sender

    def sender_comes(self):
        """It sends again what is not acknowledged, first of all [MQTT-4.4.0-1]."""
        line = Line()
        there = self.sessions.of("sender")
        if there is not None and there.connected:
            self.sessions.left(there, there.line)
        connected = self.sessions.connect(Wanted("sender", "", False, NEVER, 5, line))
        session, kept = connected.session, connected.kept
        self.sender = line

        def let_in():
            if self.sender is line:
                session.begin(WINDOW)
                for pid, (_, state) in list(self.known.unacked.items()):
                    if state == SENT:
                        self._publish([pid])
                    else:
                        self._release(pid)

        self._begin(lambda: kept is None or kept.done, let_in)

    def send(self, count=1):
        """Messages that are new, in one read."""
        pids = []
        for _ in range(count):
            self.known.last_pid = self.known.last_pid % WINDOW + 1  # they are used again soon
            if self.known.last_pid in self.known.unacked:
                break
            pids.append(self.known.last_pid)
            self.known.unacked[pids[-1]] = [self.known.next_number, SENT]
            self.known.next_number += 1
        if pids:
            self._publish(pids)

    def _publish(self, pids):
        """As the door takes them."""
        arrivals, line = self.sessions.of("sender").arrivals, self.sender
        known = [it for it in pids if it in arrivals]
        new = [it for it in pids if it not in arrivals]
        for pid in known:
            self._when(arrivals.again(pid), lambda pid=pid: self._received(pid, line))
        if new:
            held, run = Transaction(), []
            data = mapping.properties_of(TOPIC, 2, None, self.clock(), retain=False)
            queue = self.sessions.of("receiver").queue
            for pid in new:
                body = b"%d" % self.known.unacked[pid][0]
                message = Message(mapping.EXCHANGE, mapping.key_of(TOPIC), data, body)
                run.append(((queue,), message))
            self.vhost.publish(run, held)
            waiting = arrivals.take(new, held)
            self._when(waiting, lambda: [self._received(pid, line) for pid in new])

    def _when(self, waiting, then):
        if waiting is None:
            then()
        else:
            waiting.watch(lambda: self.calls.append(self._look))
            self._begin(waiting.settled, then)

    def _received(self, pid, line):
        """PUBREC."""
        if line is self.sender and self.known.unacked.get(pid, (0, ""))[1] == SENT:
            self.known.unacked[pid][1] = RECEIVED
            self._release(pid)

    def _release(self, pid):
        line = self.sender
        [(_, waiting, _)] = self.sessions.of("sender").arrivals.release([pid])
        self._when(waiting, lambda: self._completed(pid, line))

    def _completed(self, pid, line):
        """PUBCOMP."""
        if line is self.sender and pid in self.known.unacked:
            assert self.known.unacked[pid][1] == RECEIVED
            self.known.done.append(self.known.unacked.pop(pid)[0])


def sends_and_gets(it):
    it.receiver_comes()
    it.run()
    it.subscribe()
    it.run()
    it.sender_comes()
    it.run()
    it.send(3)
    it.some()
    it.send()
    it.some()
    it.run()
    it.send(2)
    it.some()
    it.run()


def goes_and_comes(it):
    it.receiver_comes()
    it.run()
    it.subscribe()
    it.run()
    it.sender_comes()
    it.run()
    it.send(2)
    it.some(20)
    it.receiver_goes()
    it.some()
    it.send(2)
    it.some(20)
    it.sender_comes()
    it.some()
    it.receiver_comes()
    it.some(20)
    it.sender_comes()
    it.receiver_comes()
    it.some(20)
    it.run()
    it.send(4)
    it.some(30)
    it.receiver_comes()
    it.run()


def waits_in_the_queue(it):
    it.receiver_comes()
    it.run()
    it.subscribe()
    it.run()
    it.receiver_goes()
    it.sender_comes()
    it.run()
    for _ in range(3):
        it.send(3)
        it.run()
    it.receiver_comes()
    it.some(25)
    it.run()


HISTORIES = [sends_and_gets, goes_and_comes, waits_in_the_queue]


def check_law(disk, choose, known):
    """Both come back, and all that was begun is done: exactly once, in order."""
    it = Exactly(disk, choose, known)
    it.receiver_comes()
    it.run()
    if not it.known.subscribed:
        it.subscribe()
        it.run()
    it.sender_comes()
    it.run()
    it.send(2)
    it.some(10)
    last = it.disk.freeze(), it.known.copy()
    it.run()
    ended(it)
    it.crash()
    return last


def ended(it):
    known = it.known
    assert not known.unacked
    assert not known.held
    assert known.got == sorted(set(known.got)), f"out of order, or twice: {known.got}"
    assert sorted(known.done) == list(range(known.next_number))
    assert known.got == sorted(known.done), f"lost: {set(known.done) - set(known.got)}"


def twice(disk, choose, known):
    """The power goes again while they go on."""
    frozen, after = check_law(disk, choose, known)
    check_law(frozen.killed(), choose, after)


def moments(base, history, choose, count):
    machine = Exactly(StoreDisk(base), choose)
    history(machine)
    ended(machine)
    machine.crash()
    # Before, there is no store yet.
    return some([it for it in machine.moments if isinstance(it.known, Known)], choose, count)


@pytest.mark.long
@pytest.mark.parametrize("history", HISTORIES)
def test_a_message_comes_exactly_once_whatever_a_power_cut_leaves(base, history):
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, MOMENTS):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            twice(disk, choose, moment.known)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 20


@pytest.mark.long
@pytest.mark.parametrize("history", HISTORIES)
def test_a_message_comes_exactly_once_though_the_process_is_killed(base, history):
    choose = random.Random(SEED)
    for moment in moments(base, history, choose, 6 * MOMENTS):
        twice(moment.disk.killed(), choose, moment.known)


def test_a_process_that_is_killed_doubles_nothing(base):
    choose = random.Random(SEED)
    for moment in moments(base, goes_and_comes, choose, 4):
        check_law(moment.disk.killed(), choose, moment.known)
