"""How fast is compaction?

5,000,000 records of 100 bytes with 500,000 different keys in one partition, compacted: MB of log
read a second, against copying the same files with `shutil.copyfile` (bar 0.1). The memory of the
child process that does it is shown beside `compaction.memory.bytes` (64 MiB), which bounds the keys
that it holds.
"""

import json
import random
import resource
import shutil
import sys
from pathlib import Path

import logstore
from bench.harness import Figure, bound, ratio, script, seconds, settle, size
from bench.process import run
from logstore import Message

RECORDS = size(5_000_000, 20_000)
KEYS = size(500_000, 2_000)
AT_ONCE = 5_000
SETTINGS = {
    "cleanup.policy": "compact", "segment.bytes": str(64 << 20), "flush.messages": str(2**63 - 1),
    "min.cleanable.dirty.ratio": "0",
}  # fmt: skip


def build(data: Path) -> None:
    rng = random.Random(1)
    value = bytes(100)
    with logstore.open(data) as store:
        topic = store.create_topic("states", partitions=1, settings=SETTINGS)
        for _ in range(RECORDS // AT_ONCE):
            topic.append_many(
                [Message(value, b"key-%08d" % rng.randrange(KEYS)) for _ in range(AT_ONCE)]
            )
        topic.partition(0).roll()


def compact(data: str) -> None:
    """Compact in a process of its own: the time it took, and the memory of the working child."""
    with logstore.open(data) as store:
        found = []
        took = seconds(lambda: found.extend(store.compaction()))
        [done] = found
        assert done.broke is None, done.broke
        peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    facts = {"mb": peak_kib * 1024 / 1e6, "read_mb": done.bytes_before / 1e6, "seconds": took}
    print(json.dumps(facts | {"after_mb": done.bytes_after / 1e6, "passes": done.passes}))


def measure(scratch: Path, rounds: int) -> list[Figure]:
    source, data, copy = scratch / "source", scratch / "data", scratch / "copy"
    build(source)
    logs = sorted(source.glob("*/*.log"))
    rates: dict[str, list[float]] = {"compaction": [], "shutil.copyfile": []}
    memory = []
    for _ in range(rounds):
        shutil.copytree(source, data)
        child = [
            sys.executable,
            "-c",
            f"from bench.compaction import compact; compact({str(data)!r})",
        ]
        facts = json.loads(run(child).output)
        rates["compaction"].append(facts["read_mb"] / facts["seconds"])
        memory.append(facts["mb"])
        settle(data)
        copy.mkdir()
        took = seconds(lambda: [shutil.copyfile(it, copy / it.name) for it in logs])
        rates["shutil.copyfile"].append(sum(it.stat().st_size for it in logs) / 1e6 / took)
        settle(copy)
    return [
        ratio("compact", "MB/s", rates, ours="compaction", theirs="shutil.copyfile", bar=0.1),
        bound("memory of the process", "MB", memory, bar=None),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
