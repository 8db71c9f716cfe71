"""Groups that go over to the new protocol and back while they are consumed, by real clients."""

import signal
from contextlib import suppress

import pytest
from confluent_kafka import KafkaException
from librdkafka import admin, create, produce
from members import CLIENTS, SETTINGS, polled, shared

import logstore

PARTITIONS = 4
FAST = SETTINGS | {"group_initial_rebalance_delay_ms": 0}

pytestmark = pytest.mark.long
classic_clients = pytest.mark.parametrize("classic", ["confluent", "confluent-cooperative"])
NEW = "confluent-consumer"


class Rolling:
    """A group and all who were ever in it; each record that is read is committed."""

    def __init__(self, server):
        self.server = server
        self.members, self.read, self.sent = [], [], []
        self.done = 0  # committed
        create(server, "t", PARTITIONS)
        self.send()

    def send(self):
        for number in range(PARTITIONS):
            values = [b"%d" % (len(self.sent) + at) for at in range(5)]
            self.sent += values
            assert produce(self.server, "t", values, number) == []

    def join(self, client):
        self.members.append(CLIENTS[client](self.server.address, "t", "g"))
        self.settle()
        return self.members[-1]

    def leave(self, member):
        self.members.remove(member)
        member.close()
        self.settle()

    def take(self, records):
        self.read += [value for _, value in records]
        parts = [number for it in self.members for number in it.assigned()]
        assert len(parts) == len(set(parts)), "a partition has two owners"

    def settle(self):
        """Until all partitions are shared, and all that was sent is read and committed."""
        self.send()
        polled(
            self.members,
            lambda: shared(self.members, PARTITIONS) and set(self.read) >= set(self.sent),
            self.take,
        )
        polled(self.members, self.committed, self.take)

    def committed(self):
        """Whether all that was sent is committed; what was committed stays so."""
        for member in self.members:
            with suppress(KafkaException):  # nothing to commit, or it must join again first
                member.commit()
        with logstore.open(self.server.data, "read") as store:
            offsets = [it.committed or 0 for it in store.group("g").describe()]
        assert sum(offsets) >= self.done, "the group went back"
        self.done = sum(offsets)
        return self.done == len(self.sent)

    def kind(self):
        listed = admin(self.server).list_consumer_groups().result().valid
        return next(it.type.name for it in listed if it.group_id == "g")

    def close(self):
        for member in self.members:
            member.close()


@classic_clients
def test_a_group_rolls_over_to_the_new_protocol_and_back(start, classic):
    rolling = Rolling(start(**FAST))
    old = [rolling.join(classic), rolling.join(classic)]
    assert rolling.kind() == "CLASSIC"
    new = []
    for member in old:
        new.append(rolling.join(NEW))
        assert rolling.kind() == "CONSUMER"
        rolling.leave(member)
    assert rolling.kind() == "CONSUMER"
    for member in new:
        rolling.join(classic)
        rolling.leave(member)
    assert rolling.kind() == "CLASSIC"
    assert set(rolling.read) == set(rolling.sent)
    rolling.close()


@classic_clients
def test_a_server_killed_in_the_middle_of_going_over_goes_on(start, classic):
    rolling = Rolling(start(**FAST))
    old = [rolling.join(classic), rolling.join(classic)]
    rolling.members.append(CLIENTS[NEW](rolling.server.address, "t", "g"))
    polled(rolling.members, lambda: rolling.kind() == "CONSUMER", rolling.take)
    kill(rolling, start)
    rolling.settle()
    assert rolling.kind() == "CONSUMER"
    [new] = set(rolling.members) - set(old)
    rolling.members.remove(new)
    new.close()
    polled(old, lambda: rolling.kind() == "CLASSIC", rolling.take)
    kill(rolling, start)
    rolling.settle()
    assert rolling.kind() == "CLASSIC"
    assert set(rolling.read) == set(rolling.sent)
    rolling.close()


def kill(rolling, start):
    server = rolling.server
    server.stop(signal.SIGKILL)
    rolling.server = start(port=server.endpoint[1], **FAST)
