"""Thousands of queues: what each of them is allowed to cost, and what one turn may do of them."""

import os
import tracemalloc

import pytest
from queue_parts import Commit, Consumer

from logstore.broker.queues import holding, lane_logs, publishing
from logstore.broker.queues import vhost as vhost_file
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.queues import Queues
from logstore.broker.routing.arguments import Arguments
from logstore.errors import StorageFull

MANY = 150
BYTES_EACH = 4000  # so that 10,000 of them take less than 60 MB, with what is around them


def declare(node):
    for n in range(MANY):
        node.vhost.declare_queue(QueueFacts(b"queue-%d" % n, True, False, False, Arguments()))
    node.run()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def everything(path):
    return sorted(str(it) for it in path.rglob("*"))


def test_declared_queues_cost_neither_files_nor_open_ones(lives, tmp_path):
    lives.node.declare(b"first")
    lives.node.run()
    files, opened = everything(tmp_path), open_files()
    declare(lives.node)
    assert (everything(tmp_path), open_files()) == (files, opened)
    lives.again()
    assert len(list(lives.node.vhost.queues())) == MANY + 1
    assert everything(tmp_path) == files
    assert open_files() <= opened


def test_a_declared_queue_takes_little_memory_when_declared_and_when_opened_again(lives):
    lives.node.declare(b"first")  # what all of them have together is there
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        declare(lives.node)
        lives.node.declare(b"last")  # the committer's thread has what it kept last
        declared, _ = tracemalloc.get_traced_memory()
        assert declared - before < MANY * BYTES_EACH
    finally:
        tracemalloc.stop()
    lives.kill()
    tracemalloc.start()
    try:
        again = Queues(lives.node.logs, lives.node.clock, lives.node.soon, lives.node.work)
        opened, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(list(again.vhosts[b"/"].queues())) == MANY + 2
    assert opened < MANY * BYTES_EACH


@pytest.fixture
def few(monkeypatch):
    """A turn appends to three queues."""
    for place in (publishing, holding, lane_logs):
        monkeypatch.setattr(place, "APPENDS_MAX", 3)
    monkeypatch.setattr(publishing, "MAKE_COST", 1)


@pytest.mark.parametrize("durable", [True, False])
def test_what_goes_to_many_queues_is_appended_some_at_a_time_and_in_order(node, few, durable):
    node.exchange(b"x", "fanout", durable=durable)
    names = [b"q%d" % n for n in range(20)]
    for name in names:
        node.declare(name, durable=durable)
        node.bind(b"x", name)
    published = node.publish_soon(b"", b"1", exchange=b"x")
    alone = node.publish_soon(names[-1], b"2")
    assert published.waiting.parked
    assert not published.waiting.settled()
    appended = [queue.stock.lanes[0].end for queue in map(node.vhost.queue, names)]
    assert sum(appended) <= 3
    node.publish(b"", b"3", exchange=b"x")
    assert published.waiting.settled()
    assert alone.waiting.settled()
    for name in names[:-1]:
        assert node.bodies(name) == [b"1", b"3"]
    assert node.bodies(names[-1]) == [b"1", b"2", b"3"]


def test_copies_behind_what_had_no_room_are_counted_as_waiting_until_they_do_not(
    node, few, monkeypatch
):
    node.exchange(b"x", "fanout")
    names = [b"q%d" % n for n in range(8)]
    for name in names:
        node.declare(name)
        node.bind(b"x", name)
    node.publish(b"", b"0", exchange=b"x")
    lane = node.vhost.queue(names[-1]).stock.lanes[0]
    commit = Commit(node)
    commit.publish(names[-1], b"1")
    with monkeypatch.context() as full:

        def append(batch):
            raise StorageFull("no space left")

        full.setattr(lane.log, "append", append)
        assert commit.end() is None
    assert lane.stuck
    assert node.queues.logs.parked_bytes > 0
    node.publish(b"", b"2", exchange=b"x")
    assert (lane.stuck, node.queues.logs.parked_bytes) == ([], 0)
    assert node.bodies(names[-1]) == [b"0", b"1", b"2"]


def test_queues_that_wait_for_their_copy_can_be_purged_and_deleted(node, few, tmp_path):
    node.exchange(b"x", "fanout")
    names = [b"q%d" % n for n in range(20)]
    for name in names:
        node.declare(name, durable=False)
        node.bind(b"x", name)
    published = node.publish_soon(b"", b"1", exchange=b"x")
    purged = []
    node.vhost.queue(names[-1]).purge(purged.append)
    total, _ = node.vhost.delete_queue(node.vhost.queue(names[-2]))
    node.run(until=published.waiting.settled)
    assert (purged, total) == ([1], 1)
    assert [node.ready(name) for name in names[:-2]] == [1] * 18
    assert node.ready(names[-1]) == 0
    assert len(list((tmp_path / "data" / "volatile").iterdir())) == 19


def test_copies_that_wait_are_there_after_a_close(lives, few):
    node = lives.node
    node.exchange(b"x", "fanout")
    names = [b"q%d" % n for n in range(20)]
    for name in names:
        node.declare(name)
        node.bind(b"x", name)
        node.publish(name, b"0")  # its lane is there
    node.publish_soon(b"", b"1", exchange=b"x")
    node.queues.close()  # no turn ends any more
    node.committer.close()
    lives._opened.close()
    node = lives.open()
    assert [node.bodies(name) for name in names] == [[b"0", b"1"]] * 20


def test_what_comes_back_later_is_held_by_the_block_and_not_by_the_message(node):
    queue = node.declare(b"q", delayed_retry_type="all", delayed_retry_min=1000)
    node.publish(b"q", *[b"%d" % n for n in range(600)])
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    consumer.takes = 0
    consumer.channel.requeue(600, multiple=True)
    node.run()
    assert len(queue._delays) == 600
    assert len(queue._delays._heap) <= 4  # blocks of 256, one more where groups begin
    had = consumer.forget()
    consumer.takes = 1 << 30
    node.later(999)
    assert consumer.had == []
    node.later(1)
    assert [it.body for _, it in consumer.had] == [it.body for _, it in had]


def test_many_exclusive_queues_go_some_at_a_time(node, monkeypatch):
    monkeypatch.setattr(vhost_file, "OWNED_AT_ONCE", 3)
    owner, gone = object(), []
    for n in range(10):
        node.declare(b"q%d" % n, owner, durable=False, exclusive=True)
    node.vhost.owner_gone(owner, lambda: gone.append(len(list(node.vhost.queues()))))
    assert len(list(node.vhost.queues())) == 7
    assert gone == []
    node.run()
    assert gone == [0]
    node.declare(b"q9", object(), durable=False, exclusive=True)


def test_files_of_volatile_lanes_are_not_synced_when_there_is_no_room_for_them(node, monkeypatch):
    """A sync takes ms, and this thread waits for it."""
    files, synced = node.directory._files, []
    disk = files.disk
    monkeypatch.setattr(files, "_open_max", 8)
    sync = disk.sync

    def seen(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        sync(fd)

    monkeypatch.setattr(disk, "sync", seen)
    names = [b"q%d" % n for n in range(30)]
    for name in names:
        node.declare(name, durable=False)
        node.publish(name, b"m")
    assert [node.bodies(name) for name in names] == [[b"m"]] * 30
    assert [path for path in synced if "/volatile/" in path] == []
