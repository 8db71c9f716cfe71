"""Consumers of share groups in the library: records are given, and settled, one by one."""

import logging
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from crafted import not_packed, put, three, with_deltas
from library_parts import CountingDisk
from record_samples import with_crc
from storage_kit import SyncFailsDisk

import logstore
from logstore import Message, store_shares
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.share_groups import Place, begun, share_key
from logstore.clock import now_ms
from logstore.errors import (
    Closed,
    CorruptBatch,
    Forked,
    GroupBusy,
    InvalidRecordState,
    InvalidSetting,
    LogFailed,
    ReadOnly,
    Refused,
    UnknownSetting,
    UnknownTopic,
)
from logstore.open_queues import journal_there
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.encode import encode
from logstore.store import open_store

DEADLINE_S = 30  # for what comes without being waited for
LOCK_S = 30  # share.record.lock.duration.ms


@pytest.fixture
def later(monkeypatch):
    """Called with seconds: it is so much later from then on."""
    passed_s = [0]
    monotonic = store_shares.monotonic_ns
    monkeypatch.setattr(
        store_shares, "monotonic_ns", lambda: monotonic() + passed_s[0] * 1_000_000_000
    )

    def pass_s(seconds=0):
        passed_s[0] += seconds
        return passed_s[0]

    return pass_s


@pytest.fixture
def store(tmp_path, later):
    with open_store(tmp_path / "data", clock=lambda: now_ms() + later() * 1000) as store:
        store.create_topic("in")
        yield store


def fill(store, count, topic="in"):
    store.topic(topic).append_many([Message(b"%d" % n) for n in range(count)])


def member(store, group="g", begins="earliest", **given):
    return store.share_consumer("in", group=group, auto_offset_reset=begins, **given)


def counts(records):
    return {int(it.value): it.delivery_count for it in records}


def left(store, group="g"):
    """What the group is given now, and how often each was delivered; given back."""
    with member(store, group, explicit=True) as consumer:
        return counts(consumer.get_many(1000, 0))


# What it is given, and says


def test_what_is_accepted_or_rejected_does_not_come_again_and_the_rest_does(store):
    fill(store, 6)
    with member(store, explicit=True) as consumer:
        zero, one, two, three_, four, _ = consumer.get_many(10)
        assert (zero.topic, zero.partition, zero.offset, zero.delivery_count) == ("in", 0, 0, 1)
        consumer.accept(zero, two)
        consumer.reject(three_)
        consumer.release(one)
        consumer.renew(four)
        assert counts(consumer.get_many(10, 0)) == {1: 2}
    assert left(store) == {1: 3, 4: 2, 5: 2}


@pytest.mark.parametrize("copies", [False, True])
def test_what_is_rejected_or_delivered_too_often_has_a_dead_letter(store, copies):
    dead = store.create_topic("dlq.g", settings={"errors.deadletterqueue.group.enable": "true"})
    fill(store, 4)
    settings = {
        "errors.deadletterqueue.topic.name": "dlq.g", "share.delivery.count.limit": "2",
        "errors.deadletterqueue.copy.record.enable": str(copies).lower(),
    }  # fmt: skip
    with member(store, explicit=True, settings=settings) as consumer:
        zero, one, two, _ = consumer.get_many(10)
        consumer.accept(zero)
        consumer.reject(one)
        consumer.release(two)
        [two] = consumer.get_many(10, 0)
        consumer.release(two)
        deadline = time.monotonic() + DEADLINE_S
        while dead.partition(0).safe < 2 and time.monotonic() < deadline:
            assert consumer.get(0.01) is None  # what is left to do is done meanwhile
    with store.consumer("dlq.g", start="earliest") as letters:
        found = list(letters)
    said = [dict(it.headers) for it in found]
    assert [it["__dlq.errors.offset"] for it in said] == [b"1", b"2"]
    assert [it["__dlq.errors.delivery.count"] for it in said] == [b"1", b"2"]
    assert [it.value for it in found] == ([b"1", b"2"] if copies else [None, None])
    assert dead.partition(0).end == 2
    assert left(store) == {3: 2}  # and so it is delivered too often, in its turn


def test_a_dead_letter_that_was_on_its_way_at_the_end_comes_once(tmp_path):
    settings = {"errors.deadletterqueue.topic.name": "dlq.g"}
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("in")
        store.create_topic("dlq.g", settings={"errors.deadletterqueue.group.enable": "true"})
        fill(store, 2)
        consumer = member(store, explicit=True, settings=settings)
        consumer.reject(*consumer.get_many(10))
    deadline = time.monotonic() + DEADLINE_S
    for _ in range(3):
        with logstore.open(tmp_path / "data") as store, member(store, explicit=True) as consumer:
            letters = store.topic("dlq.g").partition(0)
            while letters.safe < 2 and time.monotonic() < deadline:
                assert consumer.get(0.01) is None
            assert letters.end == 2


def test_each_thing_is_said_once(store):
    fill(store, 3)
    with member(store, explicit=True) as consumer:
        first, record, other = consumer.get_many(3)
        consumer.accept(record)
        for again in (consumer.accept, consumer.release, consumer.reject, consumer.renew):
            with pytest.raises(InvalidRecordState):
                again(record, other)  # the whole partition is refused
        consumer.accept()
        consumer.accept(other, other, first)
        consumer.release(record)  # nobody looks at what lies before all that is not done with
        with pytest.raises(Refused, match="not read by this consumer"):
            consumer.accept(record._replace(partition=1))
    assert left(store) == {}


def test_members_of_a_group_share_the_records_and_each_group_has_all(store):
    fill(store, 10)
    with (
        member(store, explicit=True, prefetch=5) as one,
        member(store, explicit=True) as two,
        member(store, "h", explicit=True) as three_,
    ):
        assert counts(one.get_many(5)) == dict.fromkeys(range(5), 1)
        assert counts(two.get_many(10)) == dict.fromkeys(range(5, 10), 1)
        assert two.get(0) is None
        assert counts(three_.get_many(10)) == dict.fromkeys(range(10), 1)
        one.close()
        assert counts(two.get_many(10)) == dict.fromkeys(range(5), 2)


def test_all_partitions_are_read_also_those_that_are_added(store):
    store.create_topic("wide", partitions=2)
    fill(store, 4)
    with store.share_consumer("in", "wide", "wide", group="g", prefetch=1) as consumer:
        store.alter_topic("wide", partitions=3)
        assert consumer.get(0) is None
        for number in range(3):
            store.topic("wide").append(b"%d" % number, partition=number)
        found = [consumer.get() for _ in range(3)]
        assert {(it.topic, it.partition) for it in found} == {("wide", it) for it in range(3)}


def test_iterating_accepts_what_is_done_and_not_the_last(store):
    fill(store, 5)
    with member(store) as consumer:
        for record in consumer:
            if record.value == b"2":
                break
    assert left(store) == {2: 2, 3: 2, 4: 2}
    with member(store) as consumer:
        assert counts(consumer.get_many(2)) == {2: 3, 3: 3}
        consumer.flush()
        assert counts(consumer.get_many(2)) == {4: 3}
        assert consumer.get_many(2, 0) == []
    assert left(store) == {}


def test_what_was_said_of_a_record_counts_where_others_are_accepted(store):
    fill(store, 3)
    with member(store) as consumer:
        records = consumer.get_many(3)
        consumer.release(records[1])
        consumer.flush()
    assert left(store) == {1: 2}


def test_who_waits_hears_of_records_and_of_what_others_give_back(store):
    with member(store, explicit=True) as one, member(store, explicit=True) as two:
        came = []
        thread = threading.Thread(target=lambda: came.append(one.get(60)))
        thread.start()
        fill(store, 1)
        thread.join(60)
        assert counts(came) == {0: 1}
        thread = threading.Thread(target=lambda: came.append(two.get(60)))
        thread.start()
        one.release(came[0])
        thread.join(60)
        assert counts(came[1:]) == {0: 2}


# Time, and how often


def test_who_has_a_record_for_too_long_has_it_no_more(store, later):
    fill(store, 2)
    with member(store, explicit=True) as one, member(store, explicit=True) as two:
        first, second = one.get_many(2)
        later(LOCK_S - 1)
        one.renew(second)
        later(2)
        assert counts(two.get_many(2)) == {0: 2}
        with pytest.raises(InvalidRecordState):
            one.accept(first)
        one.accept(second)
    assert left(store) == {0: 3}


def test_what_waits_in_a_consumer_for_too_long_is_not_handed_out(store, later):
    fill(store, 3)
    with member(store) as one, member(store, explicit=True) as two:
        assert counts([one.get()]) == {0: 1}
        later(LOCK_S + 1)
        assert counts(two.get_many(3)) == {0: 2, 1: 2, 2: 2}
        assert one.get(0) is None


def test_accepted_too_late_is_told_by_flush_and_else_logged(store, later, caplog):
    fill(store, 2)
    with member(store) as consumer:
        consumer.get_many(2)
        later(LOCK_S + 1)
        with pytest.raises(InvalidRecordState):
            consumer.flush()
        consumer.get_many(2)
        later(LOCK_S + 1)
        with caplog.at_level(logging.WARNING, "logstore.shares"):
            assert counts(consumer.get_many(2)) == {0: 3, 1: 3}
            assert consumer.get_many(1, 0) == []
    assert "accepted too late" in caplog.text


def test_a_record_is_delivered_so_often_and_no_more(store):
    fill(store, 2)
    with member(store, explicit=True, settings={"share.delivery.count.limit": "2"}) as consumer:
        for count in (1, 2):
            record = consumer.get()
            assert counts([record]) == {0: count}
            consumer.release(record)
            left_ = consumer.get_many(10, 0)
            consumer.release(*[it for it in left_ if it.value != b"1"])
            if count == 1:
                consumer.accept(*[it for it in left_ if it.value == b"1"])
    assert left(store) == {}


# Where it begins, and its settings


def test_settings_are_the_groups_and_are_kept(store, tmp_path):
    fill(store, 3)
    with member(store, begins=None) as consumer:  # the latest
        assert consumer.get(0) is None
        fill(store, 1)
        assert consumer.get().offset == 3
    for bad, error in (
        ({"share.auto.offset.reset": "first"}, InvalidSetting),
        ({"share.lock": "1"}, UnknownSetting),
    ):
        with pytest.raises(error), member(store, begins=None, settings=bad) as consumer:
            consumer.get(0)
    with pytest.raises(Refused, match="committed"), member(store, isolation="read") as consumer:
        consumer.get(0)
    with member(store, "h", isolation="committed") as consumer:
        assert len(consumer.get_many(10)) == 4
    with store.share_consumer("in", group="h") as consumer:  # they are kept
        settings = store_settings(store, "h")
    assert settings["share.auto.offset.reset"] == "earliest"
    assert settings["share.isolation.level"] == "read_committed"
    assert store.groups() == ["g", "h"]


def store_settings(store, group):
    table = store.internals().groups
    return store_shares.open_group_settings(store.config, table.environment).given(group)


def test_what_is_refused(store, tmp_path):
    with store.consumer("in", group="c") as consumer:
        list(consumer)
    with pytest.raises(GroupBusy), member(store, "c") as consumer:
        consumer.get(0)
    with pytest.raises(UnknownTopic), store.share_consumer("out", group="g") as consumer:
        consumer.get(0)
    with pytest.raises(Refused, match="needs a topic"), store.share_consumer(group="g") as consumer:
        consumer.get(0)
    with pytest.raises(ValueError, match="prefetch"), member(store, prefetch=0) as consumer:
        consumer.get(0)
    with member(store) as consumer:
        with pytest.raises(ValueError, match="must be 1 or more"):
            consumer.get_many(0)
        assert consumer.get(0) is None
    with pytest.raises(GroupBusy), store.consumer("in", group="g") as consumer:
        list(consumer)
    with (
        open_store(tmp_path / "data", "read") as reader,
        pytest.raises(ReadOnly),
        reader.share_consumer("in", group="g") as consumer,
    ):
        consumer.get(0)


def test_a_topic_that_is_deleted_is_told(store):
    fill(store, 2)
    with member(store, explicit=True) as consumer:
        assert consumer.get().value == b"0"
        store.delete_topic("in")
        assert consumer.get().value == b"1"  # it was there already
        with pytest.raises(UnknownTopic):
            consumer.get(0)


# What is in the log


def test_gaps_of_compaction_are_passed_over(store):
    put(store.topic("in").partition(0), compacted(0, 2, upto=5), compacted(3, upto=4))
    with member(store) as consumer:
        assert [it.offset for it in consumer.get_many(10)] == [0, 2, 8]
        consumer.flush()
    with member(store) as consumer:
        fill(store, 1)
        assert [it.offset for it in consumer.get_many(10)] == [9]


def compacted(*deltas, upto):
    """A batch of so many offsets that has these records still."""
    data = bytearray(with_deltas(*deltas).data)
    data[23:27] = (upto - 1).to_bytes(4, "big")
    return Batch(with_crc(data))


def test_a_batch_that_cant_be_read_is_told_until_it_was_delivered_too_often(store):
    put(store.topic("in").partition(0), three(b"1"), not_packed(Compression.ZSTD), three(b"2"))
    limit = {"share.delivery.count.limit": "2"}
    with member(store, explicit=True, settings=limit) as consumer:
        first = consumer.get()
        assert first.value == b"1"
        consumer.accept(first)
        found, damage = set(), 0
        while damage < 2 or b"2" not in found:
            try:
                found |= {it.value for it in consumer.get_many(10, 60)}
            except CorruptBatch:
                damage += 1
    with member(store, explicit=True) as consumer:
        while b"2" in found:  # what is left of the batch comes by itself
            try:
                records = consumer.get_many(10, 0)
                consumer.accept(*records)
                found = {it.value for it in records} or {b"2"} if records else set()
            except CorruptBatch:
                pass
    assert left(store) == {}


# Durable, and closed


def test_what_was_accepted_is_synced_when_that_returns(tmp_path):
    disk = CountingDisk()
    with open_store(tmp_path / "data", disk=disk) as store:
        store.create_topic("in")
        fill(store, 10)
        with member(store, explicit=True) as consumer:
            records = consumer.get_many(10)
            before = disk.syncs
            consumer.accept(*records)
            assert disk.syncs > before


def test_what_the_journal_does_not_take_is_told(tmp_path):
    disk = SyncFailsDisk("/journal/")
    store = open_store(tmp_path / "data", disk=disk)
    store.create_topic("in")
    fill(store, 2)
    consumer = member(store, explicit=True)
    record = consumer.get()
    disk.failures = 1 << 30
    with pytest.raises(LogFailed):
        consumer.accept(record)
    with pytest.raises(LogFailed):
        store.close()


def test_a_store_that_is_closed_has_no_consumers(tmp_path):
    with open_store(tmp_path / "data") as store:
        store.create_topic("in")
        fill(store, 3)
        consumer = member(store)
        assert counts(consumer.get_many(1)) == {0: 1}
        assert counts(consumer.get_many(1)) == {1: 1}
    with pytest.raises(Closed):
        consumer.get(0)
    consumer.close()
    with open_store(tmp_path / "data") as store:
        assert left(store) == {1: 2, 2: 2}


def test_a_consumer_that_is_closed_gives_nothing_and_ends_its_loop(store):
    fill(store, 3)
    with member(store) as consumer:
        for _ in consumer:
            consumer.close()
        with pytest.raises(Closed):
            consumer.get()


def test_a_fork_has_no_share_groups(store):
    fill(store, 2)
    with member(store, explicit=True) as consumer:
        record = consumer.get()
        child = os.fork()
        if not child:
            refused = 0
            for call in (consumer.get, lambda: consumer.accept(record), lambda: member(store)):
                try:
                    call()
                except Forked:
                    refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        consumer.accept(record)
    assert left(store) == {1: 2}


def test_a_server_in_the_process_takes_the_groups_over(store):
    fill(store, 2)
    queues = store.internals().queues()
    consumer = member(store, explicit=True)
    consumer.accept(consumer.get())
    queues.lend()
    with pytest.raises(Closed):
        consumer.get(0)
    assert left(store) == {1: 2}  # no server came
    queues.lend()
    end = queues.serve(Served(), lambda call: call())
    with pytest.raises(Refused, match="a server in this process"), member(store) as consumer:
        consumer.get(0)
    end()
    assert left(store) == {1: 3}


class Served:
    """The queues of a server that nobody uses."""

    def prepare(self):
        pass


def test_what_is_settled_behind_a_logs_end_is_not_of_records_that_come_there(tmp_path):
    """A backup's journal is copied last, and may know of records that the copy lacks."""
    with open_store(tmp_path / "data") as store:
        uuid = store.create_topic("in").uuid
        fill(store, 3)
        store.queue("jobs")  # there is a journal
        journal = journal_there(store.internals().directory.writable())
        settled = Settled()
        settled.settle(0, 0, 10)
        rows = [(it, share_key(Place("g", uuid, 0)), (), 0) for it in (begun(0), settled.encode())]
        journal.wait(journal.append(encode(rows)) + len(rows))
    with open_store(tmp_path / "data") as store:
        fill(store, 5)
        assert left(store) == dict.fromkeys(range(5), 1)


CHILD = """
import sys
import logstore

with logstore.open(sys.argv[1]) as store:
    with store.share_consumer("in", group="g", explicit=True, prefetch=7) as consumer:
        for record in consumer:
            kind = int(record.value) % 3
            [consumer.accept, consumer.reject, consumer.release][kind](record)
            if kind < 2:
                print(record.value.decode(), flush=True)
"""


@pytest.mark.long
def test_what_was_settled_before_a_kill_does_not_come_again_and_all_else_does(tmp_path):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    choose, path, count = random.Random(seed), str(tmp_path / "data"), 300
    with logstore.open(path) as store:
        store.create_topic("in", partitions=2)
        fill(store, count)
        limit = {"share.delivery.count.limit": "10"}
        with member(store, settings=limit):
            pass
    settled = set()
    for _ in range(5):
        command = [sys.executable, "-c", CHILD, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            for _ in range(choose.randrange(1, 12)):
                settled.add(int(child.stdout.readline()))
            child.kill()
            settled.update(map(int, child.stdout.read().split(b"\n")[:-1]))
        assert child.returncode == -9
        with logstore.open(path) as store, member(store, explicit=True) as consumer:
            found = set()
            while records := consumer.get_many(1000, 0):
                found |= set(counts(records))
        assert not found & settled, f"seed {seed}: these come again: {found & settled}"
        missing = {n for n in range(count) if n % 3 < 2} - found - settled
        assert len(missing) <= 1, f"seed {seed}: lost: {missing}"  # one may not have been told
        settled |= missing
