"""How fast does a topic feed an exchange?

Records of 100 bytes with a key and one header, in a topic of one partition, and a server that has
the directory: a topic route has them published to a topic exchange to which 10 durable
queues are bound, each of which gets all; timed from the request until all has arrived and is synced
(bar 100,000 records/s). Beside it, as figures without a bar: with
routing keys that a template makes of key and header, and with an exchange that leads to another
topic in place of the queues.
"""

import os
import time
from pathlib import Path

import logstore as library
from bench.harness import Figure, bound, script, settle, size
from bench.rabbit.brokers import logstore
from logstore import Message
from logstore.server_socket import ServerSocket

RECORDS = size(500_000, 2_000)
AT_ONCE = 10_000
QUEUES = 10
BODY = bytes(100)
LOOK_S = 0.01
BAR = 100_000
TEMPLATE = "{header:carrier}.{key}"


def fill(data: Path) -> None:
    """Create the topic and its targets."""
    with library.open(data) as store:
        topic = store.create_topic("flights")
        store.create_topic("copy")
        for begin in range(0, RECORDS, AT_ONCE):
            topic.append_many(
                Message(BODY, b"k%d" % (n % 1000), (("carrier", b"LH"),))
                for n in range(begin, min(begin + AT_ONCE, RECORDS))
            )


def targets(data: Path, number: int) -> None:
    """Create exchanges that have received nothing yet."""
    with library.open(data) as store:
        for word in ("plain", "template"):
            exchange = store.exchange(f"{word}-{number}", type="topic")
            for n in range(QUEUES):
                queue = store.queue(f"{word}-{number}-{n}", retention_ms=0)
                queue.bind(exchange, "#")
        store.exchange(f"topic-{number}", type="fanout").lead("topic:copy")


def fed(ask: ServerSocket, exchange: str, key: str) -> float:
    """Records per second."""
    begun = time.perf_counter()
    ask.ask("POST", ("topics", "flights", "routes"), {}, {"exchange": exchange, "key": key})
    while True:
        [row] = ask.rows("topics", "flights", "routes")
        assert row["waits"] is None, row
        if row["lag"] == 0 and row["sent"] == RECORDS:
            break
        time.sleep(LOOK_S)
    took = time.perf_counter() - begun
    assert row["unrouted"] == 0
    ask.delete("topics", "flights", "routes", value={"exchange": exchange})
    return RECORDS / took


def measure(scratch: Path, rounds: int) -> list[Figure]:
    data = scratch / "logstore"
    fill(data)
    rates: dict[str, list[float]] = {"plain": [], "template": [], "topic": []}
    for number in range(rounds):
        targets(data, number)
        os.sync()
        server = logstore(scratch, "logstore", {})
        server.start()
        server.wait_until_it_listens()
        try:
            ask = ServerSocket(str(data))
            for what, found in rates.items():
                key = TEMPLATE if what == "template" else "{key}"
                found.append(fed(ask, f"{what}-{number}", key))
        finally:
            server.stop()
        with library.open(data) as store:
            for name in store.queues():
                store.queue(name).delete()
    settle(data)
    return [
        bound(f"into an exchange with {QUEUES} queues", "records/s", rates["plain"], bar=BAR,
              at_least=True),
        bound(f"the same, with keys by {TEMPLATE}", "records/s", rates["template"], bar=None),
        bound("into another topic", "records/s", rates["topic"], bar=None),
    ]  # fmt: skip


if __name__ == "__main__":
    script(__doc__, measure)
