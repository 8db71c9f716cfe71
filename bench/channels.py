"""How fast are channels beside redis-server?

Published and delivered messages of 100 bytes through `logstore serve` and through a redis-server
that keeps nothing, on the same machine, by the same load (`bench/pubsub_load.c`, compiled here), in
turns. Bars: 100 subscribers 1, 10 subscribers 0.8, one 0.9, none 1, 100 at pipeline 16 0.7, 50
connections without pipeline 0.7, latency at most 1.2, 10,000 patterns 1. Also the processor time
that each server took for it, which other programs on the machine hardly change.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench import harness, process

LOAD = Path(__file__).with_name("pubsub_load.c")
TICKS = os.sysconf("SC_CLK_TCK")
READY_S = 30
CLIENTS_MAX = "12000"  # of both; 10,000 subscribers are not all

# What, how the load is run, messages it counts per unit of work, the bar.
FANS = [
    ("100 subscribers, pipeline 64", ["100", "64000", "64", "name", "1", "0"], 1.0),
    ("10 subscribers, pipeline 64", ["10", "320000", "64", "name", "1", "0"], 0.8),
    ("1 subscriber, pipeline 64", ["1", "640000", "64", "name", "1", "0"], 0.9),
    ("no subscriber, pipeline 64", ["0", "640000", "64", "name", "1", "0"], 1.0),
    ("100 subscribers, pipeline 16", ["100", "32000", "16", "name", "1", "0"], 0.7),
    ("10,000 patterns, all match", ["10000", "256", "64", "pattern", "1", "0"], 1.0),
    ("10,000 patterns, one matches", ["10000", "12800", "64", "one", "1", "0"], 1.0),
    ("100 channels x 100 subscribers", ["10000", "3200", "64", "name", "100", "0"], None),
    ("the same beside one that never reads", ["10000", "3200", "64", "name", "100", "1"], None),
]


class Served:
    """A server in a process of its own."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        environment = {**os.environ, "LOGSTORE_RESP_MAXCLIENTS": CLIENTS_MAX}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        until = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{command[0]} did not start") from None

    def cpu_s(self) -> float:
        facts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(facts[11]) + int(facts[12])) / TICKS

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_both(scratch: Path) -> dict[str, Served]:
    for needed in ("redis-server", "gcc"):
        if shutil.which(needed) is None:
            raise SystemExit(f"{needed} is not there: apt-get install {needed}")
    ours, theirs = free_port(), free_port()
    logstore = [process.logstore_command(), "serve", "--data", str(scratch / "data")]
    redis = ["redis-server", "--save", "", "--appendonly", "no", "--dir", str(scratch)]
    redis += ["--maxclients", CLIENTS_MAX]
    return {
        "logstore": Served([*logstore, "--kafka-port", "0", "--resp-port", str(ours)], ours),
        "redis": Served([*redis, "--port", str(theirs)], theirs),
    }


def measure(scratch: Path, rounds: int) -> list[harness.Figure]:
    load = scratch / "pubsub_load"
    servers = start_both(scratch)
    subprocess.run(["gcc", "-O2", "-o", load, LOAD], check=True)

    def run(name: str, mode: str, words: list[str]) -> list[float]:
        command = [str(load), mode, str(servers[name].port), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [float(text) for text in done.stdout.split()]

    figures = []
    try:
        for what, words, bar in FANS:
            spent: dict[str, list[float]] = {name: [] for name in servers}

            def fan(name: str, words=words, spent=spent) -> Callable[[], float]:
                def once() -> float:
                    before = servers[name].cpu_s()
                    [rate] = run(name, "fan", words)
                    spent[name].append((servers[name].cpu_s() - before) / int(words[1]) * 1e6)
                    return rate

                return once

            taken = harness.alternate({name: fan(name) for name in servers}, rounds)
            unit = "published/s" if words[0] == "0" else "delivered/s"
            figures.append(_ratio(what, unit, taken, bar))
            figures.append(_ratio(f"{what}: processor", "us/published", spent, None))
        figures += _alone(run, servers, rounds)
    finally:
        for server in servers.values():
            server.stop()
    return figures


def _alone(
    run: Callable[[str, str, list[str]], list[float]], servers: dict[str, Served], rounds: int
) -> list[harness.Figure]:
    """One message at a time, and many connections with one each."""
    slowest: dict[str, list[float]] = {name: [] for name in servers}

    def one(name: str) -> Callable[[], float]:
        def once() -> float:
            median, late = run(name, "latency", ["20000"])
            slowest[name].append(late)
            return median

        return once

    medians = harness.alternate({name: one(name) for name in servers}, rounds)
    crowd = harness.alternate(
        {name: lambda name=name: run(name, "crowd", ["50", "200000"])[0] for name in servers},
        rounds,
    )
    return [
        _ratio("publish to receive, median", "us", medians, 1.2, at_least=False),
        _ratio("publish to receive, 99th percentile", "us", slowest, 1.2, at_least=False),
        _ratio("50 connections, no pipeline, no subscriber", "published/s", crowd, 0.7),
    ]


def _ratio(
    what: str, unit: str, taken: dict[str, list[float]], bar: float | None, **how: bool
) -> harness.Figure:
    return harness.ratio(what, unit, taken, ours="logstore", theirs="redis", bar=bar, **how)


if __name__ == "__main__":
    harness.script(__doc__, measure)
