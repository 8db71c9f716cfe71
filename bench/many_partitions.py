"""What does a server with 20,000 partitions cost: to start, after a crash too, to stop, in memory?

From the start of the process until it listens, and until it has acknowledged a record to a client
that comes then; in turns after a clean stop and after kill -9. A start after a crash may take no
more than 1.5 times as long as one after a stop. Then what it holds in memory (200 MB at the most),
and how long a stop takes after SIGTERM while the rest is still being recovered (10 s at the most).
"""

import signal
import sys
import time
from pathlib import Path
from typing import TypedDict

import logstore
from bench.harness import Figure, bound, script, size
from bench.process import logstore_command, run
from bench.server import Server, free_port
from logstore.records.encode import encode

TOPICS = size(20, 2)
PARTITIONS = size(1000, 5)  # of each
SETTINGS = {"flush.messages": str(2**62)}


class Start(TypedDict):
    """One start."""

    listens_s: float
    acknowledged_s: float
    memory_mb: float
    stop_s: float


def build(data: str) -> None:
    """Build the store, in a process of its own."""
    batch = encode([(bytes(100), b"key", (), 0)])
    with logstore.open(data) as store:
        for number in range(TOPICS):
            topic = store.create_topic(f"t{number}", partitions=PARTITIONS, settings=SETTINGS)
            for log in topic.partitions:
                log.append(batch)


def started(server: Server, ending: signal.Signals) -> Start:
    """Start the server, have it acknowledge a record, and end it by this signal."""
    from confluent_kafka import Producer

    begun = time.perf_counter()
    server.start()
    server.wait_until_it_listens()
    listens_s = time.perf_counter() - begun
    producer = Producer({"bootstrap.servers": server.address, "log_level": 0})
    producer.produce("t1", b"first", partition=1)
    left = producer.flush(60)
    acknowledged_s = time.perf_counter() - begun
    assert not left, "nothing was acknowledged"
    memory_mb = server.resident_max_mb()
    begun = time.perf_counter()
    server.stop(ending)
    return Start(
        listens_s=listens_s, acknowledged_s=acknowledged_s, memory_mb=memory_mb,
        stop_s=time.perf_counter() - begun,
    )  # fmt: skip


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = str(scratch / "data")
    run([sys.executable, "-c", f"from bench.many_partitions import build; build({data!r})"])
    port = free_port()
    words = ("serve", "--data", data, "--kafka-port", str(port), "--resp-port", "-1")
    server = Server("logstore", scratch, port, [logstore_command(), *words])
    clean, crashed = [], []
    for _ in range(rounds):
        clean.append(started(server, signal.SIGKILL))
        crashed.append(started(server, signal.SIGTERM))
    ratios = [b["listens_s"] / a["listens_s"] for a, b in zip(clean, crashed, strict=True)]
    return [
        bound("listens after a stop", "s", [it["listens_s"] for it in clean], bar=None),
        bound("listens after kill -9", "s", [it["listens_s"] for it in crashed], bar=None),
        bound("the second by the first", "x", ratios, bar=1.5),
        bound("first record after a stop", "s", [it["acknowledged_s"] for it in clean], bar=None),
        bound(
            "first record after kill -9", "s", [it["acknowledged_s"] for it in crashed], bar=None
        ),
        bound("stop while recovering", "s", [it["stop_s"] for it in crashed], bar=10),
        bound("memory", "MB", [it["memory_mb"] for it in crashed], bar=200),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
