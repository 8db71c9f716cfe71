"""What does it cost to have a million messages wait, and how late do they come?

One million messages of 100 bytes with moments of the next two days, in a random order, wait at an
`x-delayed-message` exchange: how fast they are confirmed, and how much memory the server holds then
(100 MB at the most, without the catalogue, which is mapped). Then 2,000 more, each with a moment of
its own within 20 seconds, come while a consumer waits for them: how late they are (p99 100 ms at
the most). Killed with -9 and started again: how soon after the start a message comes that was due
meanwhile. The same with one million records that wait for a topic with `delivery.schedule=true`, by
a Kafka client: they are acknowledged faster than their times are looked at, so it is also asked
when one comes that follows them and is due. Asked once, whatever the rounds: it takes minutes.
"""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import logstore as library
from bench.amqp_line import AmqpLine
from bench.harness import Figure, bound, script, size
from bench.rabbit.brokers import logstore
from bench.server import Server
from logstore.amqp import methods, properties
from logstore.amqp.frames import BODY, END, HEAD, HEADER, method_frame

WAITING = size(1_000_000, 2_000)
COMING = size(2_000, 20)
WITHIN_S = size(20.0, 1.0)
AHEAD_S = size(5.0, 1.0)  # until the first of them: all are there by then
DAYS_MS = 2 * 86_400_000
AT_ONCE = 1000
BODY_BYTES = 100
SEED = 20130101


def now_ms() -> int:
    return int(time.time() * 1000)


def frame(kind: int, payload: bytes) -> bytes:
    return HEAD.pack(kind, 1, len(payload)) + payload + END


def message(moment_ms: int) -> bytes:
    """The frames of a message that is due at this time, which its body contains."""
    given = properties.write(
        properties.Properties(headers={"x-deliver-at": str(moment_ms)}, delivery_mode=2)
    )
    body = b"%d|" % moment_ms
    body += bytes(BODY_BYTES - len(body))
    publish = method_frame(1, methods.BasicPublish(0, "later", "k", False, False))
    return publish + frame(HEADER, properties.header(len(body), given)) + frame(BODY, body)


def moments_ahead(count: int, begin_s: float, within_s: float) -> list[int]:
    begin = now_ms() + int(begin_s * 1000)
    return [begin + int(within_s * 1000 * n / count) for n in range(count)]


def far_moments(choose: random.Random, count: int) -> Iterator[int]:
    begin = now_ms() + DAYS_MS // 2
    return (begin + choose.randrange(DAYS_MS) for _ in range(count))


def lateness(what: str, late_ms: Sequence[float]) -> Iterator[Figure]:
    found = sorted(late_ms)
    assert found[0] > -2, f"{-found[0]:.1f} ms too early"
    yield bound(f"{what}: late, the middle", "ms", [found[len(found) // 2]], bar=None)
    yield bound(f"{what}: late, p99", "ms", [found[int(len(found) * 0.99)]], bar=100)


def memory(what: str, server: Server) -> Iterator[Figure]:
    yield bound(f"{what}: memory without files", "MB", [server.own_mb()], bar=100)
    yield bound(f"{what}: memory with mapped files", "MB", [server.resident_max_mb()], bar=None)


# An exchange


def at_an_exchange(scratch: Path) -> Iterator[Figure]:
    data = scratch / "exchange"
    with library.open(data) as store:
        exchange = store.exchange(
            "later", "x-delayed-message", arguments={"x-delayed-type": "fanout"}
        )
        store.queue("q", retention_ms=0).bind(exchange)
    server = logstore(scratch, "exchange")
    server.start()
    try:
        server.wait_until_it_listens()
        yield from _at_an_exchange(server)
    finally:
        server.stop()


def _at_an_exchange(server: Server) -> Iterator[Figure]:
    choose, line = random.Random(SEED), AmqpLine(server.port)
    line.send(method_frame(1, methods.ConfirmSelect(False)))
    begun, tag = time.perf_counter(), 0
    for _ in range(WAITING // AT_ONCE):
        tag = line.confirmed(list(map(message, far_moments(choose, AT_ONCE))), tag, AT_ONCE)
    rate = WAITING / (time.perf_counter() - begun)
    yield bound("messages that wait, confirmed", "/s", [rate], bar=None)
    came = _Came(server.port)
    line.confirmed(list(map(message, moments_ahead(COMING, AHEAD_S, WITHIN_S))), tag, COMING)
    yield from lateness("messages", came.all(COMING))
    yield from memory("messages", server)
    due = now_ms() + 500
    line = AmqpLine(server.port)
    line.send(method_frame(1, methods.ConfirmSelect(False)))
    line.confirmed([message(due)], 0, 1)
    server.stop(signal.SIGKILL)
    time.sleep(1)  # so that it is due before the start, and not after it
    begun = time.monotonic()
    server.start()
    server.wait_until_it_listens()
    _Came(server.port).all(1)
    yield bound("kill -9 to a message that is due", "s", [time.monotonic() - begun], bar=None)
    line.close()


class _Came:
    """A consumer in a thread of its own."""

    def __init__(self, port: int) -> None:
        import pika

        self._late_ms: list[float] = []
        self._connection = pika.BlockingConnection(pika.ConnectionParameters(port=port))
        self._thread: threading.Thread | None = None

    def all(self, count: int) -> list[float]:
        channel = self._connection.channel()
        for _, _, body in channel.consume("q", auto_ack=True):
            self._late_ms.append(time.time() * 1000 - int(body.split(b"|")[0]))
            if len(self._late_ms) == count:
                break
        self._connection.close()
        return self._late_ms


# A topic


def for_a_topic(scratch: Path) -> Iterator[Figure]:
    from confluent_kafka import Consumer, Producer

    data = scratch / "topic"
    with library.open(data) as store:
        store.create_topic("orders", 1, {"delivery.schedule": "true"})
    server = logstore(scratch, "topic")
    server.start()
    try:
        server.wait_until_it_listens()
        address = kafka_address(data)
        choose = random.Random(SEED)
        producer = Producer(
            {"bootstrap.servers": address, "queue.buffering.max.messages": 2_000_000}
        )
        send = _sender(producer)
        begun = time.perf_counter()
        for moment in far_moments(choose, WAITING):
            send(moment)
        producer.flush()
        rate = WAITING / (time.perf_counter() - begun)
        yield bound("records that wait, acknowledged", "/s", [rate], bar=None)
        consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "g", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe(["orders"])
        # Timers are processed in order: one due at once fires after all earlier ones.
        begun = time.perf_counter()
        send(now_ms())
        producer.flush()
        assert consumer.poll(120) is not None, "one that was due has not come"
        behind = time.perf_counter() - begun
        yield bound("a record that is due behind all these", "s", [behind], bar=None)
        for moment in moments_ahead(COMING, AHEAD_S, WITHIN_S):
            send(moment)
        producer.flush()
        late: list[float] = []
        while len(late) < COMING:
            record = consumer.poll(30)
            assert record is not None, f"{len(late)} of {COMING} have come"
            late.append(time.time() * 1000 - int(record.value().split(b"|")[0]))
        consumer.close()
        yield from lateness("records", late)
        yield from memory("records", server)
    finally:
        server.stop()


def _sender(producer: "object") -> Callable[[int], None]:
    def send(moment_ms: int) -> None:
        value = b"%d|" % moment_ms
        producer.produce(  # type: ignore[attr-defined]
            "orders.delayed", value + bytes(BODY_BYTES - len(value)),
            headers={"x-deliver-at": b"%d" % moment_ms},
        )  # fmt: skip
        producer.poll(0)  # type: ignore[attr-defined]

    return send


def kafka_address(data: Path) -> str:
    """The address for Kafka clients of the server that has the directory open."""
    with library.open(data, "read") as store:
        while True:  # its doors are open before it says where
            owner = store.internals().directory.writer()
            assert owner is not None
            if "kafka" in owner.endpoints:
                return str(owner.endpoints["kafka"])
            time.sleep(0.01)  # nothing tells another process when that changes


def measure(scratch: Path, _: int) -> list[Figure]:
    return [*at_an_exchange(scratch), *for_a_topic(scratch)]


if __name__ == "__main__":
    script(__doc__, measure)
