"""What is on disk of queues: kills, deletions, damage, lanes that take their time to open."""

import os

import pytest
from queue_parts import Channel, Consumer, props, spoil
from storage_kit import FullDisk, SyncFailsDisk

from logstore.amqp import fields
from logstore.amqp.fields import NESTED_MAX
from logstore.broker.queues import acts, lane_logs, moving
from logstore.broker.queues import queues as queues_file
from logstore.broker.queues.message import Message
from logstore.broker.queues.moving import Target
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import Damaged, Failed, LogFailed, LogstoreError
from logstore.open_queues import OpenQueues


def numbers(*of):
    return [b"%d" % n for n in of]


def folders(tmp_path, name="queues"):
    path = tmp_path / "data" / name
    return sorted(it.name for it in path.iterdir()) if path.exists() else []


def test_a_declared_queue_costs_no_file(node, tmp_path):
    for n in range(100):
        node.vhost.declare_queue(node.declare(b"q%d" % n).facts)
    node.run()
    assert folders(tmp_path) == []
    assert folders(tmp_path, "volatile") == []


def test_what_is_confirmed_is_delivered_after_a_kill_until_it_is_settled(lives):
    node = lives.node
    node.declare(b"q")
    for n in range(50):
        node.publish(b"q", b"%d" % n)
    channel = Channel()
    for _ in range(20):
        node.get(b"q", channel, no_ack=False)
    for tag in range(1, 21, 2):
        channel.ack(tag)
    node.run()  # the journal is synced
    node = lives.kill()
    assert node.bodies(b"q") == numbers(*range(1, 20, 2), *range(20, 50))
    node = lives.kill()
    assert node.bodies(b"q") == []


def test_a_requeued_message_keeps_its_place_over_a_kill(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", *numbers(*range(5)))
    channel = Channel()
    for _ in range(3):
        node.get(b"q", channel, no_ack=False)
    channel.ack(2)
    channel.requeue(1)
    node.run()
    node = lives.kill()
    assert node.bodies(b"q") == numbers(0, 2, 3, 4)


def test_a_purge_outlives_a_kill_also_of_what_was_requeued(lives):
    node = lives.node
    queue = node.declare(b"q")
    node.publish(b"q", *numbers(*range(5)))
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    channel.requeue(1)
    queue.purge(lambda total: None)
    node.run()
    node.publish(b"q", b"new")
    node = lives.kill()
    assert node.bodies(b"q") == [b"new"]


@pytest.mark.parametrize("end", ["again", "kill"])
def test_a_queue_of_the_same_name_never_finds_old_settlements(lives, tmp_path, end):
    node = lives.node
    for life in range(3):
        node.declare(b"q")
        node.publish(b"q", *(b"%d" % life for _ in range(5)))
        assert node.ready(b"q") == 5
        for _ in range(4):
            node.get(b"q")
        node.delete(b"q")
        node.declare(b"q")
        node.publish(b"q", *numbers(*range(6)))
        node = getattr(lives, end)()
        node.run()
        assert node.bodies(b"q") == numbers(*range(6))
        node.delete(b"q")
        node.run()
        assert folders(tmp_path) == []


def test_lanes_of_a_queue_that_was_deleted_just_before_a_kill_are_removed(lives, tmp_path):
    node = lives.node
    node.declare(b"q", max_priority=3)
    for priority in range(3):
        node.publish(b"q", b"1", priority=priority)
    node.run()
    assert len(folders(tmp_path)) == 3
    node.queues.logs.delete = lambda lanes: None
    node.delete(b"q")
    node = lives.kill()
    node.run()
    assert folders(tmp_path) == []
    assert node.queues._notes.queues() in ([], [queues_file.IN_USE])


def test_a_journal_that_knows_more_than_the_lane_is_clipped_before_anything_is_appended(lives):
    """LavinMQ#1866: offsets that are used again counted as settled."""
    node = lives.node
    queue = node.declare(b"q")
    node.publish(b"q", *numbers(*range(3)))
    node.get(b"q")
    # The journal tells of settlements up to 10, which a lax policy lost from the lane.
    told = Settled()
    told.settle(0, 1, 9)
    queue.stock.settled = told
    queue.touch()
    node.run()
    node = lives.kill()
    published = node.publish(b"q", *numbers(*range(100, 110)))
    assert published.waiting.failed is None
    assert node.bodies(b"q") == numbers(*range(100, 110))
    node.publish(b"q", b"last")
    node = lives.kill()
    assert node.bodies(b"q") == [b"last"]


def test_damage_in_one_queue_harms_no_other_and_is_not_acknowledged(lives, tmp_path, caplog):
    node = lives.node
    for name in (b"bad", b"good"):
        node.declare(name)
        node.publish(name, *numbers(*range(3)))
    bad = node.vhost.queue(b"bad")
    lane = bad.stock.lanes[0].log.chain.directory
    lives.close()
    [path] = [os.path.join(lane, it) for it in os.listdir(lane) if it.endswith(".log")]
    spoil(path)
    node = lives.open()
    assert node.bodies(b"good") == numbers(*range(3))
    assert node.get(b"bad") is None
    assert node.ready(b"bad") == 3
    assert "can't be delivered" in caplog.text
    told = []
    acts.fetch(node.vhost, node.vhost.queue(b"bad"), 10, told.append)
    moving.move(node.vhost, node.vhost.queue(b"bad"), Target(b"", b"good"), None, told.append)
    node.run(until=lambda: len(told) == 2)
    assert [type(it.error) for it in told] == [Damaged, Damaged]
    node.publish(b"bad", b"more")
    node.publish(b"good", b"more")
    assert node.bodies(b"good") == [b"more"]
    node.delete(b"bad")
    node.declare(b"bad")
    node.publish(b"bad", b"1")
    assert node.bodies(b"bad") == [b"1"]


@pytest.mark.parametrize("batch", range(4))
def test_damage_does_not_keep_a_queue_with_a_limit_in_bytes_from_being_opened(lives, batch):
    """What stands before it is delivered, as from a queue without a limit."""
    node = lives.node
    node.declare(b"q", max_length_bytes=1000)
    for n in range(4):
        node.publish(b"q", b"%d" % n)
    log = node.vhost.queue(b"q").stock.lanes[0].log
    positions = [at for at, _ in log.chain.segment(0).walk()]
    path = log.chain.segment(0).path
    lives.close()
    spoil(path, positions[batch] + 70)
    node = lives.open()
    assert node.ready(b"q") == 4
    found = []
    while (got := node.get(b"q")) is not None:
        found.append(got.delivery.body)
    assert found == numbers(*range(batch))


@pytest.mark.parametrize("more", [0, 1])
def test_one_that_is_damaged_and_to_be_sent_again_is_told_from_one_to_be_read(node, more):
    """Also where later segments can be read: its consumer would wait for it for ever."""
    queue = node.declare(b"q")
    node.publish(b"q", b"0")
    lane = queue.stock.lanes[0]
    lane.log.roll()
    node.publish(b"q", b"1", *numbers(2)[:more])
    channel = Channel()
    for _ in range(2):
        node.get(b"q", channel, no_ack=False)
    spoil(lane.log.chain.segment(0).path)
    node.queues.windows.drop(lane)
    assert queue.again(channel.unacked.find(1)) is None
    assert lane.damaged
    assert queue.again(channel.unacked.find(2)).body == b"1"
    assert not lane.damaged


def test_a_lane_that_cannot_be_opened_fails_its_queue_alone(lives, monkeypatch):
    node = lives.node
    for name in (b"bad", b"good"):
        node.declare(name)
        node.publish(name, b"1")
    number = node.vhost.queue(b"bad").id
    lives.close()
    opened = OpenQueues.open

    def refuses(self, lane, settings):
        if lane.queue == number:
            raise Failed("it can't be opened")
        return opened(self, lane, settings)

    monkeypatch.setattr(OpenQueues, "open", refuses)
    node = lives.open()
    queue = node.vhost.queue(b"bad")
    published = node.publish_soon(b"bad", b"2")
    published.waiting.watch(lambda: node.deliver(lambda: None))
    node.run(until=lambda: queue.failed is not None)
    if not published.rejected:
        assert published.waiting.settled()
        assert isinstance(published.waiting.failed, LogstoreError)
    with pytest.raises(Failed):
        queue.get(Channel(), False, print)
    with pytest.raises(Failed):
        queue.subscribe(Consumer())
    assert node.publish_soon(b"bad", b"3").rejected == [0]
    assert node.bodies(b"good") == [b"1"]
    with pytest.raises(Failed):  # it may have messages
        node.delete(b"bad", if_empty=True)
    moved = []
    moving.move(node.vhost, queue, Target(b"", b"good"), None, moved.append)
    assert [type(it.error) for it in moved] == [Failed]
    node.delete(b"bad")
    node.run()
    assert node.queues.logs.parked_bytes == 0


def held_back(node):
    """Have lanes wait to be opened until they are let go."""
    held = []
    logs, work = node.queues.logs, node.work
    logs._work = lambda first, second: held.append((first, second))

    def let_go():
        logs._work = work
        while held:
            work(*held.pop(0))

    return let_go


def test_while_a_lane_is_opened_what_comes_is_parked_and_counted(node):
    queue = node.declare(b"q")
    let_go = held_back(node)
    published = [node.publish_soon(b"q", b"%d" % n, b"x" * 1000) for n in range(5)]
    node.turn()
    assert node.queues.logs.parked_bytes > 5000
    assert queue.ready == 10
    assert not any(it.waiting.settled() for it in published)
    got = []
    queue.get(Channel(), True, got.append)
    purged = []
    consumer = Consumer()
    queue.subscribe(consumer)
    node.turn()
    assert (got, consumer.had, purged) == ([], [], [])
    let_go()
    node.run(until=lambda: got)
    assert got[0].delivery.body == b"0"
    assert len(consumer.had) == 9
    assert node.queues.logs.parked_bytes == 0
    for it in published:
        it.waiting.watch(lambda: node.deliver(lambda: None))
        node.run(until=it.waiting.settled)


def test_doors_are_told_when_too_much_is_parked(node, monkeypatch):
    node.declare(b"q")
    monkeypatch.setattr(lane_logs, "PARKED_BYTES_MAX", 10_000)
    let_go = held_back(node)
    while not node.queues.crowded:
        node.publish_soon(b"q", b"x" * 1000)
    assert node.queues.logs.parked_bytes < 12_000
    let_go()
    node.run()
    assert not node.queues.crowded


def test_a_queue_that_is_deleted_while_it_is_opened_leaves_nothing(node, tmp_path):
    node.declare(b"q")
    let_go = held_back(node)
    published = node.publish_soon(b"q", b"1")
    got = []
    node.vhost.queue(b"q").get(Channel(), True, got.append)
    node.vhost.delete_queue(node.vhost.queue(b"q"))
    assert got == [None]
    let_go()
    node.run(until=lambda: node.busy == 0)
    assert published.waiting.settled()
    assert published.waiting.failed is None
    node.run(until=lambda: folders(tmp_path) == [])  # a worker deletes it
    assert node.queues.logs.parked_bytes == 0


def test_turns_of_a_queue_with_much_to_give_are_bounded(node):
    queue = node.declare(b"q")
    for _ in range(10):
        node.publish(b"q", *[b"x"] * 1000)
    consumer = Consumer(no_ack=True)
    queue.subscribe(consumer)
    node.turn()
    assert 0 < len(consumer.had) < 10_000
    node.run()
    assert len(consumer.had) == 10_000


def test_large_messages_are_given_out_a_few_at_a_time(node):
    queue = node.declare(b"q")
    body = bytes(400_000)
    for _ in range(20):
        node.publish(b"q", body)
    consumer = Consumer(no_ack=True)
    queue.subscribe(consumer)
    pushes = []
    push = consumer.push
    consumer.push = lambda tag, those: (pushes.append(len(those)), push(tag, those))
    node.run()
    assert sum(pushes) == 20
    assert max(pushes) <= 4
    assert node.queues.windows._bytes <= 16 << 20


def test_a_message_of_16_mib_comes_as_it_went(node):
    node.declare(b"q")
    body = os.urandom(16 << 20)
    node.publish(b"q", b"small", body, b"small")
    assert node.bodies(b"q") == [b"small", body, b"small"]


def test_ready_messages_are_no_objects_in_memory(node):
    queue = node.declare(b"q")
    for _ in range(50):
        node.publish_soon(b"q", *[bytes(100)] * 1000)
    node.run()
    assert queue.ready == 50_000
    assert queue.stock.lanes[0].settlement.blocks == 0
    assert node.queues.windows._bytes == 0
    node.get(b"q", Channel(), no_ack=False)
    assert queue.stock.lanes[0].settlement.blocks == 1
    assert node.queues.windows._bytes < 200_000


def test_a_run_is_encoded_once_for_all_its_queues(node, monkeypatch):
    from logstore.broker.queues import message

    node.exchange(b"x", "fanout")
    for n in range(10):
        node.declare(b"q%d" % n)
        node.bind(b"x", b"q%d" % n)
    encoded = []
    encode_columns = message.encode_columns

    def counted(columns, **given):
        encoded.append(columns.messages)
        return encode_columns(columns, **given)

    monkeypatch.setattr(message, "encode_columns", counted)
    node.publish(b"", *numbers(*range(100)), exchange=b"x")
    assert encoded == [100]
    assert all(node.ready(b"q%d" % n) == 100 for n in range(10))


def test_views_are_copied(node):
    node.declare(b"q")
    buffer = bytearray(b"123456")
    for bodies in ([buffer[:3]], [buffer[:3], buffer[3:]]):
        views = [memoryview(it) for it in bodies]
        run = [Message(b"", b"q", props(), it) for it in views]
        node.vhost.publish([(node.vhost.route(it), it) for it in run])
    buffer[:] = b"xxxxxx"
    node.run()
    assert node.bodies(b"q") == [b"123", b"123", b"456"]


def test_what_a_journal_cannot_take_is_told_later(lives, monkeypatch, caplog):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    journal = node.queues._journaling.log
    append = journal.append
    from logstore.errors import StorageFull

    def full(batch):
        raise StorageFull("no space left")

    journal.append = full
    assert node.get(b"q").delivery.body == b"1"
    assert caplog.text.count("can't be kept") == 1
    held, answers = Transaction(), []
    message = Message(b"", b"q", props(), b"held")
    node.vhost.publish([(node.vhost.route(message), message)], held)
    node.vhost.commit(held, answers.append)
    node.turn()
    assert [type(it) for it in answers] == [StorageFull]
    del journal.append
    assert journal.append == append
    node.later(2_000)
    node = lives.kill()
    assert node.bodies(b"q") == [b"2"]


def test_a_transaction_can_wait_for_what_it_has_settled(lives):
    node = lives.node
    queue = node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    (group,) = channel.unacked.drain()
    held, answers = Transaction(), []
    held.settle(queue, group.lane, group.first, group.bits)
    node.vhost.commit(held, answers.append)
    node.run(until=lambda: answers)
    assert (answers, queue.out) == ([None], 0)
    node = lives.kill()
    assert node.bodies(b"q") == [b"2"]


def test_a_journal_that_is_synced_before_it_is_watched_keeps_no_commit_waiting(node, monkeypatch):
    node.declare(b"q")
    journal = node.queues._journaling.log
    append = journal.append

    def appended_and_synced(batch):
        mark = append(batch)
        journal.wait(journal.end)
        return mark

    monkeypatch.setattr(journal, "append", appended_and_synced)
    held, answers = Transaction(), []
    message = Message(b"", b"q", props(), b"held")
    node.vhost.publish([(node.vhost.route(message), message)], held)
    node.vhost.commit(held, answers.append)
    node.run()
    assert answers == [None]
    assert node.bodies(b"q") == [b"held"]


def test_a_full_disk_loses_no_dead_letter(lives):
    lives.close()
    disk = FullDisk()
    node = lives.open(disk)
    node.declare(b"dead")
    node.publish(b"dead", b"0")
    queue = node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", b"1", b"2")
    channel = Channel()
    for _ in range(2):
        node.get(b"q", channel, no_ack=False)
    node.run()
    append = node.vhost.queue(b"dead").stock.lanes[0].log
    disk.writes = 0
    channel.reject(2, multiple=True)
    for _ in range(2):  # they are sent, and the journal is told
        node.turn()
    assert append.end == 1
    disk.writes = None
    node.run()
    assert (queue.out, queue.dead_letters.dropped) == (2, 0)
    node.later(1_000)
    assert queue.out == 0
    assert node.bodies(b"dead") == numbers(0, 1, 2)


def test_a_sync_that_fails_ends_no_wait_for_ever(lives):
    lives.close()
    disk = SyncFailsDisk(failing="/queues/")
    node = lives.open(disk)
    node.declare(b"q")
    node.publish(b"q", b"1")
    disk.failures = 1 << 30
    published = node.publish_soon(b"q", b"2")
    published.waiting.watch(lambda: node.deliver(lambda: None))
    log = node.vhost.queue(b"q").stock.lanes[0].log
    with pytest.raises(LogFailed):
        log.wait(log.end)
    got = []
    for _ in range(2):
        node.vhost.queue(b"q").get(Channel(), True, got.append)
        node.turn()
    assert [None if it is None else it.delivery.body for it in got] == [b"1", None]
    assert published.waiting.settled()
    assert isinstance(published.waiting.failed, LogFailed)
    assert node.publish_soon(b"q", b"3").rejected == [0]


@pytest.mark.parametrize("table", [b"queues", b"vhosts"])
def test_a_damaged_row_takes_no_message_with_it(lives, tmp_path, table):
    lives.node.declare(b"q")
    lives.node.publish(b"q", b"1", b"2")
    lives.close()
    before = folders(tmp_path)
    damage(lives, table, lambda _: b"garbage")
    lives.again().run()
    lives.again().run()
    assert folders(tmp_path) == before != []


def test_a_queue_whose_row_was_damaged_is_whole_once_the_row_is(lives):
    node = lives.node
    node.exchange(b"x")
    node.declare(b"q")
    node.bind(b"x", b"q", b"k")
    node.publish(b"q", b"1", b"2")
    lives.close()
    rows = damage(lives, b"queues", lambda _: b"garbage")
    with pytest.raises(NoQueue):
        lives.again().vhost.queue(b"q")
    lives.close()
    damage(lives, b"queues", rows.get)
    node = lives.again()
    node.publish(b"k", b"3", exchange=b"x")
    assert node.bodies(b"q") == [b"1", b"2", b"3"]


def damage(lives, table, value):
    """Put this in the place of each row of a table; what was there."""
    environment = lives.open().committer._environment
    rows = dict(environment.items(table))
    environment.commit([(table, key, value(key)) for key in rows])
    return rows


def test_arguments_nested_as_deep_as_may_be_are_there_after_a_restart(lives):
    deep = []
    for _ in range(NESTED_MAX - 1):  # and the table, and the innermost array
        deep = [deep]
    table, _ = fields.read_table(fields.table({"x-deep": deep}), 0)
    lives.node.declare(b"q", deep=table["x-deep"])
    lives.node.publish(b"q", b"1")
    assert lives.again().bodies(b"q") == [b"1"]


@pytest.mark.long
def test_a_thousand_queues_that_are_asked_for_at_a_start_are_all_opened(lives):
    names = [b"q%d" % n for n in range(600)]
    for name in names:
        lives.node.declare(name)
        lives.node.publish_soon(name, b"1")
    lives.node.run()
    node = lives.again()
    answered = []
    for name in names:
        node.vhost.queue(name).when_open(lambda name=name: answered.append(name))
    node.run()
    assert sorted(answered) == sorted(names)
    assert node.queues._unopened == set()
