"""How fast is a queue's past replayed?

One million settled messages of 100 bytes, with a content type and one header, in one durable queue:
`logstore queue replay` takes them all into a new topic, as a whole process that starts, reads, maps
each to a record, has all synced and ends (bar 300,000 messages/s). Beside it, as figures without a
bar: the same through a server that has the directory open, and into a fanout exchange with one
durable queue, on the directory and through the server.
"""

import os
import subprocess
import time
from pathlib import Path

import logstore as library
from bench.harness import Figure, bound, script, settle, size
from bench.process import logstore_command
from bench.rabbit.brokers import logstore
from logstore.broker.queues.given import message_of
from logstore.broker.queues.handles import publish

SETTLED = size(1_000_000, 2_000)
AT_ONCE = 1000
BODY = bytes(100)
PLACES = {"a topic": "topic:again-{}", "an exchange": "exchange:again"}
BARS = {"a topic": 300_000}


def fill(data: Path) -> None:
    """Make a queue whose messages are all settled, and an exchange bound to another queue."""
    with library.open(data) as store:
        queue = store.queue("past", retention_bytes=-1)
        store.queue("copy", retention_ms=0).bind(store.exchange("again", "fanout"))
        message = message_of(
            b"", BODY, queue.name, {"country": "ch"}, {"content_type": "text/plain"}
        )
        desk = store.internals().queues().within("/")
        for _ in range(SETTLED // AT_ONCE):
            publish(desk, [message] * AT_ONCE)
        left = SETTLED
        with queue.consume(5 * AT_ONCE) as consumer:
            while left:
                got = consumer.get_many(5 * AT_ONCE, 10)
                consumer.ack(got)
                left -= len(got)


def replayed(data: Path, into: str) -> float:
    """Messages per second."""
    command = [logstore_command(), "queue", "replay", "past", "--into", into, "--data", str(data)]
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took = time.perf_counter() - begun
    assert f"replayed {SETTLED:,} messages" in done.stderr, done.stderr
    return SETTLED / took


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "logstore"
    fill(data)
    os.sync()
    rates: dict[str, list[float]] = {}
    for served in (False, True):
        server = logstore(scratch, "logstore", {}) if served else None
        if server is not None:
            server.start()
            server.wait_until_it_listens()
        try:
            for what, into in PLACES.items():
                how = f"into {what}" + (", through a server" if served else "")
                rates[how] = [
                    replayed(data, into.format(f"{served}-{number}")) for number in range(rounds)
                ]
        finally:
            if server is not None:
                server.stop()
    settle(data)
    return [
        bound(how, "messages/s", found, bar=BARS.get(how.removeprefix("into ")), at_least=True)
        for how, found in rates.items()
    ]


if __name__ == "__main__":
    script(__doc__, measure)
