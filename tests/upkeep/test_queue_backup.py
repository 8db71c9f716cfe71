"""A backup of queues in use: what is restored delivers what was not settled, and nothing else."""

from dataclasses import dataclass

import pytest
from clock import NOW_MS
from lossy_queues import kinds
from queue_parts import KINDS_WITH_NOTES, Channel, Commit, Node, Time
from storage_kit import Opened, add

from logstore.broker.queues.trimming import EVERY_MS
from logstore.storage.disk import Disk
from logstore.storage.kinds import TOPIC
from logstore.upkeep.backup import backup, restore

MANY = 60
KINDS_WITH_TOPICS = {**kinds(), TOPIC.name: KINDS_WITH_NOTES[TOPIC.name]}


@dataclass
class Places:
    """A store in use, and where its copies are."""

    base: object
    opened: Opened
    clock: Time

    def open(self):
        return Node(self.opened.writer(kinds=kinds()), self.clock)

    def copied(self, directory):
        """The steps of a backup."""
        return backup(directory, str(self.base / "backup"), NOW_MS)

    def restored(self):
        target = self.base / "restored"
        assert list(restore(str(self.base / "backup"), str(target), Disk()))
        return Opened(target)


@pytest.fixture
def places(tmp_path):
    opened = Opened(tmp_path / "data")
    yield Places(tmp_path, opened, Time())
    opened.close_all()


def settled(node, channel, tags):
    """Each in a turn of its own, so that the journal has a batch of each."""
    for tag in tags:
        channel.ack(tag)
        node.run()


def published(node):
    node.declare(b"q")
    topic = node.directory.create_topic("first", 1, {})  # it is copied before all queues
    add(node.directory.log("first", topic, 0), b"one")
    for n in range(MANY):
        node.publish(b"q", b"%d" % n)
    channel = Channel()
    for _ in range(MANY):
        node.get(b"q", channel, no_ack=False)
    settled(node, channel, range(1, 11))
    return channel


def left(places, *names):
    """What a store made of the backup gives out: of these queues, or of the one."""
    copy = places.restored()
    node = Node(copy.writer(kinds=kinds()), places.clock)
    try:
        found = [[int(it) for it in node.bodies(name)] for name in names or [b"q"]]
        return tuple(found) if names else found[0]
    finally:
        node.close()
        copy.close_all()


@pytest.mark.parametrize(
    "by", ["the writer", pytest.param("another process", marks=pytest.mark.long)]
)
def test_nothing_settled_comes_back_although_the_journal_is_trimmed_beside_the_backup(places, by):
    node = places.open()
    channel = published(node)
    journal = node.queues._journaling.log
    directory = node.directory
    if by == "another process":
        directory = places.opened.reader(kinds=kinds())
    steps = places.copied(directory)
    assert next(steps).path.startswith("first-0/")
    start = journal.start
    settled(node, channel, range(11, 41))
    assert journal.state.recovery_base > start  # else there is nothing to trim
    node.later(EVERY_MS)
    assert journal.start == start, "it is needed by the copy"
    list(steps)
    settled(node, channel, range(41, 43))
    node.later(EVERY_MS)
    assert journal.start > start
    node.close()
    assert left(places) == list(range(40, MANY))


@pytest.mark.long
def test_what_is_trimmed_of_a_lane_beside_the_backup_is_settled_in_the_copy_too(places):
    node = places.open()
    channel = published(node)
    steps = places.copied(node.directory)
    assert next(steps).path.startswith("first-0/")
    settled(node, channel, range(11, 41))
    for _ in range(3):
        node.later(EVERY_MS)
    assert node.vhost.queue(b"q").stock.order[0].log.start > 10
    list(steps)
    node.close()
    assert left(places) == list(range(40, MANY))


@pytest.mark.long
def test_what_is_settled_once_its_lane_is_copied_is_settled_in_the_copy(places):
    node = places.open()
    channel = published(node)
    steps = places.copied(node.directory)
    copied_upto(steps, "queues/")
    settled(node, channel, range(11, 41))
    node.publish(b"q", b"later")
    list(steps)
    node.close()
    assert left(places) == list(range(40, MANY))


def copied_upto(steps, folder):
    """Until something of it is copied."""
    while not next(steps).path.startswith(folder):
        pass


def test_what_is_committed_beside_the_backup_is_in_the_copy_once_or_not_at_all(places):
    """The topic was copied before it had what the journal says; another has had it, too."""
    node = Node(places.opened.writer(kinds=KINDS_WITH_TOPICS), places.clock)
    for name in ("early", "late"):
        node.topic(name)
        node.exchange(name.encode(), "x-topic")
    node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    first = Commit(node)
    first.publish(b"k", b"before", exchange=b"early")
    assert first.end() is None
    steps = places.copied(node.directory)
    copied_upto(steps, "early-0/")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    commit = Commit(node)
    for name in (b"early", b"late"):
        commit.publish(b"k", b"copy", exchange=name)
    commit.ack(channel, 1)
    assert commit.end() is None
    list(steps)
    node.close()
    copy = places.restored()
    for _ in range(2):
        node = Node(copy.writer(kinds=KINDS_WITH_TOPICS), places.clock)
        node.ready(b"q")
        node.run()
        found = [[it.value for it in node.records(name)[0]] for name in ("early", "late")]
        assert found == [[b"before", b"copy"], [b"copy"]]
        node.close()
        copy.close()
    node = Node(copy.writer(kinds=KINDS_WITH_TOPICS), places.clock)
    assert node.bodies(b"q") == [b"2"]
    node.close()
    copy.close_all()


def test_a_dead_letter_that_moves_beside_the_backup_is_in_one_of_the_two(places):
    """It was in neither: where it went was copied before it came, and that it had gone after."""
    node = places.open()
    node.declare(b"dead")
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"dead", b"0")
    node.publish(b"q", b"1", b"2", b"3")
    steps = places.copied(node.directory)
    copied_upto(steps, "queues/")  # of the dead letters: it is the older queue
    channel = Channel()
    for _ in range(2):
        node.get(b"q", channel, no_ack=False)
    channel.reject(2, multiple=True)
    node.run(until=lambda: node.ready(b"dead") == 3)
    list(steps)
    node.close()
    assert left(places, b"dead", b"q") == ([0, 1, 2], [3])
