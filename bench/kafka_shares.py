"""How fast do members of a share group get records, and accept each, beside Kafka?

A topic of one partition with records of 100 bytes, and a share group that reads it from the first
one on: one member, and eight (librdkafka's ShareConsumer, a thread each of one process). Each
record is acknowledged by itself, and what a poll gave is committed before the next one: MB of
values a second, from the first record to when the last is committed (bars 1). With logstore what
is accepted is synced before that is answered; Kafka syncs nothing, as is its default. Both brokers
run on this machine with their defaults and take turns; what they use of the processor is shown.
"""

import json
import subprocess
import sys
from pathlib import Path

from bench.harness import Figure, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import Found, speed, take_turns
from bench.kafka.load import UNSYNCED, Load
from bench.server import Server

BYTES = 100
COUNT = size(100_000, 300)
MEMBERS = {"1 member": 1, "8 members of one partition": 8}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as brokers:
        load = Load(scratch)
        topics = {}
        for broker in brokers:
            topics[broker] = topic = load.new_topic(broker, 1, UNSYNCED)
            load.run("produce", broker, topic, bytes=BYTES, count=COUNT, linger_ms=5)
        groups = 0
        for what, members in MEMBERS.items():

            def run(broker: Server, members=members) -> Found:
                nonlocal groups
                groups += 1
                return shared(broker, topics[broker], f"bench-{groups}", members)

            figures += speed(what, take_turns(brokers, rounds, run))
    return figures


def shared(broker: Server, topic: str, group: str, members: int) -> Found:
    """Run a new group, with ``server_cpu``: the broker's processor time."""
    before = broker.cpu_s()
    words = [broker.address, topic, group, members, COUNT, BYTES]
    done = subprocess.run(
        [sys.executable, "-m", "bench.kafka.share_child", *map(str, words)],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: Found = json.loads(done.stdout)
    found["server_cpu"] = broker.cpu_s() - before
    return found


if __name__ == "__main__":
    script(__doc__, measure)
