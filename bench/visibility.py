"""How soon does a reader in another process see what was synced?

A consumer that follows, in a process of its own, beside a producer that appends one record every
few ms: from the moment when `append` has returned, its record synced, to the moment when the
consumer hands it out, by the clock that all processes share (CLOCK_MONOTONIC). A reader looks every
`reader.poll.ms` (10 ms by default). Bar: 50 ms, for all but one in a hundred.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import logstore
from bench.harness import Figure, bound, script, settle, size

APPENDS = size(200, 5)
PAUSE_S = 0.007  # not a divisor of the reader's rhythm


def follow(data: str) -> None:
    """Report when each record arrived; run in a process of its own."""
    with (
        logstore.open(data, "read") as store,
        store.consumer("orders", follow=True, start="latest") as consumer,
    ):
        print("ready", flush=True)
        for count, _ in enumerate(consumer, 1):
            print(time.monotonic(), flush=True)
            if count == APPENDS:
                return


def delays_ms(data: Path) -> list[float]:
    with logstore.open(data) as store:
        topic = store.create_topic("orders", partitions=1)
        child = [
            sys.executable,
            "-c",
            f"from bench.visibility import follow; follow({str(data)!r})",
        ]
        with subprocess.Popen(child, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            synced = []
            for n in range(APPENDS):
                topic.append(b"%d" % n)
                synced.append(time.monotonic())
                time.sleep(PAUSE_S)
            seen = [float(line) for line in reader.stdout]
    settle(data)
    return [(there - here) * 1000 for here, there in zip(synced, seen, strict=True)]


def measure(scratch: Path, rounds: int) -> list[Figure]:
    found = [sorted(delays_ms(scratch / "data")) for _ in range(rounds)]
    late = APPENDS * 99 // 100 - 1
    return [
        bound("99 of 100 within", "ms", [one[late] for one in found], bar=50),
        bound("median", "ms", [statistics.median(one) for one in found], bar=None),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
