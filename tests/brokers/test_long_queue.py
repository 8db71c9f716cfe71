"""A queue of a million messages goes to another node: what is settled of it, and how soon."""

import random
import secrets
import time

import pika
from cluster_seen import journal, settled
from swift_consumer import SwiftClient
from waiting import until

from logstore.cluster_queues import queue_of
from logstore.node.roaming import JOURNAL

COUNT = 1_000_000
UNSETTLED = 100_000


def test_a_million_messages_are_taken_over_with_what_is_settled(trio, connect, admin, figure):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    client, name = connect(direct=True), f"long-{secrets.token_hex(4)}"
    before = {*admin.list_topics().topics}
    host, port = trio["a"].amqp
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        channel = connection.channel()
        channel.queue_declare(name, durable=True)
    filling = SwiftClient(trio["a"].amqp, name)
    began = time.monotonic()
    filling.fill(range(COUNT))
    queue = []

    def topic():
        queue[:] = [queue_of(it) for it in {*admin.list_topics().topics} - before if queue_of(it)]
        return queue

    until(topic)
    partition = queue[0] % JOURNAL.partitions
    [owner] = [
        it for it in trio.nodes
        if trio.node_id(it) == journal(client).claims[partition].word.node
    ]  # fmt: skip
    other = next(it for it in trio.nodes if it != owner)
    unsettled = set(random.Random(seed).sample(range(COUNT), UNSETTLED))
    one = SwiftClient(trio[owner].amqp, name)
    one.consume()
    seen = 0
    while seen < COUNT:
        some = one.deliveries()
        seen += len(some)
        one.ack([tag for tag, _, number in some if number not in unsettled])
    figure("a million", f"published, given out, settled in {time.monotonic() - began:.0f} s")
    until(lambda: settled(client, queue[0]) == COUNT - UNSETTLED, lambda: time.sleep(0.2))
    two = SwiftClient(trio[other].amqp, name)
    trio.kill(owner)
    two.consume()
    left, first = [], None
    while len(left) < UNSETTLED:
        left += two.deliveries()
        first = first or time.time()
    claimed = journal(client).claims[partition].word
    figure("taken over", f"{first - claimed.since_ms / 1000:.2f} s after it was claimed")
    assert {number for _, _, number in left} == unsettled
    assert len(left) == UNSETTLED
    assert all(redelivered for _, redelivered, _ in left)
