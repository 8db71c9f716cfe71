"""How fast does `verify` read?

2 GB of records of 100 bytes with keys, in batches of 1,000, one partition: MB of log verified a
second (every header, checksum, offset and index entry), against reading the same files with plain
`read` calls of 1 MiB (bar 0.4). Both from the page cache.
"""

from pathlib import Path

import logstore
from bench.harness import Figure, alternate, ratio, script, seconds, size
from bench.messages import timed
from logstore.records.encode import encode

BYTES = size(2_000_000_000, 4_000_000)
SETTINGS = {"segment.bytes": str(256 << 20), "flush.messages": str(2**63 - 1)}


def build(data: Path) -> None:
    with logstore.open(data) as store:
        log = store.create_topic("many", partitions=1, settings=SETTINGS).partition(0)
        batch = encode(timed(1000))
        for _ in range(BYTES // batch.size):
            log.append(batch)


def read_all(paths: list[Path]) -> None:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "data"
    build(data)
    logs = sorted(data.glob("*/*.log"))
    mb = sum(path.stat().st_size for path in logs) / 1e6

    def verify() -> float:
        with logstore.open(data, "read") as store:
            found = []
            took = seconds(lambda: found.extend(store.verify()))
        assert not any(report.findings for report in found)
        return mb / took

    sides = {"verify": verify, "read": lambda: mb / seconds(lambda: read_all(logs))}
    taken = alternate(sides, rounds, warm=1)
    return [ratio("verify", "MB/s", taken, ours="verify", theirs="read", bar=0.4)]


if __name__ == "__main__":
    script(__doc__, measure)
