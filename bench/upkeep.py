"""How much does compaction slow a producer down?

One producer sends batches of 1,000 records of 100 bytes with keys into its own topic, synced, for
six seconds; beside it the same process compacts another topic of 1 GB at the default pace
(`upkeep.bytes.per.second`), by a child process, all that time. Against the same producer without
compaction (bar 0.85).
"""

import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import logstore
from bench.harness import Figure, alternate, ratio, script, settle, size
from bench.messages import pairs
from logstore import Message
from logstore.config import Config
from logstore.errors import Closed
from logstore.upkeep.job import Job

RECORDS = size(8_000_000, 200_000)  # 1 GB: more than is gone over meanwhile
KEYS = 500_000
SECONDS = size(6.0, 0.05)
OFF = Config({"upkeep.interval.ms": ("-1", "bench")})
SETTINGS = {
    "cleanup.policy": "compact", "segment.bytes": str(size(64 << 20, 8 << 20)),
    "flush.messages": str(2**63 - 1),
    "min.cleanable.dirty.ratio": "0",
}  # fmt: skip


def build(data: Path) -> None:
    rng = random.Random(1)
    value = bytes(100)
    with logstore.open(data, config=OFF) as store:
        topic = store.create_topic("states", partitions=1, settings=SETTINGS)
        for _ in range(RECORDS // 5000):
            topic.append_many(
                [Message(value, b"key-%08d" % rng.randrange(KEYS)) for _ in range(5000)]
            )
        topic.partition(0).roll()


def produced(data: Path, *, compacting: bool) -> float:
    """Records per second."""
    batch = [Message(value, key) for key, value in pairs(1000)]
    with logstore.open(data, config=OFF) as store:
        topic = store.create_topic(f"sent-{time.monotonic_ns()}", partitions=1)
        begun = threading.Event()

        def compact() -> None:
            with suppress(Closed):  # the store, before it was done
                jobs, job = store._upkeep._jobs, Job("compact", ("states",))  # paced, as by itself
                for _ in jobs.run(job, lambda progress: begun.set()):
                    raise AssertionError("it was done too early to compare")

        thread = threading.Thread(target=compact)
        if compacting:
            thread.start()
            begun.wait(30)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            topic.append_many(batch)
            count += len(batch)
        rate = count / (time.perf_counter() - start)
        if compacting:
            assert thread.is_alive()
        store._upkeep._jobs.close()
        if compacting:
            thread.join()
        store.delete_topic(topic.name)
    return rate


def measure(scratch: Path, rounds: int) -> list[Figure]:
    source = scratch / "source"
    build(source)
    sides = {
        "compacting": lambda: produced(source, compacting=True),
        "alone": lambda: produced(source, compacting=False),
    }
    taken = alternate(sides, rounds)
    settle(source)
    return [ratio("produce", "records/s", taken, ours="compacting", theirs="alone", bar=0.85)]


if __name__ == "__main__":
    script(__doc__, measure)
