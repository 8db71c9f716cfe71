"""A backup that is taken while transactions end: each of them is whole in it, or absent."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from librdkafka import produce
from serving import DEADLINE_S, Serving

import logstore
from logstore.storage.disk import Disk
from logstore.upkeep.backup import restore

pytestmark = pytest.mark.long

TOPICS = ("a", "b", "c")
QUIET = {"resp_port": -1, "kafka_tls_port": -1}


@pytest.fixture
def server(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        for name in TOPICS:
            store.create_topic(name)
    server = Serving(tmp_path / "data", **QUIET)
    yield server
    server.stop()


class Writer:
    """A producer whose transactions write to all topics, and commit an offset."""

    def __init__(self, server):
        self._producer = Producer(
            {"bootstrap.servers": server.address, "transactional.id": "w", "linger.ms": 0}
        )
        self._group = Consumer({"bootstrap.servers": server.address, "group.id": "g"})
        self._producer.init_transactions(DEADLINE_S)
        self.count = 0

    def begin(self, *, offset=True):
        self._producer.begin_transaction()
        self.count += 1
        for name in TOPICS:
            self._producer.produce(name, b"%d" % self.count, partition=0)
        assert self._producer.flush(DEADLINE_S) == 0
        if offset:
            places = [TopicPartition("a", 0, self.count)]
            metadata = self._group.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(places, metadata, DEADLINE_S)

    def commit(self):
        self._producer.commit_transaction(DEADLINE_S)

    def abort(self):
        self._producer.abort_transaction(DEADLINE_S)


def copied_upto(steps, name):
    """Until something of the topic is copied."""
    while not next(steps).path.startswith(f"{name}-0/"):
        pass


def in_the_copy(tmp_path):
    """Of each topic what is committed, once a server has opened it; and the group's offset."""
    assert list(restore(str(tmp_path / "backup"), str(tmp_path / "restored"), Disk()))
    server = Serving(tmp_path / "restored", **QUIET)
    try:
        again = Writer(server)  # what is open of it is aborted by that
        again.begin(offset=False)
        again.commit()
    finally:
        code, errors = server.stop()
    assert code == 0, errors
    with logstore.open(tmp_path / "restored", "read") as store:
        assert [it for report in store.verify() for it in report.findings] == []
        found = []
        for name in TOPICS:
            with store.consumer(name) as consumer:
                found.append([int(it.value) for it in consumer][:-1])  # but the last one's
        [lag] = [it for it in store.group("g").describe() if it.topic == "a"]
    assert found[0] == found[1] == found[2]
    assert lag.committed == found[0][-1]
    return found[0]


@pytest.mark.parametrize("upto", TOPICS)
@pytest.mark.parametrize("end", ["commit", "abort"])
def test_one_that_ends_beside_the_backup(server, tmp_path, upto, end):
    writer = Writer(server)
    for _ in range(2):
        writer.begin()
        writer.commit()
    writer.begin()
    with logstore.open(tmp_path / "data", "read") as reader:
        steps = reader.backup(tmp_path / "backup")
        copied_upto(steps, upto)
        getattr(writer, end)()
        list(steps)
    assert in_the_copy(tmp_path) == [1, 2]  # it was decided after the backup began


@pytest.mark.parametrize("ends", [["commit"], ["abort", "commit"], ["commit", "abort", "commit"]])
@pytest.mark.parametrize("upto", TOPICS)
def test_some_that_begin_beside_the_backup(server, tmp_path, upto, ends):
    writer = Writer(server)
    writer.begin()
    writer.commit()
    with logstore.open(tmp_path / "data", "read") as reader:
        steps = reader.backup(tmp_path / "backup")
        copied_upto(steps, upto)
        for end in ends:
            writer.begin()
            getattr(writer, end)()
        list(steps)
    assert in_the_copy(tmp_path) == [1]


def test_the_first_ones_of_a_store_begin_beside_the_backup(server, tmp_path):
    """There was no journal when it began."""
    for name in TOPICS:
        assert produce(server, name, [b"plain"]) == []
    with logstore.open(tmp_path / "data", "read") as reader:
        steps = reader.backup(tmp_path / "backup")
        copied_upto(steps, "a")
        writer = Writer(server)
        writer.begin(offset=False)
        writer.commit()
        list(steps)
    assert list(restore(str(tmp_path / "backup"), str(tmp_path / "restored"), Disk()))
    with logstore.open(tmp_path / "restored", "read") as store:
        for name in TOPICS:
            with store.consumer(name) as consumer:
                assert [it.value for it in consumer] == [b"plain"]


def test_those_that_are_over_are_in_it(server, tmp_path):
    """Some of their markers are below the recovery point, some above."""
    writer = Writer(server)
    for end in ["commit", "abort", "commit"]:
        writer.begin()
        getattr(writer, end)()
    with logstore.open(tmp_path / "data", "read") as reader:
        list(reader.backup(tmp_path / "backup"))
    assert in_the_copy(tmp_path) == [1, 3]
