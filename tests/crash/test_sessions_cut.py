"""The crash law of MQTT sessions, whatever a power cut leaves at any moment of short histories:

a client that was let in with a session that lasts has it, with each subscription that was
acknowledged; a message that was acknowledged to its publisher comes to it, until it has been
acknowledged in turn, in order, and to nobody else; what was ended is not there, nor anything of it
in the next session of that client; no queue is left without a session.
"""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from lossy_disk import SURVIVORS_MOST, some
from lossy_queues import Machine, Moment
from lossy_store import StoreDisk
from mqtt_sessions import Line, PlainSpace

from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.sessions import Sessions, Wanted, is_of_session
from logstore.broker.queues.station_home import Surroundings
from logstore.kept.mqtt import NEVER
from logstore.storage.committer import MqttCommitter

SEED = 20260601
SURVIVORS = max(4, SURVIVORS_MOST // 200)
MOMENTS = 8
ASKED, IN, ENDING, GONE = "asked", "in", "ending", "gone"  # of a session
SENT, THERE, DONE = "sent", "there", "done"  # of a message for a session


@dataclass
class Known:
    """What clients know: sessions by their numbers."""

    now_ms: int
    sessions: dict = field(default_factory=dict)  # number -> [client, state]
    grants: dict = field(default_factory=dict)  # number -> filter -> qos; None: perhaps
    messages: dict = field(default_factory=dict)  # number of a message -> session -> state

    def copy(self):
        return deepcopy(self)


class SessionMachine(Machine):
    """Sessions in use; takes a picture of every moment."""

    def __init__(self, disk, choose, known=None):
        super().__init__(disk, choose, known=None if known is None else _as_queues(known))
        if known is not None:
            self.known = known.copy()

    def open(self):
        self.lines, self.sent = {}, {}
        self.known = Known(self.now_ms)
        super().open()
        environment = self.directory._catalog.environment
        self.space = PlainSpace(SimpleNamespace(clock=self.clock, vhost=self.vhost))
        self.sessions = Sessions(
            self.queues, self.space, MqttCommitter(self.committer, environment)
        )

    def surroundings(self):
        return Surroundings()

    def later(self, ms):
        self.now_ms += ms
        self.known.now_ms = self.now_ms
        self.queues.tick(self.now_ms)

    # What clients do

    def come(self, client, *, clean=False, expiry_s=NEVER):
        there = self.sessions.of(client)
        if there is not None and (clean or there.expiry_s == 0):
            self._ends(there.number)
        line = self.lines[client] = Line()
        connected = self.sessions.connect(Wanted(client, "", clean, expiry_s, 5, line))
        session = connected.session
        number = session.number
        if not connected.present and session.lasts:
            self.known.sessions[number] = [client, ASKED]
            self.known.grants[number] = {}

        def let_in():
            if self.known.sessions.get(number, GONE)[1] == ASKED:
                self.known.sessions[number][1] = IN
            for it, (its, state) in self.known.sessions.items():
                if its == client and state == ENDING and it != number:
                    self.known.sessions[it][1] = GONE
            if session.line is line:
                session.begin(100)

        kept = connected.kept
        self._begin(lambda: kept is None or kept.done, let_in)
        return session

    def _ends(self, number):
        if number in self.known.sessions:
            self.known.sessions[number][1] = ENDING

    def go(self, client, expiry_s=None):
        session = self.sessions.of(client)
        if expiry_s == 0:
            self._ends(session.number)
        self.sessions.left(session, session.line, expiry_s=expiry_s)

    def subscribe(self, client, filter, qos=1):
        session = self.sessions.of(client)
        its = self.known.grants[session.number]
        its[filter] = None
        pending = session.subscribe([(filter, Grant(qos))])
        self._begin(lambda: pending.done, lambda: its.update({filter: qos}))

    def unsubscribe(self, client, filter):
        session = self.sessions.of(client)
        self.known.grants[session.number][filter] = None
        _, pending = session.unsubscribe([filter])
        self._begin(
            lambda: pending.done, lambda: self.known.grants[session.number].pop(filter, None)
        )

    def send(self, topic, count, size=0):
        numbers = [self.numbers + n for n in range(count)]
        self.numbers += count
        members = {
            it for entries in self.space.tree.matching(topic) for it, its in entries.items() if its
        }
        for number in numbers:
            self.known.messages[number] = {it.number: SENT for it in members}
        bodies = [b"%d|" % it + bytes(size) for it in numbers]
        published = self.space.publish(topic, *bodies)

        def safe():
            for number in numbers:
                for it, state in self.known.messages[number].items():
                    if state == SENT:
                        self.known.messages[number][it] = THERE

        self._begin(published.waiting.settled, safe)
        published.waiting.watch(lambda: None)

    def ack(self, client, count):
        session = self.sessions.of(client)
        those = [it for it in self.lines[client].sent if it.pid in session.out.pids][:count]
        for it in those:
            self.known.messages[int(it.payload.split(b"|")[0])][session.number] = DONE
        assert session.out.acked([it.pid for it in those])

    # What there is

    def contents(self):
        """Of each session: its client, its grants, and the numbers that wait for it."""
        self.run()
        found = {}
        for session in self.sessions.there():
            had = []
            if session.queue is not None:
                fetched = self.fetched(session.queue, self.channel)
                had = [int(it.body.split(b"|")[0]) for it in fetched]
                for it in self.channel.unacked.drain():
                    it.queue.release(it, failed=False)
            found[session.number] = session.client, dict(session.grants), had
        self.run()
        return found


def _as_queues(known):
    """What the machine of queues goes by."""
    numbers = dict.fromkeys(known.messages, None)
    return SimpleNamespace(
        copy=lambda: SimpleNamespace(places=numbers, may={}, now_ms=known.now_ms)
    )


def comes_and_goes(it):
    it.come("a")
    it.some()
    it.run()
    it.subscribe("a", b"t/+")
    it.some()
    it.run()
    it.send(b"t/1", 3)
    it.some()
    it.run()
    it.ack("a", 1)
    it.some()
    it.go("a")
    it.send(b"t/2", 2, size=150)
    it.some()
    it.run()
    it.come("a")
    it.run()
    it.ack("a", 3)
    it.run()
    it.subscribe("a", b"u", qos=2)
    it.unsubscribe("a", b"t/+")
    it.some()
    it.run()
    it.send(b"t/1", 1)
    it.send(b"u", 2)
    it.run()


def begins_anew(it):
    it.come("a")
    it.come("b")
    it.run()
    it.subscribe("a", b"t")
    it.subscribe("b", b"#")
    it.run()
    it.send(b"t", 3)
    it.run()
    it.come("a", clean=True)
    it.some()
    it.send(b"t", 2)
    it.some()
    it.run()
    it.subscribe("a", b"t")
    it.some()
    it.send(b"t", 2)
    it.run()
    it.go("b", expiry_s=0)
    it.some()
    it.come("b")
    it.some()
    it.run()
    it.subscribe("b", b"t")
    it.send(b"t", 1)
    it.run()


def is_taken_over(it):
    it.come("a", expiry_s=60)
    it.run()
    it.subscribe("a", b"t")
    it.run()
    it.send(b"t", 4)
    it.run()
    it.come("a", expiry_s=60)
    it.some()
    it.send(b"t", 2)
    it.run()
    it.ack("a", 3)
    it.come("a", expiry_s=0)
    it.run()
    it.ack("a", 1)
    it.run()
    it.come("a", expiry_s=60)
    it.some()
    it.run()
    it.subscribe("a", b"t")
    it.some()
    it.run()
    it.send(b"t", 1)
    it.run()


HISTORIES = [comes_and_goes, begins_anew, is_taken_over]


def check(it, known):
    """The law; what there is."""
    contents = it.contents()
    clients = [client for client, _, _ in contents.values()]
    assert len(clients) == len(set(clients)), f"two sessions of a client: {clients}"
    for number, (client, _, _) in contents.items():
        assert known.sessions[number][0] == client
        assert known.sessions[number][1] != GONE, f"{client}'s session {number} was ended"
    for number, (client, state) in known.sessions.items():
        assert state != IN or number in contents, f"{client}'s session {number} is lost"
    for number, (client, grants, had) in contents.items():
        for filter, qos in known.grants[number].items():
            assert qos is None or grants[filter].qos == qos, f"{client}: {filter} is lost"
        assert set(grants) <= set(known.grants[number]), f"{client} has others' subscriptions"
        assert had == sorted(set(had)), f"{client}: {had}"
        for message in had:
            assert number in known.messages[message], f"{client} has {message}, of another"
        for message, places in known.messages.items():
            assert places.get(number) != THERE or message in had, f"{client}: {message} is lost"
    queues = {it.queue.id for it in it.sessions.there() if it.queue is not None}
    assert {q.id for q in it.vhost.queues() if is_of_session(q)} <= queues, "a queue is left"
    return contents


def opened(disk, choose, known):
    return SessionMachine(disk, choose, known)


def adopt(it, known, contents):
    """What is there is known from now on."""
    it.known = Known(it.now_ms)
    it.known.messages = {number: {} for number in known.messages}
    for number, (client, _) in known.sessions.items():
        if number not in contents:
            it.known.sessions[number] = [client, GONE]
            it.known.grants[number] = {}
    for number, (client, grants, had) in contents.items():
        it.known.sessions[number] = [client, IN if known.sessions[number][1] != ENDING else ENDING]
        it.known.grants[number] = {filter: grant.qos for filter, grant in grants.items()}
        for message in had:
            it.known.messages[message][number] = THERE


def check_law(disk, choose, known):
    """The law; then clients go on as if nothing had been, and the power goes again."""
    it = opened(disk, choose, known)
    adopt(it, known, check(it, known))
    for client in ("a", "b"):
        it.come(client)
        it.run()
        it.subscribe(client, b"t/1")
        it.run()
    it.send(b"t/1", 2)
    it.run()
    it.ack("a", 1)
    it.run()
    last = it.disk.freeze(), it.known.copy()
    it.crash()
    third = opened(last[0].disk(frozenset()), choose, last[1])
    check(third, last[1])
    third.crash()


def moments(base, history, choose, count):
    machine = SessionMachine(StoreDisk(base), choose)
    history(machine)
    assert all(state in (IN, GONE) for _, state in machine.known.sessions.values())
    machine.crash()
    return some(machine.moments, choose, count)


@pytest.mark.long
@pytest.mark.parametrize("history", HISTORIES)
def test_the_law_holds_whatever_a_power_cut_leaves(base, history):
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, MOMENTS):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(disk, choose, moment.known)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 20


@pytest.mark.long
@pytest.mark.parametrize("history", HISTORIES)
def test_the_law_holds_for_a_process_that_is_killed_at_any_moment(base, history):
    choose = random.Random(SEED)
    for moment in moments(base, history, choose, 3 * MOMENTS):
        check_law(moment.disk.killed(), choose, moment.known)


def test_a_process_that_is_killed_loses_no_session(base):
    choose = random.Random(SEED)
    for moment in moments(base, comes_and_goes, choose, 3):
        check_law(moment.disk.killed(), choose, moment.known)


def test_the_moments_know_of_sessions_and_messages(base):
    choose = random.Random(SEED)
    found = moments(base, begins_anew, choose, 1 << 30)
    states = {state for it in found for _, state in it.known.sessions.values()}
    assert states == {ASKED, IN, ENDING, GONE}
    assert isinstance(found[0], Moment)
    assert any(THERE in its.values() for it in found for its in it.known.messages.values())
