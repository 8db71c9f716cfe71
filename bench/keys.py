"""How fast are keys beside redis-server, and how much memory do they take?

SET and GET of 100 bytes under keys of 20, 50 connections, by the same load (`bench/keys_load.c`,
compiled here), in turns. With each change synced before it is answered (Redis: appendfsync always)
bar 2, without pipeline and with one of 16; synced within a second on both sides 0.7; GET 0.7.
Then a million keys: what the server grows by for each (bar 1.4 of Redis), and how long after its
start a GET is answered (bar 2.5 s).
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import harness, process
from bench.server import Server, free_port

LOAD = Path(__file__).with_name("keys_load.c")
KEYS = harness.size("100000", "500")
MANY = harness.size(1_000_000, 2000)
VALUE = "100"
START_S = 2.5
ALIVE_S = 60
# Question, words of the load, Redis's policy, bar.
QUESTIONS = [
    ("SET, synced", ["set", "50", "60000", "1"], "always", 2.0),
    ("SET, synced, pipeline 16", ["set", "50", "400000", "16"], "always", 2.0),
    ("SET, everysec", ["set", "50", "100000", "1"], "everysec", 0.7),
    ("SET, everysec, pipeline 16", ["set", "50", "800000", "16"], "everysec", 0.7),
    ("GET", ["get", "50", "100000", "1"], "everysec", 0.7),
    ("GET, pipeline 16", ["get", "50", "800000", "16"], "everysec", 0.7),
]


def _logstore(data: Path, port: int) -> list[str]:
    serve = [process.logstore_command(), "serve", "--data", str(data), "--resp-port", str(port)]
    return [*serve, *(word for door in ("kafka", "amqp", "http", "mqtt", "stomp")
                      for word in (f"--{door}-port", "-1"))]  # fmt: skip


@contextmanager
def both(scratch: Path) -> Iterator[dict[str, Server]]:
    """Both servers. Raises NotHere if one is not available."""
    for needed in ("gcc",) if harness.TINY else ("redis-server", "gcc"):
        if shutil.which(needed) is None:
            raise harness.NotHere(f"{needed} is not there: apt-get install {needed}")
    ours, theirs = free_port(), free_port()
    folder = scratch / "redis-data"
    folder.mkdir()
    redis = ["redis-server", "--save", "", "--appendonly", "yes", "--dir", str(folder)]
    redis += ["--auto-aof-rewrite-percentage", "0", "--port", str(theirs)]
    servers = {
        "logstore": Server("logstore", scratch, ours, _logstore(scratch / "data", ours)),
        "redis": Server("redis", scratch, theirs, redis),
    }
    if harness.TINY:  # a stand-in does
        servers["redis"] = Server("redis", scratch, theirs, _logstore(scratch / "stand-in", theirs))
    with ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
            server.wait_until_it_listens()
        yield servers


def ask(port: int, *words: str) -> bytes:
    """The first part of a server's reply."""
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(it), it.encode()) for it in words)
    with socket.create_connection(("127.0.0.1", port), ALIVE_S) as side:
        side.sendall(b"*%d\r\n" % len(words) + parts)
        return side.recv(1 << 16)


def measure(scratch: Path, rounds: int) -> list[harness.Figure]:
    load = scratch / "keys_load"
    subprocess.run(["gcc", "-O2", "-o", load, LOAD], check=True)
    figures = []
    with both(scratch) as servers:
        for what, words, policy, bar in QUESTIONS:
            for server in servers.values():
                assert ask(server.port, "CONFIG", "SET", "appendfsync", policy) == b"+OK\r\n"
            figures += _rates(load, servers, rounds, what, words, bar)
    figures.append(_memory(scratch / "memory", load))
    figures.append(_start(scratch / "start", load, rounds))
    return figures


def _rates(
    load: Path, servers: dict[str, Server], rounds: int, what: str, words: list[str], bar: float
) -> Iterator[harness.Figure]:
    kind, connections, requests, pipeline = words
    many = harness.size(requests, "800")
    spent: dict[str, list[float]] = {name: [] for name in servers}

    def run(name: str) -> Callable[[], float]:
        def once() -> float:
            server = servers[name]
            before = server.cpu_s()
            rest = [connections, many, pipeline, VALUE, KEYS]
            rate = _run(load, server.port, kind, *rest)
            spent[name].append((server.cpu_s() - before) / int(many) * 1e6)
            return rate

        return once

    taken = harness.alternate({name: run(name) for name in servers}, rounds)
    yield harness.ratio(what, "requests/s", taken, ours="logstore", theirs="redis", bar=bar)
    yield harness.ratio(
        f"{what}: processor", "us/request", spent, ours="logstore", theirs="redis", bar=None,
        at_least=False,
    )  # fmt: skip


def _run(load: Path, port: int, *words: str) -> float:
    command = [str(load), str(port), *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _memory(scratch: Path, load: Path) -> harness.Figure:
    """The memory of a million keys, above that of a server after its first request."""
    scratch.mkdir()
    taken: dict[str, list[float]] = {}
    with both(scratch) as servers:
        for name, server in servers.items():
            assert ask(server.port, "CONFIG", "SET", "appendfsync", "everysec") == b"+OK\r\n"
            before = server.own_mb()
            _run(load, server.port, "fill", str(MANY), VALUE)
            taken[name] = [(server.own_mb() - before) * 1e6 / MANY]
    return harness.ratio(
        f"memory of {MANY:,} keys", "bytes/key", taken, ours="logstore", theirs="redis", bar=1.4,
        at_least=False,
    )  # fmt: skip


def _start(scratch: Path, load: Path, rounds: int) -> harness.Figure:
    """The time from the process's start to the reply to a GET, with a million keys, some
    set twice.
    """
    scratch.mkdir()
    port = free_port()
    server = Server("logstore", scratch, port, _logstore(scratch / "data", port))
    server.start()
    server.wait_until_it_listens()
    _run(load, port, "fill", str(MANY), VALUE)
    _run(load, port, "set", "4", str(MANY // 5), "100", VALUE, str(MANY))
    server.stop()
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        server.start()
        server.wait_until_it_listens()
        while ask(port, "GET", f"key:{MANY // 2:016}").startswith(b"-LOADING"):
            time.sleep(0.005)
        took.append(time.perf_counter() - begun)
        server.stop()
    return harness.bound(f"start with {MANY:,} keys", "s", took, bar=START_S)


if __name__ == "__main__":
    harness.script(__doc__, measure)
