"""Kafka Streams: the word count, at least once; and exactly once, whoever is killed meanwhile."""

import json
import signal
import struct
from collections import Counter
from typing import Final

import librdkafka
import pytest
from confluent_kafka import Consumer, TopicPartition
from speaking import Streams, until

LINES = ["All is well that ends well", "well begun is half done", "all in all", "Is it so"]


@pytest.fixture
def word_count(server, built, topic, tmp_path):
    """word_count(n) -> a running application, whose state lies in a folder of that number."""
    command = built("java")
    running = []

    def start(number, **more):
        told = {"application": f"count-{topic}", "from": topic, "into": f"{topic}-counts",
                "state": str(tmp_path / str(number)), **more}  # fmt: skip
        running.append(Streams([*command, server.address, "wordcount", json.dumps(told)]))
        return running[-1]

    yield start
    for it in running:
        it.close()


class Counts:
    """The latest count of each word, as far as it has been written."""

    def __init__(self, server, topic):
        self._consumer = Consumer({
            "bootstrap.servers": server.address, "group.id": "none",
            "isolation.level": "read_committed",
        })  # fmt: skip
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._known = {}

    def now(self):
        for it in self._consumer.consume(1000, 0.1):
            assert it.error() is None
            self._known[it.key().decode()] = struct.unpack(">q", it.value())[0]
        return self._known

    def close(self):
        self._consumer.close()


def counted(times):
    return Counter(word for line in LINES for word in line.lower().split() * times)


@pytest.fixture
def write(server, topic):
    """write() -> the lines once more, in a topic of two partitions."""
    librdkafka.create(server, topic, 2)
    librdkafka.create(server, f"{topic}-counts")

    def lines():
        for n, line in enumerate(LINES):
            assert librdkafka.produce(server, topic, [line.encode()], partition=n % 2) == []

    return lines


@pytest.fixture
def counts(server, topic, write):
    reading = Counts(server, f"{topic}-counts")
    yield reading
    reading.close()


def test_words_are_counted(write, counts, word_count):
    write()
    running = word_count(1)
    until(lambda: counts.now() == counted(1), running)
    write()
    until(lambda: counts.now() == counted(2), running)


def test_counting_goes_on_elsewhere_from_the_changelog(write, counts, word_count):
    write()
    first = word_count(1)
    until(lambda: counts.now() == counted(1), first)
    first.close()
    write()
    second = word_count(2)
    until(lambda: counts.now() == counted(2), second)


def test_another_instance_takes_over_from_a_killed_one(write, counts, word_count):
    write()
    first = word_count(1)
    until(lambda: counts.now() == counted(1), first)
    second = word_count(2)
    until(lambda: second.state == "RUNNING", first, second)
    first.kill()
    write()
    # At least once: what was counted but not yet committed is counted again.
    until(lambda: all(counts.now()[word] >= n for word, n in counted(2).items()), second)


# Exactly once

EXACTLY: Final = {"guarantee": "exactly_once_v2", "commit_ms": 100}


def test_words_are_counted_once_over_kills_of_the_application(write, counts, word_count):
    first = word_count(1, **EXACTLY)
    for _ in range(20):
        write()
    until(lambda: counts.now(), first)
    first.kill()  # in the middle of a transaction, as like as not
    for _ in range(20):
        write()
    second = word_count(2, **EXACTLY)
    until(lambda: sum(counts.now().values()) > sum(counted(25).values()), second)
    second.kill()
    third = word_count(3, **EXACTLY)
    until(lambda: counts.now() == counted(40), third)
    write()
    until(lambda: counts.now() == counted(41), third)


def test_words_are_counted_once_over_a_kill_of_the_server(start, built, tmp_path):
    server = start()
    librdkafka.create(server, "t", 2)
    librdkafka.create(server, "t-counts")
    told = {"application": "count", "from": "t", "into": "t-counts", "state": str(tmp_path / "1"),
            **EXACTLY}  # fmt: skip
    running = Streams([*built("java"), server.address, "wordcount", json.dumps(told)])
    reading = Counts(server, "t-counts")

    def write(times):
        for _ in range(times):
            for n, line in enumerate(LINES):
                assert librdkafka.produce(server, "t", [line.encode()], partition=n % 2) == []

    try:
        for kill in range(1, 4):
            write(10)
            until(lambda n=kill: sum(reading.now().values()) > sum(counted(10 * n - 8).values()),
                  running)  # fmt: skip
            server.stop(signal.SIGKILL)
            server = start(port=server.address.rpartition(":")[2])
        write(1)
        until(lambda: reading.now() == counted(31), running)
    finally:
        reading.close()
        running.close()
