"""How soon does a server take its first record, and what memory does it hold, beside Kafka?

A data directory with one topic, whose server was stopped: from the start of the process to the
first record that it has acknowledged, synced, to a client that looks for it every ms (bar 0.2).
Then what it holds in memory (VmRSS) after two seconds of doing nothing, and the most that it has
held (VmHWM) after a first load of 300 MB in records of 1 KiB (bars 0.2). Kafka's heap is 1 GB.
"""

import time
from pathlib import Path

from bench.harness import Figure, ratio, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import SIDES, Found, each, take_turns
from bench.kafka.load import SYNCED, Load
from bench.server import Server

IDLE_S = size(2.0, 0.0)
LOAD = {"bytes": 1024, "count": size(300_000, 1_000), "linger_ms": 5}
QUESTIONS = {
    "start to the first record": ("first_s", "s"),
    "memory, idle": ("idle_mb", "MB"),
    "memory, first load": ("loaded_mb", "MB"),
}


def start(load: Load, topic: str, broker: Server) -> Found:
    """Start the broker, measure, and leave it stopped."""
    waiting = load.start("first", broker, topic)
    load.wait_until_it_looks(waiting)
    begun = time.monotonic()
    broker.start()
    first = load.result(waiting)["at"] - begun
    time.sleep(IDLE_S)
    idle = broker.resident_mb()
    load.run("produce", broker, topic, **LOAD)
    loaded = broker.resident_max_mb()
    broker.stop()
    return {"first_s": first, "idle_mb": idle, "loaded_mb": loaded}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    load = Load(scratch)
    with both(scratch) as brokers:
        for broker in brokers:
            topic = "starts"
            load.run("create", broker, topic, partitions=1, flush_messages=SYNCED)
            broker.stop()
        taken = take_turns(brokers, rounds, lambda broker: start(load, topic, broker))
    return [
        ratio(
            what, unit, each(taken, lambda it, name=name: it[name]), **SIDES, bar=0.2,
            at_least=False,
        )
        for what, (name, unit) in QUESTIONS.items()
    ]  # fmt: skip


if __name__ == "__main__":
    script(__doc__, measure)
