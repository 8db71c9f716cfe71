"""Clients that go on when the server was killed and comes back."""

import json
import signal
import threading

import librdkafka
import pytest
from confluent_kafka import Consumer, TopicPartition
from matrix_groups import PARTITIONS, numbers, positions, shared
from speaking import Client, Member, until

MEMBERS = [
    ("java", {"protocol": "classic"}),
    ("java", {"protocol": "consumer"}),
    ("kafkajs", {}),
    ("franz-go", {"protocol": "classic"}),
    ("franz-go", {"protocol": "consumer"}),
]
COUNT = 40_000


def fill(server, first, count):
    for n in range(first, first + count):
        sent = librdkafka.produce(server, "t", [b"%d" % n], partition=n % PARTITIONS)
        assert sent == []


@pytest.mark.parametrize(("name", "settings"), MEMBERS)
def test_a_member_goes_on(start, built, name, settings):
    server = start()
    librdkafka.create(server, "t", PARTITIONS)
    told = json.dumps({"topic": "t", "group": "g", **settings})
    member = Member([*built(name), server.address, "member", told])
    until(lambda: shared(member), member)
    fill(server, 0, 8)
    until(lambda: positions(member) == dict.fromkeys(range(PARTITIONS), 2), member)
    server.stop(signal.SIGKILL)
    again = start(port=server.endpoint[1])
    fill(again, 8, 8)
    until(lambda: positions(member) == dict.fromkeys(range(PARTITIONS), 4), member)
    assert numbers(member) == list(range(16))
    member.kill()  # kafkajs does not end after its connections broke


@pytest.mark.parametrize("name", ["java", "java-3.9", "kafkajs", "franz-go"])
def test_an_idempotent_producer_goes_on_and_writes_nothing_twice(start, built, name):
    server = start()
    librdkafka.create(server, "t")
    client = Client([*built(name), server.address])
    records = [{"partition": 0, "value": f"{n}"} for n in range(COUNT)]
    asked = {"topic": "t", "records": records, "idempotent": True, "batch_size": 1000}
    answers = []
    work = threading.Thread(target=lambda: answers.append(client("produce", **asked)))
    work.start()
    reader = Consumer({"bootstrap.servers": server.address, "group.id": "none"})
    while reader.get_watermark_offsets(TopicPartition("t", 0))[1] < 100:
        assert work.is_alive()
    server.stop(signal.SIGKILL)
    assert work.is_alive(), "all was written before the server was killed"
    again = start(port=server.endpoint[1])
    work.join()
    assert answers[0]["offsets"] == list(range(COUNT))
    found = librdkafka.consume(again, COUNT, ("t", 0, 0))
    assert [int(it.value()) for it in found] == list(range(COUNT))
    assert reader.get_watermark_offsets(TopicPartition("t", 0)) == (0, COUNT)
    reader.close()
    client.close()
