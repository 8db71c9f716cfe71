"""Clients that go on when the server was killed and comes back."""

import json
import signal

import pytest
import test_confluent as librdkafka
from matrix_groups import PARTITIONS, numbers, positions, shared
from speaking import Member, until

MEMBERS = [
    ("java", {"protocol": "classic"}),
    ("java", {"protocol": "consumer"}),
    ("kafkajs", {}),
    ("franz-go", {"protocol": "classic"}),
    ("franz-go", {"protocol": "consumer"}),
]


def fill(server, first, count):
    for n in range(first, first + count):
        sent = librdkafka.produce(server, "t", [b"%d" % n], partition=n % PARTITIONS)
        assert sent == []


@pytest.mark.parametrize(("name", "settings"), MEMBERS)
def test_a_member_goes_on_when_the_server_comes_back(start, built, name, settings):
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
    member.close()
