"""Transactions of the library: what a block does happens as a whole, or not at all."""

import subprocess
import sys
import threading

import pytest
from clock import NOW_MS
from library_parts import CountingDisk
from storage_kit import FullDisk, SyncFailsDisk
from waiting import until

import logstore
from logstore.broker.queues.journal import settlements_of
from logstore.broker.queues.settling import BODIES_BYTES_MAX
from logstore.broker.routing.refusals import NoExchange
from logstore.broker.transactions.operations import (
    Offset,
    Offsets,
    Part,
    decided_key,
    decision_of,
    encode_decision,
    encode_known,
    encode_staged,
    known_key,
    staged_key,
)
from logstore.broker.transactions.state import Outcome
from logstore.broker.transactions.transactional_id import TV2, TransactionalId
from logstore.config import Config
from logstore.errors import (
    Fenced,
    InvalidRecord,
    LogFailed,
    LogstoreError,
    ReadOnly,
    Refused,
    StorageFull,
    TransactionTooLarge,
    UnknownPartition,
    UnknownTopic,
)
from logstore.open_queues import journal_there
from logstore.records.encode import encode
from logstore.storage.flusher import Flusher
from logstore.store import open_store
from logstore.store_transaction import Transaction

MINUTE_MS = 60_000


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "data") as store:
        store.create_topic("in", partitions=2)
        store.create_topic("out", partitions=3)
        store.queue("jobs")
        yield store


def fill(store, count, partitions=2):
    for n in range(count):
        store.topic("in").append(b"%d" % n, partition=n % partitions)
        store.queue("jobs").publish(b"job %d" % n)


def values(store, topic):
    with store.consumer(topic) as consumer:
        return sorted(record.value for record in consumer)


def one(store, *calls):
    """A transaction of these."""
    with store.transaction() as tx:
        for call in calls:
            call(tx)
    return tx


def committed(store, group="g"):
    return sum(it.committed or 0 for it in store.group(group).describe())


def test_what_is_read_made_and_acknowledged_in_a_block_is_done_together(store):
    fill(store, 6)
    with store.consumer("in", group="g") as consumer:
        for record in consumer:
            with store.transaction() as tx:
                tx.append("out", record.value, key=record.value, headers={"n": b"1"})
                tx.publish("", record.value, "more")
                tx.commit_offset(consumer, record)
                tx.ack(store.queue("jobs").get())
            [position] = tx.positions()
            log = store.topic("out").partition(position.partition)
            [batch] = log.read(position.offset, 1)
            assert batch.record_count == 1
    assert values(store, "out") == [b"%d" % n for n in range(6)]
    assert committed(store) == 6
    assert store.queue("jobs").counts() == (0, 0, 0)


def test_an_exception_leaves_nothing_of_a_block(store):
    fill(store, 1)
    job = store.queue("jobs").get()
    with store.consumer("in", group="g", auto_commit=False) as consumer:
        [record] = consumer.poll(1)
        made = []
        with pytest.raises(ZeroDivisionError):
            one(
                store,
                made.append,
                lambda tx: tx.append("out", b"x"),
                lambda tx: tx.publish("", b"x", "jobs"),
                lambda tx: tx.ack(job),
                lambda tx: tx.commit_offset(consumer, record),
                lambda tx: 1 / 0,
            )
        with pytest.raises(Refused, match="only after the block has ended"):
            made[0].positions()
        with pytest.raises(Refused, match="can be used only within its block"):
            made[0].ack(job)
    assert (values(store, "out"), committed(store)) == ([], 0)
    assert store.queue("jobs").counts() == (0, 1, 0)
    job.ack()


def test_it_is_durable_after_one_sync_of_the_journal(tmp_path):
    disk = CountingDisk()
    with open_store(tmp_path / "data", disk=disk) as store:
        store.create_topic("out")
        jobs = store.queue("jobs")
        with store.transaction() as tx:
            tx.append("out", b"first")  # all is open now
        tx.positions()
        jobs.publish(b"1")
        job, before = jobs.get(), disk.syncs
        with store.transaction() as tx:
            tx.append("out", b"second")
            tx.ack(job)
        assert disk.syncs > before


def test_one_alone_takes_one_sync_by_the_thread_that_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("logstore.storage.disk_log.SHOWN_WITHIN_MS", MINUTE_MS)

    class WhoseDisk(CountingDisk):
        def __init__(self):
            super().__init__()
            self.whose = []

        def sync(self, fd):
            super().sync(fd)
            self.whose.append(threading.current_thread())

    soon, hurried = Flusher.soon, []

    def asked(self, log, within_ms=0):
        hurried.append(not within_ms)
        soon(self, log, within_ms)

    monkeypatch.setattr(Flusher, "soon", asked)
    disk = WhoseDisk()
    config = Config({"queue.ack.sync.ms": (str(MINUTE_MS), "test")})  # of what nobody waits for
    with open_store(tmp_path / "data", disk=disk, config=config) as store:
        store.create_topic("in")
        store.create_topic("out")
        fill(store, 5, partitions=1)
        messages = [store.queue("jobs").get() for _ in range(5)]
        one(store, lambda tx: tx.append("out", b"first")).positions()  # all is open now
        disk.whose.clear()
        hurried.clear()
        with store.consumer("in", group="g") as consumer:
            for number, (record, message) in enumerate(zip(consumer, messages, strict=True), 1):
                with store.transaction() as tx:
                    tx.append("out", record.value)
                    tx.ack(message)
                    tx.commit_offset(consumer, record)
                assert disk.whose == [threading.current_thread()] * number
        assert not any(hurried)  # nobody else was woken for it
        log = store.topic("out").partition(0)
        assert (log.safe, log.end) == (1, 6)
        assert [it.offset for it in tx.positions()] == [5]
        assert log.safe == 6


def test_an_empty_one_does_nothing(store):
    with store.transaction() as tx:
        pass
    assert tx.positions() == []


def test_records_for_one_partition_are_one_batch_and_stay_in_order(store):
    with store.transaction() as tx:
        for n in range(50):
            tx.append("out", b"%d" % n, partition=n % 2)
    places = tx.positions()
    assert [it.partition for it in places] == [0, 1] * 25
    assert [it.offset for it in places] == [n // 2 for n in range(50)]
    [batch] = store.topic("out").partition(1).read(0, 1 << 20)
    assert batch.record_count == 25


REFUSED = [
    (UnknownTopic, lambda tx: tx.append("none", b"x")),
    (UnknownPartition, lambda tx: tx.append("out", b"x", partition=3)),
    (NoExchange, lambda tx: tx.publish("none", b"x")),
    (InvalidRecord, lambda tx: tx.append("compacted", b"x")),
    (TypeError, lambda tx: tx.append("out", "text")),
    (InvalidRecord, lambda tx: tx.append("out", bytes(2 << 20))),
]


@pytest.mark.parametrize(("error", "call"), REFUSED)
def test_what_can_not_be_done_keeps_the_rest_from_happening(store, error, call):
    store.create_topic("compacted", settings={"cleanup.policy": "compact"})
    fill(store, 1)
    job = store.queue("jobs").get()
    with pytest.raises(error):
        one(store, lambda tx: tx.append("out", b"x"), lambda tx: tx.ack(job), call)
    assert values(store, "out") == []
    job.ack()  # it is its receiver's still


def test_a_full_queue_keeps_the_rest_from_happening(store):
    store.queue("full", max_length=0, overflow="reject-publish")
    with pytest.raises(Refused, match="full"):
        one(store, lambda tx: tx.append("out", b"x"), lambda tx: tx.publish("", b"x", "full"))
    assert values(store, "out") == []


def test_a_message_is_settled_once(store):
    fill(store, 2)
    first, second = store.queue("jobs").get(), store.queue("jobs").get()
    with pytest.raises(Refused, match="settled twice"):
        one(store, lambda tx: tx.ack(first), lambda tx: tx.reject(first))
    one(store, lambda tx: tx.ack(first))
    with pytest.raises(Refused, match="before"):
        one(
            store, lambda tx: tx.append("out", b"x"), lambda tx: tx.ack(second),
            lambda tx: tx.ack(first),
        )  # fmt: skip
    assert values(store, "out") == []
    second.ack()


def test_a_rejected_message_is_a_dead_letter_of_the_same_transaction(store):
    store.exchange("dead", "x-topic", arguments={"x-target": "out"})
    queue = store.queue("q", dead_letter_exchange="dead")
    queue.publish(b"bad")
    with store.transaction() as tx:
        tx.reject(queue.get())
    until(lambda: values(store, "out") == [b"bad"])
    assert queue.counts() == (0, 0, 0)


def test_a_transaction_has_a_bound(store):
    part = bytes(BODIES_BYTES_MAX // 32)
    with pytest.raises(TransactionTooLarge):
        one(store, *[lambda tx: tx.append("out", part)] * 40)
    assert values(store, "out") == []
    store.alter_topic("out", {"max.message.bytes": str(2 * BODIES_BYTES_MAX)})
    with store.transaction() as tx:
        tx.append("out", bytes(BODIES_BYTES_MAX + 1))  # one is always allowed
    assert len(tx.positions()) == 1


def test_a_consumer_commits_nothing_by_itself_where_transactions_do(tmp_path):
    often = Config({"consumer.commit.ms": ("10", "test")})
    with open_store(tmp_path / "data", config=often) as store:
        store.create_topic("in")
        store.topic("in").append_many([(b"%d" % n, None, (), None) for n in range(5)])
        with store.consumer("in", group="g") as consumer:
            for record in consumer:
                if record.offset < 3:
                    with store.transaction() as tx:
                        tx.commit_offset(consumer, record)
        assert committed(store) == 3
        with store.consumer("in", group="g") as consumer:
            assert [it.offset for it in consumer] == [3, 4]
        assert committed(store) == 5


def test_a_consumer_keeps_nothing_of_its_transactions_but_of_the_last(store, monkeypatch):
    wait_for, waited = Transaction._wait_for, []

    def counted(self, it):
        waited.append(it)
        wait_for(self, it)

    monkeypatch.setattr(Transaction, "_wait_for", counted)
    fill(store, 4)
    with store.consumer("in", group="g") as consumer:
        for record in consumer:
            one(store, lambda tx, record=record: tx.commit_offset(consumer, record))
    assert len(waited) == 1
    assert committed(store) == 4


def test_what_is_committed_on_demand_comes_behind_transactions(store):
    fill(store, 8)
    with store.consumer("in", group="g", partitions=[0]) as consumer:
        records = consumer.poll(4)
        with store.transaction() as tx:
            tx.commit_offset(consumer, records[0])
        consumer.commit()
    assert committed(store) == 4


def test_a_consumer_that_has_lost_a_partition_is_fenced(store):
    fill(store, 2)
    with store.consumer("in") as reader:
        records = {record.partition: record for record in reader}
    with store.consumer("in", group="g") as consumer:
        one(store, lambda tx: tx.commit_offset(consumer, records[0]))
        with store.consumer("in", group="g"):
            until(lambda: len(consumer.places) == 1)  # it gives up one that it does not read
            [kept] = consumer.places
            lost = records[1 - kept[1]]
            with pytest.raises(Fenced):
                one(
                    store, lambda tx: tx.append("out", b"x"),
                    lambda tx: tx.commit_offset(consumer, lost),
                )  # fmt: skip
            one(store, lambda tx: tx.commit_offset(consumer, records[kept[1]]))
    assert values(store, "out") == []


def test_a_consumer_without_a_group_commits_nothing(store):
    fill(store, 1)
    with store.consumer("in") as consumer:
        record = next(iter(consumer))
        with pytest.raises(Refused, match="no group"):
            one(store, lambda tx: tx.commit_offset(consumer, record))


def test_a_process_that_reads_has_no_transactions(store):
    with open_store(store.path, "read") as reader, pytest.raises(ReadOnly):
        reader.transaction()


def test_a_topic_keeps_repeats_out_of_transactions(store):
    store.create_topic("once", settings={"deduplication.header": "id"})
    for _ in range(2):
        with store.transaction() as tx:
            tx.append("once", b"x", headers={"id": b"1"})
        tx.positions()
    assert values(store, "once") == [b"x"]


def test_a_topic_that_is_deleted_meanwhile_fails_all_of_it(store):
    with pytest.raises(UnknownTopic):
        one(
            store, lambda tx: tx.append("out", b"x"), lambda tx: tx.append("in", b"x"),
            lambda tx: store.delete_topic("out"),
        )  # fmt: skip
    assert values(store, "in") == []


def test_a_full_disk_fails_all_of_it_and_the_next_one_succeeds(tmp_path):
    disk = FullDisk()
    with open_store(tmp_path / "data", disk=disk) as store:
        store.create_topic("out")
        jobs = store.queue("jobs")
        jobs.publish(b"1")
        with store.transaction() as tx:
            tx.append("out", b"0")
        tx.positions()
        disk.writes = 0
        job = jobs.get()
        with pytest.raises(StorageFull):
            one(store, lambda tx: tx.append("out", b"1"), lambda tx: tx.ack(job))
        disk.writes = None
        assert jobs.counts() == (1, 0, 0)
        with store.transaction() as tx:
            tx.append("out", b"2")
            tx.ack(jobs.get())
        tx.positions()
        assert values(store, "out") == [b"0", b"2"]


def test_a_journal_that_fails_fails_it(tmp_path):
    disk = SyncFailsDisk("/journal/")
    store = open_store(tmp_path / "data", disk=disk)
    store.create_topic("out")
    one(store, lambda tx: tx.append("out", b"0")).positions()
    disk.failures = 1 << 30
    with pytest.raises(LogFailed):
        one(store, lambda tx: tx.append("out", b"1"))
    assert values(store, "out") == [b"0"]
    with pytest.raises(LogFailed):
        store.close()


def test_threads_have_transactions_at_once(store):
    def work(n):
        for _ in range(20):
            with store.transaction() as tx:
                tx.append("out", b"%d" % n, partition=n % 3)
            tx.positions()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    assert values(store, "out") == sorted([b"%d" % n for n in range(4)] * 20)


class TestOneWithinAnother:
    """In one thread; the other face has a test of its own."""

    def test_is_refused(self, store):
        with pytest.raises(Refused, match="is already open: end it first"):
            one(store, lambda tx: tx.append("out", b"x"), lambda tx: one(store))
        assert values(store, "out") == []
        with store.transaction() as tx:  # the refusal has left nothing behind
            tx.append("out", b"y")
        with pytest.raises(Refused, match="used only once"):
            tx.begin()

    def test_of_another_store_is_not(self, store, tmp_path):
        with open_store(tmp_path / "other") as other:
            other.create_topic("out")
            with store.transaction() as tx, other.transaction() as its:
                tx.append("out", b"x")
                its.append("out", b"y")
            assert len(tx.positions()) == len(its.positions()) == 1
            assert (values(store, "out"), values(other, "out")) == ([b"x"], [b"y"])

    def test_a_message_of_another_store_is_refused(self, store, tmp_path):
        with open_store(tmp_path / "other") as other:
            queue = other.queue("q")
            queue.publish(b"x")
            message = queue.get()
            with pytest.raises(Refused, match="another store"):
                one(store, lambda tx: tx.ack(message))


# Ends by itself as kill -9 would, while some is not where it goes.
KILLED = """
import os, signal, sys
import logstore

store = logstore.open(sys.argv[1])
for name in ("in", "out"):
    store.create_topic(name)
store.topic("in").append(b"1")
store.topic("out").append(b"0")
store.queue("jobs").publish(b"1")
consumer = store.consumer("in", group="g")
record, job = next(iter(consumer)), store.queue("jobs").get()
queues = store.internals().queues()
model = queues.with_model(lambda it: it)
partitions = model._holding.partitions
partitions._put = lambda it: False  # its topic does not get it in this process
model._surroundings.positions.decided = lambda *_: logstore.kept.keeping.Keeping()  # nor its group
with store.transaction() as tx:
    tx.append("out", b"made of 1")
    tx.commit_offset(consumer, record)
    tx.ack(job)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.long
@pytest.mark.parametrize("first", ["a topic", "a group", "a queue"])
def test_the_next_process_has_all_of_it_whatever_it_asks_for_first(tmp_path, first):
    path = str(tmp_path / "data")
    found = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, text=True)
    assert found.returncode == -9, found.stderr
    for _ in range(2):
        with open_store(path) as store:
            if first == "a queue":
                assert store.queue("jobs").get() is None
            if first == "a group":
                assert committed(store) == 1
            assert values(store, "out") == [b"0", b"made of 1"]
            assert committed(store) == 1
            assert store.queue("jobs").get() is None
            with store.consumer("in", group="g") as consumer:
                assert list(consumer) == []


def test_of_a_servers_transaction_the_offsets_alone_are_kept(tmp_path):
    """Its markers are not there yet: the next server has to know of it."""

    def journal(store):
        return journal_there(store.internals().directory.writable())

    path = tmp_path / "data"
    with open_store(path) as store:
        uuid = store.create_topic("in").uuid
        store.queue("jobs").publish(b"1")
        it = TransactionalId.new("copier", 7, 60_000, NOW_MS).kept().begun(NOW_MS)
        ended = it.ended(it.producer, Outcome.COMMIT, TV2, lambda: 8, NOW_MS)
        records = [
            (known_key("copier"), encode_known(it)),
            (staged_key(7), encode_staged(Offsets(0, NOW_MS, "g", (Offset(uuid, 0, 5),)))),
            (decided_key(7), encode_decision(decision_of(ended, [Part(uuid, 0, 3)]))),
        ]
        place = 2 + journal(store).append(
            encode([(value, key, (), NOW_MS) for key, value in records])
        )
        journal(store).wait(place + 1)
    for _ in range(2):
        with open_store(path) as store:
            assert committed(store) == 5
            known = settlements_of(journal(store)).transactions()
            assert known.unfinished() == [place]


def test_every_error_is_one_of_ours():
    assert issubclass(TransactionTooLarge, LogstoreError)
    assert logstore.Transaction.__module__ == "logstore.store_transaction"
