"""Any session within a WebSocket connection: bytes in, bytes out, and how both end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import events
from wsproto.connection import CLIENT, Connection

from logstore.protocols.session import About
from logstore.protocols.websocket import DISCARD_S, ROOM_BYTES, WebSocketSession
from logstore.websocket.reading import FRAMES_AT_ONCE


class Echo:
    """A session of a protocol whose messages are lines, each of which it sends back."""

    def __init__(self, link):
        self.link = link
        self.wants = 0
        self.deadline = None
        self.held_bytes = 10
        self.closed = None
        self.busy = False
        self.takes = True
        self.out = []
        self.got = b""
        self.finished = self.gone = False

    def receive(self, data, now):
        raw = bytes(data)
        if not self.takes or len(raw) < self.wants:
            return 0
        upto = raw.rfind(b"\n") + 1
        self.got += raw[:upto]
        if upto:
            self.out.append(raw[:upto])
        if b"quit" in raw[:upto]:
            self.closed = "it has said quit"
        return upto

    def wake(self, now):
        pass

    def outgoing(self, bytes_max):
        out, self.out = self.out, []
        return out

    def finish(self, now):
        self.finished = True

    def leave(self, now):
        return False

    def close(self):
        self.gone = True

    def about(self):
        return About("al", facts={"version": "1"})


class Link:
    peer, peer_address, address = "h:1", ("h", 1), ("s", 2)
    secure, certificate, unsent, unread = False, None, 0, 0

    def __init__(self):
        self.pushed = []
        self.woken = 0
        self.cuts = []
        self.is_let_be = False

    def let_be(self):
        self.is_let_be = True

    def wake(self):
        self.woken += 1

    def push(self, data):
        self.pushed.append(data)
        return 7

    def cut(self, reason):
        self.cuts.append(reason)


class Peer:
    def __init__(self, **given):
        self.link = Link()
        self.session = WebSocketSession(Echo, self.link, **given)
        self.inner = self.session._inner
        self.client = Connection(CLIENT)
        self.now, self.left = 0.0, b""

    def give(self, raw):
        self.left += raw
        while self.left and self.session.closed is None:
            taken = self.session.receive(memoryview(self.left), self.now)
            self.left = self.left[taken:]
            if not taken:
                break
        self.session.wake(self.now)

    def send(self, *sent):
        self.give(b"".join(self.client.send(it) for it in sent))

    def raw(self):
        return b"".join(self.session.outgoing(1 << 20))

    def got(self):
        self.client.receive_data(self.raw())
        return list(self.client.events())


def text_of(found):
    return b"".join(
        it.data.encode() if isinstance(it.data, str) else bytes(it.data)
        for it in found if isinstance(it, events.Message)
    )  # fmt: skip


def test_messages_need_not_end_where_frames_do():
    peer = Peer()
    peer.send(events.BytesMessage(b"a\nb"), events.BytesMessage(b"\nc"), events.BytesMessage(b""))
    peer.send(events.BytesMessage(b"\n"))
    assert text_of(peer.got()) == b"a\nb\nc\n"


def test_silence_is_judged_by_the_protocol_within():
    peer = Peer()
    assert peer.link.is_let_be
    peer.inner.deadline = 90.0
    assert peer.session.deadline == 90.0


def test_what_the_client_is_to_get_first_comes_before_all_frames():
    peer = Peer(first=b"HTTP/1.1 101 \r\n\r\n", early=Connection(CLIENT).send(
        events.BytesMessage(b"early\n")
    ))  # fmt: skip
    peer.session.wake(0.0)
    raw = peer.raw()
    assert raw.startswith(b"HTTP/1.1 101 \r\n\r\n\x82\x06early\n")
    assert peer.inner.got == b"early\n"


@pytest.mark.parametrize(
    ("sent", "kind"),
    [(b"plain\n", events.TextMessage), ("\u00e9\n".encode(), events.TextMessage),
     (b"\xff\n", events.BytesMessage)],
)  # fmt: skip
def test_text_goes_as_text_where_it_is_some(sent, kind):
    peer = Peer(text=True)
    peer.send(events.BytesMessage(sent))
    [message] = peer.got()
    assert isinstance(message, kind)


def test_text_is_taken_where_text_is_spoken_and_refused_elsewhere():
    peer = Peer(text=True)
    peer.send(events.TextMessage("hello\n"))
    assert text_of(peer.got()) == b"hello\n"
    binary = Peer()
    binary.send(events.TextMessage("hello\n"))
    [end] = binary.got()
    assert (end.code, end.reason) == (1003, "messages are binary here")
    assert binary.session.closed == "WebSocket: messages are binary here"
    assert binary.inner.finished


def test_a_ping_is_answered():
    peer = Peer()
    peer.send(events.Ping(b"are you there"))
    assert peer.got() == [events.Pong(b"are you there")]


def test_a_client_that_closes_is_answered_and_its_session_is_over():
    peer = Peer()
    peer.send(events.CloseConnection(1001, "leaving"))
    [end] = peer.got()
    assert (end.code, peer.session.closed, peer.inner.finished) == (1001, "", True)
    peer.session.close()
    assert peer.inner.gone


def test_what_the_inner_session_says_last_comes_before_the_end():
    peer = Peer(text=True)
    peer.send(events.TextMessage("quit\n"))
    last, end = peer.got()
    assert last.data == "quit\n"
    assert (end.code, end.reason) == (1008, "it has said quit")
    assert peer.session.closed == "it has said quit"


def test_a_client_that_goes_on_sending_hears_why_before_it_is_closed():
    peer = Peer()
    peer.link.unread = 5
    peer.send(events.TextMessage("bad"))
    [end] = peer.got()
    assert end.code == 1003
    assert peer.session.closed is None
    peer.give(b"x" * 1000)
    assert peer.left == b""
    assert peer.session.deadline == DISCARD_S
    peer.now += DISCARD_S
    peer.session.wake(peer.now)
    assert peer.session.closed == "WebSocket: messages are binary here"


def test_no_more_is_taken_off_its_frames_than_the_session_has_use_for():
    peer = Peer()
    peer.inner.takes = False
    peer.send(events.BytesMessage(b"x" * (1 << 20) + b"\n"))
    assert peer.session.held_bytes < ROOM_BYTES + 4096
    assert len(peer.left) > (1 << 20) - ROOM_BYTES - 100
    peer.inner.takes = True
    peer.give(b"")
    peer.give(peer.client.send(events.BytesMessage(b"y\n")))
    assert len(peer.inner.got) in (0, (1 << 20) + 3)


def test_a_long_message_is_put_together_once_it_is_whole():
    peer = Peer()
    peer.inner.wants = 1 << 20
    for _ in range(16):
        peer.send(events.BytesMessage(b"x" * (1 << 16)))
    assert peer.inner.got == b""
    peer.send(events.BytesMessage(b"\n"))
    peer.inner.wants = 0
    peer.send(events.BytesMessage(b"\n"))
    assert len(peer.inner.got) == (1 << 20) + 2
    assert peer.session.held_bytes < 4096


def test_what_is_pushed_to_many_is_framed_once():
    one, two = Peer(), Peer()
    chunk = b"for all"
    assert one.inner.link.push(chunk) == 7
    two.inner.link.push(chunk)
    assert one.link.pushed == [b"\x82\x07for all"]
    assert one.link.pushed[0] is two.link.pushed[0]


def test_the_inner_session_sees_the_connection_as_it_is():
    link = Peer().inner.link
    assert (link.peer, link.peer_address, link.address) == ("h:1", ("h", 1), ("s", 2))
    assert (link.secure, link.certificate, link.unsent, link.unread) == (False, None, 0, 0)


def test_what_is_known_of_the_client_is_what_the_inner_session_knows():
    about = Peer().session.about()
    assert (about.user, about.facts) == ("al", {"version": "1", "websocket": True})


def test_a_peer_that_has_ended_its_side_is_not_waited_for():
    peer = Peer()
    assert peer.session.busy
    peer.session.finish(1.0)
    assert not peer.session.busy
    assert peer.inner.finished


@given(st.lists(st.binary(max_size=40).map(lambda it: it.replace(b"\n", b"")), max_size=8),
       st.lists(st.integers(1, 60), min_size=1, max_size=8))  # fmt: skip
def test_however_it_is_cut_the_session_gets_the_same(lines, cuts):
    peer = Peer()
    raw = b"".join(peer.client.send(events.BytesMessage(it + b"\n")) for it in lines)
    at = 0
    while at < len(raw):
        for cut in cuts:
            peer.give(raw[at : at + cut])
            at += cut
    expected = b"".join(it + b"\n" for it in lines)
    assert peer.inner.got == expected if b"quit" not in expected else True


def test_so_many_short_frames_are_read_before_others_have_their_turn():
    peer = Peer()
    raw = peer.client.send(events.Ping(b"")) * (2 * FRAMES_AT_ONCE + 1)
    woken = peer.link.woken
    assert peer.session.receive(memoryview(raw), 0.0) == 6 * FRAMES_AT_ONCE
    assert peer.link.woken == woken + 1
    peer.left = raw[6 * FRAMES_AT_ONCE :]
    peer.give(b"")
    assert peer.left == b""
