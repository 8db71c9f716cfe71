"""What every client with transactions is asked to do."""

import librdkafka
import pytest
from confluent_kafka import Consumer, TopicPartition
from matrix_records import values
from speaking import Failed


def records(*numbers, partition=0):
    return [{"partition": partition, "key": f"k{n}", "value": f"v{n}"} for n in numbers]


def committed(server, topic, count, partition=0):
    """What librdkafka reads that reads committed records, up to so many."""
    found = librdkafka.consume(
        server, count, (topic, partition, 0), **{"isolation.level": "read_committed"}
    )
    return [it.value().decode() for it in found]


def offset_of(server, group, topic, partition=0):
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": group})
    try:
        [it] = consumer.committed([TopicPartition(topic, partition)], 30)
        return it.offset
    finally:
        consumer.close()


def goes_on(client, id_, topic):
    """Whether the producer's transaction goes on, and ends well."""
    try:
        client("tx_send", id=id_, topic=topic, records=records(2))
        client("tx_end", id=id_, commit=True)
    except Failed:
        return False
    return True


class Transactions:
    def run(self, client, id_, topic, *numbers, commit=True, partition=0):
        """A transaction of a producer that is there."""
        client("tx_begin", id=id_)
        told = client(
            "tx_send", id=id_, topic=topic, records=records(*numbers, partition=partition)
        )
        client("tx_end", id=id_, commit=commit)
        return told["offsets"]

    @pytest.fixture
    def id_(self, client, topic):
        client("create", topic=topic, partitions=2)
        name = f"tx-of-{topic}"
        client("tx_init", id=name)
        yield name
        client("tx_close", id=name)

    def test_commits_are_read_and_aborts_are_not(self, client, server, topic, id_):
        self.run(client, id_, topic, 1, 2)
        self.run(client, id_, topic, 3, commit=False)
        self.run(client, id_, topic, 4)
        self.run(client, id_, topic, 5, 6, commit=False)
        self.run(client, id_, topic, 7)
        found = client("consume", topic=topic, count=4, isolation="read_committed")
        assert values(found) == ["v1", "v2", "v4", "v7"]
        assert committed(server, topic, 4) == ["v1", "v2", "v4", "v7"]

    def test_several_partitions_are_one_transaction(self, client, server, topic, id_):
        client("tx_begin", id=id_)
        for partition in (0, 1):
            client("tx_send", id=id_, topic=topic, records=records(1, 2, partition=partition))
        client("tx_end", id=id_, commit=True)
        self.run(client, id_, topic, 3, partition=1)
        assert committed(server, topic, 2) == ["v1", "v2"]
        assert committed(server, topic, 3, partition=1) == ["v1", "v2", "v3"]

    def test_a_second_producer_fences_the_first(self, client, server, topic, id_):
        client("tx_begin", id=id_)
        client("tx_send", id=id_, topic=topic, records=records(1))
        client("tx_init", **{"id": id_, "as": "second"})
        assert not goes_on(client, id_, topic)
        client("tx_begin", **{"id": id_, "as": "second"})
        client("tx_send", **{"id": id_, "as": "second"}, topic=topic, records=records(3))
        client("tx_end", **{"id": id_, "as": "second"}, commit=True)
        client("tx_close", **{"id": id_, "as": "second"})
        assert committed(server, topic, 1) == ["v3"]

    def test_records_are_copied_exactly_once(self, client, server, topic, id_):
        into, group = f"{topic}-copy", f"group-of-{topic}"
        client("create", topic=into, partitions=2)
        self.run(client, id_, topic, *range(20))
        self.run(client, id_, topic, 99, commit=False)
        self.run(client, id_, topic, *range(20, 30))
        told = client("tx_copy", **{"from": topic}, into=into, group=group, id=f"{id_}-copier",
                      count=30)  # fmt: skip
        assert told["left"] <= 0
        assert committed(server, into, 30) == [f"copied v{n}" for n in range(30)]
        assert offset_of(server, group, topic) >= 30


class WithOffsets(Transactions):
    """Of clients that commit offsets of any group."""

    def test_offsets_count_once_they_are_committed(self, client, server, topic, id_):
        group = f"group-of-{topic}"
        client("tx_begin", id=id_)
        client("tx_send", id=id_, topic=topic, records=records(1))
        client("tx_offsets", id=id_, group=group, topic=topic, offset=5)
        client("tx_end", id=id_, commit=False)
        assert offset_of(server, group, topic) < 0
        client("tx_begin", id=id_)
        client("tx_offsets", id=id_, group=group, topic=topic, offset=7)
        client("tx_end", id=id_, commit=True)
        assert offset_of(server, group, topic) == 7
