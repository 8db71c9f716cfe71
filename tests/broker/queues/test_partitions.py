"""What held transactions bring to topics: with all else of them or not at all, and once."""

import pytest
from queue_parts import Channel, Commit
from storage_kit import FullDisk, SyncFailsDisk

from logstore.broker.queues.partitions import RETRY_MS, last_of
from logstore.errors import LogFailed, UnknownTopic


def topic(node, name, partitions=1, **settings):
    """One that an exchange of the same name brings to."""
    node.topic(name, partitions, **settings)
    node.exchange(name.encode(), "x-topic")


def values(node, name):
    return [it.value for those in node.records(name) for it in those]


def taken(node, name, count):
    channel = Channel()
    for _ in range(count):
        node.get(name, channel, no_ack=False)
    return channel


def moved(node, *names):
    """The first message of a queue is acknowledged, and a copy goes to each of these topics."""
    channel = taken(node, b"q", 1)
    commit = Commit(node)
    for name in names:
        commit.publish(b"k", b"copy", exchange=name.encode())
    commit.publish(b"other", b"copy")
    commit.ack(channel, 1)
    return commit


@pytest.fixture
def two(lives):
    """A node with topics ``a`` and ``b`` that nobody has used yet, and queues."""
    node = lives.node
    topic(node, "a")
    topic(node, "b", 3)
    node.declare(b"q")
    node.declare(b"other")
    node.publish(b"q", b"1", b"2")
    return node


def finish(node):
    """All is synced where it goes; how many transactions are not."""
    node.run()
    node.queues._holding.finish()
    return len(node.queues._notes.unfinished())


@pytest.mark.parametrize("used", [False, True], ids=["unopened", "opened"])
@pytest.mark.parametrize("turns", range(9))
def test_a_commit_is_whole_or_absent_wherever_a_kill_comes(lives, two, turns, used):
    node = two
    if used:
        assert moved(node, "a", "b").end() is None
        node.publish(b"q", b"3")
    commit = moved(node, "a", "b")
    commit.begin()
    for _ in range(turns):
        node.turn()
    answered = bool(commit.answers)
    node = lives.kill()
    node.ready(b"other")
    node.run()
    found = [values(node, "a"), values(node, "b"), node.bodies(b"other"), node.bodies(b"q")]
    before = [b"copy"] if used else []
    left = [b"2", b"3"] if used else [b"1", b"2"]
    whole = [[*before, b"copy"]] * 3 + [left[1:]]
    absent = [before] * 3 + [left]
    assert found in ([whole] if answered else [whole, absent])
    for _ in range(2):
        assert finish(node) == 0
        node = lives.kill()
    assert [values(node, "a"), values(node, "b")] == found[:2]


@pytest.mark.parametrize("end", ["kill", "again"])
def test_what_a_topic_has_does_not_come_again(lives, two, end):
    node = two
    for n in range(4):
        assert moved(node, "a", "b").end() is None
        node.publish(b"q", b"more")
        node = getattr(lives, end)()
        node.run()
        assert [len(values(node, name)) for name in "ab"] == [n + 1, n + 1]


def test_the_partition_stays_with_the_key(two):
    commit = Commit(two)
    for n in range(6):
        commit.publish(b"%d" % n, b"%d" % n, exchange=b"b")
    assert commit.end() is None
    its = two.topics.topic("b")
    for number, those in enumerate(two.records("b")):
        assert {its._partitioner.partition(it.key) for it in those} <= {number}
    assert sorted(values(two, "b")) == [b"%d" % n for n in range(6)]


def test_nothing_of_it_is_in_a_topic_before_the_journal_has_it_safe(two, monkeypatch):
    commit = moved(two, "a")
    journal, appended = two.queues._journaling.log, []
    log = two.topics.topic("a").partition(0)
    append = log.append
    monkeypatch.setattr(
        log, "append", lambda batch: appended.append(journal.done >= journal.end) or append(batch)
    )
    assert commit.end() is None
    assert appended == [True]


@pytest.mark.parametrize("when", ["before it begins", "before it is safe"])
def test_a_topic_that_is_deleted_meanwhile(lives, two, when):
    node = two
    commit = moved(node, "a", "b")
    if when == "before it is safe":
        assert node.topics.topic("a").partition(0).end == 0  # it is open
        commit.begin()
        node.queues._journaling.end_turn()
        node.topics.delete("a")
        node.run(until=lambda: commit.answers)
        assert commit.answers == [None]
        assert values(node, "b") == [b"copy"]
        assert finish(node) == 0
    else:
        node.topics.delete("a")
        assert isinstance(commit.end(), UnknownTopic)
        assert values(node, "b") == []
        assert node.ready(b"other") == 0
        assert node.vhost.queue(b"q").out == 1
    node.topic("a")  # another one
    node = lives.kill()
    node.run()
    assert values(node, "a") == []


def test_a_topic_that_takes_nothing_any_more_fails_all_of_it(lives):
    lives.close()
    disk = SyncFailsDisk("a-0/")
    node = lives.open(disk)
    topic(node, "a")
    node.declare(b"q")
    node.declare(b"other")
    node.publish(b"q", b"1")
    log = node.topics.topic("a").partition(0)
    disk.failures = 1 << 30
    published = node.publish_soon(b"k", b"x", exchange=b"a")
    with pytest.raises(LogFailed):
        published.waiting.wait()
    disk.failures = 0
    assert isinstance(moved(node, "a").end(), LogFailed)
    assert (node.ready(b"other"), node.vhost.queue(b"q").out) == (0, 1)
    assert node.queues._holding.bytes == 0
    assert log.end == 1


def test_a_full_disk_delays_what_is_brought_and_keeps_its_order(lives, two):
    lives.close()
    disk = FullDisk()
    node = lives.open(disk)
    for name in "ab":
        node.publish(b"k", b"0", exchange=name.encode())
    node.run()
    commits = [Commit(node) for _ in range(2)]
    for n, commit in enumerate(commits, 1):
        commit.publish(b"k", b"%d" % n, exchange=b"a")
        commit.begin()
        node.queues._journaling.end_turn()
    node.queues._journaling.log.wait(node.queues._journaling.log.end)
    disk.writes = 0
    while not all(commit.answers for commit in commits):
        node.turn()
    assert [commit.answers for commit in commits] == [[None], [None]]
    node.run()
    assert values(node, "a") == [b"0"]
    assert node.queues.logs.parked_bytes > 0
    assert len(node.queues._notes.unfinished()) == 2
    disk.writes = None
    node.later(RETRY_MS)
    node.run()
    assert values(node, "a") == [b"0", b"1", b"2"]
    assert node.queues.logs.parked_bytes == 0
    assert finish(node) == 0


def test_a_kill_while_the_disk_is_full_loses_nothing_of_a_commit(lives, two):
    lives.close()
    disk = FullDisk()
    node = lives.open(disk)
    node.publish(b"k", b"0", exchange=b"a")
    node.run()
    commit = moved(node, "a", "b")
    for number in range(3):
        node.topics.topic("b").partition(number)
    commit.begin()
    node.queues._journaling.end_turn()
    node.queues._journaling.log.wait(node.queues._journaling.log.end)
    disk.writes = 0
    while not commit.answers:
        node.turn()
    disk.writes = None
    node = lives.kill()
    node.ready(b"other")
    node.run()
    assert [values(node, "a"), values(node, "b")] == [[b"0", b"copy"], [b"copy"]]
    assert node.bodies(b"other") == [b"copy"]


def test_a_number_that_a_partition_knows_is_not_given_again(two):
    assert moved(two, "a").end() is None
    assert moved(two, "a").end() is None
    last = last_of(two.topics.topic("a").partition(0))
    two.queues._holding._next_number = 1  # as of a journal that was restored by hand
    two.publish(b"q", b"3")
    assert moved(two, "a").end() is None
    assert last_of(two.topics.topic("a").partition(0)) > last


def test_a_dead_letter_is_in_its_queue_or_in_the_topic_at_every_turn(lives):
    node = lives.node
    topic(node, "dead")
    node.declare(b"q", dead_letter_exchange="dead")
    for turns in range(8):
        node.publish(b"q", b"%d" % turns)
        channel = taken(node, b"q", 1)
        channel.reject(1)
        for _ in range(turns):
            node.turn()
        node = lives.kill()
        left = node.bodies(b"q")
        node.run()
        there = values(node, "dead")
        assert [*left, *there].count(b"%d" % turns) == 1
        assert len(there) == len(set(there))
