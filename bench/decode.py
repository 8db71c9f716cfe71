"""How fast are records decoded?

A batch of 1,000 records of 100 bytes with keys and timestamps, no headers, uncompressed, becomes
a list of records, CRC checked first. Against aiokafka's compiled reader (bar 0.2) and
kafka-python's (bar 4). All three read the same bytes and must give the same values. Keys have 12
bytes; what keys of 8 to 12 bytes change is shown. Records a second of processor time.
"""

from collections.abc import Callable
from pathlib import Path

from aiokafka.record.default_records import DefaultRecordBatch as AiokafkaBatch
from kafka.record.default_records import DefaultRecordBatch as KafkaPythonBatch

from bench.harness import Figure, alternate, cpu_seconds, ratio, script, size
from bench.messages import timed
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import encode

OTHERS = ("aiokafka", "kafka-python")
RECORDS = 1000
BATCHES = size(10, 1)  # in a turn
TURNS = size(5, 1)  # in a round: many short ones see the same moments of the machine


def by_reader(reader: type) -> Callable[[bytes], list]:
    def read(data: bytes) -> list:
        batch = reader(data)
        assert batch.validate_crc()
        return list(batch)

    return read


def ours(data: bytes) -> list:
    return decode(Batch(data), "orders", 0)


def measure(_: Path, rounds: int) -> list[Figure]:
    reads = {
        "logstore": ours,
        "aiokafka": by_reader(AiokafkaBatch),
        "kafka-python": by_reader(KafkaPythonBatch),
    }

    def rates(data: bytes) -> dict[str, list[float]]:
        wanted = [(r.offset, r.timestamp_ms, r.key, r.value) for r in ours(data)]
        for name in OTHERS:
            got = [(r.offset, r.timestamp, r.key, r.value) for r in reads[name](data)]
            assert got == wanted, name

        def rate(read: Callable) -> float:
            def work() -> None:
                for _ in range(BATCHES):
                    read(data)

            return BATCHES * RECORDS / cpu_seconds(work)

        return alternate(
            {name: lambda r=r: rate(r) for name, r in reads.items()}, TURNS * rounds, warm=1
        )

    same, mixed = (bytes(encode(timed(RECORDS, mixed=mixed)).data) for mixed in (False, True))
    return [
        ratio(what, "records/s", taken, ours="logstore", theirs=theirs, bar=bar)
        for what, taken, bars in (
            ("decode", rates(same), {"aiokafka": 0.2, "kafka-python": 4}),
            ("mixed keys", rates(mixed), dict.fromkeys(OTHERS)),
        )
        for theirs, bar in bars.items()
    ]


if __name__ == "__main__":
    script(__doc__, measure)
