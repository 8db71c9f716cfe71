"""How fast are messages routed to several queues, beside RabbitMQ?

Persistent messages of 100 bytes with confirms, at most 1,000 unconfirmed. "fanout": an exchange
with 10 durable queues (bar 2). "topic": one with 10,000 bindings of three forms to 10 durable
queues, of which 10 match each of the 1,000 keys that are published in turn (bar 1). "100 queues":
each with a publisher and a consumer, on 200 connections (bar 2). Bars are about RabbitMQ's quorum
queues, which sync before they confirm, as ours do; its classic ones are shown beside. A message
counts once, to however many queues it goes.
"""

from pathlib import Path

from bench.harness import Figure, script, size
from bench.rabbit.brokers import both
from bench.rabbit.compare import Side, sides, speed, take_turns
from bench.rabbit.load import FANOUT, TOPIC, Found, Load

QUEUES = 10
FAN = {"queues": QUEUES, "exchange": FANOUT, "count": size(10_000, 200)}
TOPICS = {
    "queues": QUEUES, "exchange": TOPIC, "bindings": size(10_000, 100), "count": size(10_000, 200)
}  # fmt: skip
MANY = {"queues": size(100, 5), "count": size(1_200, 50)}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    with both(scratch) as servers:
        load = Load(scratch)

        def fan(side: Side) -> Found:
            return load.on_new_queue("publish", side.server, quorum=side.quorum, **FAN)

        figures += speed("fanout to 10 queues", take_turns(sides(servers), rounds, fan), 2.0)
        bound = {  # once: RabbitMQ takes a millisecond a binding
            side: load.new_queue(side.server, quorum=side.quorum, **TOPICS)
            for side in sides(servers).values()
        }

        def topic(side: Side) -> Found:
            return load.measured("publish", side.server, bound[side], **TOPICS)

        figures += speed("topic, 10,000 bindings", take_turns(sides(servers), rounds, topic), 1.0)

        def many(side: Side) -> Found:
            return load.on_new_queue("both", side.server, quorum=side.quorum, **MANY)

        return figures + speed("100 queues", take_turns(sides(servers), rounds, many), 2.0)


if __name__ == "__main__":
    script(__doc__, measure)
