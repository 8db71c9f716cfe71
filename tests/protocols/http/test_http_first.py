"""Who comes before the door's code is there is served once it is, and others are not held up."""

import pytest
from http_kit import HttpPeer, answers, request
from workers import LaterWork

from logstore.access.identity import OWNER
from logstore.errors import Failed
from logstore.protocols.first import Code
from logstore.protocols.http.session import HttpSession
from logstore.protocols.session import NOTHING

SERVER = request("GET", "/api/v1/server")


class Peer(HttpPeer):
    """A client that has come in by a door whose code is still to be had."""

    def __init__(self, code):
        super().__init__()
        self.session = code.session(self)


@pytest.fixture
def later():
    return LaterWork()


def session_of(link):
    return HttpSession(link.door, link, OWNER)


@pytest.fixture
def code(later):
    return Code(later.take, lambda: None, session_of)


def test_what_is_asked_meanwhile_waits_and_is_answered(code, later):
    peer = Peer(code)
    assert peer.say(SERVER + SERVER) == b""
    assert (peer.session.busy, peer.session.wants, peer.session.closed) == (True, 0, None)
    assert peer.session.about() is NOTHING
    assert later.work_off() == 1
    assert peer.woken
    peer.session.wake(peer.now)
    assert [status for status, _, _ in answers(peer.out())] == [200, 200]
    assert not peer.session.busy


def test_the_code_is_loaded_once_for_all_who_have_come(code, later):
    first, second = Peer(code), Peer(code)
    assert later.work_off() == 1
    assert later.work_off() == 0
    third = Peer(code)
    assert type(third.session).__name__ == "HttpSession"
    for peer in (first, second, third):
        peer.session.wake(peer.now)
        assert answers(peer.say(SERVER))
    assert later.work_off() == 0


def test_who_has_gone_meanwhile_gets_no_session(code, later):
    made = []
    code.made = made.append
    peer = Peer(code)
    peer.session.close()
    later.work_off()
    assert made == []
    assert code.loaded


def test_a_server_that_stops_meanwhile_ends_it(code):
    peer = Peer(code)
    assert not peer.session.leave(peer.now)
    peer.session.finish(peer.now)
    assert (peer.session.closed, peer.session.busy) == ("", False)


def test_code_that_cannot_be_had_ends_the_connection_and_is_tried_again():
    later = LaterWork()
    found = [Failed("internal error: no such module"), None]
    code = Code(later.take, lambda: found.pop(0), session_of)
    peer = Peer(code)
    later.work_off()
    assert peer.session.closed == "internal error: no such module"
    other = Peer(code)
    assert later.work_off() == 1
    other.session.wake(other.now)
    assert answers(other.say(SERVER))
