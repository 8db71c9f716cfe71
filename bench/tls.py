"""What does TLS cost a Kafka client, and how does it compare with Kafka's?

One producer, then one consumer (librdkafka), one partition, linger 5 ms, nothing synced, records of
100 bytes and of 1 KiB: MB of values a second. "TLS": through our door with TLS and the plain one of
the same server, in turns (bar 0.5). "beside Kafka": both with TLS 1.3 and the same certificate, on
an elliptic curve (bar 1). "beside slow requests": the same while another client asks for the
configuration of 10,000 topics without a pause, which workers answer: they and TLS want the
interpreter at one time (bar 0.5 of plain beside the same). "handshake": processor time of the
server for a connection, from its beginning to its end.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.harness import TINY, Figure, NotHere, bound, ratio, script, size
from bench.kafka.brokers import Tls, kafka, logstore
from bench.kafka.compare import Found, each, speed, take_turns
from bench.kafka.load import UNSYNCED, Load
from bench.server import Server

LOADS = {
    "100 B": (100, size(3_000_000, 2_000)),
    "1 KiB": (1024, size(600_000, 2_000)),
}  # bytes, messages
TOPICS = size(10_000, 10)  # whose configuration is asked for
MADE_AT_ONCE = 500  # each is synced: a request has a minute
HANDSHAKES = size(1_000, 3)
BAR = 0.5  # of plain


def loads(load: Load) -> Iterator[tuple[str, Callable[[Server], Found], Callable[[], None]]]:
    """The loads, each with the cleanup to run after it."""
    for what, (bytes_each, count) in LOADS.items():
        run = partial(
            load.on_new_topic, "produce", partitions=1, flush_messages=UNSYNCED, linger_ms=5,
            bytes=bytes_each, count=count,
        )  # fmt: skip
        yield f"produce {what}", run, lambda: None
        topics: dict[int, tuple[Server, str]] = {}

        def consume(broker: Server, topics=topics, bytes_each=bytes_each, count=count) -> Found:
            if broker.port not in topics:
                topic = load.new_topic(broker, 1, UNSYNCED)
                topics[broker.port] = broker, topic
                load.run("produce", broker, topic, bytes=bytes_each, count=count - 1, linger_ms=5)
            return load.on_topic("consume", broker, topics[broker.port][1], count=count)

        def forget(topics=topics) -> None:
            for broker, topic in topics.values():
                load.run("delete", broker, topic)

        yield f"consume {what}", consume, forget


def beside_plain(load: Load, plain: Server, secured: Server, rounds: int) -> list[Figure]:
    figures = []
    sides = {"ours": secured.name, "theirs": plain.name}
    for what, run, done in loads(load):
        taken = take_turns([secured, plain], rounds, run)
        fast = each(taken, lambda it: it["bytes"] / 1e6 / max(it["seconds"], 1e-6))
        cost = each(taken, lambda it: it["server_cpu"] / (it["bytes"] / 1e9))
        figures += [
            ratio(f"TLS, {what}", "MB/s", fast, **sides, bar=BAR),
            ratio(f"TLS, {what}: processor", "s/GB", cost, **sides, bar=None, at_least=False),
        ]
        done()
    return figures


class Slow:
    """Another client, by the plain door: asks for the configuration of all topics, all the time."""

    def __init__(self, broker: Server) -> None:
        from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

        self._admin = AdminClient({"bootstrap.servers": broker.address})
        names = [f"slow-{number}" for number in range(TOPICS)]
        for at in range(0, TOPICS, MADE_AT_ONCE):
            some = [NewTopic(name, 1, 1) for name in names[at : at + MADE_AT_ONCE]]
            for it in self._admin.create_topics(some).values():
                it.result()
        self._asked = [ConfigResource("topic", name) for name in names]
        self._over = False
        self.answers = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        self._over = False
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over = True
            thread.join()

    def _run(self) -> None:
        while not self._over:
            for it in self._admin.describe_configs(self._asked, request_timeout=60).values():
                it.result()
            self.answers += 1


def beside_slow(load: Load, plain: Server, secured: Server, rounds: int) -> list[Figure]:
    slow = Slow(plain)
    bytes_each, count = LOADS["1 KiB"]

    def run(broker: Server) -> Found:
        with slow.asking():
            return load.on_new_topic(
                "produce", broker, partitions=1, flush_messages=UNSYNCED, linger_ms=5,
                bytes=bytes_each, count=count,
            )  # fmt: skip

    taken = take_turns([secured, plain], rounds, run)
    fast = each(taken, lambda it: it["bytes"] / 1e6 / max(it["seconds"], 1e-6))
    sides = {"ours": secured.name, "theirs": plain.name}
    return [ratio("produce 1 KiB beside slow requests", "MB/s", fast, **sides, bar=BAR)]


def handshakes(secured: Server, rounds: int) -> list[Figure]:
    context = ssl.create_default_context(cafile=secured.ca)
    found = []
    for _ in range(rounds):
        before = secured.cpu_s()
        for _ in range(HANDSHAKES):
            sock = socket.create_connection(("127.0.0.1", secured.port))
            context.wrap_socket(sock, server_hostname="127.0.0.1").close()
        found.append((secured.cpu_s() - before) / HANDSHAKES * 1000)
    return [bound("handshake", "ms", found, bar=None)]


def measure(scratch: Path, rounds: int) -> list[Figure]:
    load = Load(scratch)
    with ExitStack() as stack:
        tls = Tls.made(scratch)
        ours = logstore(scratch, tls=tls)
        stack.callback(ours.stop)
        ours.start()
        ours.wait_until_it_listens()
        secured = tls.of(ours)
        figures = beside_plain(load, ours, secured, rounds)
        figures += handshakes(secured, rounds)
        try:
            figures += beside_kafka(load, scratch, secured, rounds)
        except NotHere as reason:
            print(f"without Kafka: {reason}")
        figures += beside_slow(load, ours, secured, rounds)
    return figures


def beside_kafka(load: Load, scratch: Path, ours: Server, rounds: int) -> list[Figure]:
    tls = Tls.made(scratch)
    theirs = logstore(scratch, "Kafka", tls) if TINY else kafka(scratch, tls)
    figures = []
    theirs.start()
    try:
        sides = [
            ours.by_tls("logstore", ours.port, tls.ca),
            theirs.by_tls("Kafka", tls.port, tls.ca),
        ]
        for what, run, done in loads(load):
            figures += speed(f"beside Kafka, {what}", take_turns(sides, rounds, run), 1.0)
            done()
    finally:
        theirs.stop()
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
