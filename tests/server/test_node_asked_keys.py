"""Questions about keys between nodes: answered, given up, or of a link that has ended."""

from types import SimpleNamespace

import pytest
from keys_kit import ApartDoor

from logstore.errors import BrokenProtocol, Failed
from logstore.node import asked_keys
from logstore.node.asked_keys import DO, GIVE_UP, AskedKeys, Asking
from logstore.protocols.resp.relayed import Relayed
from logstore.protocols.resp.relaying import Asked, written
from logstore.protocols.resp.session import RespSession


class Linked:
    """``Owner`` of keys, with the node that asks it."""

    def __init__(self):
        self.door = door = ApartDoor()
        self.log = door.own(0)
        doorway = SimpleNamespace(
            new_session=lambda link: RespSession(door.door, door.everyone, link)
        )
        house = SimpleNamespace(doorways={"resp": doorway}, timer=self, soon=door.around.soon)
        self.keys = AskedKeys(house)
        self.asker = object()
        self.ended = 0  # questions that end others, and always find room

    def ask(self, kind, content, then, *, ends=False):
        self.ended += ends
        self.keys.asked[kind](self.asker, content, then)

    def now(self):
        return self.door.now

    def call_at(self, at, call):
        return SimpleNamespace(cancel=lambda: None)


@pytest.fixture
def linked():
    return Linked()


def content(*words):
    return Asked(2, 0, "", b"", written([it.encode() for it in words])).written()


def test_each_question_has_its_answer(linked):
    asking, got = Asking(), []
    for n in range(3):
        asking.ask(linked, content("RPUSH", "list", str(n)), got.append)
    assert got == []
    linked.door.sync(linked.log)
    assert got == [b":1\r\n", b":2\r\n", b":3\r\n"]


def test_what_is_given_up_is_not_done(linked):
    asking, got = Asking(), []
    asking.ask(linked, content("BLPOP", "a", "0"), got.append)
    give_up = asking.ask(linked, content("BLPOP", "b", "0"), got.append)
    give_up()
    give_up()
    assert ([type(it) for it in got], linked.ended) == ([Failed], 2)
    peer = linked.door.connect()
    for name in ("b", "a"):
        peer.ask("RPUSH", name, "x")
        linked.door.sync(linked.log)
    linked.door.sync(linked.log)  # what was taken
    peer.new()
    assert got[1:] == [b"*2\r\n$1\r\na\r\n$1\r\nx\r\n"]
    assert peer.ask("LLEN", "b") == b":1\r\n"


def test_commands_that_wait_leave_room_for_what_else_a_node_is_asked(linked, monkeypatch):
    """Or nobody could consume from its queues while thousands of clients wait for keys."""
    monkeypatch.setattr(asked_keys, "ASKED_MAX", 2)
    asking, got = Asking(), []
    give_up = [asking.ask(linked, content("BLPOP", "a", "0"), got.append) for _ in range(3)]
    assert [str(it) for it in got] == ["2 commands wait for the node that serves it: try again"]
    assert len(linked.door.everyone) == 2
    for it in give_up:
        it()
    asking.ask(linked, content("GET", "a"), got.append)
    assert got[-1] == b"$-1\r\n"
    assert not asking._asked


def test_nothing_is_done_for_a_node_whose_link_has_ended(linked):
    got = []
    Asking().ask(linked, content("BLPOP", "a", "0"), got.append)
    assert len(linked.door.everyone) == 1
    linked.keys.gone(linked.asker)
    linked.keys.gone(linked.asker)
    assert linked.door.everyone == {}
    assert got == []


def test_no_more_is_held_for_a_node_than_is_bounded(linked, monkeypatch):
    monkeypatch.setattr(asked_keys, "BYTES_MAX", 200)
    asking, got = Asking(), []
    while not got:
        asking.ask(linked, content("BLPOP", "a", "0"), got.append)
    assert 1 <= len(linked.door.everyone) <= 200 // len(content("BLPOP", "a", "0"))
    assert "at once: try again" in str(got[0])
    linked.keys.gone(linked.asker)
    asking.ask(linked, content("GET", "a"), got.append)
    assert got[1:] == [b"$-1\r\n"]


def test_one_that_does_not_serve_the_database_says_so(linked):
    got = []
    linked.door.lose(0)
    Asking().ask(linked, content("GET", "a"), got.append)
    assert got == [b"-NOTOWNED database 0 is served by node b\r\n"]


@pytest.mark.parametrize("kind", [DO, GIVE_UP])
def test_a_question_that_is_cut_off_breaks_the_protocol(linked, kind):
    for data in (b"", b"1234567", *([b"12345678"] if kind == DO else [])):
        with pytest.raises(BrokenProtocol):
            linked.ask(kind, data, lambda answer: None)


def test_a_question_does_not_go_round_those_that_are_open(linked, monkeypatch):
    read = []

    def get_bytes(it):
        read.append(it)
        return it._bytes

    counted = property(get_bytes, lambda it, size: setattr(it, "_bytes", size))
    monkeypatch.setattr(Relayed, "bytes", counted, raising=False)
    asking, got = Asking(), []
    for n in range(20):
        asking.ask(linked, content("BLPOP", f"list{n}", "0"), got.append)
    assert got == []
    assert len(read) <= 20


def test_what_is_given_up_or_answered_leaves_room_for_others(linked, monkeypatch):
    question = content("BLPOP", "a", "0")
    monkeypatch.setattr(asked_keys, "BYTES_MAX", 3 * len(question))
    asking, got = Asking(), []
    for _ in range(10):
        asking.ask(linked, question, got.append)()
    asking.ask(linked, question, got.append)
    asking.ask(linked, question, got.append)
    asking.ask(linked, question, got.append)
    assert [str(it).partition(":")[0] for it in got[10:]] == [
        f"a node asks for at most {3 * len(question)} bytes at once"
    ]
    linked.keys.gone(linked.asker)
    del got[:]
    asking.ask(linked, question, got.append)
    assert got == []
