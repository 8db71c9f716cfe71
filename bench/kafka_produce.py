"""How fast is a topic filled by a Kafka client, beside Kafka?

One producer (librdkafka), one partition, acks=all, linger 5 ms, batches of up to 1 MB, records of
100 bytes and of 1 KiB: MB of values acknowledged a second (bars 1). "synced": each request is
synced before it is acknowledged, on both sides (`flush.messages=1`; Kafka's default is never).
"unsynced": on neither (`flush.messages` large). Both brokers run on this machine and disk with
their defaults (Kafka: 4.3.1, one KRaft node, heap 1 GB) and take turns; what they use of the
processor is shown in seconds a GB. "mixed": values of words, of 50 to 150 bytes (bar 1);
compressed by the client with lz4 or zstd, which both brokers open to check them (bar 0.8).
"""

from functools import partial
from pathlib import Path

from bench.harness import Figure, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import speed, take_turns
from bench.kafka.load import SYNCED, UNSYNCED, Load

LZ4, ZSTD = 3, 4  # Kafka's numbers
SMALL = {"bytes": 100, "count": size(3_000_000, 2_000)}
LOADS = {
    "100 B": (SMALL, 1.0),
    "1 KiB": ({"bytes": 1024, "count": size(400_000, 2_000)}, 1.0),
    "100 B mixed": ({**SMALL, "mixed": 1}, 1.0),
    "100 B mixed, lz4": ({**SMALL, "mixed": 1, "codec": LZ4}, 0.8),
    "100 B mixed, zstd": ({**SMALL, "mixed": 1, "codec": ZSTD}, 0.8),
}
POLICIES = {"synced": SYNCED, "unsynced": UNSYNCED}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        for policy, flush_messages in POLICIES.items():
            for what, (numbers, bar) in LOADS.items():
                run = partial(
                    load.on_new_topic, "produce", partitions=1, flush_messages=flush_messages,
                    linger_ms=5, **numbers,
                )  # fmt: skip
                figures += speed(f"{what}, {policy}", take_turns(brokers, rounds, run), bar)
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
