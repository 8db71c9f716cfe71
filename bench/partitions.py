"""What do many partitions cost to hold open?

1,000 partitions with 10 segments each, opened, and one record read from the end of every one: the
process may hold fewer than 512 file descriptors and 150 MB of memory. Opening time is shown.
"""

import json
import os
import sys
import time
from pathlib import Path

import logstore
from bench.harness import Figure, bound, script, size
from bench.process import run
from logstore.records.encode import encode

PARTITIONS = size(1000, 10)
SEGMENTS = 10
SETTINGS = {"segment.bytes": "2048", "flush.messages": str(2**63 - 1)}
VALUE = bytes(1500)  # with its batch over half a segment, so that each append rolls


def build(data: Path) -> None:
    batch = encode([(VALUE, b"key", (), 0)])
    with logstore.open(data) as store:
        topic = store.create_topic("many", partitions=PARTITIONS, settings=SETTINGS)
        for log in topic.partitions:
            for _ in range(SEGMENTS):
                log.append(batch)
    logs = len(list(data.glob("*/*.log")))
    assert logs == PARTITIONS * SEGMENTS, f"{logs} segments, wanted {PARTITIONS * SEGMENTS}"


def hold(data: str) -> None:
    """Open all partitions, read from each, and print the memory; run in a process of its own."""
    begun = time.perf_counter()
    with logstore.open(data) as store:
        topic = store.topic("many")
        opened = time.perf_counter() - begun
        assert len(topic.partitions) == PARTITIONS
        for log in topic.partitions:
            assert log.end == SEGMENTS
            assert log.read(log.end - 1, 1)
        status = Path("/proc/self/status").read_text()
        peak_kib = int(status.split("VmHWM:")[1].split()[0])
        files = len(os.listdir("/proc/self/fd"))
    print(json.dumps({"seconds": opened, "files": files, "mb": peak_kib * 1024 / 1e6}))


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "data"
    build(data)
    child = [sys.executable, "-c", f"from bench.partitions import hold; hold({str(data)!r})"]
    found = [json.loads(run(child).output) for _ in range(rounds)]
    return [
        bound("file descriptors", "files", [one["files"] for one in found], bar=511),
        bound("memory", "MB", [one["mb"] for one in found], bar=150),
        bound("opening", "s", [one["seconds"] for one in found], bar=None),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
