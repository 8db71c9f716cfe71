"""How fast does a queue take and give messages, beside RabbitMQ?

One durable queue, persistent messages of 100 bytes and of 1 KiB. Published by one connection with
confirms, at most 1,000 unconfirmed, no consumer (bar 2.5, 1 KiB 2). Consumed by one with prefetch
500 that acknowledges every 50th, multiple, or each by itself (bars 1). Both at once (bar 3, 1 KiB
2). Ours is synced before each confirm, as RabbitMQ's quorum queues are: bars are about these; its
classic queues are shown beside. "transient": neither durable, persistent, confirmed nor
acknowledged, both at once, beside classic (bar 1.3). RabbitMQ 3.10 and ours run on this machine and
disk with their defaults and take turns; the load is one C program (`bench/rabbit/load.c`).
"processor": what a message takes of the server.
"""

from functools import partial
from pathlib import Path

from bench.harness import Figure, script, size
from bench.rabbit.brokers import both
from bench.rabbit.compare import CLASSIC, Side, sides, speed, take_turns
from bench.rabbit.load import Found, Load

# For each size: the number of messages, and the bars of publishing and of both at once.
SIZES = {
    "100 B": ({"bytes": 100, "count": size(100_000, 500)}, 2.5, 3.0),
    "1 KiB": ({"bytes": 1024, "count": size(50_000, 500)}, 2.0, 2.0),
}
CONSUMES = {"ack every 50": 50, "ack every 1": 1}
TRANSIENT = {
    "bytes": 100, "count": size(200_000, 500), "durable": 0, "persistent": 0, "window": 0,
    "ack_every": 0,
}  # fmt: skip


def fill_and_empty(load: Load, numbers: dict[str, int], side: Side) -> Found:
    """Fill and empty a queue; only the last fill counts, since the first waits for new disk
    space.
    """
    name = load.new_queue(side.server, quorum=side.quorum)
    found = {}
    for what, ack_every in CONSUMES.items():
        published = load.measured("publish", side.server, name, **numbers)
        consumed = load.measured("consume", side.server, name, ack_every=ack_every, **numbers)
        found |= {f"{what} {key}": value for key, value in consumed.items()}
    load.run("delete", side.server, name)
    return found | {f"publish {key}": value for key, value in published.items()}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as servers:
        load = Load(scratch)
        for what, (numbers, publish_bar, both_bar) in SIZES.items():
            taken = take_turns(sides(servers), rounds, partial(fill_and_empty, load, numbers))
            figures += speed(f"publish, {what}", taken, publish_bar, begins="publish ")
            for acked in CONSUMES:
                figures += speed(f"consume, {acked}, {what}", taken, 1.0, begins=f"{acked} ")

            def at_once(side: Side, numbers: dict[str, int] = numbers) -> Found:
                return load.on_new_queue("both", side.server, quorum=side.quorum, **numbers)

            figures += speed(
                f"both at once, {what}", take_turns(sides(servers), rounds, at_once), both_bar
            )
        plain = {name: it for name, it in sides(servers).items() if not it.quorum}
        taken = take_turns(
            plain, rounds, lambda side: load.on_new_queue("both", side.server, **TRANSIENT)
        )
        return figures + speed("transient, both at once", taken, 1.3, CLASSIC)


if __name__ == "__main__":
    script(__doc__, measure)
