import contextlib
import gc
import os
import threading

import pytest
from library_parts import DEADLINE_S

import logstore
from logstore import Message
from logstore.errors import (
    Closed,
    InvalidName,
    InvalidSetting,
    NotAStore,
    ReadOnly,
    Refused,
    StoreLocked,
    TopicExists,
    UnknownPartition,
    UnknownTopic,
)
from logstore.storage.disk import Disk


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data"


# Opening and closing


def test_a_second_writer_is_told_who_writes(path):
    with logstore.open(path), pytest.raises(StoreLocked, match=rf"pid {os.getpid()} \("):
        logstore.open(path)
    logstore.open(path).close()


def test_a_reader_makes_no_store_and_a_writer_none_that_it_is_not_to_make(path):
    for arguments in (("read",), ("write",)):
        with pytest.raises(NotAStore):
            logstore.open(path, *arguments, create=False)
    assert not path.exists()


def test_an_unknown_mode_is_refused(path):
    with pytest.raises(Refused, match="mode 'append': must be write or read"):
        logstore.open(path, "append")
    assert not path.exists()


@pytest.mark.parametrize("kind", [str, os.fspath, lambda it: it])
def test_any_kind_of_path_is_taken(path, kind):
    with logstore.open(kind(path)) as store:
        assert store.path == str(path)


def test_everything_is_refused_after_close(path):
    store = logstore.open(path)
    topic = store.create_topic("t")
    topic.append(b"")
    producer = store.producer("t")
    consumer = store.consumer("t")
    store.close()
    store.close()
    for use in (
        store.topics,
        store.groups,
        store.status,
        store.verify,
        lambda: store.topic("t"),
        lambda: store.create_topic("u"),
        lambda: store.alter_topic("t", partitions=2),
        lambda: store.delete_topic("t"),
        lambda: store.describe_topic("t"),
        lambda: store.sizes("t"),
        lambda: store.producer("t"),
        lambda: store.consumer("t"),
        lambda: store.consumer("t", group="g"),
        lambda: store.group("g"),
        lambda: store.offset_for("t", 0, 0),
        lambda: store.replay("t"),
        lambda: topic.append(b""),
        lambda: topic.append_many([Message(b"")]),
        lambda: producer.send(b""),
        consumer.poll,
    ):
        with pytest.raises(Closed):
            use()
    with logstore.open(path) as store:
        assert store.topic("t").partitions[0].end == 1


def test_a_replay_that_is_under_way_ends_when_the_store_is_closed(path):
    store = logstore.open(path)
    topic = store.create_topic("t")
    for _ in range(3):
        topic.append_many([Message(b"x" * 500_000)] * 2)
    replayed = store.replay("t")
    reader = logstore.open(path, "read")
    read = reader.replay("t")
    store.close()
    reader.close()
    for records in (replayed, read):
        with pytest.raises(Closed):
            list(records)


def test_closing_the_store_flushes_producers_that_are_still_open(path):
    with logstore.open(path) as store:
        store.create_topic("t")
        producer = store.producer("t")
        producer.send(b"a")
    assert producer.acknowledged == 1
    producer.close()
    with logstore.open(path, "read") as store:
        assert [record.value for record in store.consumer("t")] == [b"a"]


def test_a_follower_in_another_thread_ends_when_the_store_is_closed(path):
    store = logstore.open(path)
    store.create_topic("t").append(b"")
    seen, outcome = threading.Event(), []

    def follow():
        try:
            for _ in store.consumer("t", group="g", follow=True):
                seen.set()
        except Closed:
            outcome.append("closed")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert seen.wait(DEADLINE_S)
    store.close()
    thread.join(DEADLINE_S)
    assert outcome == ["closed"]


def test_what_a_dropped_producer_had_gathered_is_written_when_the_store_is_closed(path):
    with logstore.open(path) as store:
        store.create_topic("t")
        store.producer("t").send(b"gathered")
        gc.collect()
    with logstore.open(path, "read") as store, store.consumer("t") as consumer:
        assert [record.value for record in consumer] == [b"gathered"]


def test_an_exception_in_the_block_closes_the_store(path):
    with pytest.raises(ZeroDivisionError), logstore.open(path) as store:  # noqa: PT012
        store.create_topic("t").append(b"")
        _ = 1 / 0
    with logstore.open(path) as store:
        assert store.topic("t").partitions[0].end == 1


class InterruptedDisk(Disk):
    """Ctrl-C right after a sync, once."""

    armed = False

    def sync(self, fd):
        super().sync(fd)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt


def test_ctrl_c_in_a_sync_neither_hangs_the_close_nor_loses_what_was_acknowledged(path):
    disk = InterruptedDisk()
    store = logstore.open(path, disk=disk)
    topic = store.create_topic("t")
    topic.append(b"acknowledged")
    disk.armed = True
    with pytest.raises(KeyboardInterrupt):
        topic.append(b"interrupted")
    closing = threading.Thread(target=store.close, daemon=True)
    closing.start()
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    with logstore.open(path) as store:
        values = [record.value for record in store.consumer("t")]
    assert values[0] == b"acknowledged"
    assert set(values[1:]) <= {b"interrupted"}


# Topics


def test_topics_are_listed_by_name(path):
    with logstore.open(path) as store:
        for name in ("b", "a", "c.d-e_f"):
            store.create_topic(name)
        assert store.topics() == ["a", "b", "c.d-e_f"]
        store.delete_topic("b")
        assert store.topics() == ["a", "c.d-e_f"]


def test_a_topic_that_is_there_is_not_created_again(path):
    with logstore.open(path) as store:
        store.create_topic("t", 2).append(b"kept", partition=1)
        with pytest.raises(TopicExists, match="'t'"):
            store.create_topic("t")
        assert len(store.create_topic("t", 9, exist_ok=True).partitions) == 2
        assert len(store.create_topic("u", exist_ok=True).partitions) == 1
        assert [record.value for record in store.consumer("t")] == [b"kept"]


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ü", "a" * 250, "a\n", "\udc80"])
def test_names_that_kafka_would_not_take_are_refused_wherever_they_are_given(path, name):
    with logstore.open(path) as store:
        for use in (
            store.create_topic,
            store.topic,
            store.delete_topic,
            store.alter_topic,
            store.describe_topic,
            store.sizes,
            store.producer,
            store.consumer,
        ):
            with pytest.raises(InvalidName):
                use(name)


def test_an_unknown_topic_is_told_wherever_it_is_given(path):
    with logstore.open(path) as store:
        for use in (
            store.topic,
            store.delete_topic,
            store.alter_topic,
            store.describe_topic,
            store.sizes,
            store.producer,
            store.consumer,
            lambda name: store.replay(name),
            lambda name: store.offset_for(name, 0, 0),
        ):
            with pytest.raises(UnknownTopic, match="'nosuch'"):
                use("nosuch")


@pytest.mark.parametrize("count", [0, -1, 100_001, 1.5, "many", True])
def test_a_number_of_partitions_out_of_bounds_is_refused(path, count):
    with logstore.open(path) as store:
        with pytest.raises(
            InvalidSetting, match=f"partitions={count}: must be a whole number from 1"
        ):
            store.create_topic("t", count)
        assert store.topics() == []
        store.create_topic("t")
        with pytest.raises((InvalidSetting, Refused)):
            store.alter_topic("t", partitions=count)


def test_a_deleted_topic_takes_no_appends_and_one_of_its_name_begins_anew(path):
    with logstore.open(path) as store:
        old = store.create_topic("t")
        old.append(b"old")
        store.delete_topic("t")
        with pytest.raises(logstore.LogstoreError, match="deleted"):
            old.append(b"late")
        new = store.create_topic("t")
        assert new is not old
        assert new.append(b"new").offset == 0
        with pytest.raises(logstore.LogstoreError, match="deleted"):
            old.append(b"late")
        assert [record.value for record in store.consumer("t")] == [b"new"]


def test_offsets_by_time(path):
    with logstore.open(path) as store:
        topic = store.create_topic("t", 2)
        topic.append_many([Message(b"", None, (), at) for at in (10, 20, 30)], partition=1)
        assert [store.offset_for("t", 1, at) for at in (0, 10, 11, 30, 31)] == [0, 0, 1, 2, 3]
        assert store.offset_for("t", 0, 0) == 0
        with pytest.raises(UnknownPartition):
            store.offset_for("t", 2, 0)


@pytest.mark.parametrize("speed", [-1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused_at_once(path, speed):
    with logstore.open(path) as store:
        store.create_topic("t")
        with pytest.raises(Refused, match="speed"):
            store.replay("t", speed=speed)


def test_status_counts(path):
    with logstore.open(path) as store:
        topic = store.create_topic("a", 2)
        store.create_topic("b")
        topic.append_many([Message(b"")] * 5, partition=1)
        topic.partitions[1].trim(2)
        with store.consumer("a", group="g") as consumer:
            list(consumer)
        status = store.status()
    assert (status.topics, status.partitions, status.offsets, status.groups) == (2, 3, 3, 1)
    assert (status.mode, status.path, status.damaged) == ("write", str(path), ())
    assert status.writer.pid == os.getpid()
    assert status.bytes > 0


# Reading


def test_a_reader_changes_nothing_but_committed_offsets(path):
    with logstore.open(path) as store:
        store.create_topic("t").append(b"")
    with logstore.open(path, "read") as store:
        topic = store.topic("t")
        for use in (
            lambda: topic.append(b""),
            lambda: topic.append_many([Message(b"")]),
            lambda: store.producer("t"),
            lambda: store.create_topic("u"),
            lambda: store.alter_topic("t", {"segment.bytes": "1000"}),
            lambda: store.delete_topic("t"),
        ):
            with pytest.raises(ReadOnly):
                use()
        with store.consumer("t", group="g") as consumer:
            assert len(list(consumer)) == 1
        assert store.group("g").describe()[0].lag == 0


def test_a_reader_sees_topics_partitions_and_settings_as_they_change(path):
    with logstore.open(path) as writer, logstore.open(path, "read") as reader:
        assert reader.topics() == []
        writer.create_topic("t").append(b"1")
        topic = reader.topic("t")
        assert [record.value for record in reader.consumer("t")] == [b"1"]
        writer.alter_topic("t", {"segment.bytes": "1000"}, partitions=3)
        assert reader.topic("t") is topic
        assert len(topic.partitions) == 3
        assert {it.name for it in reader.describe_topic("t") if it.source == "topic"}
        writer.topic("t").append(b"2", partition=2)
        assert [record.value for record in reader.consumer("t")] == [b"1", b"2"]
        writer.delete_topic("t")
        with pytest.raises(UnknownTopic):
            reader.topic("t")


# Threads


class MeetingDisk(Disk):
    """Holds whoever lists a partition until a second does, or a moment has passed."""

    def __init__(self):
        self.meeting = threading.Barrier(2)

    def list(self, path):
        names = super().list(path)
        if path.endswith("t-0") and not self.meeting.broken:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.meeting.wait(0.2)
        return names


def run_all(*works):
    """Each in a thread of its own; what each returned or raised."""
    outcomes = [None] * len(works)

    def run(at, work):
        try:
            outcomes[at] = work()
        except Exception as error:  # noqa: BLE001
            outcomes[at] = error

    threads = [threading.Thread(target=run, args=it, daemon=True) for it in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes


def test_threads_that_ask_for_a_topic_at_once_get_the_same_one(path):
    with logstore.open(path) as store:
        store.create_topic("t")
    with logstore.open(path, disk=MeetingDisk()) as store:
        one, other = run_all(lambda: store.topic("t"), lambda: store.topic("t"))
        assert one is other
        assert one.partitions[0] is other.partitions[0]


def test_threads_that_create_a_topic_at_once_create_it_once(path):
    with logstore.open(path, disk=MeetingDisk()) as store:
        outcomes = run_all(*[lambda: store.create_topic("t")] * 2)
        assert sorted(type(it).__name__ for it in outcomes) == ["Topic", "TopicExists"]


def test_a_topic_can_be_altered_while_threads_append_to_it(path):
    with logstore.open(path) as store:
        topic = store.create_topic("t")

        def append():
            return [topic.append(b"", b"%d" % at) for at in range(100)]

        def alter():
            for count in range(2, 12):
                store.alter_topic("t", {"segment.bytes": str(1000 * count)}, partitions=count)

        *positions, none = run_all(append, append, append, alter)
        assert none is None
        placed = [(p.partition, p.offset) for each in positions for p in each]
        assert len(set(placed)) == 300
        assert sum(log.end for log in topic.partitions) == 300


def test_two_topics_do_not_differ_in_dots_and_underscores_alone(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("a.b_c")
        for name in ("a_b.c", "a.b.c", "a_b_c"):
            with pytest.raises(InvalidName, match=r"collides with topic 'a\.b_c'"):
                store.create_topic(name)
        store.create_topic("a-b_c")
        store.delete_topic("a.b_c")
        store.create_topic("a_b.c")
        assert store.topics() == ["a-b_c", "a_b.c"]
