"""Sessions of the MQTT door without sockets, over real sessions and queues in a directory."""

from types import SimpleNamespace

from fed_peer import FedPeer
from mqtt_sessions import MqttLives

from logstore.access.access import open_access
from logstore.access.audit import Unheard
from logstore.access.logins import Nobody
from logstore.access.refusals import Refusals
from logstore.broker.listeners import Match
from logstore.broker.mqtt.message import Carried
from logstore.broker.mqtt.sys_topics import Seen, SysTopics
from logstore.broker.queues.pending import Waiting
from logstore.counts.doors import DoorCounts
from logstore.counts.mqtt import MqttCounts
from logstore.mqtt import fields, kinds, packets
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.properties import NONE, Properties
from logstore.protocols.mqtt.door import MqttDoor, MqttLimits
from logstore.protocols.mqtt.phase import Phase
from logstore.protocols.mqtt.session import MqttSession
from logstore.protocols.rabbit_alarm import DiskAlarm
from logstore.slices import Slices

PACKET_BYTES_MAX = 1 << 20


class FakeLink:
    def __init__(self, turns, number, host="127.0.0.1"):
        self.peer, self.address = f"{host}:{number}", ("127.0.0.1", 1883)
        self.peer_address = host, number
        self.unsent = self.unread = 0
        self.secure, self.certificate = False, None
        self.look = self.got = None
        self.pushed = []
        self.was_cut = None
        self._turns = turns

    def wake(self):
        self._turns.soon(self.look)

    def push(self, data):
        self.pushed.append(data)
        return self.unsent

    def cut(self, reason):
        self.was_cut = reason


class Model:
    """Sessions, and a space of topics as plain as can be."""

    crowded = False

    def __init__(self, node):
        self.node = node
        self.sessions = node.sessions
        self.wills = FakeWills()
        self.sessions.wills = self.wills
        self.published = []
        self.held = None  # a Waiting that says when published messages are safe
        self.unfinished = {}
        self.nothing_retained = SysTopics(Seen, lambda: 0)

    def cursor(self, session, filter_, grant):
        return self.nothing_retained.cursor(filter_)

    def preparing(self, topics):
        return None

    def publish(self, messages, held=None):
        self.published += messages
        matched = []
        for it in messages:
            grants = {}
            for entries in self.node.space.tree.matching(it.topic):
                for member, grant in entries.items():
                    grants.setdefault(member, []).append(grant)
            matched.append(len(grants))
            for member, those in grants.items():
                if max(grant.qos for grant in those) and it.qos:
                    continue
                if member.live:
                    form = member.form_of(
                        retain_as_published=any(grant.retain_as_published for grant in those),
                        ids=tuple(sorted(grant.id for grant in those if grant.id)),
                    )
                    payload = Carried(it.payload, it.about, it.publisher, retain=it.retain)
                    member.deliver(form.chunk([form.opening(Match(it.topic))], [payload]))
        waiting = self.held or Waiting()
        for it in messages:
            if it.qos:
                found = self.node.space.publish(
                    it.topic, it.payload, qos=it.qos, about=it.about, retain=it.retain, held=held
                )
                for log, mark in found.waiting.marks:
                    waiting.appended(log, mark)
        return SimpleNamespace(waiting=waiting, matched=matched)

    def settle(self, size):
        pass


class FakeWills:
    def __init__(self):
        self.there = {}
        self.events = []

    def keep(self, client, will, session_s):
        self.there[client] = will, session_s

    def give_up(self, client):
        if self.there.pop(client, None) is not None:
            self.events.append(("given up", client))

    def left(self, session, *, graceful):
        if self.there.pop(session.client, None) is not None:
            self.events.append(("forgotten" if graceful else "left", session.client))

    def back(self, session):
        pass

    def ended(self, session):
        pass


class Door:
    """A node's sessions and the door to them."""

    def __init__(self, path, **given):
        """``given``: access rules and limits, as in ``MqttDoor``."""
        self.now = 100.0
        self._lives = MqttLives(path)
        self.clock = self._lives.clock
        self.node = self._lives.open()
        self.model = Model(self.node)
        self.opening = []  # calls that wait for the model, while it counts as closed
        self.is_closed = False
        self.free_bytes = 1 << 40
        limits = given.pop("limits", MqttLimits(PACKET_BYTES_MAX, 8 << 20, 100))
        access = given.pop("access", None) or open_access()
        self.numbers = iter(range(1000))
        self.peers = []
        self.door = MqttDoor(
            self, limits, self.clock, lambda: self.now, Slices(self.node.soon), access,
            given.pop("logins", Nobody()), Refusals(lambda: self.now),
            given.pop("audit", Unheard()), given.pop("insecure", False),
            DiskAlarm(SimpleNamespace(opened=None), lambda: self.free_bytes, 1000, lambda: None),
            MqttCounts(), DoorCounts(), lambda: f"auto-{next(self.numbers)}",
        )  # fmt: skip

    def when_open(self, then):
        if self.is_closed:
            self.opening.append(then)
        else:
            then(self.model)

    def connect(self, host="127.0.0.1", **tls):
        self.peers.append(Peer(self, host, **tls))
        return self.peers[-1]

    def come(self, client="c", *, version=V5, **given):
        """A connected client, and the contents of its CONNACK."""
        peer = self.connect()
        peer.version = version
        return peer, peer.ask(connect(client, version=version, **given))

    def run(self):
        """Run until nothing is left, everything is safe, and all waiting peers were told."""
        self.node.run(until=lambda: not any(peer.waits for peer in self.peers))

    def later(self, seconds):
        self.now += seconds
        for peer in self.peers:
            peer.due()
        self.run()

    def close(self):
        for peer in self.peers:
            peer.end()
        self.run()
        self._lives.close()


def connect(
    client="c", *, version=V5, clean=True, expiry_s=None, keep_alive_s=0, will=None, user=None,
    password=None, **said,
):  # fmt: skip
    """A CONNECT."""
    found = Properties(session_expiry_s=expiry_s, **said) if version == V5 else NONE
    return packets.Connect(version, clean, keep_alive_s, client, will, user, password, found)


class Peer(FedPeer):
    """A client's end."""

    def __init__(self, door, host, **tls):
        super().__init__(door, FakeLink(door.node.turns, 1000 + len(door.peers), host), tls)
        self.version = V5
        self.session = MqttSession(door.door, self.link)
        self.got = b""

    @property
    def waits(self):
        session = self.session
        entering = session.phase is Phase.ENTERING and session.mine is not None
        return not self.over and (entering or bool(session.owed))

    def due(self):
        """Run the session's timer if it is due."""
        deadline = self.session.deadline
        if not self.over and deadline is not None and deadline <= self.door.now:
            self.look()

    def flush(self):
        """Send pushed bytes first, and then close, as the server does."""
        self._take_pushed()
        super().flush()
        if self.session.closed is not None and not self.link.unsent:
            self.end()

    def hear(self, data):
        self.got += data

    def _take_pushed(self):
        self.hear(b"".join(self.link.pushed))
        self.link.pushed.clear()

    def give(self, data):
        if not self.over:
            super().give(data)

    def send(self, *those):
        self.give(b"".join(packets.write(it, self.version) for it in those))

    def ask(self, *those):
        """Send packets; returns the one answer once all is done, or None."""
        self.send(*those)
        self.door.run()
        found = self.packets()
        return found[0] if len(found) == 1 else found or None

    def packets(self):
        """All packets since the last call."""
        self._take_pushed()
        found, at = [], 0
        while at < len(self.got):
            size, begin = fields.read_varint(self.got, at + 1, len(self.got))
            assert begin + size <= len(self.got)
            body = self.got[begin : begin + size]
            found.append(packets.read(self.got[at], body, self.version))
            at = begin + size
        self.got = b""
        return found

    def subscribe(self, *filters, qos=0, number=None, **options):
        """Subscribe; returns the reason codes."""
        ids = () if number is None else (number,)
        packet = packets.Subscribe(
            7, [(it, packets.Options(qos, **options)) for it in filters],
            Properties(subscription_ids=ids) if ids else NONE,
        )  # fmt: skip
        found = self.ask(packet)
        found = found if isinstance(found, list) else [found]
        [answer] = [it for it in found if isinstance(it, packets.Answers)]
        assert (answer.kind, answer.pid) == (kinds.SUBACK, 7)
        return list(answer.reasons)


VERSIONS = (V311, V5)
