"""How fast are 1,000 partitions filled by a Kafka client, beside Kafka?

One producer (librdkafka) sends records of 1 KiB to 1,000 partitions in turn, acks=all, linger 5 ms.
"at 64 KiB/s each": 65.5 MB a second are offered for three seconds, and what is acknowledged, each
request synced, is counted (MB/s, bar 1; with a broker that keeps up it is what was offered). "as
fast as it goes": all at once, synced and not (bars 1). What the brokers use of the processor is
shown in seconds a GB.
"""

from functools import partial
from pathlib import Path

from bench.harness import Figure, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import speed, take_turns
from bench.kafka.load import SYNCED, UNSYNCED, Load

PARTITIONS = size(1000, 10)
BYTES = 1024
OFFERED = PARTITIONS * (64 << 10)  # bytes a second
PACED, ALL = size(3, 1) * OFFERED // BYTES, size(100_000, 1_000)  # messages
LOADS = {
    "at 64 KiB/s each, synced": {
        "flush_messages": SYNCED, "count": PACED, "bytes_per_s": OFFERED,
    },
    "as fast as it goes, synced": {"flush_messages": SYNCED, "count": ALL},
    "as fast as it goes, unsynced": {"flush_messages": UNSYNCED, "count": ALL},
}  # fmt: skip


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        for what, numbers in LOADS.items():
            run = partial(
                load.on_new_topic, "produce", partitions=PARTITIONS, bytes=BYTES, linger_ms=5,
                **numbers,
            )  # fmt: skip
            figures += speed(what, take_turns(brokers, rounds, run))
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
