"""How many transactions of several things a second, one after another?

One thread; each transaction appends a record of 100 bytes with a key to a topic, acknowledges a
message of a queue, and moves a group's offset in another topic: `store.transaction()`, durable when
its block ends. Against SQLite in WAL mode with synchronous=FULL, which inserts the record, deletes
the message and updates the offset, in one transaction (bar 0.5). Messages and records were fetched
before on both sides. As many transactions a round as either does in some seconds.
"""

import time
from pathlib import Path

import logstore
from bench import sqlite
from bench.harness import Figure, alternate, ratio, script, settle, size
from bench.messages import pairs

TRANSACTIONS = size(2_000, 20)
ROWS = pairs(1000)
UPDATE = "UPDATE offsets SET next = ? WHERE id = 1"


def ours(scratch: Path) -> float:
    with logstore.open(scratch / "data") as store:
        store.create_topic("in").append_many(
            logstore.Message(value, key) for key, value in many(TRANSACTIONS)
        )
        store.create_topic("out")
        jobs = store.queue("jobs")
        store.exchange("").publish_many([b"job"] * TRANSACTIONS, "jobs")
        messages = [jobs.get() for _ in range(TRANSACTIONS)]
        with store.consumer("in", group="g") as consumer:
            records = [record for _, record in zip(range(TRANSACTIONS), consumer, strict=False)]
            begin = time.perf_counter()
            for record, message in zip(records, messages, strict=True):
                assert message is not None
                with store.transaction() as tx:
                    tx.append("out", record.value, key=record.key)
                    tx.ack(message)
                    tx.commit_offset(consumer, record)
            took = time.perf_counter() - begin
        assert store.topic("out").partition(0).end == TRANSACTIONS
        assert jobs.counts() == (0, 0, 0)
    settle(scratch / "data")
    return TRANSACTIONS / took


def theirs(scratch: Path) -> float:
    path = scratch / "records.db"
    connection = sqlite.connect(path)
    connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, body BLOB)")
    connection.execute("CREATE TABLE offsets (id INTEGER PRIMARY KEY, next INTEGER)")
    connection.execute("INSERT INTO offsets VALUES (1, 0)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO jobs (body) VALUES (?)", [(b"job",)] * TRANSACTIONS)
    connection.execute("COMMIT")
    begin = time.perf_counter()
    for number, pair in enumerate(many(TRANSACTIONS), 1):
        connection.execute("BEGIN")
        sqlite.insert_one(connection, pair)
        connection.execute("DELETE FROM jobs WHERE id = ?", (number,))
        connection.execute(UPDATE, (number,))
        connection.execute("COMMIT")
    took = time.perf_counter() - begin
    [(left,)] = connection.execute("SELECT count(*) FROM jobs").fetchall()
    assert left == 0
    connection.close()
    settle(*sqlite.files(path))
    return TRANSACTIONS / took


def many(count: int) -> list[tuple[bytes, bytes]]:
    return [ROWS[n % len(ROWS)] for n in range(count)]


def measure(scratch: Path, rounds: int) -> list[Figure]:
    taken = alternate(
        {"logstore": lambda: ours(scratch), "SQLite": lambda: theirs(scratch)}, rounds, warm=1
    )
    what, unit = "1 append, 1 ack, 1 offset", "transactions/s"
    return [ratio(what, unit, taken, ours="logstore", theirs="SQLite", bar=0.5)]


if __name__ == "__main__":
    script(__doc__, measure)
