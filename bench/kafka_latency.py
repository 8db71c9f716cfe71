"""How soon does a consumer have what a Kafka client has sent, beside Kafka?

1,000 messages of 100 bytes a second into one partition, acks=all, no linger, one consumer that
waits for them, both in one process (librdkafka): from the moment when a message was due to be sent
to the moment when the consumer hands it out, the middle one and the 99th of 100 (bars 1). "synced":
each request is synced before it is acknowledged and shown, on both sides (`flush.messages=1`);
"unsynced": on neither. 4,000 messages a round, after 1,000 that do not count.
"""

from functools import partial
from pathlib import Path

from bench.harness import Figure, ratio, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import SIDES, each, take_turns
from bench.kafka.load import SYNCED, UNSYNCED, Load

POLICIES = {"synced": SYNCED, "unsynced": UNSYNCED}
PARTS = {"p50": "p50_ms", "p99": "p99_ms"}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        for policy, flush_messages in POLICIES.items():
            run = partial(
                load.on_new_topic, "latency", partitions=1, flush_messages=flush_messages,
                count=size(4000, 100), warm=size(1000, 10), messages_per_s=1000,
            )  # fmt: skip
            taken = take_turns(brokers, rounds, run)
            for part, name in PARTS.items():
                late = each(taken, lambda it, name=name: it[name])
                what = f"{part}, {policy}"
                figures.append(ratio(what, "ms", late, **SIDES, bar=1.0, at_least=False))
            cost = each(taken, lambda it: it["server_cpu"])
            what = f"{policy}: processor"
            figures.append(ratio(what, "s", cost, **SIDES, bar=None, at_least=False))
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
