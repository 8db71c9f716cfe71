"""What does recompression save?

The JSON lines of all 336,776 flights of 2013, produced plain into one partition and sealed, then
recompressed (`compression.sealed=zstd`): bytes of the .log files, against the raw lines (bar 0.15)
and against `zstd -3` of them as one file (bar 1.3). Beside it 1,000,000 random records of 100 bytes
with 1,000 keys, of which only keys and framing can be saved. Sizes, not speeds: the same each time.
"""

from pathlib import Path

import zstandard

import logstore
from bench.cli_produce import year
from bench.harness import Figure, ratio, script, size
from bench.messages import pairs
from logstore import Message

SETTINGS = {
    "compression.sealed": "zstd", "segment.bytes": str(size(64 << 20, 256 << 10)),
    "flush.messages": str(2**63 - 1),
    "retention.ms": "-1",
}  # fmt: skip
AT_ONCE = 500


def sizes(data: Path, messages: list[Message]) -> tuple[int, int]:
    """Bytes of the log before and after."""
    with logstore.open(data) as store:
        topic = store.create_topic("t", partitions=1, settings=SETTINGS)
        for at in range(0, len(messages), AT_ONCE):
            topic.append_many(messages[at : at + AT_ONCE])
        topic.partition(0).roll()
        [done] = store.recompression()
        assert done.broke is None, done.broke
        return done.bytes_before, done.bytes_after


def measure(scratch: Path, rounds: int) -> list[Figure]:
    kept, path = year(scratch.parent)  # kept for the next run
    assert kept == "the year", "the source of the year cannot be had"
    raw = path.read_bytes()
    before, after = sizes(scratch / "year", [Message(line) for line in raw.splitlines()])
    whole = len(zstandard.ZstdCompressor(level=3).compress(raw))
    random = [Message(value, key) for key, value in pairs(size(1_000_000, 10_000))]
    random_before, random_after = sizes(scratch / "random", random)
    taken = {
        "recompressed": [after / 1e6], "raw lines": [len(raw) / 1e6], "zstd -3": [whole / 1e6],
        "as produced": [before / 1e6],
    }  # fmt: skip
    random_taken = {"recompressed": [random_after / 1e6], "as produced": [random_before / 1e6]}
    return [
        _size("the year, of raw JSON lines", taken, "raw lines", 0.15),
        _size("the year, of zstd -3 of one file", taken, "zstd -3", 1.3),
        _size("the year, of the log as produced", taken, "as produced", None),
        _size("100-byte records, random", random_taken, "as produced", None),
    ]


def _size(what: str, taken: dict[str, list[float]], theirs: str, bar: float | None) -> Figure:
    return ratio(what, "MB", taken, ours="recompressed", theirs=theirs, bar=bar, at_least=False)


if __name__ == "__main__":
    script(__doc__, measure)
