"""How fast are channels beside redis-server?

Published and delivered messages of 100 bytes through `logstore serve` and through a redis-server
that keeps nothing, on the same machine, by the same load (`bench/pubsub_load.c`, compiled here), in
turns. Bars: 100 subscribers 1, 10 subscribers 0.8, one 0.9, none 1, 100 at pipeline 16 0.7, 50
connections without pipeline 0.7, latency at most 1.2, 10,000 patterns 1. Also the processor time
that each server took for it, which other programs on the machine hardly change (with the coming and
going of the subscribers in it: of 10,000 that is most), and the most memory that it held meanwhile.
One that never reads listens to all channels, and would get 52 MB: it is cut off at 32. "the
floor": what a Python program reaches that only reads, parses by hiredis and sends
(`bench/floor_server.py`).
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import harness, process
from bench.server import Server, free_port

LOAD = Path(__file__).with_name("pubsub_load.c")
CLIENTS_MAX = "12000"  # of both; 10,000 subscribers are not all
FEW = 1  # subscribers; with more a floor without limits and queues is none
CROWD = 10_000  # subscribers: of fewer, memory says nothing

# Question, arguments of the load, messages per unit of work, bar.
FANS = [
    ("100 subscribers, pipeline 64", ["100", "64000", "64", "name", "1", "0", "100"], 1.0),
    ("10 subscribers, pipeline 64", ["10", "320000", "64", "name", "1", "0", "100"], 0.8),
    ("1 subscriber, pipeline 64", ["1", "640000", "64", "name", "1", "0", "100"], 0.9),
    ("no subscriber, pipeline 64", ["0", "640000", "64", "name", "1", "0", "100"], 1.0),
    ("100 subscribers, pipeline 16", ["100", "32000", "16", "name", "1", "0", "100"], 0.7),
    ("10,000 patterns, all match", ["10000", "256", "64", "pattern", "1", "0", "100"], 1.0),
    ("10,000 patterns, one matches", ["10000", "12800", "64", "one", "1", "0", "100"], 1.0),
    ("100 channels x 100 subscribers", ["10000", "3200", "64", "name", "100", "0", "100"], None),
    ("the same, 16 KiB", ["10000", "3200", "64", "name", "100", "0", "16384"], None),
    ("beside one that never reads", ["10000", "3200", "64", "name", "100", "1", "16384"], None),
]


def _logstore(data: Path, port: int) -> list[str]:
    serve = [process.logstore_command(), "serve", "--data", str(data)]
    return [*serve, "--kafka-port", "0", "--resp-port", str(port)]


Run = Callable[[Server, str, list[str]], list[float]]


@contextmanager
def both(scratch: Path) -> Iterator[dict[str, Server]]:
    """Both servers. Raises NotHere if one is not available."""
    for needed in ("gcc",) if harness.TINY else ("redis-server", "gcc"):
        if shutil.which(needed) is None:
            raise harness.NotHere(f"{needed} is not there: apt-get install {needed}")
    ours, theirs = free_port(), free_port()
    redis = ["redis-server", "--save", "", "--appendonly", "no", "--dir", str(scratch)]
    redis += ["--maxclients", CLIENTS_MAX, "--port", str(theirs)]
    limit = {"LOGSTORE_RESP_MAXCLIENTS": CLIENTS_MAX}
    servers = {
        "logstore": Server("logstore", scratch, ours, _logstore(scratch / "data", ours), limit),
        "redis": Server("redis", scratch, theirs, redis),
    }
    if harness.TINY:  # a stand-in does
        stand_in = _logstore(scratch / "stand-in", theirs)
        servers["redis"] = Server("redis", scratch, theirs, stand_in, limit)
    with ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
            server.wait_until_it_listens()
        yield servers


def measure(scratch: Path, rounds: int) -> list[harness.Figure]:
    with both(scratch) as servers:
        load = scratch / "pubsub_load"
        subprocess.run(["gcc", "-O2", "-o", load, LOAD], check=True)

        def run(server: Server, mode: str, words: list[str]) -> list[float]:
            command = [str(load), mode, str(server.port), *words]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return [float(text) for text in done.stdout.split()]

        figures = []
        with _floor(scratch) as floor:
            for what, words, bar in FANS:
                scaled = _tiny(words) if harness.TINY else words
                sides = servers | ({"floor": floor} if int(words[0]) <= FEW else {})
                figures += _fan(run, sides, rounds, what, scaled, bar)
        return figures + _alone(run, servers, rounds)


@contextmanager
def _floor(scratch: Path) -> Iterator[Server]:
    """A minimal server, which shows how much could be gained with few receivers."""
    port = free_port()
    floor = Server("floor", scratch, port, [sys.executable, "-m", "bench.floor_server", str(port)])
    floor.start()
    try:
        floor.wait_until_it_listens()
        yield floor
    finally:
        floor.stop()


def _tiny(words: list[str]) -> list[str]:
    subscribers, _, pipeline, kind, channels, *others = words
    few = str(min(int(subscribers), 10))
    return [few, str(4 * int(pipeline)), pipeline, kind, str(min(int(channels), 5)), *others]


def _fan(
    run: Run,
    servers: dict[str, Server],
    rounds: int,
    what: str,
    words: list[str],
    bar: float | None,
) -> list[harness.Figure]:
    spent: dict[str, list[float]] = {name: [] for name in servers}
    held: dict[str, list[float]] = {name: [] for name in servers}

    def fan(name: str) -> Callable[[], float]:
        def once() -> float:
            server = servers[name]
            server.forget_the_most()
            before = server.cpu_s()
            [rate] = run(server, "fan", words)
            spent[name].append((server.cpu_s() - before) / int(words[1]) * 1e6)
            held[name].append(server.resident_max_mb())
            return rate

        return once

    taken = harness.alternate({name: fan(name) for name in servers}, rounds)
    unit = "published/s" if words[0] == "0" else "delivered/s"
    return [
        _ratio(what, unit, taken, bar),
        _ratio(f"{what}: processor", "us/published", spent, None),
        *(_beside_the_floor(what, unit, taken, spent) if "floor" in servers else ()),
        *([_ratio(f"{what}: memory", "MB", held, None)] if int(words[0]) >= CROWD else []),
    ]


def _beside_the_floor(
    what: str, unit: str, taken: dict[str, list[float]], spent: dict[str, list[float]]
) -> Iterator[harness.Figure]:
    """Figures of the same rounds for the minimal server, under the same conditions."""
    yield harness.ratio(f"{what}: the floor", unit, taken, ours="floor", theirs="redis", bar=None)
    yield harness.ratio(
        f"{what}: the floor, processor", "us/published", spent, ours="floor", theirs="redis",
        bar=None,
    )  # fmt: skip


def _alone(run: Run, servers: dict[str, Server], rounds: int) -> list[harness.Figure]:
    """One message at a time, and many connections with one message each."""
    slowest: dict[str, list[float]] = {name: [] for name in servers}

    def one(name: str) -> Callable[[], float]:
        def once() -> float:
            median, late = run(servers[name], "latency", [harness.size("20000", "100")])
            slowest[name].append(late)
            return median

        return once

    medians = harness.alternate({name: one(name) for name in servers}, rounds)
    crowd = harness.alternate(
        {
            name: lambda name=name: run(
                servers[name], "crowd", [harness.size("50", "5"), harness.size("200000", "500")]
            )[0]
            for name in servers
        },
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
