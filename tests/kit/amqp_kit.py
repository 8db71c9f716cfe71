"""Sessions of the RabbitMQ door without sockets, over real queues in a directory."""

import threading

from clock import NOW_MS
from fed_peer import FedPeer
from storage_kit import crash
from turns_by_hand import Turns

import logstore
from logstore.amqp import frames, methods, properties
from logstore.amqp.frames import HEAD
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.station_home import Surroundings
from logstore.open_queues import OpenQueues
from logstore.protocols.amqp.door import AmqpDoor
from logstore.protocols.amqp.session import AmqpSession
from logstore.storage.committer import Committer, QueueCommitter

CAPABILITIES = {
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


DEADLINE_S = 60


class Node:
    """Real queues over a real directory, with turns that a test ends itself."""

    def __init__(self, path, now_ms=NOW_MS):
        self.now_ms = now_ms
        self.turns = Turns()
        self._news = threading.Condition()
        self._calls = []  # left by other threads
        self._works = 0
        self._here = threading.get_ident()
        self._store = logstore.open(path / "data")
        internals = self._store.internals()
        self.disk = internals.directory.disk
        environment = internals.groups.environment
        self._committer = Committer(environment, self._deliver, self.soon)
        keeper = QueueCommitter(self._committer, environment)
        logs = OpenQueues(internals.directory.writable(), keeper)
        self.topics = internals.topics
        self.queues = Queues(
            logs, lambda: self.now_ms, self.soon, self._work,
            surroundings=Surroundings(internals.topics, internals.channels, self._work),
        )  # fmt: skip
        self.opening = []  # calls that wait for the queues, while these count as closed
        self.closed = False

    def open(self):
        """As QueuesOf.open."""
        return self.queues

    @property
    def opened(self):
        """As QueuesOf.opened."""
        return self.queues

    def when_open(self, then):
        """As QueuesOf.when_open."""
        if self.closed:
            self.opening.append(then)
        else:
            then(self.queues)

    def soon(self, call):
        if threading.get_ident() == self._here:
            self.turns.soon(call)
        else:
            self._deliver(lambda: self.turns.soon(call))

    def _deliver(self, call):
        with self._news:
            self._calls.append(call)
            self._news.notify()

    def _work(self, first, second):
        self._works += 1

        def run():
            found = first()
            self._deliver(lambda: done(found))

        def done(found):
            self._works -= 1
            second(found)

        threading.Thread(target=run, daemon=True).start()

    def step(self):
        """Run calls from other threads, and end a turn."""
        with self._news:
            calls, self._calls = self._calls, []
        for call in calls:
            call()
        self.turns.over()

    def run(self, until):
        """End turns until nothing is left, everything is safe, and ``until()`` is true."""
        while True:
            self.step()
            if self.turns.left or self._calls:
                continue
            if not self._works and until() and not self._unsafe():
                return
            with self._news:
                if not self._calls:
                    assert self._news.wait(DEADLINE_S), "nothing comes"

    def _unsafe(self):
        """Whether any appended record is not safe yet, in which case news will follow."""
        queues = [it for vhost in self.queues.vhosts.values() for it in vhost.queues()]
        lanes = [log for queue in queues for log in queue.logs()]
        logs = [*lanes, self.queues._journaling.log]
        for log in logs:
            if log.safe < log.end:
                log.watch(lambda: self._deliver(lambda: None))
                log.sync_soon()
                if log.safe < log.end:
                    return True
        return False

    def later(self, ms):
        self.now_ms += ms
        self.queues.tick(self.now_ms)

    def ready(self, name):
        """The number of ready messages in this queue."""
        return self.queues.vhosts[b"/"].queue(name).ready

    def close(self):
        self.queues.close()
        self._committer.close()
        self._store.close()

    def kill(self):
        """Leave the files as kill -9 would."""
        self._committer.close()
        self._store._upkeep.close()  # a process that is killed does none
        crash(self._store.internals().directory.writable())


class FakeLink:
    def __init__(self, turns, number):
        self.peer, self.address = f"127.0.0.1:{number}", ("127.0.0.1", 5672)
        self.peer_address = "127.0.0.1", number
        self.unsent = self.unread = 0
        self.secure, self.certificate = False, None
        self.look = None
        self._turns = turns

    def wake(self):
        self._turns.soon(self.look)

    def cut(self, reason):
        raise AssertionError(reason)


class Door:
    """A node's queues and the door to them."""

    def __init__(self, path, message_bytes_max=16 << 20, node=None, **given):
        """``node``: a node that outlives the door; a new one by default.

        ``given``: access rules, as in ``AmqpDoor``.
        """
        self._path, self._message_bytes_max = path, message_bytes_max
        self._given = given
        self.now = 100.0
        self.tokens = iter(range(1000))
        self._own = node is None
        self._begin(Node(path) if node is None else node)

    def _begin(self, node):
        self.node = node
        self.door = AmqpDoor(
            node, "3.13.7", "a-b", self._message_bytes_max,
            token=lambda: f"token{next(self.tokens)}", **self._given,
        )  # fmt: skip
        self.peers = []

    def again(self):
        """Stop the process cleanly, and start another one on the directory."""
        for peer in self.peers:
            peer.over = True
        self.node.close()
        self._begin(Node(self._path, self.node.now_ms))

    def kill(self):
        """Kill the process, and start another one on the directory."""
        self.node.kill()
        self._begin(Node(self._path, self.node.now_ms))

    def connect(self, **tls):
        """``tls``: as of a ``Link``: ``secure``, ``certificate``."""
        self.peers.append(Peer(self, **tls))
        return self.peers[-1]

    def open(self, **given):
        """A connection with channel 1 open."""
        peer = self.connect()
        peer.shake_hands(**given)
        peer.ask(methods.ChannelOpen())
        return peer

    def run(self):
        """Run until nothing is left, everything is safe, and all waiting peers were told."""
        self.node.run(until=lambda: not any(peer.waits for peer in self.peers))

    def close(self):
        for peer in self.peers:
            peer.end()
        self.run()
        if self._own:
            self.node.close()


class Peer(FedPeer):
    """A client's end."""

    def __init__(self, door, **tls):
        super().__init__(door, FakeLink(door.node, 1000 + len(door.peers)), tls)
        self.session = AmqpSession(door.door, self.link)
        self.got = b""

    @property
    def waits(self):
        session = self.session
        return bool(session.confirming) or any(it._held_by for it in session.channels.values())

    def hear(self, data):
        self.got += data

    # Frames

    def send(self, *sent, channel=1):
        self.give(b"".join(frames.method_frame(channel, it) for it in sent))

    def ask(self, method, channel=1):
        """Send a method; returns the answer once all is done."""
        self.send(method, channel=channel)
        self.door.run()
        return self.answer()

    def shake_hands(self, vhost="/", heartbeat=0, capabilities=CAPABILITIES, frame_max=131_072,
                    channel_max=2047, login=b"\0guest\0guest"):  # fmt: skip
        self.give(frames.PROTOCOL)
        self.send(
            methods.ConnectionStartOk(
                {"capabilities": dict(capabilities)}, "PLAIN", login, "en_US"
            ),
            methods.ConnectionTuneOk(channel_max, frame_max, heartbeat),
            methods.ConnectionOpen(vhost),
            channel=0,
        )
        return self.methods()

    def frames(self):
        """All frames since the last call: type, channel, payload."""
        found = []
        while self.got:
            kind, number, size = HEAD.unpack_from(self.got)
            assert self.got[7 + size] == 0xCE
            found.append((kind, number, self.got[7 : 7 + size]))
            self.got = self.got[8 + size :]
        return found

    def all(self):
        """Channel and method of each; with properties and body if it has content."""
        found, body = [], None
        for kind, number, payload in self.frames():
            if kind == frames.METHOD:
                assert not body, "a body is missing"
                found.append((number, methods.decode(payload)))
            elif kind == frames.HEADER:
                size, data = properties.read_header(payload)
                body = [size, data, b""]
            elif kind == frames.BODY:
                body[2] += payload
            else:
                found.append((number, "heartbeat"))
            if body and len(body[2]) == body[0]:
                found[-1] = (*found[-1], body[1], body[2])
                body = None
        return found

    def methods(self):
        return [it[1] for it in self.all()]

    def answer(self):
        """The only method that has arrived."""
        (only,) = self.all()
        return only[1] if len(only) == 2 else only[1:]

    def publish(self, *bodies, exchange="", key="q", mandatory=False, props=None, channel=1):
        """Publish these messages in one read."""
        self.give(b"".join(
            message(body, exchange, key, mandatory, props, channel) for body in bodies
        ))  # fmt: skip


def message(body, exchange="", key="q", mandatory=False, props=None, channel=1, room=131_064,
            immediate=False):  # fmt: skip
    """The frames of a Publish."""
    method = methods.BasicPublish(0, exchange, key, mandatory, immediate)
    data = properties.write(props or properties.Properties())
    return b"".join((
        frames.method_frame(channel, method),
        frames.frame(frames.HEADER, channel, properties.header(len(body), data)),
        *frames.body_frames(channel, body, room + frames.OVERHEAD),
    ))  # fmt: skip


def declare(queue="q", passive=False, durable=False, exclusive=False, auto_delete=False,
            nowait=False, **arguments):  # fmt: skip
    return methods.QueueDeclare(
        0, queue, passive, durable, exclusive, auto_delete, nowait, named(arguments)
    )


def consume(queue="q", tag="c", no_ack=False, exclusive=False, nowait=False, **arguments):
    return methods.BasicConsume(0, queue, tag, False, no_ack, exclusive, nowait, named(arguments))


def get(queue="q", no_ack=False):
    return methods.BasicGet(0, queue, no_ack)


def named(arguments):
    return {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}


def exchange(name="e", kind="direct", passive=False, durable=False, auto_delete=False,
             internal=False, nowait=False, **arguments):  # fmt: skip
    return methods.ExchangeDeclare(
        0, name, kind, passive, durable, auto_delete, internal, nowait, arguments
    )


def bind(queue="q", source="e", key="", nowait=False, **arguments):
    return methods.QueueBind(0, queue, source, key, nowait, arguments)


def unbind(queue="q", source="e", key="", **arguments):
    return methods.QueueUnbind(0, queue, source, key, arguments)


def delete(queue="q", if_unused=False, if_empty=False):
    return methods.QueueDelete(0, queue, if_unused, if_empty, False)


def soft(code, text, ids=(50, 10)):
    """The method that closes a channel."""
    return methods.ChannelClose(code, text, *ids)


def hard(code, text, *ids):
    """The method that closes a connection."""
    return methods.ConnectionClose(code, text, *(ids or (0, 0)))


def again(peer):
    """Open the channel again after it was closed."""
    peer.send(methods.ChannelCloseOk())
    assert peer.ask(methods.ChannelOpen()) == methods.ChannelOpenOk()


def deliveries(peer):
    """Consumer tag, delivery tag, redelivered flag and body of all deliveries."""
    return [
        (it[1].consumer_tag, it[1].delivery_tag, it[1].redelivered, it[3])
        for it in peer.all()
        if isinstance(it[1], methods.BasicDeliver)
    ]


def bodies(peer):
    return [it[3] for it in deliveries(peer)]


def confirms(peer):
    """(ack or nack, tag, multiple) of each confirm."""
    return [
        (type(it).__name__, it.delivery_tag, it.multiple)
        for it in peer.methods()
        if isinstance(it, (methods.BasicAck, methods.BasicNack))
    ]


def headers(data):
    """The headers in encoded properties."""
    return properties.read(data).headers
