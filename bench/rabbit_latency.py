"""How soon is a message delivered and confirmed, beside RabbitMQ?

200 persistent messages of 100 bytes a second into one durable queue, confirmed, with one consumer
that acknowledges each: from when the publisher sent it to when the consumer has it (the middle one
and the 99th of 100, bars 0.5) and to when the publisher has its confirm (bar 0.7). Bars are about
RabbitMQ's quorum queues; its classic ones, which deliver before they sync, are shown beside. 2,000
messages a round, after 200 that do not count.
"""

from pathlib import Path

from bench.harness import Figure, script, size
from bench.rabbit.brokers import both
from bench.rabbit.compare import Side, late, sides, take_turns
from bench.rabbit.load import Found, Load

LOAD = {"count": size(1_000, 50), "warm": size(200, 5), "per_s": 200}
QUESTIONS = {
    "publish to deliver, p50": ("deliver_p50_us", 0.5),
    "publish to deliver, p99": ("deliver_p99_us", 0.5),
    "publish to confirm, p50": ("confirm_p50_us", 0.7),
    "publish to confirm, p99": ("confirm_p99_us", None),
}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    with both(scratch) as servers:
        load = Load(scratch)

        def run(side: Side) -> Found:
            return load.on_new_queue("latency", side.server, quorum=side.quorum, **LOAD)

        taken = take_turns(sides(servers), rounds, run)
    return [
        figure for what, (name, bar) in QUESTIONS.items() for figure in late(what, taken, name, bar)
    ]


if __name__ == "__main__":
    script(__doc__, measure)
