"""Consumers of one group in processes of their own: real ones, really killed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
import waiting

import logstore

pytestmark = pytest.mark.long

DEADLINE_S = 60
PARTITIONS = 4
MEMBER = """
import json, sys
import logstore
with logstore.open(sys.argv[1], "read") as store:
    with store.consumer("t", group="g", follow=True) as consumer:
        while True:
            for it in consumer.poll(100, timeout_s=0.05):
                print(json.dumps({"read": [it.partition, it.offset]}), flush=True)
            consumer.commit()
            has = sorted(partition for _, partition in consumer.places)
            print(json.dumps({"has": has}), flush=True)
"""


class Member:
    """A process that says which partitions it has, and what it has read."""

    def __init__(self, path):
        package = os.path.dirname(os.path.dirname(logstore.__file__))
        environment = os.environ | {
            "PYTHONPATH": package, "LOGSTORE_CONSUMER_SESSION_TIMEOUT_MS": "2000",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(path)], stdout=subprocess.PIPE, env=environment
        )
        self.read, self.has = set(), None

    def hear(self):
        line = self.process.stdout.readline()
        assert line, "it has ended by itself"
        said = json.loads(line)
        self.has = said.get("has", self.has)
        if "read" in said:
            self.read.add(tuple(said["read"]))

    def kill(self):
        self.process.kill()
        for line in self.process.stdout:
            with suppress(ValueError):  # cut off
                self.read |= {tuple(json.loads(line).get("read", ()))} - {()}
        self.process.stdout.close()
        self.process.wait()


def until(condition, *members):
    """Hear all of them until it is so."""
    hear = [member.hear for member in members]
    waiting.until(condition, *hear, complain=lambda: [member.has for member in members])


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", PARTITIONS)
        yield store


@pytest.fixture
def started(store):
    members = []

    def start():
        members.append(Member(store.path))
        return members[-1]

    yield start
    for member in members:
        if member.process.poll() is None:
            member.process.send_signal(signal.SIGCONT)
            member.kill()


def fill(store, count):
    for partition in range(PARTITIONS):
        messages = [logstore.Message(b"%d" % n) for n in range(count)]
        store.topic("t").append_many(messages, partition=partition)


def everything(count):
    return {(partition, n) for partition in range(PARTITIONS) for n in range(count)}


ALL = list(range(PARTITIONS))


def share_out(started):
    """Two members that have two partitions each."""
    first, second = started(), None
    until(lambda: first.has == ALL, first)
    second = started()
    until(
        lambda: second.has and len(first.has) == 2 and sorted(first.has + second.has) == ALL,
        first, second,
    )  # fmt: skip
    return first, second


def test_one_that_is_killed_gives_its_partitions_to_the_others(store, started):
    fill(store, 20)
    first, second = share_out(started)
    second.kill()
    fill(store, 20)
    until(lambda: first.has == ALL and first.read | second.read >= everything(40), first)
    assert first.read | second.read == everything(40)
    [left] = store.group("g").members()
    assert str(first.process.pid) in left.owner
    assert sorted(left.partitions) == [("t", partition) for partition in ALL]


def test_one_that_hangs_loses_them_when_its_session_is_over_and_comes_back(store, started):
    first, second = share_out(started)
    second.process.send_signal(signal.SIGSTOP)
    fill(store, 20)
    until(lambda: first.has == ALL and first.read == everything(20), first)
    second.process.send_signal(signal.SIGCONT)
    second.has = None
    until(
        lambda: second.has and len(first.has) == 2 and sorted(first.has + second.has) == ALL,
        first, second,
    )  # fmt: skip
    fill(store, 20)
    until(lambda: first.read | second.read == everything(40), first, second)
