"""A space of topics over a node's queues and channels, and those who listen."""

from typing import NamedTuple

from logstore.amqp import properties
from logstore.broker.mqtt.crossing import join
from logstore.broker.mqtt.mapping import seen
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.message import Carried, Message
from logstore.broker.mqtt.space import Space
from logstore.broker.unsafe import Unsafe


class Got(NamedTuple):
    """A chunk: messages as they were written for some."""

    messages: list


class Plain:
    """A form that keeps all apart."""

    def __init__(self, ids):
        self.ids = ids

    def opening(self, match):
        return match.channel

    def chunk(self, openings, payloads):
        return Got([(openings[0], it, self.ids) for it in payloads])

    def join(self, chunks):
        return Got([it for chunk in chunks for it in chunk.messages])


class Member:
    shared = False

    def __init__(self, forms, queue):
        self.live = True
        self.queue = queue
        self.chunks = []
        self._forms = forms

    def form_of(self, *, retain_as_published, ids):
        assert list(ids) == sorted(set(ids))
        return self._forms.setdefault((retain_as_published, ids), Plain(ids))

    def deliver(self, chunk):
        assert self.live
        self.chunks.append(chunk)

    def deliver_kept(self, chunk, kept):
        raise AssertionError("members read no histories")

    @property
    def got(self):
        return [it for chunk in self.chunks for it in chunk.messages]

    @property
    def payloads(self):
        return [payload for _, payload, _ in self.got]

    @property
    def abouts(self):
        return [
            (payload.about, payload.retain)
            for payload in self.payloads
            if isinstance(payload, Carried)
        ]


class Listener:
    """A Redis client."""

    def __init__(self):
        self.form = Plain(())
        self.chunks = []

    def deliver(self, chunk):
        self.chunks.append(chunk)

    def deliver_kept(self, chunk, kept):
        self.chunks.append(chunk)

    @property
    def payloads(self):
        return [payload for chunk in self.chunks for _, payload, _ in chunk.messages]


class At:
    """A new space over the channels of a node, and its queues."""

    def __init__(self, node, *, joined=True, keep_for_away=False, runs=True):
        self.node = node
        self.channels = node.channels
        self.space = Space(self.channels, node.soon, node.work, keep_for_away=keep_for_away)
        self.forms = {}
        self.members = []
        self.made = 0
        if joined:
            join(self.space, node.queues, node.soon)
        if runs:
            self.run()
        self.odd = self.member()

    def member(self, *, queue=False, version=5, retains=False, quiet=False, **given):
        its = None
        if queue:
            self.made += 1
            name = b"of-%d-%d" % (id(self), self.made)
            its = self.node.declare(name, durable=not quiet, **given)
        member = Member(self.forms, its)
        self.members.append(member)
        return member

    def subscribe(self, member, filter, qos=0, **grant):
        return self.space.subscribe(member, filter, Grant(qos, **grant))

    def put(self, topic, *payloads, held=None, **given):
        messages = [Message(topic, it, **given) for it in payloads]
        sent = self.space.publish(messages, held)
        self.space.settle()
        return sent

    def publish(self, topic, *payloads, **given):
        """Publish, and wait until it is safe and delivered."""
        sent = self.put(topic, *payloads, **given)
        if sent.waiting is not None:
            sent.waiting.watch(lambda: self.node.deliver(lambda: None))
            self.node.run(until=sent.waiting.settled)
        self.run()
        return sent

    def redis(self, channel, payload):
        with self.channels.lock:
            receivers = self.channels.publish(channel, payload, Unsafe())
            self.channels.settle()
        self.run()
        return receivers

    def run(self):
        self.node.run()

    def taken(self, queue):
        return self.node.get(queue).delivery

    @staticmethod
    def read(delivery):
        return properties.read(delivery.properties)

    def queued(self, member):
        """Messages in the member's queue, consumed: routing key, payload, QoS."""
        found = []
        while (got := self.node.get(member.queue.facts.name)) is not None:
            it = got.delivery
            found.append((it.key, it.body, seen(it.properties, 0).qos))
        return found

    def end(self):
        for it in self.members:
            self.space.leave(it)
        self.channels._beside = self.channels.came = self.channels.onward = None
        self.channels.forget_routes()
        if self.space.crossing is not None:
            self.node.vhost.topology.attend(b"amq.topic", None)
            self.node.vhost.topology._watched.clear()
        for roster in (self.channels.names, self.channels.patterns):
            for name in list(roster):
                for it in list(roster.subscribers(name)):
                    self.channels.leave(it)
        self.node.empty()
