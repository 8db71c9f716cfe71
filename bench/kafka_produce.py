"""How fast is a topic filled by a Kafka client, beside Kafka?

One producer (librdkafka), one partition, acks=all, linger 5 ms, batches of up to 1 MB, records of
100 bytes and of 1 KiB: MB of values acknowledged a second (bars 1). "synced": each request is
synced before it is acknowledged, on both sides (`flush.messages=1`; Kafka's default is never).
"unsynced": on neither (`flush.messages` large). Both brokers run on this machine and disk with
their defaults (Kafka: 4.3.1, one KRaft node, heap 1 GB) and take turns; what they use of the
processor is shown in seconds a GB.
"""

from functools import partial
from pathlib import Path

from bench.harness import Figure, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import speed, take_turns
from bench.kafka.load import SYNCED, UNSYNCED, Load

LOADS = {
    "100 B": (100, size(3_000_000, 2_000)),
    "1 KiB": (1024, size(400_000, 2_000)),
}  # bytes, messages
POLICIES = {"synced": SYNCED, "unsynced": UNSYNCED}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        for policy, flush_messages in POLICIES.items():
            for size, (bytes_each, count) in LOADS.items():
                run = partial(
                    load.on_new_topic, "produce", partitions=1, flush_messages=flush_messages,
                    bytes=bytes_each, count=count, linger_ms=5,
                )  # fmt: skip
                figures += speed(f"{size}, {policy}", take_turns(brokers, rounds, run))
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
