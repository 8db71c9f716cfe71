"""Histories are opened and made in a worker: the sessions' thread waits for neither."""

from collections.abc import Sequence

import pytest
from far_log import FarLog
from memory_log import MemoryLog
from redis_parts import request
from resp_kit import FakeDoor, boss, user
from storage_kit import a_batch
from workers import LaterWork

from logstore.broker.topic import Topic
from logstore.errors import Failed
from logstore.protocols.resp.replies import entry
from logstore.settings import ChannelRule, TopicSettings


class Logs(Sequence):
    """The log of a topic, opened at its first use."""

    def __init__(self, topics, log):
        self.topics, self.log = topics, log

    def __len__(self):
        return 1

    def __getitem__(self, number):
        assert self.topics.door.working, "opened in the sessions' thread"
        return self.log


class Topics:
    def __init__(self, door):
        self.door, self.topics, self.made, self.failure = door, {}, [], None

    def put(self, name, log=None):
        logs = Logs(self, log or MemoryLog(f"{name}-0"))
        self.topics[name] = Topic(name, "id", logs, TopicSettings(), 0)
        return logs.log

    def get(self, name):
        return self.topics.get(name)

    def names(self):
        return sorted(self.topics)

    def create(self, name, partitions, settings):
        assert self.door.working, "made in the sessions' thread"
        if self.failure is not None:
            raise self.failure
        self.made.append(name)
        self.put(name)
        return self.topics[name]


class Workers(LaterWork, FakeDoor):
    """Jobs are done when the test says so."""

    def __init__(self, **given):
        LaterWork.__init__(self)
        FakeDoor.__init__(self, **given)
        self.topics = Topics(self)
        rules = [ChannelRule("orders.*", 1000)]
        self.channels.keep(rules, self.topics)

    def work(self, job, done):
        self.take(job, done)

    def work_off(self):
        count = super().work_off()
        for session in self.sessions:
            session.wake(self.now)
        return count


@pytest.fixture
def door():
    return Workers()


def test_publishing_waits_for_the_topic_to_be_made_and_others_are_served(door):
    one, two = door.connect(), door.connect()
    assert one.send(request("PUBLISH", "orders.eu", "a") + request("PING")) == b""
    assert (one.session.busy, len(door.jobs)) == (True, 1)
    assert two.ask("PING") == b"+PONG\r\n"
    assert door.work_off() == 1
    one.wait(0)
    assert one.link.sent == b":0\r\n+PONG\r\n"
    assert one.ask("PUBLISH", "orders.eu", "b") == b":0\r\n"
    assert (door.jobs, door.topics.made) == ([], ["orders.eu"])
    log = door.topics.get("orders.eu").partition(0)
    assert log.end == 2


def test_many_at_once_to_a_channel_that_is_not_open_are_published_in_order(door):
    log, one = door.topics.put("orders.eu"), door.connect()
    one.send(b"".join(request("PUBLISH", "orders.eu", str(n)) for n in range(10)))
    assert (one.link.sent, log.end) == (b"", 0)
    assert door.work_off() == 1
    one.wait(0)
    assert (one.link.sent, log.end) == (b":0\r\n" * 10, 10)


@pytest.mark.parametrize(
    "words",
    [
        ["PUBLISH", "orders.eu", "x"], ["SUBSCRIBE", "orders.eu"], ["SUBSCRIBE", "a", "orders.eu"],
        ["CHANNEL.READ", "orders.eu", "FROM", "0"], ["PSUBSCRIBE", "orders.*"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["on &other -@all +@all", "on &* +@all -@pubsub"])
def test_nothing_is_opened_or_made_for_who_may_not(words, text):
    door = Workers(users=[boss(), user("al", "pw", redis=text)])
    one = door.connect()
    assert one.ask(*words).startswith(b"-NOAUTH")
    one.ask("AUTH", "al", "pw")
    assert door.work_off() == 1  # the password
    assert one.wait(0) == b"+OK\r\n"
    assert one.ask(*words).startswith(b"-NOPERM")
    assert one.send(request(*words) * 5).count(b"-NOPERM") == 5
    one.ask("MULTI")
    one.ask(*words)
    one.ask("EXEC")
    assert (door.jobs, door.topics.made) == ([], [])


def test_nothing_is_made_for_a_transaction_that_lost_its_right():
    door = Workers(users=[boss(), user("al", "pw", redis="on &* +@all")])
    one = door.connect()
    one.ask("AUTH", "al", "pw")
    door.work_off()
    one.ask("MULTI")
    one.ask("PUBLISH", "orders.eu", "x")
    door.access.change([user("al", "pw", redis="on &other +@all")])
    assert b"-NOPERM ACLs rules changed" in one.ask("EXEC")
    assert (door.jobs, door.topics.made) == ([], [])


def test_the_past_is_not_told_to_who_lost_the_right_while_it_was_read():
    door = Workers(users=[boss(), user("al", "pw", redis="on &* +@all")])
    door.topics.put("orders.eu")
    one = door.connect()
    one.ask("AUTH", "al", "pw")
    door.work_off()
    one.wait(0)
    one.ask("SUBSCRIBE", "other")
    one.ask("UNSUBSCRIBE", "other")
    one.ask("PUBLISH", "orders.eu", "secret")
    door.work_off()
    assert one.wait(0) == b":0\r\n"
    one.ask("CHANNEL.READ", "orders.eu", "FROM", "0", "FOLLOW")
    assert len(door.jobs) == 1
    door.access.change([user("al", "pw", redis="on &other +@all")])
    door.work_off()
    assert one.wait(0) == b"-NOPERM No permissions to access a channel\r\n"
    assert not one.session._client.following


def test_who_follows_a_history_that_is_taken_away_is_cut_off():
    door = Workers(users=[boss(), user("al", "pw", redis="on &* +@all")])
    door.topics.put("orders.eu")
    one = door.connect()
    one.ask("AUTH", "al", "pw")
    door.work_off()
    one.wait(0)
    one.ask("CHANNEL.READ", "orders.eu", "FROM", "0", "FOLLOW")
    while door.work_off():
        one.wait(0)
    assert one.session._client.following
    door.access.change([user("al", "pw", redis="on &other +@all")])
    assert one.link.cut_for == "user 'al' may no longer listen to b'orders.eu'"


def test_channels_without_a_history_never_wait(door):
    one = door.connect()
    assert one.send(request("PUBLISH", "other", "a") * 5) == b":0\r\n" * 5
    one.ask("SUBSCRIBE", "other")
    one.ask("PSUBSCRIBE", "oth*")
    assert door.jobs == []


def test_what_can_not_be_made_is_told_once_and_tried_again(door):
    one = door.connect()
    door.topics.failure = Failed("orders.eu: no room")
    one.send(request("PUBLISH", "orders.eu", "a"))
    assert door.work_off() == 1
    one.wait(0)
    assert one.link.sent == b"-ERR orders.eu: no room\r\n"
    door.topics.failure = None
    one.send(request("PUBLISH", "orders.eu", "a"))
    assert door.work_off() == 1
    one.wait(0)
    assert one.link.sent.endswith(b":0\r\n")


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (("SUBSCRIBE", "orders.eu", "other", "orders.us"), ["orders.eu", "orders.us"]),
        (("PSUBSCRIBE", "orders.*"), []),
    ],
)
def test_subscribing_waits_until_the_histories_are_open(door, asked, made):
    log, one, two = door.topics.put("orders.de"), door.connect(), door.connect()
    one.send(request(*asked))
    assert one.link.sent == b""
    door.work_off()
    one.wait(0)
    assert door.topics.made == made
    assert one.link.sent.count(b"subscribe") == len(asked) - 1
    two.send(request("PUBLISH", "orders.eu", "news"))
    door.work_off()
    two.wait(0)
    assert b"news" in one.link.sent
    assert log.end == 0


def test_a_transaction_waits_for_all_its_channels(door):
    one = door.connect()
    for words in (("MULTI",), ("PUBLISH", "orders.a", "x"), ("PUBLISH", "orders.b", "y")):
        one.ask(*words)
    one.send(request("EXEC"))
    assert not one.link.sent.endswith(b"*2\r\n:0\r\n:0\r\n")
    assert door.work_off() == 1
    one.wait(0)
    assert one.link.sent.endswith(b"*2\r\n:0\r\n:0\r\n")
    assert door.topics.made == ["orders.a", "orders.b"]


def test_the_past_is_read_in_a_worker_which_waits_for_what_is_elsewhere(door):
    far = door.topics.put("orders.eu", FarLog("orders.eu-0"))
    far.append_elsewhere(a_batch(b"old"))
    far.arrive()
    far.may_wait = False
    one, two = door.connect(), door.connect()
    one.send(request("CHANNEL.READ", "orders.eu", "FROM", "0") + request("PING"))
    assert door.work_off() == 1  # its log is open
    one.wait(0)
    assert (one.link.sent, len(door.jobs)) == (b"", 1)
    assert two.ask("PING") == b"+PONG\r\n"
    far.asked.append(0)
    far.arrive()
    assert door.work_off() == 1
    one.wait(0)
    assert b"old" in one.link.sent
    assert one.link.sent.endswith(b"+PONG\r\n")


def test_the_past_of_a_channel_without_one_is_not_made(door):
    one = door.connect()
    assert b"keeps no history" in one.ask("CHANNEL.READ", "orders.eu", "FROM", "0")
    assert (door.jobs, door.topics.made) == ([], [])


def test_who_goes_away_meanwhile_is_told_nothing(door):
    door.topics.put("orders.eu")
    one = door.connect()
    one.send(request("CHANNEL.READ", "orders.eu", "FROM", "0", "FOLLOW"))
    door.work_off()
    one.wait(0)
    one.session.close()
    del door.sessions[:]
    assert door.work_off() == 1
    assert one.link.sent == b""
    assert not door.channels.history(b"orders.eu").followers


@pytest.mark.parametrize("before", [b"", request("MULTI")])
def test_the_past_is_written_as_a_reply_in_a_worker_in_a_transaction_too(door, monkeypatch, before):
    """Of a hundred thousand records that took the sessions' thread a tenth of a second."""

    def written(record):
        assert door.working, "written in the sessions' thread"
        return entry(record)

    monkeypatch.setattr("logstore.protocols.resp.channel_read.entry", written)
    log = door.topics.put("orders.eu")
    log.append(a_batch(b"old"))
    one = door.connect()
    one.send(before + request("CHANNEL.READ", "orders.eu", "FROM", "0") + request("PING"))
    one.send(request("EXEC") if before else b"")
    while door.work_off():
        one.wait(0)
    replies = one.link.sent.removeprefix(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n")
    assert replies.startswith(b"*1\r\n*3\r\n:0\r\n")
    assert replies.endswith(b"$3\r\nold\r\n+PONG\r\n")


@pytest.mark.parametrize("before", [b"", request("MULTI")])
def test_what_is_wrong_with_the_past_is_the_reply_in_a_transaction_too(door, monkeypatch, before):
    def failing(*_, **__):
        raise Failed("the disk is gone")

    door.topics.put("orders.eu")
    one = door.connect()
    monkeypatch.setattr("logstore.broker.history.History.read", failing)
    one.send(before + request("CHANNEL.READ", "orders.eu", "FROM", "0") + request("PING"))
    one.send(request("EXEC") if before else b"")
    while door.work_off():
        one.wait(0)
    assert one.link.sent.endswith(b"-ERR the disk is gone\r\n+PONG\r\n")
