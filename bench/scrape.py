"""How long does a scrape of /metrics hold up the clients of a server with many objects?

10,000 queues and 1,000 topics of 2 partitions, one server. /metrics (queues summed) and
/metrics/per-object (each by itself) are asked for by turns. "the thread": processor time of the
thread that serves all clients, in all its turns of a scrape (bar: 200 ms); "its longest turn":
bar 10 ms. Both are its own count, by processor time, which stands the load of other processes. What
a worker looks up meanwhile is "a worker": it takes processor time, but holds up no turn.
"""

import http.client
import sys
from pathlib import Path

from bench import by_processor
from bench.amqp_line import AmqpLine
from bench.harness import Figure, bound, script, size
from bench.largest import request
from bench.largest_amqp import declare, sent
from bench.server import Server, free_port
from bench.turns import Line

QUEUES = size(10_000, 200)
TOPICS = size(1000, 20)
PARTITIONS = 2  # with these all partitions are in /metrics by default
ALL_MS = 200.0
TURN_MS = 10.0
PATHS = ("/metrics", "/metrics/per-object")


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "data"
    kafka, redis, rabbit, http_port = (free_port() for _ in range(4))
    command = [
        sys.executable, "-m", by_processor.__name__, "serve", "--data", str(data),
        "--kafka-port", str(kafka), "--resp-port", str(redis), "--amqp-port", str(rabbit),
        "--mqtt-port", "-1", "--stomp-port", "-1",
        "--http-port", str(http_port),
    ]  # fmt: skip
    server = Server("logstore", scratch, http_port, command)
    _make_topics(data)
    server.start()
    try:
        server.wait_until_it_listens()
        line = AmqpLine(rabbit)
        line.send(sent(*(declare(f"queue-{n}") for n in range(QUEUES))))
        line.close()
        return [figure for path in PATHS for figure in _of(path, http_port, redis, server, rounds)]
    finally:
        server.stop()


def _make_topics(data: Path) -> None:
    import logstore

    with logstore.open(data) as store:
        for number in range(TOPICS):
            store.create_topic(f"topic-{number}", partitions=PARTITIONS)


def _of(path: str, port: int, redis: int, server: Server, rounds: int) -> list[Figure]:
    taken: dict[str, list[float]] = {"all": [], "longest": [], "worker": [], "bytes": []}
    control = Line(redis)
    _scrape(port, path)  # imports, labels
    for _ in range(rounds):
        control.ask(request([b"CONFIG", b"RESETSTAT"]))
        before, used = _turns(control), server.cpu_s()
        taken["bytes"].append(_scrape(port, path) / 1e6)
        after, process_ms = _turns(control), (server.cpu_s() - used) * 1000
        all_ms = (after[0] - before[0]) / 1000
        taken["all"].append(all_ms)
        taken["longest"].append(after[1] / 1000)
        taken["worker"].append(max(process_ms - all_ms, 0.0))
    control.close()
    return [
        bound(f"{path}: the thread", "ms", taken["all"], bar=ALL_MS),
        bound(f"{path}: its longest turn", "ms", taken["longest"], bar=TURN_MS),
        bound(f"{path}: a worker, about", "ms", taken["worker"], bar=None),
        bound(f"{path}: text", "MB", taken["bytes"], bar=None),
    ]


def _scrape(port: int, path: str) -> int:
    """The size of the answer in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {found[:200]!r}")
    return len(found)


def _turns(control: Line) -> tuple[int, int]:
    """Microseconds of all turns, and of the longest."""
    lines = control.ask(request([b"INFO", b"stats"])).split(b"\r\n")
    stats = dict(line.split(b":", 1) for line in lines if b":" in line)
    return int(stats[b"eventloop_duration_sum"]), int(stats[b"eventloop_duration_max"])


if __name__ == "__main__":
    script(__doc__, measure)
