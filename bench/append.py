"""What does the log add to a plain write?

Batches of just under 1 MiB, appended without sync, against `os.write` of the same bytes to a file
on the same file system (bar 0.7). 256 of them a round, to a new log and a new file.
"""

import os
import random
from pathlib import Path

import logstore
from bench.harness import Figure, alternate, ratio, script, seconds, settle, size
from logstore.records.encode import encode

BATCHES = size(256, 4)
VALUE_BYTES = 10_000
RECORDS = 104  # 104 values of 10,000 bytes: the most that max.message.bytes (1 MiB) lets in
NO_SYNC = {"flush.messages": str(2**63 - 1)}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    rng = random.Random(1)
    batch = encode([(rng.randbytes(VALUE_BYTES), None, (), 0) for _ in range(RECORDS)])
    data = bytes(batch.data)
    total_mb = BATCHES * len(data) / 1e6

    def append() -> float:
        with logstore.open(scratch / "data") as store:
            topic = store.create_topic("bulk", partitions=1, settings=NO_SYNC)
            log = topic.partitions[0]
            took = seconds(lambda: [log.append(batch) for _ in range(BATCHES)])
        settle(scratch / "data")
        return total_mb / took

    def write() -> float:
        path = scratch / "plain"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        took = seconds(lambda: [os.write(fd, data) for _ in range(BATCHES)])
        os.close(fd)
        settle(path)
        return total_mb / took

    taken = alternate({"append": append, "os.write": write}, rounds, warm=1)
    return [
        ratio("append 1 MiB, no sync", "MB/s", taken, ours="append", theirs="os.write", bar=0.7)
    ]


if __name__ == "__main__":
    script(__doc__, measure)
