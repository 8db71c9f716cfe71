"""How long does the largest legal request of each kind hold up the other clients?

One server, all doors. Each request of the tables is sent once a round, as large as it may be
(200,000 elements or 8 MiB to the Kafka door, a million arguments to the Redis door; to the RabbitMQ
door tables of 128 KiB, messages of 16 MiB, and what concerns a million messages, 10,000 bindings or
10,000 queues; to the MQTT door 100,000 messages and packets of 16 MiB; to the HTTP door bodies of a
megabyte and heads of 16 KiB, beside 1000 topics and queues), while another client sends PINGs
without a pause. "waits": the longest that it has waited for an answer; "turns": the longest turn of
the server's loop, by its own count and in processor time, which stands the load of other processes.
The bar is 50 ms, for the worst request of each door; the five worst are shown.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import by_processor, largest, largest_amqp, largest_http, largest_mqtt, largest_stomp
from bench.amqp_line import AmqpLine
from bench.harness import Figure, bound, script, size
from bench.server import Server, free_port

BAR_MS = 50.0
LARGE = 10_000, largest_amqp.FRAME_MAX  # bindings and queues; of a frame
DEADLINE_S = 120
SHOWN = 5
MARK = b"all-is-answered"
PING = b"*1\r\n$4\r\nPING\r\n"


class Line:
    """One connection to the Redis door that asks and waits."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._file = self._sock.makefile("rb")

    def ask(self, data: bytes) -> bytes:
        """The first line of the answer; for a bulk string all of it."""
        self._sock.sendall(data)
        line = self._file.readline()
        return self._file.read(int(line[1:]) + 2) if line.startswith(b"$") else line

    def close(self) -> None:
        self._file.close()
        self._sock.close()


class Pings:
    """The other client: how long it waits at the most."""

    def __init__(self, port: int) -> None:
        self._line, self._over, self.longest_s = Line(port), False, 0.0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Pings":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        self._line.close()

    def _run(self) -> None:
        while not self._over:
            asked = time.perf_counter()
            self._line.ask(PING)
            self.longest_s = max(self.longest_s, time.perf_counter() - asked)


def through_kafka(port: int, it: largest.Large) -> None:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        sock.sendall(it.data)
        left, head = -1, b""
        while left and (data := sock.recv(1 << 20)):
            if left < 0:
                head += data
                if len(head) < 4:
                    continue
                left, data = int.from_bytes(head[:4], "big"), head[4:]
            left -= len(data)


def through_redis(port: int, it: largest.Large) -> None:
    """Send, and wait until a PING after it is answered, or the connection has ended."""
    ends = largest.request([b"PING", MARK])
    if it.name == "multi":  # what follows is queued
        ends += largest.request([b"EXEC"])
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        sender = threading.Thread(target=_send, args=(sock, it.data + ends))
        sender.start()
        last = b""
        try:
            while MARK not in last and (data := sock.recv(1 << 20)):
                last = last[-len(MARK) :] + data
        except ConnectionResetError:  # refused before all of it was read
            return
        finally:
            sender.join()


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):  # refused; the reader sees why
        return


def through_rabbit(port: int, it: largest_amqp.Large) -> Callable[[], None]:
    """A function that sends it, after all preparation."""
    line = AmqpLine(port)
    for data in it.before:
        line.send(data)
    if it.unacked:
        line.take(largest_amqp.Q, it.unacked)

    def send() -> None:
        line.send(it.data)
        line.close()

    return send


def through_stomp(port: int, it: largest_stomp.Large) -> Callable[[], None]:
    """A function that sends it, after all preparation."""
    sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    if not it.connect:
        sock.sendall(largest_stomp.CONNECT + largest_stomp.marked(it.before))
        _read_until(sock, largest_stomp.MARK)

    def send() -> None:
        ends = b"" if b"receipt:mark" in it.data else largest_stomp.marked()
        with sock:
            sender = threading.Thread(target=_send, args=(sock, it.data + ends))
            sender.start()
            if it.name.endswith(largest_stomp.ENDED):
                _read_to_the_end(sock)
            else:
                _read_until(sock, largest_stomp.MARK)
            sender.join()

    return send


def _read_to_the_end(sock: socket.socket) -> None:
    """Read until the server closes a refused connection."""
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:  # before all of it was read
        return


def _read_until(sock: socket.socket, mark: bytes) -> None:
    last = b""
    while mark not in last:
        data = sock.recv(1 << 20)
        if not data:
            raise SystemExit(f"it ended with {last!r}")
        last = last[-len(mark) :] + data


def through_mqtt(port: int, it: largest_mqtt.Large) -> Callable[[], None]:
    """A function that sends it, after all preparation."""
    sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    if not it.connect:
        sock.sendall(largest_mqtt.CONNECT_PACKET)
    for data in it.before:
        sock.sendall(data)
    if not it.connect:
        sock.sendall(largest_mqtt.MARK)
        _read_until(sock, largest_mqtt.MARKED)

    def send() -> None:
        with sock:
            sender = threading.Thread(target=_send, args=(sock, it.data + largest_mqtt.MARK))
            sender.start()
            last = b""
            try:
                while largest_mqtt.MARKED not in last and (data := sock.recv(1 << 20)):
                    last = last[-len(largest_mqtt.MARKED) :] + data
            except ConnectionResetError:  # it is one that ends the connection
                pass
            sender.join()

    return send


def through_http(port: int, it: largest_http.Large) -> None:
    """Send, and wait for the answer."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        sender = threading.Thread(target=_send, args=(sock, it.data))
        sender.start()
        try:
            largest_http.read(sock)
        finally:
            sender.join()


def held(port: int, send: Callable[[], None]) -> tuple[float, float]:
    """The longest wait of the other client and the longest turn, in ms."""
    control = Line(port)
    control.ask(largest.request([b"CONFIG", b"RESETSTAT"]))
    with Pings(port) as pings:
        send()
    stats = control.ask(largest.request([b"INFO", b"stats"]))
    control.close()
    [turn] = [it for it in stats.split(b"\r\n") if it.startswith(b"eventloop_duration_max:")]
    return pings.longest_s * 1000, int(turn.partition(b":")[2]) / 1000


def measure(scratch: Path, rounds: int) -> list[Figure]:
    kafka_port, redis_port, rabbit_port, http_port, stomp_port, mqtt_port = (
        free_port() for _ in range(6)
    )
    serve = ["serve", "--data", str(scratch / "data"), "--kafka-port", str(kafka_port)]
    launch = [sys.executable, "-m", by_processor.__name__]
    ports = ["--resp-port", str(redis_port), "--amqp-port", str(rabbit_port)]
    ports += ["--mqtt-port", str(mqtt_port), "--stomp-port", str(stomp_port)]
    ports += ["--http-port", str(http_port)]
    command = [*launch, *serve, *ports]
    server = Server("logstore", scratch, kafka_port, command)
    server.start()
    try:
        _wait_for(redis_port)
        return [
            *_door("Kafka", lambda it: partial(through_kafka, kafka_port, it), redis_port,
                   [*largest.kafka(size(200_000, 500))], rounds),
            *_door("Redis", lambda it: partial(through_redis, redis_port, it), redis_port,
                   [*largest.redis(size(999_990, 2000))], rounds),
            *_door("RabbitMQ", lambda it: through_rabbit(rabbit_port, it), redis_port,
                   [*largest_amqp.amqp(*size(LARGE, (20, 8192)))], rounds),
            *_door("MQTT", lambda it: through_mqtt(mqtt_port, it), redis_port,
                   [*largest_mqtt.mqtt(*size((100_000, 16 << 20), (50, 4096)))], rounds),
            *_door("STOMP", lambda it: through_stomp(stomp_port, it), redis_port,
                   [*largest_stomp.stomp(*size((10_000, 16 << 20), (50, 4096)))], rounds),
            *_door("HTTP", lambda it: partial(through_http, http_port, it), redis_port,
                   largest_http.prepared(http_port, size(1000, 5)), rounds),
        ]  # fmt: skip
    finally:
        server.stop()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            Line(port).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise


def _door(
    door: str,
    prepared: Callable[[Any], Callable[[], None]],
    redis_port: int,
    requests: list[Any],
    rounds: int,
) -> list[Figure]:
    waits: dict[str, list[float]] = {it.name: [] for it in requests}
    turns: dict[str, list[float]] = {it.name: [] for it in requests}
    for _ in range(rounds):
        for it in requests:
            wait_ms, turn_ms = held(redis_port, prepared(it))
            waits[it.name].append(wait_ms)
            turns[it.name].append(turn_ms)
    worst = sorted(turns, key=lambda name: -sorted(turns[name])[rounds // 2])[:SHOWN]
    return [
        bound(f"{door}: {name}, {what}", "ms", taken[name], bar=BAR_MS if not place else None)
        for place, name in enumerate(worst)
        for what, taken in (("turns", turns), ("waits", waits))
    ]


if __name__ == "__main__":
    script(__doc__, measure)
