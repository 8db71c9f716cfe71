"""A link to a broker, and a broker: a session of our own Kafka door, without sockets."""

from door_kit import Talk

from logstore.cluster.frames import SHARED_BYTES, Frames
from logstore.cluster.link import Link


class Linked:
    """Bytes go over when a test says so."""

    def __init__(self, talk=None, **given):
        self.talk = talk or Talk()
        self.woken = 0
        self.link = Link("broker-1", lambda: self.talk.now, self._wake, **given)
        self._frames = Frames(memoryview(bytearray(SHARED_BYTES)))

    def _wake(self):
        self.woken += 1

    def pump(self):
        """Pass bytes until neither side has any to send."""
        moved = True
        while moved:
            sent = b"".join(map(bytes, self.link.outgoing()))
            self.talk.feed(sent)
            answered = self.talk.out()
            for frame in self.frames(answered):
                self.link.received(frame)
            moved = bool(sent or answered)

    def frames(self, data):
        """The whole answers in a socket's bytes."""
        found = []
        while data:
            room = self._frames.room()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            found += self._frames.taken(count)
            data = data[count:]
        return found

    def ask(self, kind, request, **more):
        """Send a request; returns the answer."""
        heard = []
        self.link.ask(kind, request, heard.append, **more)
        self.pump()
        [answer] = heard
        return answer
