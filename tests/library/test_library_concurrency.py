"""Many threads and processes on one store: nothing is lost, and each producer's order is kept."""

import subprocess
import sys
import threading
from itertools import pairwise

import pytest
from library_parts import DEADLINE_S

import logstore
from logstore import Message
from logstore.settings import STORE_SETTINGS

PRODUCERS, CONSUMERS, RECORDS, PARTITIONS = 16, 4, 120, 3
END = b"end"


def produce(topic, producer):
    """One by one, or many at once, by key or where it comes to stand."""
    for at in range(0, RECORDS, 3):
        values = [b"%d %d" % (producer, number) for number in range(at, at + 3)]
        if producer % 2:
            partition = producer % PARTITIONS
            topic.append_many([Message(value) for value in values], partition=partition)
        else:
            for value in values:
                topic.append(value, key=b"%d" % producer)


def follow(store, seen):
    """Until the last record of each partition."""
    ends = 0
    with store.consumer("t", follow=True) as consumer:
        for record in consumer:
            if record.value == END:
                ends += 1
                if ends == PARTITIONS:
                    return
            else:
                seen.append(record)


def check(records):
    assert len(records) == PRODUCERS * RECORDS
    by_producer, by_partition = {}, {}
    for record in records:
        producer, number = record.value.split()
        by_producer.setdefault(producer, []).append(int(number))
        by_partition.setdefault(record.partition, []).append(record.offset)
    assert len(by_producer) == PRODUCERS
    for numbers in by_producer.values():  # each producer wrote to one partition
        assert numbers == list(range(RECORDS))
    for offsets in by_partition.values():
        assert all(before < after for before, after in pairwise(offsets))


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"flush.messages": "50"}, {"segment.bytes": "2000"}])
def test_sixteen_producers_and_four_consumers_lose_nothing(tmp_path, settings):
    with logstore.open(tmp_path / "data") as store:
        topic = store.create_topic("t", PARTITIONS, settings)
        seen = [[] for _ in range(CONSUMERS)]
        consumers = [threading.Thread(target=follow, args=(store, each)) for each in seen]
        producers = [threading.Thread(target=produce, args=(topic, n)) for n in range(PRODUCERS)]
        for thread in consumers + producers:
            thread.daemon = True
            thread.start()
        for thread in producers:
            thread.join(DEADLINE_S)
        for partition in range(PARTITIONS):
            topic.append(END, partition=partition)
        for thread in consumers:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in consumers + producers)
    for each in seen:
        check(each)
    with logstore.open(tmp_path / "data", "read") as store:
        check([record for record in store.consumer("t") if record.value != END])


READER = """
import sys, logstore
with logstore.open(sys.argv[1], "read") as store:
    with store.consumer("t", follow=True) as consumer:
        print("ready", flush=True)
        for record in consumer:
            print(record.offset, flush=True)
"""


def test_a_reader_in_another_process_sees_each_record_once_it_is_synced(tmp_path):
    # How soon is a matter of one interval; how long that is, the setting says.
    assert STORE_SETTINGS["reader.poll.ms"].default <= 50
    with logstore.open(tmp_path / "data") as store:
        topic = store.create_topic("t", settings={"segment.bytes": "1000"})
        process = subprocess.Popen(
            [sys.executable, "-c", READER, store.path], stdout=subprocess.PIPE, text=True
        )
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        try:
            assert process.stdout.readline() == "ready\n"
            for at in range(30):
                topic.append(b"x" * 100)
                assert process.stdout.readline() == f"{at}\n"
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
            process.stdout.close()


def test_the_interval_of_a_reader_is_the_settings(tmp_path, monkeypatch):
    logstore.open(tmp_path / "data").close()
    monkeypatch.setenv("LOGSTORE_READER_POLL_MS", "7")
    with logstore.open(tmp_path / "data", "read") as store:
        assert store._directory._poller._interval_s == 0.007
