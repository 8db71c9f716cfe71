"""Does a longer log cost more?

The same append (16 KiB batches, no sync) and the same read by offset (one batch at a random
offset) on logs of 1, 10 and 100 segments: flat within 10 % of the log of one segment. Every log is
read at as many different batches as the smallest holds, so that no log has the processor's cache
on its side.
"""

import random
from collections.abc import Callable
from pathlib import Path

import logstore
from bench.harness import Figure, alternate, ratio, script, seconds, settle, size
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.encode import encode

SEGMENTS = [1, 10, 100]
SEGMENT_BYTES = size(8 << 20, 512 << 10)
SETTINGS = {"segment.bytes": str(SEGMENT_BYTES), "flush.messages": str(2**63 - 1)}
RECORDS, VALUE_BYTES = 160, 90  # about 16 KiB a batch
TURNS = size(4, 1)  # in a round: many short ones see the same moments of the machine
READS = size(500, 5)  # in a turn
WITHIN = 1.10


def build(store: logstore.Store, segments: int, batch: Batch) -> Log:
    """Build a log of this many segments, the last of them half full."""
    topic = store.create_topic(f"log-{segments}", partitions=1, settings=SETTINGS)
    log = topic.partitions[0]
    room = SEGMENT_BYTES // batch.size
    for _ in range((segments - 1) * room + room // 2):
        log.append(batch)
    return log


def measure(scratch: Path, rounds: int) -> list[Figure]:
    rng = random.Random(1)
    batch = encode([(rng.randbytes(VALUE_BYTES), b"key", (), 0) for _ in range(RECORDS)])
    half = SEGMENT_BYTES // batch.size // 2
    turns = TURNS * rounds
    appends = half // (turns + 1) - 1  # in a turn: all of them stay within the last segment
    with logstore.open(scratch / "data") as store:
        logs = {segments: build(store, segments, batch) for segments in SEGMENTS}
        settle()
        offsets = {
            segments: rng.sample(range(0, log.end, RECORDS), half) for segments, log in logs.items()
        }

        def append(segments: int) -> float:
            log = logs[segments]
            return seconds(lambda: [log.append(batch) for _ in range(appends)]) / appends * 1e6

        def read(segments: int) -> float:
            log, chosen = logs[segments], rng.choices(offsets[segments], k=READS)
            return seconds(lambda: [log.read(offset, 1) for offset in chosen]) / READS * 1e6

        def taken(work: Callable[[int], float]) -> dict[str, list[float]]:
            sides = {name(segments): lambda n=segments: work(n) for segments in SEGMENTS}
            return alternate(sides, turns, warm=1)

        kinds = {"append": taken(append), "read by offset": taken(read)}
    return [
        ratio(
            f"{kind}, {name(segments)}",
            "us",
            found,
            ours=name(segments),
            theirs=name(1),
            bar=WITHIN,
            at_least=False,
        )
        for kind, found in kinds.items()
        for segments in SEGMENTS[1:]
    ]


def name(segments: int) -> str:
    return "1 segment" if segments == 1 else f"{segments} segments"


if __name__ == "__main__":
    script(__doc__, measure)
