"""What does it cost to look into a batch of a client before it is appended?

A batch of 9,000 records, about 1 MB, is looked into as the Kafka door does it: how many records
there are, their offset deltas, timestamps and keys, and that every byte belongs to one of them.
Records of one size (100 bytes) and of 50 to 150; with keys, with headers, with timestamps that go
on a millisecond a record; compressed; with gaps in the offset deltas, as compaction leaves them.
Records a second of processor time, beside decoding them. "Keys" is what compaction does: the same
check, which notes each record's key and where it begins.
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
from logstore.records.keyed import keyed, thinned

RECORDS = 9000
TURNS = 5  # in a round
START_MS = 1_700_000_000_000
HEADERS = (("type", b"text"), ("source", b"web"))


def batch(
    *, mixed: bool, keys: bool = False, headers: bool = False, step_us: int = 1,
    codec: Compression = Compression.NONE,
) -> Batch:  # fmt: skip
    rng = random.Random(1)
    sizes = [rng.randrange(50, 150) if mixed else 100 for _ in range(RECORDS)]
    messages = [
        (
            rng.randbytes(size // 2).hex().encode(),
            b"key-%d" % rng.randrange(10**6) if keys else None,
            HEADERS if headers else (),
            START_MS + nth * step_us // 1000,
        )
        for nth, size in enumerate(sizes)
    ]
    return encode(messages, compression=codec)


def halved(batch: Batch) -> Batch:
    places = sorted(random.Random(2).sample(range(batch.record_count), batch.record_count // 2))
    return thinned(batch, keyed(batch).spans(places))


def compacted() -> dict[str, Batch]:
    """Batches of which compaction reads the keys."""
    uniform, mixed = batch(mixed=False, keys=True), batch(mixed=True, keys=True)
    return {
        "keys, mixed sizes": mixed,
        "keys, mixed sizes, half of them gone": halved(mixed),
        "keys, half of them gone": halved(uniform),
        "no keys, mixed sizes": batch(mixed=True),
    }


def cases() -> dict[str, Batch]:
    return {
        "one size": batch(mixed=False),
        "one size, headers": batch(mixed=False, headers=True),
        "one size, a ms apart": batch(mixed=False, step_us=1000),
        "mixed sizes": batch(mixed=True),
        "mixed sizes, keys": batch(mixed=True, keys=True),
        "mixed sizes, headers": batch(mixed=True, headers=True),
        "mixed sizes, a ms apart": batch(mixed=True, step_us=1000),
        "mixed sizes, lz4": batch(mixed=True, codec=Compression.LZ4),
        "mixed sizes, zstd": batch(mixed=True, codec=Compression.ZSTD),
    }


def measure(_: Path, rounds: int) -> list[Figure]:
    figures = [
        _beside_decoding(name, it, "look", lambda it=it: look(it, dense=True), rounds)
        for name, it in cases().items()
    ]
    figures += [
        _beside_decoding(name, it, "keys", lambda it=it: keyed(it), rounds)
        for name, it in compacted().items()
    ]
    return figures


def _beside_decoding(
    name: str, batch: Batch, way: str, act: Callable[[], object], rounds: int
) -> Figure:
    ways = {way: act, "decode": lambda: decode(batch, check=False)}
    records = batch.record_count
    taken = alternate(
        {way: lambda act=act: records / cpu_seconds(act) for way, act in ways.items()},
        TURNS * rounds,
        warm=1,
    )
    return ratio(name, "records/s", taken, ours=way, theirs="decode", bar=None)


if __name__ == "__main__":
    script(__doc__, measure)
