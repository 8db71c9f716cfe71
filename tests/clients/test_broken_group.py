"""A group some of whose topics are broken, seen through a server."""

import json
import os
import subprocess

import pytest
from confluent_kafka import Consumer, TopicPartition
from librdkafka import create, produce
from serving import COMMAND, DEADLINE_S

pytestmark = pytest.mark.long


def test_one_broken_partition_does_not_hide_the_rest_of_a_group(start):
    server = start()
    for topic in ("bad", "good"):
        create(server, topic, 2)
        for partition in (0, 1):
            assert produce(server, topic, [b"v"] * 5, partition) == []
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "g"})
    places = [TopicPartition(topic, n, 2) for topic in ("bad", "good") for n in (0, 1)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()
    server.stop()
    os.rename(os.path.join(server.data, "bad-1"), os.path.join(server.data, "moved-away"))
    server = start()
    done = subprocess.run(
        [COMMAND, "group", "describe", "g", "--json", "--bootstrap", server.address],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    rows = json.loads(done.stdout)["partitions"]
    ends = {(it["topic"], it["partition"]): (it["committed"], it["lag"]) for it in rows}
    whole = dict.fromkeys((("bad", 0), ("good", 0), ("good", 1)), (2, 3))
    assert ends == whole | {("bad", 1): (2, None)}
    assert "bad-1" in done.stderr
    assert "Traceback" not in done.stderr
