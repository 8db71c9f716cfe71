"""Two nodes and the link between them without sockets: bytes go over when a test says so.

The owner has real queues; the node that asks has channels and consumers as queues see them.
"""

from itertools import count

from amqp_kit import FakeLink
from queue_parts import Channel, Consumer
from turns_by_hand import Turns

from logstore.access.failures import Failures
from logstore.broker.queues.away.consumer import Wanted
from logstore.broker.queues.away.owner import FarOwner
from logstore.broker.queues.message import Showing
from logstore.errors import BrokenProtocol, ClusterUnreachable, NotOwned
from logstore.protocols.relay.door import RelayDoor
from logstore.protocols.relay.session import RelaySession
from logstore.relay.messages import SIZE
from logstore.relay.talk import Talk

SECRET = b"that all nodes have"
NONCES = (number.to_bytes(32) for number in count(1))


class Heard:
    """``Told`` that keeps what it is told."""

    def __init__(self):
        self.talk = self.why = None
        self.messages = []
        self.refuses = False
        self.drains = 0

    def opened(self, talk):
        self.talk = talk

    def heard(self, message):
        if self.refuses:
            raise BrokenProtocol("none of that")
        self.messages.append(message)

    def drained(self):
        self.drains += 1

    def lost(self, why):
        self.why = why


def frames(pieces):
    """Whole messages, each without its size."""
    data = b"".join(pieces)
    while data:
        (size,) = SIZE.unpack_from(data)
        yield memoryview(data[SIZE.size : SIZE.size + size])
        data = data[SIZE.size + size :]


class FarChannel(Channel):
    """A channel of a client that is connected to the node that asks."""

    name = "127.0.0.1:4711 -> 127.0.0.1:5672 (1)"


class FarClient(Consumer):
    """Its consumer."""

    def __init__(self, channel=None, prefetch=0, **given):
        super().__init__(FarChannel() if channel is None else channel, prefetch, **given)


class Away:
    """A queue as it is noted in channels of the node that asks."""

    def __init__(self, owner):
        self.settle, self.release, self.reject = owner.settle, owner.release, owner.reject


class Stream:
    """Bytes on their way, cut into messages by whoever receives them."""

    def __init__(self):
        self.data = b""

    def frames(self):
        while len(self.data) >= 4:
            end = 4 + int.from_bytes(self.data[:4])
            if len(self.data) < end:
                return
            frame, self.data = self.data[4:end], self.data[end:]
            yield memoryview(frame)


class Joined:
    """``node``: as of ``queue_parts``, which owns the queues; ``asker``: another one, if that
    matters.
    """

    def __init__(self, node, asker=None, **door):
        self.node = node
        self.asker = asker
        self.now = self.steady = 100.0  # the second one goes on while the node that asks is stopped
        self.door = RelayDoor(
            b"owner", SECRET, self._find, node.work, nonce=lambda: next(NONCES),
            failures=Failures(1.0), **door,
        )  # fmt: skip
        self.ids = count(1)
        self.turns = Turns() if asker is None else asker.turns  # of the node that asks
        self.lost = []  # consumers, and why
        self.owner = FarOwner(
            self.ids, self.turns.soon, Showing(), lambda *those: self.lost.append(those)
        )
        self.away = Away(self.owner)
        self.links = 0
        self.talk = self.session = None

    def _find(self, vhost, name, number):
        found = self.node.queues.vhost(vhost).queue(name)
        if found.id != number:
            raise NotOwned(f"queue {name!r} is another one")
        found.plain("consumer")
        return found

    def wanted(self, name=b"q"):
        return Wanted(b"/", name, self.node.vhost.queue(name).id)

    # The link

    def connect(self, secret=SECRET, to=b"owner", me=b"asker", *, run=True):
        self.links += 1
        self.link = FakeLink(self.node.turns, 5000 + self.links)
        self.link.look = self._look
        self.session = RelaySession(self.door, self.link)
        self.talk = Talk(
            me, secret, next(NONCES), self.owner, lambda: self.now, lambda: None, to,
            lambda: self.steady,
        )  # fmt: skip
        self.there, self.back = b"", Stream()  # on their way to the owner, and from it
        if run:
            self.run()

    def _look(self):
        if self.session is not None:
            self.session.wake(self.now)

    def send(self, most=None):
        """Send up to ``most`` bytes of the asking node's output; returns their number."""
        self.there += b"".join(self.talk.outgoing())
        some = self.there if most is None else self.there[:most]
        if not some or self.session.closed is not None:
            return 0
        taken = self.session.receive(memoryview(some), self.now)
        self.there = self.there[taken:]
        return taken

    def take(self, most=None):
        """Take up to ``most`` bytes of the owner's output; returns their number."""
        if self.link.unsent:
            return 0
        said = b"".join(map(bytes, self.session.outgoing(1 << 20)))
        self.back.data += said
        some = len(self.back.data) if most is None else most
        late = self.back.data[some:]
        self.back.data = self.back.data[:some]
        taken = 0
        for frame in self.back.frames():
            taken += len(frame) + 4
            self.talk.received(frame)
        self.back.data += late
        return taken or len(said)

    def run(self):
        """Run until neither side has anything to send or to do."""
        moved = True
        while moved:
            self.node.run()
            moved = bool(self.turns.left)
            if self.asker is None:
                self.turns.over()
            else:
                self.asker.run()
            if self.session is not None:
                moved = bool(self.send()) or moved
                self.node.run()
                moved = bool(self.take()) or moved

    def cut(self, *, noticed=True):
        """Cut the connection with all bytes under way. ``noticed``: by the owner, too."""
        session, talk = self.session, self.talk
        self.session = self.talk = None
        if session is not None:
            talk.lose(ClusterUnreachable("cut"))
            if noticed:
                session.close()

    # Clients

    def subscribe(self, client, name=b"q"):
        """Subscribe; returns the answers so far, and the far consumer."""
        told = []
        client.far = self.owner.subscribe(self.wanted(name), self.away, client, told.append)
        client.told = told
        return client

    def consume(self, name=b"q", **given):
        client = self.subscribe(FarClient(**given), name)
        self.run()
        assert client.told == [None]
        return client

    def fetch(self, channel, *, no_ack=False, name=b"q"):
        told = []
        self.owner.get(self.wanted(name), self.away, channel, no_ack, told.append)
        self.run()
        [got] = told
        return got
