"""``load.c`` by confluent-kafka, for machines without a C compiler: the same words, the same lines.

Slower than what it loads in most questions; both brokers get the same, so ratios say less.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE_S = 120
TAKEN_AT_ONCE = 10_000
POLL_EVERY = 1024
DUE = struct.Struct("d")
WORDS_BYTES = 65_536  # that values of words are cut from
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")  # by Kafka's numbers
WORDS = b"order placed by customer 42 8817 ok total= 19.90 eur shipped from warehouse 7 retry id="
OPTIONS = {
    "partitions": 1, "bytes": 100, "count": 1000, "linger_ms": 0, "batch_bytes": 1_000_000,
    "bytes_per_s": 0, "flush_messages": 1, "messages_per_s": 1000, "warm": 0, "acks": -1,
    "mixed": 0, "codec": 0, "messages": 1000, "transactions_per_s": 0, "aborted": 0,
    "committed": 0,
}  # fmt: skip


def at(address: str) -> dict[str, str]:
    """Client settings for the broker's address and security."""
    ca = os.environ.get("LOAD_TLS_CA")
    secured = {"security.protocol": "ssl", "ssl.ca.location": ca} if ca else {}
    return {"bootstrap.servers": address, **secured}


class Sender:
    """A producer, and how much of what it was given is acknowledged."""

    def __init__(
        self, address: str, topic: str, given: dict[str, int], transactional_id: str | None = None
    ) -> None:
        self.topic = topic
        self.partitions = given["partitions"]
        self.delivered = 0
        own = {"transactional.id": transactional_id} if transactional_id else {}
        self.producer = Producer(
            {
                **at(address), **own, "socket.nagle.disable": True, "acks": given["acks"],
                "compression.codec": CODECS[given["codec"]],
                "linger.ms": given["linger_ms"], "batch.size": given["batch_bytes"],
                "batch.num.messages": 1_000_000, "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_048_576,
                "topic.metadata.refresh.fast.interval.ms": 10,
            }
        )  # fmt: skip

    def _on_delivery(self, error: object, message: object) -> None:
        if error is not None:
            raise SystemExit(f"load: produce: {error}")
        self.delivered += 1

    def send(self, number: int, value: bytes) -> None:
        while True:
            try:
                self.producer.produce(
                    self.topic, value, partition=number % self.partitions,
                    on_delivery=self._on_delivery,
                )  # fmt: skip
            except BufferError:  # its queue is full
                self.producer.poll(0.01)
            else:
                return

    def poll(self) -> None:
        self.producer.poll(0)

    def wait(self, count: int) -> None:
        patience = time.monotonic() + PATIENCE_S
        while self.delivered < count:
            self.producer.poll(0.1)
            if time.monotonic() > patience:
                raise SystemExit("load: produce: not everything was acknowledged")


def consumer(address: str, topic: str, given: dict[str, int]) -> Consumer:
    made = Consumer(
        {
            **at(address), "socket.nagle.disable": True, "group.id": "load",
            "enable.auto.commit": False, "queued.min.messages": 1_000_000,
            "fetch.message.max.bytes": 10_000_000,
            "isolation.level": "read_committed" if given["committed"] else "read_uncommitted",
        }
    )  # fmt: skip
    made.assign([TopicPartition(topic, number, 0) for number in range(given["partitions"])])
    return made


def create(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    config = {"flush.messages": str(given["flush_messages"])}
    wanted = NewTopic(topic, given["partitions"], 1, config=config)
    admin = AdminClient(at(address))
    admin.create_topics([wanted], operation_timeout=60)[topic].result()
    return {}


def delete(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    admin = AdminClient(at(address))
    admin.delete_topics([topic], operation_timeout=60)[topic].result()
    return {}


def values(given: dict[str, int]) -> Callable[[int], bytes]:
    """A function of n that returns the n-th message: equal ones, or (mixed) of 0.5 to 1.5 times the
    size.
    """
    size = given["bytes"]
    if not given["mixed"] and not given["codec"]:
        alike = bytes(size)
        return lambda number: alike
    known, state, text = WORDS.split(), 1, bytearray()
    while len(text) < WORDS_BYTES + 2 * size:
        state = (state * 1_103_515_245 + 12_345) % 2**32
        text += known[state % len(known)] + b" %c" % (97 + (state >> 16) % 26)
    pool = bytes(text)

    def value(number: int) -> bytes:
        at = number * 101 % WORDS_BYTES
        return pool[at : at + (size // 2 + (number * 2_654_435_761 >> 8) % (size + 1)
                               if given["mixed"] else size)]  # fmt: skip

    return value


def produce(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    sender, count = Sender(address, topic, given), given["count"]
    value_of = values(given)
    for number in range(given["partitions"]):  # connected, and every partition known
        sender.send(number, value_of(number))
    sender.wait(given["partitions"])
    sender.delivered = 0
    every = given["bytes"] / given["bytes_per_s"] if given["bytes_per_s"] else 0
    cpu, begun, total = time.process_time(), time.monotonic(), 0
    for number in range(count):
        early = begun + number * every - time.monotonic()
        if every and early > 0:
            sender.poll()
            time.sleep(early)
        value = value_of(number)
        total += len(value)
        sender.send(number, value)
        if number % POLL_EVERY == 0:
            sender.poll()
    sender.wait(count)
    return {
        "seconds": time.monotonic() - begun,
        "bytes": total,
        "client_cpu": time.process_time() - cpu,
    }


def again(end: Callable[[], None]) -> None:
    """Call ``end`` until it succeeds, if its error permits another attempt."""
    while True:
        try:
            end()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
        else:
            return


def transact(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    # A topic of its own has an id of its own.
    sender, count, warm = Sender(address, topic, given, topic), given["count"], given["warm"]
    producer, value, ends, wholes = sender.producer, bytes(given["bytes"]), [], []
    rate, aborted = given["transactions_per_s"], given["aborted"]
    again(producer.init_transactions)
    first = begun = time.monotonic()
    cpu = time.process_time()
    for number in range(warm + count):
        if number == warm:
            cpu, begun = time.process_time(), time.monotonic()
        if rate:
            time.sleep(max(first + number / rate - time.monotonic(), 0))
        began = time.monotonic()
        producer.begin_transaction()
        for n in range(given["messages"]):
            sender.send(n, value)
        producer.flush()
        asked = time.monotonic()
        again(
            producer.abort_transaction
            if aborted and (number + 1) % aborted == 0
            else producer.commit_transaction
        )
        ends.append(time.monotonic() - asked)
        wholes.append(time.monotonic() - began)
    return {
        "seconds": time.monotonic() - begun, "bytes": count * given["messages"] * len(value),
        "client_cpu": time.process_time() - cpu,
        **quantiles_ms(ends[warm:], "end_"), **quantiles_ms(wholes[warm:], "whole_"),
    }  # fmt: skip


def quantiles_ms(delays: list[float], what: str = "") -> dict[str, float]:
    late, count = sorted(delays), len(delays)
    found = {"p50_ms": late[count // 2], "p99_ms": late[count * 99 // 100], "max_ms": late[-1]}
    return {what + name: delay * 1000 for name, delay in found.items()}


def consume(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    reader, asked, cpu = consumer(address, topic, given), time.monotonic(), time.process_time()
    first, got, total = 0.0, 0, 0
    while got < given["count"]:
        taken = reader.consume(TAKEN_AT_ONCE, 0.1)
        for message in taken:
            if message.error() is None:
                got += 1
                total += len(message.value())
        if taken and not first:
            first = time.monotonic()
        if time.monotonic() - asked > PATIENCE_S:
            raise SystemExit("load: consume: not everything came")
    return {
        "seconds": time.monotonic() - first, "bytes": total, "first_s": first - asked,
        "client_cpu": time.process_time() - cpu,
    }  # fmt: skip


def latency(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    count, warm, delays = given["count"], given["warm"], []

    def read() -> None:
        reader, patience = consumer(address, topic, given), time.monotonic() + PATIENCE_S
        while len(delays) < warm + count and time.monotonic() < patience:
            message = reader.poll(0.1)
            if message is not None and message.error() is None:
                delays.append(time.monotonic() - DUE.unpack_from(message.value())[0])

    thread = threading.Thread(target=read)
    thread.start()
    sender, begun = Sender(address, topic, given), time.monotonic() + 0.5
    for number in range(warm + count):
        due = begun + number / given["messages_per_s"]
        time.sleep(max(due - time.monotonic(), 0))
        sender.send(number, DUE.pack(due).ljust(given["bytes"]))
        sender.poll()
    sender.wait(warm + count)
    thread.join()
    if len(delays) < warm + count:
        raise SystemExit("load: latency: not everything came")
    return quantiles_ms(delays[warm:])


def first(address: str, topic: str, given: dict[str, int]) -> dict[str, float]:
    sender = Sender(address, topic, given)
    sender.send(0, bytes(given["bytes"]))
    sender.wait(1)
    return {"at": time.monotonic()}


def wait_for_broker(address: str) -> None:
    """Wait until the broker listens: librdkafka itself would try only once a second."""
    host, port = address.split(":")
    patience = time.monotonic() + PATIENCE_S
    while time.monotonic() < patience:
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            time.sleep(0.001)
        else:
            return
    raise SystemExit(f"load: {address}: nobody listens there")


LOADS: dict[str, Callable[[str, str, dict[str, int]], dict[str, float]]] = {
    "create": create, "delete": delete, "produce": produce, "transact": transact,
    "consume": consume, "latency": latency, "first": first,
}  # fmt: skip


def main() -> None:
    what, address, topic, *options = sys.argv[1:]
    given = dict(OPTIONS)
    for option in options:
        name, _, number = option.partition("=")
        if name not in given:
            raise SystemExit(f"load: {option}: no such option")
        given[name] = int(number)
    if what == "first":  # the reader of this starts the broker now
        print("looking", flush=True)
    wait_for_broker(address)
    try:
        print(json.dumps(LOADS[what](address, topic, given)))
    except KafkaException as error:
        raise SystemExit(f"load: {what}: {error}") from None


if __name__ == "__main__":
    main()
