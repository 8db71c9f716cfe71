"""How fast is a topic of transactions read by a client that asks for committed records only?

One consumer (librdkafka, `isolation.level=read_committed`) from the first offset on, records of
100 bytes and of 1 KiB in transactions of 1,000, of which every tenth was aborted, from the page
cache: MB of values a second, from the first record to the last (bars 1). Both brokers hold the same
records in the same batches, run on this machine and take turns; what they use of the processor is
shown in seconds a GB.
"""

from pathlib import Path

from bench.harness import Figure, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import speed, take_turns
from bench.kafka.load import UNSYNCED, Load
from bench.server import Server

ABORTED = 10  # one in so many
MESSAGES = size(1000, 10)
LOADS = {"100 B": (100, size(3000, 20)), "1 KiB": (1024, size(600, 20))}  # bytes, transactions


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        for what, (bytes_each, count) in LOADS.items():
            topics = {}
            for broker in brokers:
                topics[broker] = topic = load.new_topic(broker, 1, UNSYNCED)
                load.run(
                    "transact", broker, topic, bytes=bytes_each, count=count, messages=MESSAGES,
                    aborted=ABORTED, linger_ms=5,
                )  # fmt: skip
            committed = (count - count // ABORTED) * MESSAGES

            def run(broker: Server, topics=topics, committed=committed):
                return load.on_topic(
                    "consume", broker, topics[broker], committed=1, count=committed
                )

            figures += speed(what, take_turns(brokers, rounds, run))
            for broker, topic in topics.items():
                load.run("delete", broker, topic)
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
