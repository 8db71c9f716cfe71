"""What does it cost to keep messages of one key in order?

A durable queue with `x-ordering-key` beside one without, in one server: persistent messages of 100
bytes are published, and 32 consumers with prefetch 100 share them, acknowledging every 50th,
multiple. "100,000 keys": the routing keys in turn (bar 0.7 of the messages a second without order).
"10 keys": most consumers have nothing to do, and most messages wait for others of their key; no
bar. The two take turns; the load is one C program (`bench/rabbit/load.c`). "processor": what a
message takes of the server.
"""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.harness import Figure, NotHere, alternate, ratio, script, size
from bench.rabbit.brokers import OURS, logstore
from bench.rabbit.load import FANOUT, Found, Load
from bench.server import Server

COUNT = size(200_000, 1_000)
SHARED = {"bytes": 100, "count": COUNT, "exchange": FANOUT, "window": 1000}
CONSUMERS = {"consumers": 32, "prefetch": 100, "ack_every": 50}
KEYS = {"100,000 keys": (size(100_000, 500), 0.7), "10 keys": (10, None)}
ORDERED, ANY = "in order", "in any order"
SIDES = {ORDERED: 1, ANY: 0}


def once(load: Load, server: Server, keys: int, ordered: int) -> Found:
    name = load.new_queue(server, exchange=FANOUT, ordered=ordered)
    load.run("publish", server, name, keys=keys, **SHARED)
    found = load.measured("share", server, name, **SHARED, **CONSUMERS)
    load.run("delete", server, name, exchange=FANOUT)
    return found


def asked(load: Load, server: Server, rounds: int) -> Iterator[Figure]:
    for what, (keys, bar) in KEYS.items():
        turns = {side: partial(once, load, server, keys, it) for side, it in SIDES.items()}
        taken = alternate(turns, rounds)
        for name, unit, of, limit in (
            ("messages", "messages/s", lambda it: it["messages"] / it["seconds"], bar),
            ("processor", "us", lambda it: 1e6 * it["server_cpu"] / it["messages"], None),
        ):
            values = {side: [of(it) for it in found] for side, found in taken.items()}
            yield ratio(
                f"{what}: {name}", unit, values, ours=ORDERED, theirs=ANY, bar=limit,
                at_least=name == "messages",
            )  # fmt: skip


def measure(scratch: Path, rounds: int) -> list[Figure]:
    if shutil.which("gcc") is None:
        raise NotHere("gcc is not there: the load is a C program")
    load = Load(scratch)
    server = logstore(scratch, OURS)
    server.start()
    try:
        server.wait_until_it_listens()
        return list(asked(load, server, rounds))
    finally:
        server.stop()


if __name__ == "__main__":
    script(__doc__, measure)
