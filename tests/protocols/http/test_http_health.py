"""Whether records can be acknowledged: looked for once for all who ask, in time, and told."""

import json

import pytest
from http_kit import HttpPeer, answers, request

from logstore.errors import LogFailed, UnknownPartition
from logstore.protocols.http.common.health import AGAIN_S, ANSWER_S
from logstore.storage.disk import Disk
from logstore.storage.readiness import ROOM_BYTES_MIN, unready

READY = request("GET", "/readyz")
WRONG = {"disk": "/data: the disk is full"}


class Looks:
    """Looks that end when the test says so."""

    def __init__(self):
        self.now, self.waiting = 0.0, []
        self.first = self.peer(look=self.waiting.append)

    def peer(self, look=None, **more):
        door = None if look else self.first.door
        return HttpPeer(door=door, stopwatch=lambda: self.now, unready=look, **more)

    def end(self, found):
        [then] = self.waiting
        self.waiting.clear()
        then(found)


@pytest.fixture
def looks():
    return Looks()


def told(peer):
    [(status, _, body)] = answers(peer.out())
    return status, json.loads(body)


def test_a_process_that_answers_is_alive():
    [(status, _, _)] = answers(HttpPeer(who=None).say(request("GET", "/healthz")))
    assert status == 403  # the host x is none of this machine's
    [(status, _, body)] = answers(HttpPeer().say(request("GET", "/healthz")))
    assert (status, json.loads(body)) == (200, {"status": "ok"})


def test_one_that_can_acknowledge_is_ready(looks):
    looks.first.feed(READY)
    looks.end({})
    assert told(looks.first) == (200, {"status": "ok", "failed": []})


def test_one_that_cannot_says_what_is_wrong(looks, caplog):
    looks.first.feed(READY)
    looks.end(WRONG)
    status, found = told(looks.first)
    assert (status, found["failed"]) == (503, ["disk"])
    assert found["error"] == "not ready: /data: the disk is full"
    stranger = looks.peer(who=None, address=("192.0.2.1", 1))
    stranger.feed(READY)
    status, found = told(stranger)
    assert (status, found["error"]) == (503, "not ready: wrong: disk; see the log")
    assert caplog.messages == ["not ready: /data: the disk is full"]
    looks.now += AGAIN_S
    looks.first.feed(READY)
    looks.end({})
    assert told(looks.first)[0] == 200
    assert caplog.messages[1:] == ["ready again"]


def test_many_who_ask_cost_one_look(looks):
    peers = [looks.peer() for _ in range(5)]
    for it in peers:
        it.feed(READY)
    looks.end({})
    assert [told(it)[0] for it in peers] == [200] * 5
    looks.now += AGAIN_S / 2
    peers[0].feed(READY)
    assert told(peers[0])[0] == 200
    assert looks.waiting == []
    looks.now += AGAIN_S
    peers[0].feed(READY)
    assert len(looks.waiting) == 1


def test_a_disk_that_hangs_answers_nobody_and_is_not_ready(looks):
    looks.first.feed(READY)
    assert looks.first.session.deadline == looks.first.now + ANSWER_S
    [(status, _, body)] = answers(looks.first.pass_time(ANSWER_S))
    assert (status, json.loads(body)["failed"]) == (503, ["disk"])
    looks.end({})
    assert looks.first.out() == b""
    assert looks.first.session.deadline is None
    looks.first.feed(READY)
    assert told(looks.first)[0] == 200


# What is looked at


class FakeDisk(Disk):
    usable, may = ROOM_BYTES_MIN, True

    def space(self, path):
        return 1 << 40, self.usable

    def writable(self, path):
        return self.may


class FakeLog:
    def __init__(self, error=None):
        self.error = error

    def check_failure(self):
        if self.error is not None:
            raise self.error


def look(disk=None, in_place=None, catalogue=None, logs=()):
    def check(error):
        if error is not None:
            raise error

    return unready(
        "/data", disk or FakeDisk(), lambda: check(in_place), lambda: check(catalogue), logs
    )


def test_a_directory_that_takes_writes_is_ready():
    assert look(logs=[FakeLog(), FakeLog(UnknownPartition("deleted"))]) == {}


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({"in_place": LogFailed("moved")}, {"directory": "moved"}),
        ({"catalogue": OSError("no")}, {"catalogue": "no"}),
        ({"logs": [FakeLog(LogFailed("a")), FakeLog(LogFailed("b"))]}, {"logs": "a; and 1 more"}),
    ],
)
def test_each_thing_that_may_be_wrong_is_named(facts, wrong):
    assert look(**facts) == wrong


def test_a_full_disk_and_one_that_is_read_only_are_not_ready():
    disk = FakeDisk()
    disk.usable = ROOM_BYTES_MIN - 1
    assert look(disk) == {"disk": f"/data: the disk is full: {ROOM_BYTES_MIN - 1} bytes are left"}
    disk.may = False
    assert list(look(disk)) == ["disk"]
