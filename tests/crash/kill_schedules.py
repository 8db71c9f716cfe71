"""Kill a real server with SIGKILL while messages and records wait for their time, come and are
cancelled; and check what became of each.

    python -m tests.crash.kill_schedules --rounds 100 [--seed 7]

In each round a client publishes numbered messages to an x-delayed-message exchange, with confirms,
and another produces numbered records to a companion topic; delays are fractions of a second. At a
random moment the server is killed. After the last round everything is given the time to come:

    what was confirmed has come, once; nothing has come before its time, or twice, or was never
    sent; and verify finds nothing damaged.
"""

import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field

import logstore
from logstore.amqp import methods
from logstore.amqp.properties import Properties
from tests.kit.amqp_wire import Line
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving

DELAYS_MS = (0, 1, 20, 100, 400, 1500)
ALL_MS = max(DELAYS_MS) + 500
STEPS_MOST = 40
EXTRA_S = 0.02
SETTINGS = {"queue_segment_bytes": 1 << 20, "queue_retention_ms": 0}


@dataclass
class Totals:
    rounds: int = 0
    messages: int = 0  # confirmed
    records: int = 0
    came: int = 0

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.messages} messages and {self.records} records confirmed, "
            f"{self.came} have come"
        )


@dataclass
class Known:
    """Numbers, each with the earliest ms at which it may come."""

    messages: dict = field(default_factory=dict)
    records: dict = field(default_factory=dict)
    messages_confirmed: set = field(default_factory=set)
    records_confirmed: set = field(default_factory=set)


def made(path):
    with logstore.open(path) as store:
        store.create_topic("orders", 2, {"delivery.schedule": "true"})
        store.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
        store.queue("q").bind("later")


def now_ms():
    return int(time.time() * 1000)


def killed(path, choose, known):
    from confluent_kafka import Producer

    server = Serving(path, resp_port=-1, amqp_port=0, **SETTINGS)
    try:
        line = Line(server.amqp, channels=(1,))
        line.tell(1, methods.ConfirmSelect(False))
        producer = Producer({"bootstrap.servers": server.address, "linger.ms": 0})
        sent = []
        for _ in range(choose.randrange(1, STEPS_MOST)):
            delay = choose.choice(DELAYS_MS)
            if choose.random() < 0.5:
                number = len(known.messages)
                known.messages[number] = now_ms() + delay
                sent.append(number)
                properties = Properties(headers={"x-delay": delay}, delivery_mode=2)
                body = b"%d|" % number + bytes(choose.randrange(3000))
                line.tell(1, methods.BasicPublish(0, "later", "k", False, False), properties, body)
            else:
                number = len(known.records)
                known.records[number] = now_ms() + delay

                def told(error, _, number=number):
                    if error is None:
                        known.records_confirmed.add(number)

                headers = {"x-delay": b"%d" % delay}
                producer.produce(
                    "orders.delayed", b"%d" % number, headers=headers,
                    partition=choose.randrange(2), on_delivery=told,
                )  # fmt: skip
                producer.poll(0)
            if choose.random() < 0.2:
                time.sleep(choose.uniform(0, 0.2))
        time.sleep(choose.uniform(0, EXTRA_S))
        producer.poll(0)
    finally:
        code, errors = server.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL, errors
    with suppress(AssertionError, OSError):  # what it had sent before, and its end
        while True:
            line._file(*line._frame())
    for tag, taken in line.channels[1].confirms.items():
        if taken:
            known.messages_confirmed.add(sent[tag - 1])
    line.end()


def came(path, known):
    """All of it is given the time to come; each with its number, in the queue and in the topic."""
    server = Serving(path, resp_port=-1, amqp_port=0, **SETTINGS)
    try:
        time.sleep(ALL_MS / 1000)
        messages = at_rest(lambda: queue_has(server))
        records = at_rest(lambda: topic_has(server))
    finally:
        code, errors = server.stop()
    assert code == 0, errors
    return messages, records


def at_rest(look):
    """What it gives, once that does not change any more."""
    before = None
    while (found := look()) != before:
        before = found
        time.sleep(0.3)
    return found


def queue_has(server):
    from logstore.server_socket import ServerSocket

    return ServerSocket(str(server.data)).get("queues", "q", vhost="/")["ready"]


def topic_has(server):
    from logstore.server_socket import ServerSocket

    return ServerSocket(str(server.data)).get("topics", "orders")["records"]


def check(path, known):
    came(path, known)
    with logstore.open(path) as store:
        messages = []
        while (message := store.queue("q").get()) is not None:
            messages.append(int(message.body.split(b"|")[0]))
            message.ack()
        records = [(int(it.value), it.timestamp_ms) for it in store.consumer("orders")]
        check_undamaged(store)
        left = list(store.scheduled("orders")), store.exchange("later").scheduled()
    assert not any(map(len, left)), f"these wait for ever: {left}"
    assert len(messages) == len(set(messages)), f"messages twice: {sorted(messages)}"
    numbers = [number for number, _ in records]
    assert len(numbers) == len(set(numbers)), f"records twice: {sorted(numbers)}"
    assert known.messages_confirmed <= set(messages) <= known.messages.keys()
    assert known.records_confirmed <= set(numbers) <= known.records.keys()
    early = [it for it in records if it[1] < known.records[it[0]]]
    assert not early, f"before their time: {early}"
    return len(messages) + len(records)


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, known, totals = random.Random(seed), Known(), Totals()
    made(path)
    try:
        for _ in range(rounds):
            killed(path, choose, known)
            totals.rounds += 1
        totals.came = check(path, known)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, after round {totals.rounds}: {error}") from error
    totals.messages, totals.records = len(known.messages_confirmed), len(known.records_confirmed)
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, rounds_of_a_store=25)
