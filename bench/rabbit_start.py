"""How soon does a server take its first message, and what memory does it hold, beside RabbitMQ?

A data directory with one durable queue, whose server was stopped: from the start of the process to
the first persistent message that it has confirmed to a client that looks for it every ms (bar
0.25). Then what it holds in memory (VmRSS) after two seconds of doing nothing (bar 0.6).
"""

import time
from pathlib import Path

from bench.harness import Figure, ratio, script, size
from bench.rabbit.brokers import OURS, THEIRS, both
from bench.rabbit.compare import each, take_turns
from bench.rabbit.load import Found, Load
from bench.server import Server

IDLE_S = size(2.0, 0.0)
QUEUE = "starts"
QUESTIONS = {
    "start to the first confirm": ("first_s", "s", 0.25),
    "memory, idle": ("idle_mb", "MB", 0.6),
}


def start(load: Load, server: Server) -> Found:
    """Start the server, measure, and leave it stopped."""
    waiting = load.start("first", server, QUEUE)
    load.wait_until_it_looks(waiting)
    begun = time.monotonic()
    server.start()
    first = load.result(waiting)["at"] - begun
    time.sleep(IDLE_S)
    idle = server.resident_mb()
    server.stop()
    return {"first_s": first, "idle_mb": idle}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    load = Load(scratch)
    with both(scratch) as servers:
        for server in servers.values():
            load.run("declare", server, QUEUE)
            server.stop()
        taken = take_turns(servers, rounds, lambda server: start(load, server))
    return [
        ratio(
            what, unit, each(taken, lambda it, name=name: it[name]), ours=OURS, theirs=THEIRS,
            bar=bar, at_least=False,
        )
        for what, (name, unit, bar) in QUESTIONS.items()
    ]  # fmt: skip


if __name__ == "__main__":
    script(__doc__, measure)
