"""How many records a second are durable, 1,000 at a time?

One producer; every batch of 1,000 records of 100 bytes with keys is acknowledged after its sync.
Two ways: "one in flight" waits for each (`append_many`); "in flight" makes the next batch while
the one before is synced, and its acknowledgement follows (`Producer`, as Kafka's clients do).
Against SQLite in WAL mode with synchronous=FULL, executemany in one transaction per 1,000
(bar 5). 100 batches a round, to a new store and a new database. What the disk alone allows is
shown: a plain write of as many bytes and a sync, 100 times.
"""

from collections.abc import Callable
from pathlib import Path

import logstore
from bench import sqlite
from bench.harness import Figure, alternate, ratio, script, seconds, settle, size, synced_writes
from bench.messages import KEY_BYTES, VALUE_BYTES, pairs
from logstore import Message
from logstore.broker.rules import RECORD_BYTES_EXTRA

RECORDS = 1000
BATCHES = size(100, 3)
BATCH_BYTES = RECORDS * (KEY_BYTES + VALUE_BYTES + RECORD_BYTES_EXTRA)  # as a producer counts them


def measure(scratch: Path, rounds: int) -> list[Figure]:
    rows = pairs(RECORDS)
    messages = [Message(value, key) for key, value in rows]  # each side's input is ready

    def rate(produce: Callable[[logstore.Store], None]) -> float:
        with logstore.open(scratch / "data") as store:
            topic = store.create_topic("orders", partitions=1)
            took = seconds(lambda: produce(store))
            assert topic.partition(0).safe == BATCHES * RECORDS
        settle(scratch / "data")
        return BATCHES * RECORDS / took

    def one_in_flight(store: logstore.Store) -> None:
        topic = store.topic("orders")
        for _ in range(BATCHES):
            topic.append_many(messages)

    def in_flight(store: logstore.Store) -> None:
        with store.producer("orders", batch_bytes=BATCH_BYTES) as producer:
            for _ in range(BATCHES):
                producer.send_many(messages)

    def sqlite_rows() -> float:
        def insert() -> None:
            for _ in range(BATCHES):
                sqlite.insert_many(connection, rows)

        path = scratch / "records.db"
        connection = sqlite.connect(path)
        took = seconds(insert)
        connection.close()
        settle(*sqlite.files(path))
        return BATCHES * RECORDS / took

    data = bytes(sum(len(key) + len(value) for key, value in rows))

    def plain() -> float:
        took = synced_writes(scratch / "plain", data, BATCHES)
        settle(scratch / "plain")
        return BATCHES * RECORDS / took

    sides = {
        "in flight": lambda: rate(in_flight),
        "one in flight": lambda: rate(one_in_flight),
        "SQLite": sqlite_rows,
        "write and sync": plain,
    }
    taken = alternate(sides, rounds, warm=1)
    return [
        ratio(what, "records/s", taken, ours=ours, theirs=theirs, bar=bar)
        for what, ours, theirs, bar in (
            ("batches of 1,000, in flight", "in flight", "SQLite", 5),
            ("batches of 1,000, one in flight", "one in flight", "SQLite", 5),
            ("the disk alone", "one in flight", "write and sync", None),
        )
    ]


if __name__ == "__main__":
    script(__doc__, measure)
