"""How fast is a topic read by a Kafka client, beside Kafka?

One consumer (librdkafka) from the first offset on, 1 and 12 partitions, 1 KiB records and 100-byte
ones, from the page cache: MB of values a second, from the first message to the last (bars 1). Both
brokers hold the same messages in the same batches, run on this machine and take turns; what they
use of the processor is shown in seconds a GB.
"""

from pathlib import Path

from bench.harness import Figure, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import speed, take_turns
from bench.kafka.load import UNSYNCED, Load
from bench.server import Server

LOADS = {
    "100 B": (100, size(4_000_000, 2_000)),
    "1 KiB": (1024, size(800_000, 2_000)),
}  # bytes, messages
PARTITIONS = [1, 12]


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        for partitions in PARTITIONS:
            for size, (bytes_each, count) in LOADS.items():
                topics = {}
                for broker in brokers:
                    topics[broker] = topic = load.new_topic(broker, partitions, UNSYNCED)
                    fill = {"bytes": bytes_each, "count": count - partitions, "linger_ms": 5}
                    load.run("produce", broker, topic, partitions=partitions, **fill)

                def run(broker: Server, topics=topics, partitions=partitions, count=count):
                    return load.on_topic(
                        "consume", broker, topics[broker], partitions=partitions, count=count
                    )

                figures += speed(
                    f"{size}, {partitions} partitions", take_turns(brokers, rounds, run)
                )
                for broker, topic in topics.items():
                    load.run("delete", broker, topic)
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
