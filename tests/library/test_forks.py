"""A store that was opened in one process is used in another, after a fork: it raises, and the first
process goes on as before."""

import json
import os
import threading
import traceback

import pytest

import logstore
from logstore import Message
from logstore.config import Config
from logstore.errors import Forked, StoreLocked

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
DEADLINE_S = 30


def in_child(work):
    """What ``work()`` returns in a forked child; what it raises there fails the test."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            try:
                told = {"result": work()}
            except BaseException:  # noqa: BLE001  it is told to the parent
                told = {"error": traceback.format_exc()}
            os.write(writing, json.dumps(told).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = json.loads(pipe.read() or b"{}")
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert "error" not in told, told["error"]
    return told["result"]


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data", config=OFF) as opened:
        opened.create_topic("t").append_many([Message(b"%d" % n) for n in range(100)])
        with opened.consumer("t", group="g") as consumer:
            consumer.poll(3)
        yield opened


def values(store):
    return [it.value for it in store.consumer("t")]


def test_appends_of_children_are_refused_and_the_parents_records_stay(store):
    """They overwrote each other's acknowledged records."""
    topic = store.topic("t")

    def child():
        with pytest.raises(Forked, match="can't be used across a fork"):
            topic.append(b"child")
        with pytest.raises(Forked):
            topic.append_many([Message(b"child")])
        return True

    assert in_child(child)
    assert topic.append(b"parent").offset == 100
    assert in_child(child)
    assert values(store)[100:] == [b"parent"]
    assert not [it for report in store.verify() for it in report.findings]


def uses(store):
    """Every public thing that is done with a store, by name."""
    topic, log = store.topic("t"), store.topic("t").partition(0)
    producer, consumer = store.producer("t"), store.consumer("t")
    following = store.consumer("t", follow=True)
    member = store.consumer("t", group="g", follow=True)
    compressing = store.producer("t", compression="gzip")
    producer.send(b"gathered")
    next(iter(consumer))
    listener, channel, group = store.listen("c"), store.channel("c"), store.group("g")
    channel.publish(b"unread")
    records = store.replay("t")
    return {
        "append": lambda: topic.append(b"x"),
        "read": lambda: log.read(0, 1),
        "read at the end": lambda: log.read(log.safe, 1),
        "find": lambda: log.find(0),
        "trim": lambda: log.trim(1),
        "topics": store.topics,
        "topic": lambda: store.topic("t"),
        "create": lambda: store.create_topic("u"),
        "alter": lambda: store.alter_topic("t", {"retention.ms": "1"}),
        "delete": lambda: store.delete_topic("t"),
        "describe": lambda: store.describe_topic("t"),
        "sizes": lambda: store.sizes("t"),
        "offset_for": lambda: store.offset_for("t", 0, 0),
        "new producer": lambda: store.producer("t"),
        "send": lambda: producer.send(b"x"),
        "send_many": lambda: compressing.send_many([Message(b"x")]),
        "push": producer.push,
        "flush": producer.flush,
        "new consumer": lambda: store.consumer("t"),
        "new member": lambda: store.consumer("t", group="g"),
        "poll": lambda: consumer.poll(1),
        "poll of a follower": following.poll,
        "poll of a member": member.poll,
        "commit": member.commit,
        "seek": lambda: consumer.seek("t", 0, 0),
        "iterate": lambda: next(iter(consumer)),
        "replay": lambda: next(records),
        "groups": store.groups,
        "group": lambda: store.group("g"),
        "members": group.members,
        "group describe": group.describe,
        "group topics": group.topics,
        "group reset": lambda: group.reset("latest"),
        "group delete": group.delete,
        "expire": store.expire_offsets,
        "publish": lambda: channel.publish(b"x"),
        "subscribe": channel.subscribe,
        "listen": lambda: store.listen("c"),
        "get": listener.get,
        "status": store.status,
        "leftovers": store.leftovers,
        "verify": lambda: list(store.verify()),
        "retention": lambda: list(store.retention()),
        "compaction": lambda: list(store.compaction()),
        "backup": lambda: list(store.backup("/nowhere")),
        "trim topic": lambda: store.trim("t", 1),
    }  # fmt: skip


def not_refused(found):
    wrong = []
    for name, use in found.items():
        try:
            use()
        except Forked:
            continue
        except BaseException as error:  # noqa: BLE001  told by name
            wrong.append(f"{name}: {error!r}")
        else:
            wrong.append(f"{name}: taken")
    return wrong


def test_every_use_is_refused(store):
    found = uses(store)
    assert in_child(lambda: not_refused(found)) == []
    assert store.topic("t").append(b"parent").offset >= 100


def test_every_use_of_a_reading_store_is_refused(store):
    with logstore.open(store.path, "read", config=OFF) as reader:
        topic, log = reader.topic("t"), reader.topic("t").partition(0)
        consumer, following = reader.consumer("t"), reader.consumer("t", follow=True)
        found = {
            "read": lambda: log.read(0, 1),
            "read at the end": lambda: log.read(100, 1),
            "find": lambda: log.find(0),
            "topics": reader.topics,
            "topic": lambda: reader.topic("t"),
            "poll": lambda: consumer.poll(1),
            "follow": following.poll,
            "new consumer": lambda: reader.consumer("t"),
            "status": reader.status,
            "groups": reader.groups,
            "verify": lambda: list(reader.verify()),
            "append": lambda: topic.partition(0).check_failure(),
        }
        assert in_child(lambda: not_refused(found)) == []
        assert len(values(reader)) == 100


def test_locks_that_other_threads_hold_do_not_hang_the_child(store):
    log, stop = store.topic("t").partition(0), threading.Event()
    held = [
        store._handles._lock, store._channels.lock, log._lock, store._directory._files._lock,
        store._directory._changing, store._directory._catalog.environment._shared.writing,
    ]  # fmt: skip
    found = uses(store)
    ready = threading.Event()

    def hold():
        for lock in held:
            lock.acquire()
        ready.set()
        stop.wait(DEADLINE_S)
        for lock in reversed(held):
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(DEADLINE_S)
    try:
        assert in_child(lambda: not_refused(found)) == []
    finally:
        stop.set()
        thread.join()


def is_locked(path):
    try:
        logstore.open(path, config=OFF).close()
    except StoreLocked:
        return True
    return False


def test_closing_in_the_child_leaves_the_parent_as_it_is(store):
    producer, consumer = store.producer("t"), store.consumer("t", group="g", follow=True)
    listener = store.listen("c")
    producer.send(b"gathered")
    assert consumer.poll(1)
    with open(os.path.join(store.path, "lock"), "rb") as file:
        owner = file.read()

    def child():
        for thing in (producer, consumer, listener, store):
            thing.close()
        return True

    assert in_child(child)
    with open(os.path.join(store.path, "lock"), "rb") as file:
        assert file.read() == owner
    assert os.path.exists(os.path.join(store.path, "api.sock"))
    assert in_child(lambda: is_locked(store.path))
    assert consumer.poll(1)
    consumer.commit()
    store.channel("c").publish(b"x")
    assert listener.get().payload == b"x"
    producer.flush()
    assert store.topic("t").append(b"parent").offset == 101
    assert list(store.retention())
    assert store.group("g").members()
    consumer.close()


def test_a_child_that_lives_on_does_not_keep_the_lock(tmp_path):
    store = logstore.open(tmp_path / "data", config=OFF)
    store.create_topic("t")
    reading, writing = os.pipe()
    up, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.write(told, b"1")
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    assert os.read(up, 1) == b"1"
    os.close(up)
    os.close(told)
    store.close()
    with logstore.open(tmp_path / "data", config=OFF) as again:  # the child has not ended
        assert again.topic("t").append(b"1").offset == 0
    os.close(writing)
    os.waitpid(pid, 0)


def test_a_child_opens_the_store_itself(store):
    store.close()

    def child():
        with logstore.open(store.path, config=OFF) as opened:
            return opened.topic("t").append(b"child").offset

    assert in_child(child) == 100
    assert in_child(child) == 101
    with logstore.open(store.path, config=OFF) as again:

        def reads():
            with (
                logstore.open(store.path, "read", config=OFF) as reader,
                reader.consumer("t", group="h") as consumer,
            ):
                return len(consumer.poll(1000))

        assert in_child(reads) == 102
        assert again.groups() == ["g", "h"]
        assert values(again)[100:] == [b"child", b"child"]


def test_a_child_of_a_child(store):
    def child():
        assert not_refused({"topics": store.topics}) == []
        return in_child(lambda: not_refused({"topics": store.topics}))

    assert in_child(child) == []


def test_no_descriptor_of_a_log_is_left_in_the_child(store):
    values(store)

    def child():
        names = os.listdir("/proc/self/fd")
        there = [os.path.realpath(f"/proc/self/fd/{name}") for name in names]
        return [
            it for it in there if it.startswith(str(store.path)) and it.endswith((".log", "/lock"))
        ]

    assert in_child(child) == []


@pytest.mark.long
def test_forks_beside_transactions_of_other_threads(store):
    """What the child opens anew works, however busy the catalogue was as it was made."""
    over, made = threading.Event(), []

    def commit():
        environment = store._directory._catalog.environment
        while not over.is_set():
            environment.commit([(b"meta", b"test", b"%d" % len(made))])
            environment.get(b"meta", b"test")
            made.append(None)

    def reads():
        with logstore.open(store.path, "read", config=OFF) as reader:
            return len(values(reader))

    threads = [threading.Thread(target=commit) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert in_child(reads) == 100
            seen = len(made)
            while len(made) == seen:  # the parent's go on
                assert all(thread.is_alive() for thread in threads)
    finally:
        over.set()
        for thread in threads:
            thread.join()
