"""What was measured, kept: bench/results.json for programs, bench/RESULTS.md for people.

A run of some questions replaces their figures and leaves the others. Notes written by hand
(bench/notes/<question>.md: why a bar was missed, what was tried) are printed with the figures.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.harness import Figure, figure_from, table

HERE = Path(__file__).parent
FACTS = HERE / "results.json"
PAGE = HERE / "RESULTS.md"
NOTES = HERE / "notes"
# Environment on which figures depend.
OTHERS = [
    "aiokafka", "kafka-python", "crc32c", "zstandard", "lmdb", "uvloop", "hiredis",
    "confluent-kafka",
]  # fmt: skip
PEERS = [["redis-server", "--version"], ["java", "--version"]]

HEAD = """\
# Results

Written by `python -m bench` (`make bench`); `bench/notes/` is where words are added by hand.

Each figure is the median of the rounds, lowest and highest in brackets. Sides take turns, and the
order turns every round. A ratio is taken within each round, logstore by the other side, so that a
slow minute of the machine slows both.
"""


def keep(measured: Mapping[str, list[Figure]], rounds: int, scratch: Path) -> None:
    """Replace these questions' figures in the JSON file."""
    facts = load()
    run = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "rounds": rounds,
        "machine": machine(scratch),
    }
    for name, figures in measured.items():
        facts[name] = {**run, "figures": [asdict(figure) for figure in figures]}
    FACTS.write_text(json.dumps(facts, indent=1) + "\n")


def load() -> dict[str, dict]:
    return json.loads(FACTS.read_text()) if FACTS.exists() else {}


def write_page(docs: Mapping[str, str]) -> None:
    """Everything measured so far, in the order of ``docs`` (question -> its docstring)."""
    facts = load()
    machines = sorted({json.dumps(run["machine"]) for run in facts.values()})
    parts = [HEAD, *(_machine(number, machines) for number in range(len(machines)))]
    parts += [
        _section(name, doc, facts[name], machines) for name, doc in docs.items() if name in facts
    ]
    PAGE.write_text("\n".join(parts))


def _machine(number: int, machines: Sequence[str]) -> str:
    """The machine's description, with a number for its questions if there are several machines."""
    lines = [f"- {what}: {value}" for what, value in json.loads(machines[number]).items()]
    return "\n".join([f"Machine {number + 1}\n" if len(machines) > 1 else "", *lines]) + "\n"


def _section(name: str, doc: str, run: dict, machines: Sequence[str]) -> str:
    title, _, rest = doc.strip().partition("\n")
    figures = [figure_from(figure) for figure in run["figures"]]
    note = NOTES / f"{name}.md"
    number = machines.index(json.dumps(run["machine"])) + 1
    where = f", machine {number}" if len(machines) > 1 else ""
    parts = [
        f"## {name}: {title}",
        rest.strip(),
        f"`python -m bench --only {name} --rounds {run['rounds']}`"
        f" - {run['date']}, commit {run['commit']}{where}",
        table(figures),
        note.read_text().strip() if note.exists() else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def commit() -> str:
    """The measured commit, marked if the code differs from it."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "logstore", "cli", "bench/*.py")
    return (head or "none") + (" with changes" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=HERE.parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def machine(scratch: Path) -> dict[str, str]:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in OTHERS]
    return {
        "machine": f"{_cpu()}, {os.cpu_count()} CPUs, {_memory_gib():.0f} GiB memory",
        "system": f"{platform.system()} {platform.release()}, {file_system(scratch)}",
        "Python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(versions),
        "beside": ", ".join(version for command in PEERS if (version := _version(command))),
    }


def _version(command: Sequence[str]) -> str:
    """The first line of a program's version output; empty if the program does not exist."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def file_system(path: Path) -> str:
    """The kind of file system that holds ``path``: the longest mount point above it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(at), kind) for _, at, kind, *_ in mounts if path.resolve().is_relative_to(at)]
    return max(above)[1] if above else "unknown file system"


if __name__ == "__main__":
    print(machine(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
