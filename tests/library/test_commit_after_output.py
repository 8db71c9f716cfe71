"""What was read counts as read only when what was made of it is safe."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from waiting import DEADLINE_S, until

import logstore
from logstore.config import Config
from logstore.errors import Failed, LogFailed, StorageFull
from logstore.records.record import Message
from logstore.storage.disk import Disk

pytestmark = pytest.mark.long

RECORDS = 3_500
OFTEN = Config({"consumer.commit.ms": ("10", "test")})

# Copies records to output topics, one by one, until it is to be killed: then it waits until all
# that is done is committed, so that a commit that runs ahead of its output is seen each time.
COPIER = """
import os, signal, sys, threading
import logstore
from waiting import until
from logstore.config import Config

path, kill_at, how, outputs = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
store = logstore.open(path, config=Config({"consumer.commit.ms": ("10", "test")}))

def committed():
    return sum(it.committed or 0 for it in store.group("g").describe()) if store.groups() else 0

def reached(count):
    if how != "on demand":
        until(lambda: committed() >= count)
    os.kill(os.getpid(), signal.SIGKILL)

def copy(consumer, counted):
    producers = [store.producer(name) for name in outputs]
    for record in consumer:
        if (at := counted()) >= kill_at:
            reached(kill_at if members == 1 else kill_at - 1)  # another's last is not done
        producers[at % len(outputs)].send(record.value)
        if how == "closed meanwhile" and at % 100 == 99:
            producers[at % len(outputs)].close()
            producers[at % len(outputs)] = store.producer(outputs[at % len(outputs)])

def poll():
    producers = [store.producer(name) for name in outputs]
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        done = 0
        while records := consumer.poll(100):
            for record in records:
                if done >= kill_at:
                    reached(kill_at)
                producers[done % len(outputs)].send(record.value)
                done += 1
            for producer in producers:
                producer.flush()
            consumer.commit()

members = 2 if how == "two consumers" else 1
lock, seen = threading.Lock(), [0]

def count():
    with lock:
        seen[0] += 1
        return seen[0] - 1

if how == "on demand":
    poll()
elif how == "two consumers":
    consumers = [store.consumer("in", group="g") for _ in range(2)]
    threads = [threading.Thread(target=copy, args=(it, count)) for it in consumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
else:
    with store.consumer("in", group="g") as consumer:
        copy(consumer, count)
"""


def values(store, *topics):
    with store.consumer(*topics) as consumer:
        return [it.value for it in consumer]


def filled(path, outputs=("out",)):
    with logstore.open(path) as store:
        store.create_topic("in", partitions=2)
        for name in outputs:
            store.create_topic(name)
        numbers = [Message(b"%d" % at) for at in range(RECORDS)]
        store.topic("in").append_many(numbers[::2], partition=0)
        store.topic("in").append_many(numbers[1::2], partition=1)


def left_out(path, outputs):
    """What the group will not read again and is in no output."""
    with logstore.open(path, "read") as store:
        written = set(values(store, *outputs))
        done = []
        for it in store.group("g").describe() if store.groups() else ():
            with store.consumer("in", partitions=[it.partition]) as consumer:
                done += [r.value for r in consumer if r.offset < (it.committed or 0)]
    return len(done), [it for it in done if it not in written]


@pytest.mark.parametrize("kill_at", [1, 2, 137, 3_000])
@pytest.mark.parametrize(
    "how", ["one consumer", "closed meanwhile", "two consumers", "on demand", "several topics"]
)
def test_a_process_killed_while_it_copies_leaves_nothing_out(tmp_path, kill_at, how):
    outputs = ["a", "b", "c"] if how == "several topics" else ["out"]
    path = tmp_path / "data"
    filled(path, outputs)
    done = subprocess.run(
        [sys.executable, "-c", COPIER, path, str(kill_at), how, ",".join(outputs)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=DEADLINE_S * 2,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    count, missing = left_out(path, outputs)
    assert missing == []
    if how not in ("on demand", "two consumers"):
        assert count == kill_at, "all that was done is committed"


class FullDisk(Disk):
    """Takes no data for a partition of topic "out" while ``full``."""

    full = False

    def write(self, fd, parts, offset):
        if self.full and "/out-" in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(28, "No space left on device")
        return super().write(fd, parts, offset)


@pytest.fixture
def disk():
    return FullDisk()


@pytest.fixture
def store(tmp_path, disk):
    filled(tmp_path / "data")
    disk.full = False
    with logstore.open(tmp_path / "data", config=OFTEN, disk=disk) as store:
        yield store


def committed(store):
    return sum(it.committed or 0 for it in store.group("g").describe()) if store.groups() else 0


def test_a_commit_flushes_the_producers_of_the_store(store):
    producer = store.producer("out")
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        for record in consumer.poll(10):
            producer.send(record.value)
        assert (producer.acknowledged, committed(store)) == (0, 0)
        consumer.commit()
        assert (producer.acknowledged, committed(store)) == (10, 10)
    assert store.group("g").members() == []


def test_without_automatic_commits_only_commit_commits(store):
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        assert len(list(consumer)) == RECORDS
    assert committed(store) == 0
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        consumer.poll(5)
        consumer.commit()
        consumer.poll(5)
    assert committed(store) == 5


def test_what_no_producer_could_write_is_not_counted_as_read(store, disk):
    consumer = store.consumer("in", group="g", auto_commit=False)
    producer = store.producer("out")
    for record in consumer.poll(10):
        producer.send(record.value)
    disk.full = True
    with pytest.raises(StorageFull):
        consumer.commit()
    assert committed(store) == 0
    disk.full = False
    consumer.commit()
    assert committed(store) == len(values(store, "out")) == 10


def test_output_lost_by_closing_a_producer_on_a_full_disk_is_made_again(store, disk):
    consumer = store.consumer("in", group="g", follow=True)
    until(lambda: [it.committed for it in store.group("g").describe()] == [0, 0])
    producer = store.producer("out")  # nothing has moved, so that no commit flushes it from here on
    for record in consumer.poll(10):
        producer.send(record.value)
    disk.full = True
    with pytest.raises(StorageFull):
        producer.close()
    disk.full = False
    with pytest.raises(
        Failed, match=r"not all records sent to topic 'out' were written .* open a new consumer"
    ):
        list(consumer)
    with pytest.raises(Failed, match="not all records"):
        consumer.close()
    assert committed(store) == 0
    with store.consumer("in", group="g") as again, store.producer("out") as producer:
        for record in again:
            producer.send(record.value)
    assert committed(store) == RECORDS
    assert sorted(map(int, values(store, "out"))) == list(range(RECORDS))


def test_on_demand_what_was_lost_may_be_sent_again_by_hand(store, disk):
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        records = consumer.poll(10)
        producer = store.producer("out")
        producer.send_many([Message(it.value) for it in records])
        disk.full = True
        with pytest.raises(StorageFull):
            producer.close()
        disk.full = False
        store.topic("out").append_many([Message(it.value) for it in records])
        consumer.commit()
    assert committed(store) == 10


def test_a_deleted_output_topic_holds_up_no_commit(store):
    producer = store.producer("out")
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        for record in consumer.poll(10):
            producer.send(record.value)
        store.delete_topic("out")
        consumer.commit()
        assert committed(store) == 10
        with pytest.raises(logstore.LogstoreError, match="deleted"):
            producer.close()
    with store.consumer("in", group="g") as consumer:
        consumer.poll(5)
    assert committed(store) == 15


def test_many_threads_send_by_one_producer_while_it_is_flushed(store):
    producer = store.producer("out", batch_bytes=2_000, compression="lz4")
    start = threading.Barrier(4)

    def send(worker):
        start.wait()
        for at in range(500):
            producer.send(b"%d %d" % (worker, at))

    threads = [threading.Thread(target=send, args=(it,)) for it in range(3)]
    for thread in threads:
        thread.start()
    start.wait()
    until(lambda: not any(it.is_alive() for it in threads), producer.flush)
    producer.close()
    written = values(store, "out")
    for worker in range(3):
        mine = [int(it.split()[1]) for it in written if it.startswith(b"%d " % worker)]
        assert mine == list(range(500))


def test_a_sync_that_failed_stops_commits_and_says_why(store, monkeypatch):
    producer = store.producer("out")
    log = store.topic("out").partition(0)
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        producer.send(consumer.poll(1)[0].value)
        monkeypatch.setattr(log, "_failure", LogFailed("out-0: sync failed"))
        with pytest.raises(LogFailed, match="out-0"):
            consumer.commit()
    assert committed(store) == 0
    with pytest.raises(LogFailed):
        producer.close()
