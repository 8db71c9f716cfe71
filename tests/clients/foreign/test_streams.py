"""Kafka Streams: the word count, at least once."""

import json
import struct
from collections import Counter

import pytest
import test_confluent as librdkafka
from speaking import Program, until

LINES = ["All is well that ends well", "well begun is half done", "all in all", "Is it so"]


@pytest.fixture
def word_count(server, built, topic, tmp_path):
    """word_count(n) -> a running application, whose state lies in a folder of that number."""
    command = built("java")
    running = []

    def start(number):
        told = {"application": f"count-{topic}", "from": topic, "into": f"{topic}-counts",
                "state": str(tmp_path / str(number))}  # fmt: skip
        running.append(Program([*command, server.address, "wordcount", json.dumps(told)]))
        return running[-1]

    yield start
    for it in running:
        it.close()


def counts(server, topic):
    """The latest count of each word."""
    asked = (f"{topic}-counts", 0, 0)
    _, end = librdkafka.ends(server, f"{topic}-counts")
    found = librdkafka.consume(server, end, asked)
    return {it.key().decode(): struct.unpack(">q", it.value())[0] for it in found}


def counted(times):
    return Counter(word for line in LINES for word in line.lower().split() * times)


@pytest.fixture
def ready(server, topic):
    librdkafka.create(server, topic, 2)
    librdkafka.create(server, f"{topic}-counts")

    def write():
        for n, line in enumerate(LINES):
            assert librdkafka.produce(server, topic, [line.encode()], partition=n % 2) == []

    return write


def test_words_are_counted(server, topic, ready, word_count):
    ready()
    running = word_count(1)
    until(lambda: counts(server, topic) == counted(1), running)
    ready()
    until(lambda: counts(server, topic) == counted(2), running)


def test_counting_goes_on_elsewhere_from_the_changelog(server, topic, ready, word_count):
    ready()
    first = word_count(1)
    until(lambda: counts(server, topic) == counted(1), first)
    first.close()
    ready()
    second = word_count(2)
    until(lambda: counts(server, topic) == counted(2), second)


def test_another_instance_takes_over_from_a_killed_one(server, topic, ready, word_count):
    ready()
    first = word_count(1)
    until(lambda: counts(server, topic) == counted(1), first)
    second = word_count(2)
    until_running(second)
    first.kill()
    ready()
    # At least once: what was counted and not yet committed is counted again.
    until(lambda: all(counts(server, topic)[word] >= n for word, n in counted(2).items()), second)
