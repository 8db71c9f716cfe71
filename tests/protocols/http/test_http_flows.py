"""Answers that are given bit by bit: streams of parts and events, to peers that read or do not."""

import pytest
from http_kit import HttpPeer, answers, request
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import Failed, UnknownTopic
from logstore.http.asks import OPEN
from logstore.http.event_stream import event
from logstore.http.faults import Fault
from logstore.http.routes import Route, Router
from logstore.protocols.http.replies import flows, listeners
from logstore.protocols.http.replies.flows import (
    KEEP_ALIVE_S,
    LOOK_S,
    PIECE_BYTES,
    UNREAD_BYTES_MAX,
    UNREAD_S,
)

ASK = request("GET", "/x")


def peer_of(handler, **more):
    row = Route("GET", "/x", lambda door, call: handler(call), "", OPEN)
    return HttpPeer(router=Router([row]), **more)


def streamed(parts, **more):
    return peer_of(lambda call: call.stream("text/plain", parts), **more)


def body_of(data, **more):
    [(status, headers, body)] = answers(data, **more)
    assert status == 200
    return headers["content-type"], body


def test_parts_are_the_answer_in_order():
    peer = streamed(iter([b"a", b"b" * 100, b"c"]))
    assert body_of(peer.say(ASK)) == ("text/plain", b"a" + b"b" * 100 + b"c")
    assert not peer.session.busy
    assert peer.session.closed is None


def test_a_part_is_asked_for_when_the_peer_has_taken_those_before():
    asked = []

    def parts():
        for number in range(10):
            asked.append(number)
            yield bytes(PIECE_BYTES)

    peer = streamed(parts())
    peer.feed(ASK)
    assert asked == [0]
    for upto in range(1, 10):
        assert peer.session.outgoing(1 << 20)
        assert asked == list(range(min(upto + 1, 10)))
        assert peer.session.held_bytes < 3 * PIECE_BYTES


def test_small_parts_are_put_together_and_slow_ones_are_not():
    peer = streamed(iter([b"x"] * 1000))
    peer.feed(ASK)
    assert len(peer.session.outgoing(1 << 20)[0]) > 1000
    ticks = iter(range(10_000))
    peer = streamed(iter([b"x"] * 1000), stopwatch=lambda: next(ticks))
    peer.feed(ASK)
    assert peer.session.outgoing(1 << 20)[0].count(b"x\r\n") == 2  # the first, and one more


def test_an_error_before_the_first_part_has_its_status():
    def parts():
        raise UnknownTopic("no topic 'x'")
        yield b""

    [(status, _, body)] = answers(streamed(parts()).say(ASK))
    assert (status, body) == (404, b'{"error":"no topic \'x\'","kind":"UnknownTopic"}\n')


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Failed("the disk is gone"), "an answer broke off: the disk is gone"),
        (ZeroDivisionError(), "an answer broke off"),
    ],
)
def test_an_error_later_ends_the_connection_without_an_end_of_the_answer(caplog, error, reason):
    def parts():
        yield bytes(PIECE_BYTES)
        raise error

    peer = streamed(parts())
    out = peer.say(ASK)
    assert not out.endswith(b"0\r\n\r\n")
    assert peer.session.closed == reason
    assert ("a bug" in caplog.text) == isinstance(error, ZeroDivisionError)


def test_a_stream_waits_for_what_is_not_there_yet():
    later = []
    peer = peer_of(
        lambda call: later.append(call.stream("text/plain", iter([b"1", b"", b"2", b"3"])))
    )
    first = peer.say(ASK)
    assert b"1" in first.partition(b"\r\n\r\n")[2]
    assert peer.session.busy
    assert peer.out() == b""
    woken = peer.woken
    later[0]()
    assert peer.woken > woken
    assert body_of(first + peer.out()) == ("text/plain", b"123")


def test_a_generator_is_closed_when_its_peer_has_gone():
    closed = []

    def parts():
        try:
            while True:
                yield bytes(PIECE_BYTES)
        finally:
            closed.append(True)

    peer = streamed(parts())
    peer.feed(ASK)
    peer.session.close()
    assert closed == [True]
    assert peer.session.busy is False


def test_nothing_is_made_for_a_head():
    asked = []

    def parts():
        for number in range(10):
            asked.append(number)
            yield bytes(PIECE_BYTES)

    peer = streamed(parts())
    [(status, _, body)] = answers(peer.say(request("HEAD", "/x")), heads=(0,))
    assert (status, body, asked) == (200, b"", [0])
    assert not peer.session.busy


def test_requests_behind_a_stream_are_answered_after_it():
    peer = streamed(iter([b"a"]))
    found = answers(peer.say(ASK + request("GET", "/nothing")))
    assert [status for status, _, _ in found] == [200, 404]


def test_what_is_refused_in_the_middle_of_lines_breaks_off():
    calls = []
    peer = peer_of(calls.append)
    peer.say(ASK)
    calls[0].line(b"1\n")
    calls[0].fail(Failed("the disk is gone"))
    assert peer.out().endswith(b"1\n\r\n")
    assert peer.session.closed == "an answer broke off"


def test_a_request_in_two_pieces_has_an_answer_that_may_take_long():
    calls = []
    peer = peer_of(calls.append)
    peer.say(ASK[:5])
    peer.say(ASK[5:])
    assert peer.pass_time(3600) == b""
    calls[0].answer(1)
    [(status, _, _)] = answers(peer.out())
    assert status == 200


# Events


class Tail:
    """A peer that listens to events."""

    def __init__(self):
        self.peer = peer_of(lambda call: setattr(self, "events", call.events()))

    def listen(self):
        head = self.peer.say(ASK)
        assert b"text/event-stream" in head
        assert b"retry: 2000\n\n" in head
        return self

    def read(self):
        """What comes now, without the frames of chunks."""
        data, found = self.peer.out(), b""
        while data:
            size, _, data = data.partition(b"\r\n")
            found, data = found + data[: int(size, 16)], data[int(size, 16) + 2 :]
        return found


def test_events_come_as_they_are_sent():
    tail = Tail().listen()
    assert tail.events.open
    tail.events.send("one")
    tail.events.send(b"two\nlines", "figures", "7")
    assert tail.read() == b"data: one\n\nid: 7\nevent: figures\ndata: two\ndata: lines\n\n"
    assert tail.peer.session.busy


def test_a_silent_stream_says_something_now_and_then():
    tail = Tail().listen()
    for _ in range(2):
        said = b""
        for _ in range(int(KEEP_ALIVE_S / LOOK_S)):
            assert said == b""
            tail.peer.now += LOOK_S
            assert tail.peer.session.deadline == tail.peer.now
            tail.peer.session.wake(tail.peer.now)
            said = tail.read()
        assert said == b":\n\n"


def test_events_that_are_not_read_are_dropped_and_the_peer_is_told_how_many():
    tail = Tail().listen()
    for _ in range(300):
        tail.events.send(bytes(1000))
    assert tail.peer.session.held_bytes < UNREAD_BYTES_MAX
    tail.events.send("more")
    assert tail.read() == b'event: gap\ndata: {"dropped":301}\n\n'
    tail.events.send("on")
    assert tail.read() == b"data: on\n\n"


def test_a_stream_that_is_never_read_is_cut_off():
    tail = Tail().listen()
    tail.events.send("x")
    tail.peer.unsent = 10  # the connection has them still
    for _ in range(int(UNREAD_S / LOOK_S) + 1):
        assert tail.peer.cut_for is None
        tail.peer.now += LOOK_S
        tail.peer.session.wake(tail.peer.now)
    assert tail.peer.cut_for == "its events were not read for 30 s"
    assert not tail.events.open
    tail.events.send("y")
    assert tail.peer.session.outgoing(1000) == ()


def test_an_answer_that_nobody_waits_for_is_not_begun():
    calls = []
    peer = peer_of(calls.append)
    peer.say(ASK)
    peer.session.close()
    for begin in (lambda: calls[0].stream("text/plain", iter([b"x"])), calls[0].events):
        with pytest.raises(Fault, match="no longer waits"):
            begin()
    assert len(peer.door.listeners) == 0


def test_a_slow_reader_is_not_cut_off():
    tail = Tail().listen()
    tail.peer.unsent = 10
    for _ in range(20):
        tail.events.send("x")
        assert tail.read()  # what was sent before is on its way, and more is taken
        tail.peer.now += UNREAD_S / 2
        tail.peer.session.wake(tail.peer.now)
    assert tail.peer.cut_for is None


def test_the_end_is_told_when_the_peer_goes_and_when_the_server_stops():
    told = []
    tail = Tail().listen()
    tail.events.at_end(lambda: told.append("gone"))
    assert tail.peer.session.leave(tail.peer.now) is False
    assert tail.peer.session.closed == ""
    tail.peer.session.close()
    assert told == ["gone"]
    tail.events.at_end(lambda: told.append("late"))
    assert told == ["gone", "late"]


def test_who_listens_and_sends_no_more_has_gone():
    tail = Tail().listen()
    tail.peer.session.finish(tail.peer.now)
    assert tail.peer.session.closed == ""


def test_a_server_that_stops_waits_for_nobody_who_does_not_read_events():
    tail = Tail().listen()
    tail.peer.unsent = 10
    tail.peer.session.leave(tail.peer.now)
    assert tail.peer.cut_for == ""
    assert not tail.events.open


def test_a_bug_at_the_end_keeps_no_one_else_from_hearing_of_it(caplog):
    told = []
    tail = Tail().listen()
    tail.events.at_end(lambda: 1 / 0)
    tail.events.at_end(lambda: told.append(True))
    tail.peer.session.close()
    assert told == [True]
    assert "a bug at the end of an answer" in caplog.text


def test_no_more_may_listen_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr(listeners, "LISTENERS_MAX", 2)
    tail = Tail().listen()
    door = tail.peer.session._door
    door.listeners.add(0)
    another = Tail()
    another.peer.session._door = door
    [(status, _, _)] = answers(another.peer.say(ASK))
    assert status == 503
    tail.peer.session.close()
    another.listen()


def test_a_crowd_shares_the_bytes_that_may_be_unread(monkeypatch):
    monkeypatch.setattr(listeners, "TOGETHER_BYTES_MAX", 10_000)
    tail = Tail().listen()
    others = [tail.peer.session._door.listeners.add(0) for _ in range(9)]
    tail.events.send(bytes(2000))
    assert tail.read() == b'event: gap\ndata: {"dropped":1}\n\n'
    for it in others:
        tail.peer.session._door.listeners.remove(it)
    tail.events.send(bytes(2000))
    assert len(tail.read()) > 2000


@given(st.lists(st.tuples(st.binary(max_size=20), st.sampled_from(["", "a", "ü"])), max_size=5))
def test_an_event_reads_as_it_was_sent(sent):
    found = []
    data = b"".join(event(it, name, name) for it, name in sent)
    for block in data.split(b"\n\n")[:-1]:
        fields = [line.partition(b": ")[::2] for line in block.split(b"\n")]
        names = [value.decode() for field, value in fields if field == b"event"]
        lines = [value for field, value in fields if field == b"data"]
        found.append((b"\n".join(lines), "".join(names)))
    plain = [(it.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), name) for it, name in sent]
    assert found == plain


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\0"])
def test_a_name_in_two_lines_is_no_name(name):
    with pytest.raises(ValueError, match="not in one line"):
        event(b"", name)
    with pytest.raises(ValueError, match="not in one line"):
        event(b"", "", name)


def test_of_two_paths_that_match_the_literal_one_is_meant():
    rows = [Route("GET", it, it, "", OPEN) for it in ("/a/{x}", "/a/b", "/{x}/b")]
    router = Router(rows)
    assert [router.find("GET", it).route.path for it in (b"/a/b", b"/a/c", b"/c/b")] == [
        "/a/b", "/a/{x}", "/{x}/b",
    ]  # fmt: skip
    assert flows.PIECE_BYTES < flows.UNREAD_BYTES_MAX
