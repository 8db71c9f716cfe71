"""How fast are records encoded?

1,000 records of 100 bytes with keys and timestamps become one uncompressed batch, header and CRC
included. Against aiokafka's compiled builder (bar 0.7) and kafka-python's (bar 4). All three are
given the same tuples and must make the same bytes. Keys have 12 bytes; what keys of 8 to 12 bytes
change is shown. Records a second of processor time.
"""

from collections.abc import Callable
from pathlib import Path

from aiokafka.record.default_records import DefaultRecordBatchBuilder as AiokafkaBuilder
from kafka.record.default_records import DefaultRecordBatchBuilder as KafkaPythonBuilder

from bench.harness import Figure, alternate, cpu_seconds, ratio, script, size
from bench.messages import timed
from logstore.records.encode import encode

RECORDS = 1000
BATCHES = size(20, 1)  # in a turn
TURNS = size(5, 1)  # in a round: many short ones see the same moments of the machine
ROOM_BYTES = 1 << 20
OTHERS = ("aiokafka", "kafka-python")
CHECKED_FROM = 21  # base offset, length, epoch and CRC aside: attributes on


def ours(messages: list[tuple]) -> bytes:
    return bytes(encode(messages).data)


def by_builder(builder: type) -> Callable[[list[tuple]], bytes]:
    none: list = []

    def build(messages: list[tuple]) -> bytes:
        batch = builder(2, 0, 0, -1, -1, -1, ROOM_BYTES)
        append = batch.append
        for offset, (value, key, _, timestamp) in enumerate(messages):
            append(offset, timestamp, key, value, none)
        return batch.build()

    return build


def measure(_: Path, rounds: int) -> list[Figure]:
    builds = {
        "logstore": encode,
        "aiokafka": by_builder(AiokafkaBuilder),
        "kafka-python": by_builder(KafkaPythonBuilder),
    }

    def rates(messages: list[tuple]) -> dict[str, list[float]]:
        wanted = ours(messages)[CHECKED_FROM:]
        for name in OTHERS:
            assert bytes(builds[name](messages))[CHECKED_FROM:] == wanted, name

        def rate(build: Callable) -> float:
            return (
                BATCHES * RECORDS / cpu_seconds(lambda: [build(messages) for _ in range(BATCHES)])
            )

        return alternate(
            {name: lambda b=b: rate(b) for name, b in builds.items()}, TURNS * rounds, warm=1
        )

    return [
        ratio(what, "records/s", taken, ours="logstore", theirs=theirs, bar=bar)
        for what, taken, bars in (
            ("encode", rates(timed(RECORDS)), {"aiokafka": 0.7, "kafka-python": 4}),
            ("mixed keys", rates(timed(RECORDS, mixed=True)), dict.fromkeys(OTHERS)),
        )
        for theirs, bar in bars.items()
    ]


if __name__ == "__main__":
    script(__doc__, measure)
