"""What does a consumer of cold data cost another client's producer?

A `logstore serve` holds data that is not in the page cache (synced, and dropped from it). A
consumer reads all of it from the first offset on; beside it a producer sends 1,000 messages a
second, synced, to a topic of its own, and another consumer takes them: the delay from when a
message was due to when it is received. Against the same with nobody beside it. Bar: the 99th
percentile at most twice. Also beside a consumer of the same data from the page cache.
"""

import os
from pathlib import Path

from bench.harness import Figure, alternate, ratio, script, size
from bench.kafka.brokers import logstore
from bench.kafka.load import SYNCED, UNSYNCED, Load

BYTES = 10_000
MESSAGES = size(1_000_000, 1_000)  # 10 GB
PACED = {"count": size(8_000, 50), "warm": size(500, 5), "messages_per_s": 1000}
DUE = ("p50_ms", "p99_ms")


def drop_cached(data: Path) -> None:
    """Drop the files from the page cache, so that the next read uses the disk."""
    os.sync()
    for path in data.glob("*/*.log"):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def measure(scratch: Path, rounds: int) -> list[Figure]:
    server = logstore(scratch)
    load = Load(scratch)
    server.start()
    try:
        cold = load.new_topic(server, 1, UNSYNCED)
        load.run("produce", server, cold, bytes=BYTES, count=MESSAGES - 1, linger_ms=5)

        def paced() -> dict[str, float]:
            topic = load.new_topic(server, 1, SYNCED)
            found = load.run("latency", server, topic, **PACED)
            load.run("delete", server, topic)
            return found

        def beside(*, cold_data: bool) -> dict[str, float]:
            if cold_data:
                drop_cached(scratch / server.name)
            reading = load.start("consume", server, cold, count=MESSAGES)
            try:
                return paced()
            finally:
                reading.kill()
                reading.wait()

        sides = {
            "cold reads": lambda: beside(cold_data=True),
            "warm reads": lambda: beside(cold_data=False),
            "alone": paced,
        }
        taken = alternate(sides, rounds, warm=1)
    finally:
        server.stop()
    return [
        ratio(
            f"{name.removesuffix('_ms')}, {side}", "ms",
            {side: [found[name] for found in runs] for side, runs in taken.items()},
            ours=side, theirs="alone", bar=bar if name == "p99_ms" else None, at_least=False,
        )
        for side, bar in (("cold reads", 2.0), ("warm reads", None))
        for name in DUE
    ]  # fmt: skip


if __name__ == "__main__":
    script(__doc__, measure)
