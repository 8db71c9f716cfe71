"""What does it cost to look into a batch of a client before it is appended?

A batch of 9,000 records, about 1 MB, is looked into as the Kafka door does it: how many records
there are, their offset deltas, timestamps and keys, and that every byte belongs to one of them.
Records of one size (100 bytes) and of 50 to 150; with keys, with headers, with timestamps that go
on a millisecond a record; compressed. Records a second of processor time, beside decoding them.
"""

import random
from collections.abc import Callable
from pathlib import Path

from bench.harness import Figure, alternate, cpu_seconds, ratio, script
from logstore.records.batch import Batch
from logstore.records.check import look
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode

RECORDS = 9000
TURNS = 5  # in a round
START_MS = 1_700_000_000_000
HEADERS = (("type", b"text"), ("source", b"web"))


def batch(
    *, mixed: bool, keyed: bool = False, headers: bool = False, step_us: int = 1,
    codec: Compression = Compression.NONE,
) -> Batch:  # fmt: skip
    rng = random.Random(1)
    sizes = [rng.randrange(50, 150) if mixed else 100 for _ in range(RECORDS)]
    messages = [
        (
            rng.randbytes(size // 2).hex().encode(),
            b"key-%d" % rng.randrange(10**6) if keyed else None,
            HEADERS if headers else (),
            START_MS + nth * step_us // 1000,
        )
        for nth, size in enumerate(sizes)
    ]
    return encode(messages, compression=codec)


def cases() -> dict[str, Batch]:
    return {
        "one size": batch(mixed=False),
        "one size, headers": batch(mixed=False, headers=True),
        "one size, a ms apart": batch(mixed=False, step_us=1000),
        "mixed sizes": batch(mixed=True),
        "mixed sizes, keys": batch(mixed=True, keyed=True),
        "mixed sizes, headers": batch(mixed=True, headers=True),
        "mixed sizes, a ms apart": batch(mixed=True, step_us=1000),
        "mixed sizes, lz4": batch(mixed=True, codec=Compression.LZ4),
        "mixed sizes, zstd": batch(mixed=True, codec=Compression.ZSTD),
    }


def measure(_: Path, rounds: int) -> list[Figure]:
    figures = []
    for name, it in cases().items():
        ways: dict[str, Callable[[], object]] = {
            "look": lambda it=it: look(it, dense=True),
            "decode": lambda it=it: decode(it, check=False),
        }
        taken = alternate(
            {way: lambda act=act: RECORDS / cpu_seconds(act) for way, act in ways.items()},
            TURNS * rounds,
            warm=1,
        )
        figures.append(ratio(name, "records/s", taken, ours="look", theirs="decode", bar=None))
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
