"""How fast is `logstore produce`?

The JSON lines of all 336,776 flights of 2013 (`python -m segments.build --year --jsonl FILE`),
from a file on standard input into a new topic, as a whole process: start, every batch synced
before it counts, exit. Two ways: "by key" into three partitions with zstd, key and timestamp
taken from each line (`--key-field tailnum --timestamp-field time_hour`); "plain" lines into one.
Bars: 250,000 records/s; less than 120 MB of memory, and no more for the year three times over than
for the year (within 10 %). Where the source of the year cannot be had, the shipped January is
repeated to the same length.
"""

import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import logstore
from bench.harness import TINY, Figure, bound, ratio, script, settle, size
from bench.process import logstore_command, run

YEAR = size(336_776, 2_000)  # lines
TIMES = 3
# Options of `topic create` and of `produce`.
BY_KEY = (
    ("--partitions", "3", "--config", "compression.type=zstd"),
    ("--key-field", "tailnum", "--timestamp-field", "time_hour"),
)
PLAIN = ((), ())
SHIPPED = Path(__file__).parent.parent / "segments"


def year(cache: Path) -> tuple[str, Path]:
    """A year of flights as JSON lines, cached; made by a separate process, which may grow large."""
    if TINY:
        return "the year", repeated(cache / "flights-tiny.jsonl")
    path, part = cache / "flights-2013.jsonl", cache / "flights-2013.part"
    if not path.exists():
        command = [sys.executable, "-m", "segments.build", "--year", "--jsonl", str(part)]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            return "January, again and again", repeated(cache / "flights-repeated.jsonl")
        part.rename(path)
    return "the year", path


def january() -> list[bytes]:
    with logstore.open(SHIPPED, mode="read") as store, store.consumer("flights") as consumer:
        return [record.value + b"\n" for record in consumer]


def repeated(path: Path) -> Path:
    """The shipped month, repeated to the length of a year, if the source is not available."""
    with path.open("wb") as file:
        file.writelines(islice(cycle(january()), YEAR))
    return path


def measure(scratch: Path, rounds: int) -> list[Figure]:
    what, whole = year(scratch.parent)
    longer = scratch / "longer.jsonl"
    longer.write_bytes(whole.read_bytes() * TIMES)
    runs = {
        f"{what}, by key": (YEAR, whole, BY_KEY),
        f"{what}, plain": (YEAR, whole, PLAIN),
        f"{what} x {TIMES}, by key": (TIMES * YEAR, longer, BY_KEY),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    memory: dict[str, list[float]] = {name: [] for name in runs}
    data, command = scratch / "data", logstore_command()
    for _ in range(rounds):
        for name, (records, path, (topic, line)) in runs.items():
            run([command, "topic", "create", "flights", *topic, "--data", str(data)])
            ran = run([command, "produce", "flights", *line, "--data", str(data)], path)
            rates[name].append(records / ran.seconds)
            memory[name].append(ran.resident_mb)
            settle(data)
    by_key, plain, long = runs
    return [
        bound(by_key, "records/s", rates[by_key], bar=250_000, at_least=True),
        bound(plain, "records/s", rates[plain], bar=250_000, at_least=True),
        bound(long, "records/s", rates[long], bar=None, at_least=True),
        bound(f"memory, {by_key}", "MB", memory[by_key], bar=120),
        ratio("memory, flat", "MB", memory, ours=long, theirs=by_key, bar=1.1, at_least=False),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
