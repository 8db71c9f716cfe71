"""MQTT sessions over real queues, with lines that a test reads, and turns that it ends itself."""

from dataclasses import fields

from queue_parts import Lives, Node

from logstore.broker.mqtt import mapping
from logstore.broker.mqtt.filters import FilterTree
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.sessions import SessionLimits, Sessions, Wanted
from logstore.broker.queues.message import Message
from logstore.kept.mqtt import NEVER
from logstore.slices import in_one_go
from logstore.storage.committer import MqttCommitter

MANY_BYTES = 1 << 20


class Line:
    """A connection that keeps what it is sent."""

    whose = None

    def __init__(self, packet_max=1 << 30):
        self.sent = []  # all, also on this line
        self.room = MANY_BYTES
        self.packet_max = packet_max
        self.released = []
        self.ends = []  # why it is to end

    def form_of(self, **_):
        return None

    def deliver(self, chunk):
        self.sent.append(chunk)

    def room_bytes(self):
        return self.room

    def send(self, messages):
        too_long = [it.pid for it in messages if len(it.payload) > self.packet_max]
        self.sent += [it for it in messages if it.pid not in too_long or not it.pid]
        return [it for it in too_long if it]

    def release(self, pids):
        self.released += pids

    def taken_over(self):
        self.ends.append("taken over")

    def session_ended(self, reason):
        self.ends.append(reason)

    @property
    def bodies(self):
        return [it.payload for it in self.sent]

    def forget(self):
        sent, self.sent = self.sent, []
        return sent


class PlainSpace:
    """A space of topics that puts messages into queues, and sends nothing else."""

    def __init__(self, node):
        self.node = node
        self.tree = FilterTree()
        self.members = {}

    def subscribe(self, member, filter, grant):
        self.tree.add(filter, member, grant)
        self.members.setdefault(member, set()).add(filter)

    def unsubscribe(self, member, filter):
        self.tree.remove(filter, member)
        self.members[member].discard(filter)

    def leave(self, member):
        in_one_go(self.leaving(member))

    def leaving(self, member):
        return self._remove(member, self.members.pop(member, ()))

    def _remove(self, member, filters):
        for it in filters:
            self.tree.remove(it, member)
            yield 1

    def changed(self, member):
        pass

    def publish(self, topic, *payloads, qos=1, about=None, retain=False, held=None):
        qos_of = {}
        for entries in self.tree.matching(topic):
            for member, grant in entries.items():
                qos_of[member] = max(grant.qos, qos_of.get(member, 0))
        queues = tuple(it.queue for it, its in qos_of.items() if its and qos and it.queue)
        data = mapping.properties_of(topic, qos, about, self.node.clock(), retain=retain)
        key = mapping.key_of(topic)
        run = [(queues, Message(mapping.EXCHANGE, key, data, it)) for it in payloads]
        return self.node.vhost.publish(run, held)


class MqttNode(Node):
    """With sessions."""

    limits = SessionLimits()

    def __init__(self, directory, clock):
        super().__init__(directory, clock)
        self.space = PlainSpace(self)
        self.keeper = MqttCommitter(self.committer, directory._catalog.environment)
        self.sessions = Sessions(self.queues, self.space, self.keeper, self.limits)
        self.run()

    def come(
        self, client="c", *, clean=False, expiry_s=NEVER, version=5, user="", line=None, window=100
    ):
        """Connect a client: its session, whether that existed, and its line."""
        line = Line() if line is None else line
        wanted = Wanted(client, user, clean, expiry_s, version, line)
        connected = self.sessions.connect(wanted)
        self.wait_for(connected.kept)
        connected.session.begin(window)
        self.run()
        return connected.session, connected.present, line

    def wait_for(self, pending):
        self.run(until=lambda: pending is None or pending.done)
        assert pending is None or pending.error is None

    def go(self, session, **given):
        self.sessions.left(session, session.line, **given)
        self.run()

    def subscribe(self, session, *filters, qos=1, **given):
        self.wait_for(session.subscribe([(it, Grant(qos, **given)) for it in filters]))

    def unsubscribe(self, session, *filters):
        had, pending = session.unsubscribe(filters)
        self.wait_for(pending)
        return had

    def send(self, topic, *payloads, **given):
        """Publish, and wait until it is safe."""
        self._confirmed(self.space.publish(topic, *payloads, **given))

    def ack(self, session, *pids):
        assert session.out.acked(pids)
        self.run()

    def counts_anew(self):
        """Reset the counts."""
        for it in fields(self.sessions.counts):
            setattr(self.sessions.counts, it.name, 0)

    def close(self):
        self.run()
        self.sessions.close()
        super().close()


class MqttLives(Lives):
    """One data directory in one life after the other."""

    node_type = MqttNode
