"""How long does retention take to decide?

`logstore retention run --dry-run`, the whole command, over 10,000 segments of one partition, a
third of which would go (bar 1 s). Nothing of it is in this process's memory; the store is in the
page cache.
"""

from pathlib import Path

import logstore
from bench.harness import Figure, bound, script, size
from bench.process import logstore_command, run
from logstore.records.encode import encode

SEGMENTS = size(10_000, 60)
KEPT = SEGMENTS * 2 // 3
VALUE = bytes(300)  # a batch of it is over half a segment, so that each append rolls
SETTINGS = {"segment.bytes": "600", "flush.messages": str(2**63 - 1), "retention.ms": "-1"}


def build(data: Path) -> None:
    batch = encode([(VALUE, b"key", (), 0)])
    settings = SETTINGS | {"retention.bytes": str(KEPT * batch.size)}
    with logstore.open(data) as store:
        log = store.create_topic("many", partitions=1, settings=settings).partition(0)
        for _ in range(SEGMENTS):
            log.append(batch)
    assert len(list(data.glob("*/*.log"))) == SEGMENTS


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "data"
    build(data)
    command = [logstore_command(), "retention", "run", "--dry-run", "--data", str(data)]
    took = []
    for _ in range(rounds):
        ran = run(command)
        assert f"would drop {SEGMENTS - KEPT:,} segments" in ran.output, ran.output[-200:]
        took.append(ran.seconds)
    return [bound("10,000 segments, dry run", "s", took, bar=1.0)]


if __name__ == "__main__":
    script(__doc__, measure)
