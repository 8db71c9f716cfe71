"""How many records a second are durable, 1,000 at a time?

One producer; every batch of 1,000 records of 100 bytes with keys is acknowledged after its sync.
Against SQLite in WAL mode with synchronous=FULL, executemany in one transaction per 1,000
(bar 5). 100 batches a round, to a new store and a new database. What the disk alone allows is
shown: a plain write of as many bytes and a sync, 100 times.
"""

from pathlib import Path

import logstore
from bench import sqlite
from bench.harness import Figure, alternate, ratio, script, seconds, settle, synced_writes
from bench.messages import pairs
from logstore import Message

RECORDS = 1000
BATCHES = 100


def measure(scratch: Path, rounds: int) -> list[Figure]:
    rows = pairs(RECORDS)
    messages = [Message(value, key) for key, value in rows]  # each side's input is ready

    def ours() -> float:
        def produce() -> None:
            for _ in range(BATCHES):
                topic.append_many(messages)

        with logstore.open(scratch / "data") as store:
            topic = store.create_topic("orders", partitions=1)
            took = seconds(produce)
        settle(scratch / "data")
        return BATCHES * RECORDS / took

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

    sides = {"logstore": ours, "SQLite": sqlite_rows, "write and sync": plain}
    taken = alternate(sides, rounds, warm=1)
    return [
        ratio(what, "records/s", taken, ours="logstore", theirs=theirs, bar=bar)
        for what, theirs, bar in (
            ("durable, batches of 1,000", "SQLite", 5),
            ("the disk alone", "write and sync", None),
        )
    ]


if __name__ == "__main__":
    script(__doc__, measure)
