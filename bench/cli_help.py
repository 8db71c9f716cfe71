"""Does the command answer at once?

`logstore --help`, the whole process, from start to exit (bar 0.2 s). Beside it what Python alone
takes, which no command can go below.
"""

import sys
from pathlib import Path

from bench.harness import Figure, alternate, bound, script, size
from bench.process import logstore_command, run

RUNS = size(3, 1)  # a round is the mean of these: one start is too short to be steady


def measure(_: Path, rounds: int) -> list[Figure]:
    def mean_of(command: list[str]) -> float:
        return sum(run(command).seconds for _ in range(RUNS)) / RUNS

    taken = alternate(
        {
            "help": lambda: mean_of([logstore_command(), "--help"]),
            "python": lambda: mean_of([sys.executable, "-c", "pass"]),
        },
        rounds,
        warm=1,
    )
    return [
        bound("logstore --help", "s", taken["help"], bar=0.2),
        bound("python -c pass", "s", taken["python"], bar=None),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
