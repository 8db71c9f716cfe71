"""Kill a server whose topic feeds an exchange with SIGKILL, and check what has arrived.

    python -m tests.crash.kill_routes --rounds 100 [--seed 7]

Numbered records are produced to a topic of some partitions, which feeds an exchange; a queue is
bound to it, and so is an exchange that leads to another topic. In each round the server is killed
at a random moment while records come. At the end it runs until the route has caught up. Then:

    every record that was acknowledged is in the queue, and in the other topic, once; those of each
    partition come in order; nothing else is there.
"""

import random
import signal
import time

from confluent_kafka import Producer

import logstore
from logstore.server_socket import ServerSocket
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving

PARTITIONS = 3
MOST_S = 0.8  # until the kill, at most, from when records come
DEADLINE_S = 60


class Totals:
    def __init__(self):
        self.rounds = self.acknowledged = self.queued = self.copied = 0

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.acknowledged} acknowledged, {self.queued} in the queue, "
            f"{self.copied} in the other topic"
        )


def made(path):
    with logstore.open(path) as store:
        store.create_topic("t", partitions=PARTITIONS)
        store.create_topic("copy", partitions=PARTITIONS)
        store.exchange("x", type="fanout")
        store.queue("q").bind("x")
        store.exchange("x").lead("topic:copy")
        store.route_topic("t", "x")


def one_round(path, first, choose, acknowledged):
    """Produce until it is killed; the number that comes next."""
    server = Serving(path, resp_port=-1)
    number, kill_at = first, time.monotonic() + MOST_S * choose.random() ** 2
    try:
        producer = Producer({
            "bootstrap.servers": server.address, "linger.ms": 1, "acks": "all", "retries": 0,
            "socket.timeout.ms": 5000, "message.timeout.ms": 5000, "log_level": 0,
        })  # fmt: skip

        def told(error, message):
            if error is None:
                acknowledged[message.partition()].append(int(message.value()))

        while time.monotonic() < kill_at:
            for _ in range(choose.randrange(1, 200)):
                producer.produce("t", b"%d" % number, b"k%d" % (number % 17), on_delivery=told)
                number += 1
            producer.poll(0.002)
    finally:
        server.stop(signal.SIGKILL)
    producer.flush(10)
    return number


def caught_up(path):
    """Run until nothing is behind, and stop."""
    server = Serving(path, resp_port=-1)
    try:
        ask, until = ServerSocket(path), time.monotonic() + DEADLINE_S
        while True:
            [it] = ask.rows("topic-routes")
            if it["lag"] == 0:
                break
            assert time.monotonic() < until, it
            time.sleep(0.02)
    finally:
        code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def checked(path, acknowledged, upto, totals):
    with logstore.open(path) as store:
        with store.consumer("t") as consumer:
            there = [(it.partition, int(it.value)) for it in consumer]
        queued = [int(it.body) for it in store.queue("q").history()]
        with store.consumer("copy") as consumer:
            copied = [int(it.value) for it in consumer]
        check_undamaged(store)
    sent = {number for _, number in there}
    totals.acknowledged = sum(map(len, acknowledged.values()))
    totals.queued, totals.copied = len(queued), len(copied)
    for name, found in (("the queue", queued), ("the other topic", copied)):
        lost = sent - set(found)
        assert not lost, f"{len(lost)} are missing in {name}: {sorted(lost)[:10]}"
        assert set(found) <= sent, f"{name} has what is not in the topic"
        twice = len(found) - len(set(found))
        assert not twice, f"{twice} are in {name} twice"
    for partition, those in acknowledged.items():
        assert set(those) <= sent, "what was acknowledged is not in the topic"
        order = [number for at, number in there if at == partition]
        mine = set(order)
        assert [it for it in queued if it in mine] == order, f"out of order: {partition}"
    # In the other topic a key stays in one partition: there it is in order, too.


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, totals = random.Random(seed), Totals()
    acknowledged = {number: [] for number in range(PARTITIONS)}
    made(path)
    number = 0
    try:
        for _ in range(rounds):
            number = one_round(path, number, choose, acknowledged)
            totals.rounds += 1
        caught_up(path)
        checked(path, acknowledged, number, totals)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, in round {totals.rounds}: {error}") from error
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100)
