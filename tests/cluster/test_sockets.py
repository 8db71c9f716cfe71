"""What a link says goes to its socket once a turn, and only while the peer reads."""

from types import SimpleNamespace

import pytest

from logstore.cluster import sockets
from logstore.cluster.frames import SHARED_BYTES, Frames
from logstore.errors import BrokenProtocol, ClusterUnreachable


class Loop:
    def __init__(self):
        self.calls = []

    def call_soon(self, call):
        self.calls.append(call)

    def run(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Spoken:
    peer = "node b"
    frame_bytes_max = 100

    def __init__(self):
        self.failure = None
        self.out, self.heard, self.signs = [], [], 0

    def outgoing(self):
        out, self.out = self.out, []
        return out

    def came(self):
        self.signs += 1

    def received(self, frame):
        self.heard.append(bytes(frame))

    def lose(self, why):
        self.failure = self.failure or why


class Transport:
    def __init__(self):
        self.sent, self.aborted = [], False

    def writelines(self, data):
        self.sent += data

    def abort(self):
        self.aborted = True


@pytest.fixture
def line():
    loop, link, transport = Loop(), Spoken(), Transport()
    frames = Frames(memoryview(bytearray(SHARED_BYTES)), lambda: link.frame_bytes_max)
    made = sockets._Line(loop, link, frames)
    made.connection_made(transport)
    return SimpleNamespace(loop=loop, link=link, transport=transport, it=made)


def give(line, data):
    line.it.get_buffer(-1)[: len(data)] = data
    line.it.buffer_updated(len(data))


def test_what_is_said_in_a_turn_goes_at_once(line):
    for word in b"one", b"two":
        line.link.out.append(word)
        line.it.wake()
    assert len(line.loop.calls) == 1
    line.loop.run()
    assert line.transport.sent == [b"one", b"two"]


def test_a_peer_that_does_not_read_is_not_written_to(line):
    line.it.pause_writing()
    line.link.out.append(b"one")
    line.it.wake()
    line.loop.run()
    assert line.transport.sent == []
    assert line.link.out == [b"one"]
    line.it.resume_writing()
    line.loop.run()
    assert line.transport.sent == [b"one"]


@pytest.mark.parametrize("paused", [True, False])
def test_a_link_that_is_lost_says_its_last_word_and_is_cut(line, paused):
    if paused:
        line.it.pause_writing()
    line.link.out.append(b"why")
    line.link.lose(ClusterUnreachable("over"))
    line.it.wake()
    line.loop.run()
    assert line.transport.sent == [b"why"]
    assert line.transport.aborted


def test_a_part_of_a_message_is_a_sign_of_life(line):
    give(line, b"\0\0\0\3ab")
    assert (line.link.signs, line.link.heard) == (1, [])
    give(line, b"c")
    assert (line.link.signs, line.link.heard) == (2, [b"abc"])


def test_a_message_over_the_bound_ends_the_link(line):
    give(line, b"\0\0\0\145")
    assert isinstance(line.link.failure, BrokenProtocol)
    assert str(line.link.failure) == "node b: a message of 101 bytes: at most 100 are allowed"


def test_a_link_hears_of_its_end(line):
    line.it.connection_lost(None)
    assert str(line.link.failure) == "node b: it has closed the connection"
