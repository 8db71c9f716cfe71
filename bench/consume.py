"""How fast is a topic read from its start?

1,000,000 records of 100 bytes with keys, through a consumer, record by record, against SQLite
`SELECT id, key, value FROM records ORDER BY id` (rowid order) over the same records (bar 1). Both
read from the page cache; the loop adds up the lengths of key and value on both sides. Keys have
12 bytes; what keys of 8 to 12 bytes change is shown.
"""

from collections.abc import Iterable
from pathlib import Path

import logstore
from bench import sqlite
from bench.harness import Figure, alternate, ratio, script, seconds, settle, size
from bench.messages import pairs
from logstore import Message

RECORDS = size(1_000_000, 5_000)
AT_ONCE = 1000  # records in a batch, and rows in a transaction
NO_SYNC = {"flush.messages": str(2**63 - 1)}
SELECT = "SELECT id, key, value FROM records ORDER BY id"


def fill(topic: "logstore.Topic", connection: sqlite.sqlite3.Connection, *, mixed: bool) -> int:
    """Write the same records to both; returns the bytes of their keys and values."""
    total = 0
    for number in range(RECORDS // AT_ONCE):
        rows = pairs(AT_ONCE, seed=number, mixed=mixed)
        topic.append_many([Message(value, key) for key, value in rows])
        sqlite.insert_many(connection, rows)
        total += sum(len(key) + len(value) for key, value in rows)
    return total


def length_of_rows(rows: Iterable[tuple]) -> int:
    total = 0
    for _, key, value in rows:
        total += len(key) + len(value)
    return total


def length_of_records(records: Iterable) -> int:
    total = 0
    for record in records:
        total += len(record.key) + len(record.value)
    return total


def rates(scratch: Path, rounds: int, *, mixed: bool) -> dict[str, list[float]]:
    connection = sqlite.connect(scratch / f"{mixed}.db")
    connection.execute("PRAGMA synchronous=OFF")  # for filling only; nothing is written later
    with logstore.open(scratch / f"{mixed}") as store:
        topic = store.create_topic("orders", partitions=1, settings=NO_SYNC)
        wanted = fill(topic, connection, mixed=mixed)
        settle()  # nothing is left to be written back while reading is timed

        def ours() -> float:
            def read() -> None:
                with store.consumer("orders") as consumer:
                    assert length_of_records(consumer) == wanted

            return RECORDS / seconds(read)

        def theirs() -> float:
            def read() -> None:
                assert length_of_rows(connection.execute(SELECT)) == wanted

            return RECORDS / seconds(read)

        taken = alternate({"logstore": ours, "SQLite": theirs}, rounds, warm=1)
    connection.close()
    return taken


def measure(scratch: Path, rounds: int) -> list[Figure]:
    return [
        ratio(
            what,
            "records/s",
            rates(scratch, rounds, mixed=mixed),
            ours="logstore",
            theirs="SQLite",
            bar=bar,
        )
        for what, mixed, bar in (("consume 1M x 100 B", False, 1), ("mixed keys", True, None))
    ]


if __name__ == "__main__":
    script(__doc__, measure)
