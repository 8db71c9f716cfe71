"""How long until a large store is open?

10 GiB in 160 segments of one partition. After a clean close: bar 0.5 s. After kill -9 the time
may depend on the bytes after the recovery point alone, not on the size of the store: shown for
several amounts appended after a clean close and before the kill. The recovery point moves when
`recovery.bytes` (64 MiB) have been synced after it, so larger amounts take no longer (bar 0.5 s).
Every opening is in a new process and ends with the last record read back; the store is in the page
cache.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import logstore
from bench.harness import Figure, bound, script, size
from bench.process import run
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import encode

SEGMENTS = size(160, 2)
SEGMENT_BYTES = size(64 << 20, 4 << 20)
SETTINGS = {
    "segment.bytes": str(SEGMENT_BYTES),
    "flush.messages": str(2**63 - 1),
    "retention.ms": "-1",
}
VALUE_BYTES = 10_065  # 104 of them make a batch of 1 MiB, nearly
AFTER_MIB = size([0, 4, 16, 64, 256], [0, 1])


def batch_of(value_bytes: int, records: int) -> Batch:
    value = random.Random(1).randbytes(value_bytes)
    return encode([(value, b"key", (), 0)] * records)


def build(data: str) -> None:
    batch = batch_of(VALUE_BYTES, 104)
    with logstore.open(data) as store:
        topic = store.create_topic("large", partitions=1, settings=SETTINGS)
        log = topic.partitions[0]
        room = SEGMENT_BYTES // batch.size
        for _ in range(SEGMENTS * room - 1):
            log.append(batch)


def open_and_read(data: str) -> None:
    """The time from opening to the last record read; run in a process of its own."""
    begun = time.perf_counter()
    with logstore.open(data) as store:
        log = store.topic("large").partitions[0]
        last = log.read(log.end - 1, 1)[-1]
        records = decode(last, "large", 0)
        took = time.perf_counter() - begun
        assert records[-1].offset == log.end - 1
        print(json.dumps({"seconds": took, "end": log.end}))


def append_and_die(data: str, mib: int) -> None:
    """Leave behind what a killed writer leaves; run in a process of its own."""
    batch = batch_of(1000, 16)  # 16 KiB: recovery looks at batches, so they should be usual ones
    store = logstore.open(data)
    log = store.topic("large").partitions[0]
    for _ in range((mib << 20) // batch.size):
        log.append(batch)
    print(log.end, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def child(call: str) -> list[str]:
    return [sys.executable, "-c", f"from bench.reopen import *; {call}"]


def killed(data: Path, mib: int) -> int:
    """Append and die; returns the end of the log at that moment."""
    done = subprocess.run(
        child(f"append_and_die({str(data)!r}, {mib})"), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return int(done.stdout)


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "data"
    run(child(f"build({str(data)!r})"))
    sizes = [path.stat().st_size for path in data.glob("large-0/*.log")]
    assert len(sizes) == SEGMENTS, f"{len(sizes)} segments, wanted {SEGMENTS}"
    gib = sum(sizes) / 2**30
    opened = child(f"open_and_read({str(data)!r})")

    clean = [json.loads(run(opened).output)["seconds"] for _ in range(rounds)]
    figures = [bound(f"clean, {gib:.1f} GiB in {len(sizes)} segments", "s", clean, bar=0.5)]
    for mib in AFTER_MIB:
        after = []
        for _ in range(rounds):
            end = killed(data, mib)
            facts = json.loads(run(opened).output)
            assert facts["end"] == end, "kill -9 loses nothing that was written"
            after.append(facts["seconds"])
        figures.append(bound(f"killed, {mib} MiB appended", "s", after, bar=0.5))
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
