"""Channels with a history, over a log that becomes safe when the test says so."""

import pytest
from far_log import FarLog
from memory_log import MemoryLog
from redis_parts import request
from resp_kit import FakeDoor

from logstore.broker.topic import Topic
from logstore.errors import LogFailed
from logstore.settings import ChannelRule, TopicSettings


class SlowLog(MemoryLog):
    """What is appended is safe after ``sync``."""

    def __init__(self):
        super().__init__("orders.eu-0")
        self.synced = self.asked = 0
        self.failure = None

    @property
    def safe(self):
        return self.synced

    def read(self, at, bytes_max):
        return [it for it in super().read(at, bytes_max) if it.next_offset <= self.synced]

    def sync_soon(self, *, hurry=True, always=False):
        self.asked += 1

    def sync(self):
        self.synced = self.end
        for wake in list(self._watchers.values()):
            wake()

    def check_failure(self):
        if self.failure is not None:
            raise self.failure


class OneTopic:
    def __init__(self, log):
        self.topic = Topic("orders.eu", "id", [log], TopicSettings(), 0)

    def get(self, name):
        return self.topic if name == "orders.eu" else None

    def names(self):
        return ["orders.eu"]


@pytest.fixture
def log():
    return SlowLog()


@pytest.fixture
def door(log):
    door = FakeDoor()
    rules = [ChannelRule("orders.*", 1000)]
    door.channels.keep(rules, OneTopic(log))
    return door


def test_a_reply_comes_when_the_message_is_safe(door, log):
    one, two = door.connect(), door.connect()
    two.ask("SUBSCRIBE", "orders.eu")
    assert one.send(request("PUBLISH", "orders.eu", "a") * 5 + request("PING")) == b""
    assert log.asked == 1  # one sync for all that came in one read
    assert one.session.busy
    assert one.session.receive(memoryview(request("PING")), door.now) == 0
    assert two.new() == b""  # what was read is never unread
    woken = one.link.woken
    log.sync()
    assert one.link.woken == woken + 1
    one.wait(0)
    assert one.link.sent == b":1\r\n" * 5 + b"+PONG\r\n"
    assert two.new().count(b"$1\r\na\r\n") == 5
    assert not one.session.busy


def test_a_failed_sync_ends_the_connection_without_a_reply(door, log):
    one = door.connect()
    one.send(request("PUBLISH", "orders.eu", "a"))
    log.failure = LogFailed("orders.eu-0: sync failed")
    with pytest.raises(LogFailed):  # the server closes the connection with this reason
        one.session.outgoing(1000)
    one.session.close()
    log.sync()
    assert one.link.sent == b""


def test_who_fell_behind_reads_on_in_order(door, log):
    slow, quick, publisher = door.connect(), door.connect(), door.connect()
    for it in (slow, quick):
        it.ask("SUBSCRIBE", "orders.eu", "other")
    slow.link.blocked = True
    expected = []
    for number in range(40):
        payload = b"%02d" % number + b"x" * 100_000
        publisher.ask("PUBLISH", "orders.eu", payload)
        log.sync()
        publisher.wait(0)
        expected.append(payload)
    assert slow.link.unsent < 1_500_000  # bounded, far below the limit that cuts others off
    slow.link.blocked = False
    slow.link.sent += quick.link.sent[len(slow.link.sent) :][: slow.link.unsent]  # it reads at last
    slow.link.unsent = 0
    for _ in range(40):
        slow.wait(0)
    assert slow.link.sent == quick.link.sent
    assert [slow.link.sent.count(it) for it in expected] == [1] * 40
    publisher.ask("PUBLISH", "orders.eu", "live")
    log.sync()
    publisher.wait(0)
    assert slow.link.sent.endswith(b"live\r\n")


def test_who_ends_listening_while_behind_gets_no_more(door, log):
    slow, publisher = door.connect(), door.connect()
    slow.ask("SUBSCRIBE", "orders.eu")
    slow.link.blocked = True
    for _ in range(40):
        publisher.ask("PUBLISH", "orders.eu", b"x" * 100_000)
        log.sync()
        publisher.wait(0)
    slow.link.blocked, slow.link.unsent = False, 0
    slow.ask("UNSUBSCRIBE")
    before = len(slow.link.sent)
    slow.wait(0)
    assert len(slow.link.sent) == before


def test_what_was_published_before_a_history_was_heard_of_is_heard(door, log):
    one, other = door.connect(), door.connect()
    one.ask("PSUBSCRIBE", "orders.*")
    other.send(request("PUBLISH", "orders.eu", "a"))
    door.channels.history(b"orders.eu").skip()
    log.sync()
    door.channels.follow(b"orders.eu")
    other.wait(0)
    assert one.new().count(b"$1\r\na\r\n") == 1


def test_a_history_that_is_listened_to_already_is_not_heard_from_its_start_again(door, log):
    one, other = door.connect(), door.connect()
    one.ask("SUBSCRIBE", "orders.eu")
    for it in ("a", "b"):
        other.send(request("PUBLISH", "orders.eu", it))
        log.sync()
        other.wait(0)
    door.channels.follow(b"orders.eu")  # it is heard of late that its topic was made
    other.send(request("PUBLISH", "orders.eu", "c"))
    log.sync()
    other.wait(0)
    said = one.new()
    assert [said.count(b"$1\r\n%b\r\n" % it) for it in (b"a", b"b", b"c")] == [1, 1, 1]


# A history whose bytes are elsewhere


@pytest.fixture
def far():
    return FarLog("orders.eu-0")


@pytest.fixture
def far_door(far):
    door = FakeDoor()
    rules = [ChannelRule("orders.*", 1000)]
    door.channels.keep(rules, OneTopic(far))
    return door


def test_subscribers_get_what_is_not_here_yet_when_it_arrives(far_door, far):
    one, two = far_door.connect(), far_door.connect()
    two.ask("SUBSCRIBE", "orders.eu")
    two.new()
    one.send(request("PUBLISH", "orders.eu", "a"))
    far.arrive()
    one.wait(0)
    assert one.link.sent == b":1\r\n"  # it is safe, wherever it stands
    assert (b"a\r\n" in two.link.sent, far.asked) == (False, [0])
    far.arrive()
    two.wait(0)
    assert two.link.sent.endswith(b"$1\r\na\r\n")


def test_who_fell_behind_waits_for_what_is_not_here_and_misses_nothing(far_door, far):
    slow, publisher = far_door.connect(), far_door.connect()
    slow.ask("SUBSCRIBE", "orders.eu")
    slow.new()
    slow.link.blocked = True
    payloads = [b"%02d" % number + b"x" * 300_000 for number in range(20)]
    for payload in payloads:
        publisher.send(request("PUBLISH", "orders.eu", payload))
        far.arrive()  # it is safe
        publisher.wait(0)
        far.arrive()  # it is here, for those that are up to date
        publisher.wait(0)
    assert slow.session._client.behind
    unsent, slow.link.unsent, slow.link.blocked = slow.link.unsent, 0, False
    assert unsent < 2_000_000
    far._here.clear()
    for _ in range(3 * len(payloads)):
        slow.wait(0)
        far.arrive()
    got = [it for it in payloads if it in slow.link.sent]
    assert got == payloads[len(payloads) - len(got) :]
    assert len(got) >= len(payloads) - 6  # those before were taken while it was blocked
    assert not slow.session._client.behind
    assert not far_door.channels.history(b"orders.eu").followers
