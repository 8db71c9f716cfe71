"""Held transactions over real queues: all of one happens, or nothing, and once."""

import gc

import pytest
from queue_parts import Channel, Commit
from storage_kit import FullDisk, SyncFailsDisk

from logstore.broker.queues import holding
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing.binding import Binding
from logstore.errors import LogFailed, StorageFull


def numbers(*of):
    return [b"%d" % n for n in of]


def taken(node, name, count):
    channel = Channel()
    for _ in range(count):
        node.get(name, channel, no_ack=False)
    return channel


def all_bodies(node, *names):
    return [node.bodies(name) for name in names]


@pytest.mark.parametrize("turns", range(9))
def test_a_commit_is_whole_or_absent_wherever_a_kill_comes(lives, turns):
    node = lives.node
    node.exchange(b"x", "fanout")
    for name in (b"a", b"b", b"new"):
        node.declare(name, max_priority=2)
        node.bind(b"x", name)
    node.publish(b"a", *numbers(1, 2, 3))
    node.publish(b"b", *numbers(4, 5))
    of_a, of_b = taken(node, b"a", 2), taken(node, b"b", 1)
    commit = Commit(node)
    commit.publish(b"", b"6", exchange=b"x", priority=1)
    commit.publish(b"new", b"7", b"8")
    commit.publish(b"a", b"9")
    commit.ack(of_a, 2, multiple=True)
    commit.ack(of_b, 1)
    commit.begin()
    for _ in range(turns):
        node.turn()
    answered = bool(commit.answers)
    node = lives.kill()
    for name in (b"a", b"b", b"new"):
        node.ready(name)
    node.run()  # what is brought again is safe
    whole = [numbers(6, 3, 9), numbers(6, 5), numbers(6, 7, 8)]
    absent = [numbers(1, 2, 3), numbers(4, 5), []]
    found = all_bodies(node, b"a", b"b", b"new")
    assert found in ([whole] if answered else [whole, absent])
    node = lives.kill()
    assert all_bodies(node, b"a", b"b", b"new") == [[], [], []]


@pytest.mark.parametrize("end", ["kill", "again"])
def test_what_a_commit_brought_is_not_brought_again(lives, end):
    node = lives.node
    for name in (b"a", b"b"):
        node.declare(name)
    for n in range(5):
        commit = Commit(node)
        commit.publish(b"a", b"%d" % n)
        commit.publish(b"b", b"%d" % n)
        assert commit.end() is None
        assert node.bodies(b"a") == numbers(n)
        node = getattr(lives, end)()
        assert node.ready(b"a") == 0
        assert node.ready(b"b") == n + 1
    assert node.bodies(b"b") == numbers(*range(5))


def test_nothing_of_a_commit_is_seen_before_it_is_safe(node):
    node.declare(b"kept")
    node.declare(b"gone", durable=False)
    node.publish(b"gone", b"0")
    channel = taken(node, b"gone", 1)
    commit = Commit(node)
    commit.publish(b"kept", b"1")
    commit.publish(b"gone", b"2")
    commit.ack(channel, 1)
    commit.begin()
    kept, gone = node.vhost.queue(b"kept"), node.vhost.queue(b"gone")
    node.turn()
    assert (kept.ready, gone.ready, gone.out) == (0, 0, 1)
    node.run(until=lambda: commit.answers)
    assert (kept.ready, gone.ready, gone.out) == (1, 1, 0)
    node.run()
    node.queues._holding.look()
    assert node.queues._notes.unfinished() == []
    assert all_bodies(node, b"kept", b"gone") == [[b"1"], [b"2"]]


def test_a_commit_of_what_does_not_last_waits_for_nothing(node):
    node.declare(b"q", durable=False)
    node.publish(b"q", b"1")
    channel = taken(node, b"q", 1)
    end = node.queues._journaling.log.end
    commit = Commit(node)
    commit.publish(b"q", b"2")
    commit.ack(channel, 1)
    commit.begin()
    assert commit.answers == [None]
    assert node.bodies(b"q") == [b"2"]
    assert node.queues._journaling.log.end == end


def test_a_commit_of_acknowledgements_alone_is_no_record_of_its_own(node):
    node.declare(b"q")
    node.publish(b"q", *numbers(*range(3)))
    channel = taken(node, b"q", 2)
    commit = Commit(node)
    commit.ack(channel, 2, multiple=True)
    assert commit.end() is None
    assert node.vhost.queue(b"q").out == 0
    assert node.queues._notes.next_number == 1


def test_many_commits_of_one_turn_are_one_batch_of_the_journal(node, monkeypatch):
    node.declare(b"q")
    node.publish(b"q", b"0")
    appended = []
    append = node.queues._journaling.log.append
    monkeypatch.setattr(
        node.queues._journaling.log, "append", lambda it: appended.append(it) or append(it)
    )
    commits = [Commit(node) for _ in range(20)]
    for n, commit in enumerate(commits, 1):
        commit.publish(b"q", b"%d" % n)
        commit.begin()
    node.run(until=lambda: all(it.answers for it in commits))
    assert [it.record_count for it in appended] == [20]
    assert node.bodies(b"q") == numbers(*range(21))


def test_large_commits_of_one_turn_are_several_batches_of_the_journal(node, monkeypatch):
    monkeypatch.setattr(holding, "BATCH_BYTES", 100)
    node.declare(b"q")
    commits = [Commit(node) for _ in range(6)]
    end = node.queues._journaling.log.end
    for n, commit in enumerate(commits):
        commit.publish(b"q", b"%d" % n * 60)
        commit.begin()
    node.run(until=lambda: all(it.answers for it in commits))
    assert node.queues._journaling.log.end == end + 6
    assert node.bodies(b"q") == [b"%d" % n * 60 for n in range(6)]


def test_what_is_on_its_way_is_bounded(node, monkeypatch):
    monkeypatch.setattr(holding, "BYTES_MAX", 100)
    node.declare(b"q")
    commit = Commit(node)
    commit.publish(b"q", bytes(101))
    commit.begin()
    assert node.queues.crowded
    node.run(until=lambda: commit.answers)
    assert not node.queues.crowded
    assert node.queues._holding.bytes == 0


def test_a_commit_waits_for_a_declaration_that_is_not_durable_yet(node):
    queue, pending = node.vhost.declare_queue(node.declare(b"q").facts._replace(name=b"new"))
    commit = Commit(node)
    commit.publish(b"new", b"1")
    commit.begin()
    node.queues._journaling.end_turn()
    assert node.queues._notes.next_number == 1
    node.run(until=lambda: commit.answers)
    assert (pending.done, commit.answers, queue.ready) == (True, [None], 1)


def test_nothing_of_a_commit_happens_where_a_queue_of_it_can_not_be_kept(node):
    node.declare(b"old")
    node.publish(b"old", b"0")
    channel = taken(node, b"old", 1)
    _, pending = node.vhost.declare_queue(node.declare(b"q").facts._replace(name=b"new"))
    commit = Commit(node)
    commit.publish(b"new", b"1")
    commit.publish(b"old", b"2")
    commit.ack(channel, 1)
    commit.begin()
    pending._calls, calls = [], pending._calls  # what is kept comes to nothing
    pending.done, pending.error = True, StorageFull("no space left")
    for call in calls:
        call(pending)
    assert [type(it) for it in commit.answers] == [StorageFull]
    old = node.vhost.queue(b"old")
    assert (old.ready, old.out, old.stock.coming) == (0, 1, 0)
    assert node.queues._holding.bytes == 0


def test_a_commit_into_a_queue_that_is_deleted_meanwhile_is_done_elsewhere(lives):
    node = lives.node
    for name in (b"a", b"b"):
        node.declare(name)
    node.publish(b"b", b"0")
    channel = taken(node, b"b", 1)
    commit = Commit(node)
    commit.publish(b"a", b"1")
    commit.publish(b"b", b"2")
    commit.ack(channel, 1)
    commit.begin()
    node.vhost.delete_queue(node.vhost.queue(b"b"))
    node.run(until=lambda: commit.answers)
    assert commit.answers == [None]
    assert node.bodies(b"a") == [b"1"]
    node.run()
    assert node.queues._notes.unfinished() == []
    node = lives.kill()
    assert node.ready(b"a") == 0


def test_what_is_coming_counts_where_a_queue_refuses_what_does_not_fit(node):
    node.declare(b"q", max_length=2, overflow="reject-publish")
    commits = [Commit(node) for _ in range(3)]
    rejected = [commit.publish(b"q", b"%d" % n).rejected for n, commit in enumerate(commits)]
    assert rejected == [[], [], [0]]
    for commit in commits:
        assert commit.end() is None
    assert node.ready(b"q") == 2


def test_what_a_queue_refuses_of_a_commit_dies_with_the_commit(lives):
    node = lives.node
    node.declare(b"dead")
    node.declare(
        b"q", max_length=1, overflow="reject-publish-dlx", dead_letter_exchange="",
        dead_letter_routing_key="dead",
    )  # fmt: skip
    commit = Commit(node)
    assert commit.publish(b"q", b"1", b"2", b"3").rejected == [1, 2]
    node.run()
    assert node.ready(b"dead") == 0
    assert commit.end() is None
    assert all_bodies(node, b"q", b"dead") == [[b"1"], [b"2", b"3"]]


def test_a_journal_that_can_not_be_synced_fails_the_commit_and_gives_nothing_out_again(lives):
    lives.close()
    disk = SyncFailsDisk(failing="/journal/")
    node = lives.open(disk)
    node.declare(b"q")
    node.publish(b"q", b"1")
    channel = taken(node, b"q", 1)
    node.run()
    disk.failures = 1 << 30
    commit = Commit(node)
    commit.publish(b"q", b"2")
    commit.ack(channel, 1)
    commit.begin()
    queue = node.vhost.queue(b"q")
    while not commit.answers:
        node.turn()
        with node.news:
            if not node.calls and not node.turns.left and not commit.answers:
                node.news.wait(1)
    assert [type(it) for it in commit.answers] == [LogFailed]
    assert (queue.ready, queue.out, queue.stock.coming) == (0, 1, 0)
    disk.failures = 0
    node = lives.kill()
    assert node.bodies(b"q") in ([b"1"], [b"2"])


def test_a_close_leaves_nothing_half_done(lives):
    """Nothing was told to anyone: neither to the journal nor to a lane."""
    node = lives.node
    node.declare(b"dead")
    for name in (b"q", b"new"):
        node.declare(name, dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", *numbers(1, 2))
    channel = taken(node, b"q", 2)
    node.run()
    commit = Commit(node)
    commit.publish(b"new", b"3")
    commit.ack(channel, 1)
    commit.begin()
    channel.reject(2)
    node.turn()
    node.queues.close()
    node.committer.close()
    lives._opened.close()
    node = lives.open()
    found = all_bodies(node, b"q", b"new", b"dead")
    assert found in ([[], [b"3"], [b"2"]], [[b"2"], [b"3"], []])
    node = lives.again()
    assert node.queues._notes.unfinished() == []


def test_bytes_are_counted_once_where_a_lane_has_what_is_brought_again(lives):
    node = lives.node
    node.declare(b"q", max_length_bytes=1000)
    for n in (10, 20, 30):
        commit = Commit(node)
        commit.publish(b"q", bytes(n))
        assert commit.end() is None
    assert node.vhost.queue(b"q").stock.ready_bytes == 60
    node = lives.kill()
    node.run()
    assert node.queues._holding._next_number == 4
    assert node.vhost.queue(b"q").stock.ready_bytes == 60


def test_a_full_disk_delays_what_is_brought_and_no_other_queue(lives):
    lives.close()
    disk = FullDisk()
    node = lives.open(disk)
    for name in (b"a", b"b"):
        node.declare(name)
        node.publish(name, b"0")
    commit = Commit(node)
    commit.publish(b"a", b"1")
    commit.publish(b"b", b"2")
    commit.begin()
    node.queues._journaling.end_turn()
    node.queues._journaling.log.wait(node.queues._journaling.log.end)
    disk.writes = 1  # enough for one of the two lanes
    while not commit.answers:
        node.turn()
    disk.writes = 0
    a, b = node.vhost.queue(b"a"), node.vhost.queue(b"b")
    assert (commit.answers, a.ready, b.ready, b.stock.stuck) == ([None], 2, 1, True)
    node.run()
    assert node.queues._notes.unfinished() == [(1, node.queues._notes.unfinished()[0][1])]
    disk.writes = None
    node.later(1000)
    assert (b.ready, b.stock.stuck, node.queues.logs.parked_bytes) == (2, False, 0)
    node.run()
    assert all_bodies(node, b"a", b"b") == [[b"0", b"1"], [b"0", b"2"]]


def test_a_purge_while_the_disk_is_full_leaves_what_is_to_come_counted(node, monkeypatch):
    queue = node.declare(b"q", max_length_bytes=1000)
    node.publish(b"q", b"x" * 10)
    commit = Commit(node)
    commit.publish(b"q", b"x" * 100)
    [lane] = queue.stock.order
    with monkeypatch.context() as full:

        def append(batch):
            raise StorageFull("no space left")

        full.setattr(lane.log, "append", append)
        assert commit.end() is None
        purged = []
        queue.purge(purged.append)
        node.run(until=lambda: purged)
        assert (purged, queue.stock.ready_bytes) == ([1], 100)
    node.later(1000)
    assert node.bodies(b"q") == [b"x" * 100]
    assert queue.stock.ready_bytes == 0


def test_a_kill_while_the_disk_is_full_loses_nothing_of_a_commit(lives):
    lives.close()
    disk = FullDisk()
    node = lives.open(disk)
    for name in (b"a", b"b"):
        node.declare(name)
        node.publish(name, b"0")
    commit = Commit(node)
    commit.publish(b"a", b"1")
    commit.publish(b"b", b"2")
    commit.begin()
    node.queues._journaling.end_turn()
    node.queues._journaling.log.wait(node.queues._journaling.log.end)
    disk.writes = 1
    while not commit.answers:
        node.turn()
    disk.writes = None
    node = lives.kill()
    assert all_bodies(node, b"a", b"b") == [[b"0", b"1"], [b"0", b"2"]]


def test_a_number_that_a_lane_knows_is_not_given_again(lives):
    """Though the journal, restored by hand, tells of none."""
    node = lives.node
    node.declare(b"q")
    for n in range(3):
        commit = Commit(node)
        commit.publish(b"q", b"%d" % n)
        commit.end()
    node.queues._holding._next_number = 1
    node.queues._holding.seen(3)
    assert node.queues._holding._next_number == 4
    node = lives.kill()
    assert node.bodies(b"q") == numbers(0, 1, 2)


def test_at_least_once_sends_to_no_queue_what_another_refuses(node):
    node.exchange(b"dlx", "fanout")
    node.declare(b"full", max_length=0, overflow="reject-publish")
    node.declare(b"good")
    for name in (b"full", b"good"):
        node.bind(b"dlx", name)
    queue = node.declare(
        b"q", dead_letter_exchange="dlx", dead_letter_strategy="at-least-once",
        overflow="reject-publish",
    )  # fmt: skip
    node.publish(b"q", *numbers(1, 2))
    channel = taken(node, b"q", 2)
    channel.reject(2, multiple=True)
    for _ in range(3):
        node.run()
        node.later(1000)
    assert (queue.out, node.ready(b"good")) == (2, 0)
    node.delete(b"full")
    node.later(1000)
    assert (queue.out, node.bodies(b"good")) == (0, numbers(1, 2))


@pytest.mark.parametrize("turns", range(6))
def test_what_dies_into_a_queue_that_does_not_last_is_not_settled_before_it_is_there(lives, turns):
    """Also where others of the same step go to a queue that lasts."""
    node = lives.node
    node.exchange(b"dlx", "headers")
    for name, durable in ((b"kept", True), (b"gone", False)):
        node.declare(name, durable=durable)
        arguments = arguments_of({"to": name.decode()})
        pending = node.vhost.bind(Binding(b"dlx", name, b"", arguments))
        node.run(until=lambda pending=pending: pending is None or pending.done)
    queue = node.declare(b"q", dead_letter_exchange="dlx")
    for n, to in enumerate(("kept", "gone", "gone", "kept", "none")):
        node.publish(b"q", b"%d" % n, headers={"to": to})
    channel = taken(node, b"q", 5)
    channel.reject(5, multiple=True)
    there = node.vhost.queue(b"gone")
    for _ in range(turns):
        assert there.ready == 2 or queue.out >= 2
        node.turn()
    if turns < 5:
        node = lives.kill()
        left, kept = all_bodies(node, b"q", b"kept")
        assert sorted({*left, *kept} - {b"4"}) in (numbers(0, 1, 2, 3), numbers(0, 3))
        assert [*left, *kept].count(b"0") == [*left, *kept].count(b"3") == 1
    else:
        node.run()
        assert all_bodies(node, b"kept", b"gone") == [numbers(0, 3), numbers(1, 2)]
        assert (queue.out, queue.dead_letters.dropped) == (0, 1)


def test_a_transaction_is_freed_at_once_when_it_is_over():
    """It holds bodies, which a collection of cycles may find much later."""
    gc.collect()
    Transaction(Transaction())
    assert gc.collect() == 0
