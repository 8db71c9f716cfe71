"""Following a topic: new records as events, twice a second, the newest where there are many."""

import json

import pytest
from http_kit import request
from http_topics import Topical, users

from logstore.broker import search as searching
from logstore.broker.committed import CommittedLog
from logstore.broker.search import cursor
from logstore.protocols.http.native import record_tail
from logstore.protocols.http.native.record_tail import BATCH_MAX, BATCH_S, GROWN_S
from logstore.records.record import Message


class Follower:
    """One who follows, and what came."""

    def __init__(self, api, query="", *headers):
        self.api, self.peer = api, api.peer
        said = self.peer.say(api.request("GET", f"topics/t/tail{query}", b"", *headers))
        self.head, _, rest = said.partition(b"\r\n\r\n")
        self.status = int(self.head.split()[1])
        self.left = rest

    def events(self):
        """(name, id, data) of those that have come since."""
        data, self.left = self.left + self.peer.out(), b""
        text = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            length = int(size, 16)
            text, data = text + data[:length], data[length + 2 :]
        found = []
        for block in text.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "data" in fields:
                found.append((fields.get("event"), fields.get("id"), json.loads(fields["data"])))
        return found

    def values(self):
        """Of the records that have come."""
        return [
            it["value_preview"]["text"] for name, _, data in self.events() if name == "records"
            for it in data["records"]
        ]  # fmt: skip

    def pass_time(self, seconds=BATCH_S):
        self.api.settle()
        self.api.timer.go_on(seconds)
        self.api.settle()


@pytest.fixture
def api(tmp_path):
    found = Topical(tmp_path / "data")
    found.topics.create("t", 2, {}).append(b"old", partition=0)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """For those that are refused."""
    found = Topical(tmp_path_factory.mktemp("tail") / "data")
    found.topics.create("t", 2, {})
    yield found
    found.close()


@pytest.fixture
def topic(api):
    return api.topics.topic("t")


def test_new_records_come_and_old_ones_do_not(api, topic):
    follower = Follower(api)
    assert follower.status == 200
    assert b"text/event-stream" in follower.head
    [(name, where, data)] = follower.events()  # it is open
    assert (name, where, data) == ("records", ">0:1,1:0", {"records": [], "dropped": 0})
    topic.append(b"1", b"k", partition=1)
    follower.pass_time()
    [(name, where, data)] = follower.events()
    assert (name, where, data["dropped"]) == ("records", ">0:1,1:1", 0)
    [record] = data["records"]
    api.peer = api.new_peer()
    assert record == api.lines("topics/t/search", {"partitions": [1]})[0]["record"]


def test_no_more_than_two_events_a_second(api, topic):
    follower = Follower(api)
    follower.pass_time()
    follower.events()
    for at in range(20):
        topic.append(b"%d" % at, timestamp_ms=at + 1, partition=at % 2)
        follower.pass_time(BATCH_S / 4)
    events = follower.events()
    assert len(events) <= 20 / 4 + 1
    assert [it["value_preview"]["text"] for _, _, data in events for it in data["records"]] == [
        str(at) for at in range(20)
    ]


def test_nothing_is_looked_at_where_nothing_comes(api, topic, monkeypatch):
    follower = Follower(api)
    follower.pass_time()
    looks = []
    monkeypatch.setattr(record_tail, "Search", lambda *_, **__: looks.append(1))
    follower.pass_time(60)
    assert looks == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?partitions=1", ["b"]), ("?partitions=0", ["a", "c"]), ("?key=k", ["c"]),
        ("?text=b", ["b"]), ("?header=h", ["b"]), ("?header=h=1", ["b"]), ("?header=h=2", []),
        ("?partitions=1,1,0&text=a", ["a"]),
    ],
)  # fmt: skip
def test_only_what_is_asked_for_comes(api, topic, query, expected):
    follower = Follower(api, query)
    topic.append(b"a", timestamp_ms=1, partition=0)
    topic.append(b"b", headers=[("h", b"1")], timestamp_ms=2, partition=1)
    topic.append(b"c", b"k", timestamp_ms=3, partition=0)
    follower.pass_time()
    assert follower.values() == expected


def test_of_very_many_the_newest_come_and_the_others_are_counted(api, topic):
    follower = Follower(api)
    follower.events()
    topic.append_many([Message(b"%d" % at) for at in range(3 * BATCH_MAX)], 0)
    follower.pass_time()
    [(_, where, data)] = follower.events()
    values = [it["value_preview"]["text"] for it in data["records"]]
    assert values[-1] == str(3 * BATCH_MAX - 1)
    assert values == [str(at) for at in range(3 * BATCH_MAX - len(values), 3 * BATCH_MAX)]
    assert data["dropped"] == 3 * BATCH_MAX - len(values)
    assert where == f">0:{1 + 3 * BATCH_MAX},1:0"
    assert len(json.dumps(data)) < 2 * record_tail.BATCH_BYTES


def test_who_comes_again_goes_on_where_he_was(api, topic):
    follower = Follower(api)
    topic.append(b"1", partition=0)
    follower.pass_time()
    where = follower.events()[-1][1]
    follower.peer.session.close()
    topic.append(b"2", partition=0)
    api.peer = api.new_peer()
    again = Follower(api, "", f"Last-Event-ID: {where}")
    again.pass_time()
    assert again.values() == ["2"]
    api.peer = api.new_peer()
    third = Follower(api, f"?cursor={cursor({0: 0}, back=False).replace('>', '%3E')}")
    third.pass_time()
    assert third.values() == ["old", "1", "2"]


def test_partitions_that_are_added_are_followed_from_their_beginning(api, topic):
    follower = Follower(api)
    api.topics.grow("t", 3)
    topic.append(b"new", partition=2)
    follower.pass_time(GROWN_S)
    follower.pass_time()
    assert follower.values() == ["new"]
    topic.append(b"newer", partition=2)
    follower.pass_time()
    assert follower.values() == ["newer"]


class Failed(CommittedLog):
    """A cluster's, of which there is no more news."""

    def watch(self, wake):
        return lambda: None


def test_who_follows_goes_on_where_a_log_has_failed(api, topic):
    topic._opened[0] = Failed(topic.partition(0))
    follower = Follower(api)
    topic.forget(0)
    for value in (b"1", b"2"):
        topic.append(value, partition=0)
        follower.pass_time(GROWN_S)
        follower.pass_time()
    assert follower.values() == ["1", "2"]


def test_a_topic_that_is_deleted_is_said_once(api, topic):
    follower = Follower(api)
    follower.pass_time()
    follower.events()
    api.topics.delete("t")
    follower.pass_time(GROWN_S)
    [(name, _, data)] = follower.events()
    assert (name, data["kind"]) == ("refused", "UnknownTopic")
    follower.pass_time(10 * GROWN_S)
    assert follower.events() == []
    assert api.peer.door.tails == set()


def test_who_may_not_read_any_more_hears_nothing_more(tmp_path):
    access = users(ann=[("read", "topic", "t")])
    api = Topical(tmp_path / "data", access)
    topic = api.topics.create("t", 1, {})
    api.user = "mon"
    assert Follower(api).status == 403
    api.user = "ann"
    follower = Follower(api)
    assert follower.status == 200
    follower.events()
    access.change((), list(access.rules))
    topic.append(b"secret")
    follower.pass_time()
    assert b"secret" not in follower.peer.out()
    assert api.peer.door.tails == set()
    api.close()


def test_who_goes_is_watched_for_no_more(api, topic):
    follower = Follower(api)
    follower.pass_time()
    follower.peer.session.close()
    assert api.peer.door.tails == set()
    topic.append(b"1", partition=0)
    follower.pass_time(60)
    assert all(not topic.partition(number)._watchers for number in range(2))


def test_there_are_not_too_many_at_once(api, monkeypatch):
    monkeypatch.setattr(record_tail, "TAILS_MAX", 1)
    first = Follower(api)
    door, api.peer = api.peer.door, api.new_peer()
    api.peer.session._door = door
    assert (first.status, Follower(api).status) == (200, 503)


def test_those_who_come_together_are_not_too_many_either(api, monkeypatch):
    monkeypatch.setattr(record_tail, "TAILS_MAX", 1)
    api.held = []
    peers = [api.new_peer() for _ in range(2)]
    peers[1].session._door = peers[0].door
    for peer in peers:
        peer.say(request("GET", "/api/v1/topics/t/tail"))
    api.work()
    assert [int(peer.out().split()[1]) for peer in peers] == [200, 503]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?partitions=2", 404), ("?partitions=x", 400), ("?partitions=0,", 400),
        ("?partitions=-1", 400), ("?cursor=7", 400), ("?cursor=", 200), ("?limit=1", 400),
    ],
)  # fmt: skip
def test_what_can_not_be_followed_is_said(shared, query, status):
    shared.peer = shared.new_peer()
    assert Follower(shared, query).status == status


def test_damage_is_passed_over(api, topic, monkeypatch):
    from logstore.errors import CorruptBatch

    follower = Follower(api)
    follower.events()

    def damaged(log, place, at, *_):
        raise CorruptBatch("batch at offset 1 has CRC 0x0")
        yield

    topic.append(b"1", partition=0)
    with monkeypatch.context() as patch:
        patch.setattr(searching, "_pieces", damaged)
        follower.pass_time()
    topic.append(b"2", partition=0)
    follower.pass_time()
    assert follower.values() == ["2"]


def test_a_request_without_an_answer_yet_holds_nobody_up(api):
    """The logs are opened by a worker."""
    api.held = []
    api.peer.say(request("GET", "/api/v1/topics/t/tail"))
    api.peer.session.close()
    api.work()
    assert api.peer.door.tails == set()
