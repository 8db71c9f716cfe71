"""How many records a second are durable, one at a time?

Each record of 100 bytes with key is a batch of its own and acknowledged after its own or a shared
sync: one producer (bar 1.5), and 32 concurrent producers (bar 10). Two ways for one producer: "one
in flight" waits for each record (`append`); "in flight" makes the next while the one before is
synced, and its acknowledgement follows (`Producer`, as Kafka's clients do). The 32 wait. Against
SQLite in WAL mode with synchronous=FULL, one transaction per record; for 32 producers SQLite may
choose between 32 threads with a connection each and a busy timeout, and one connection shared
under a lock: the better one counts. Each side runs for one second a round; what is
acknowledged within it counts. What the disk alone allows one producer is shown: plain
writes of 200 bytes, each synced.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import logstore
from bench import sqlite
from bench.harness import Figure, alternate, better, ratio, script, settle, size, synced_writes
from bench.messages import pairs

PRODUCERS = 32
SECONDS = size(1.0, 0.02)
PLAIN_WRITES = size(1000, 10)
ROWS = pairs(1000)

Produce = Callable[[tuple[bytes, bytes]], object]


def acknowledged(producers: list[Callable[[], Produce]]) -> float:
    """Records per second over all producers, each in its own thread from a common start.

    Each producer is made by a call in its thread, because SQLite's connections cannot change
    threads.
    """
    counts = [0] * len(producers)
    start = threading.Barrier(len(producers) + 1)
    deadline = [0.0]

    def run(number: int, make: Callable[[], Produce]) -> None:
        produce = make()
        start.wait()
        start.wait()  # the deadline is set between the two
        done, upto = 0, deadline[0]
        while True:
            produce(ROWS[done % len(ROWS)])
            if time.perf_counter() >= upto:
                break
            done += 1
        counts[number] = done

    threads = [threading.Thread(target=run, args=each) for each in enumerate(producers)]
    for thread in threads:
        thread.start()
    start.wait()
    deadline[0] = time.perf_counter() + SECONDS
    start.wait()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def measure(scratch: Path, rounds: int) -> list[Figure]:
    def ours(producers: int) -> float:
        with logstore.open(scratch / "data") as store:
            topic = store.create_topic("orders", partitions=1)

            def produce(pair: tuple[bytes, bytes]) -> None:
                topic.append(pair[1], key=pair[0])

            rate = acknowledged([lambda: produce] * producers)
        settle(scratch / "data")
        return rate

    def in_flight() -> float:
        with logstore.open(scratch / "data") as store:
            store.create_topic("orders", partitions=1)
            with store.producer("orders", batch_bytes=1) as producer:
                deadline = time.perf_counter() + SECONDS
                while time.perf_counter() < deadline:
                    key, value = ROWS[producer.sent % len(ROWS)]
                    producer.send(value, key)
                rate = producer.acknowledged / SECONDS
        settle(scratch / "data")
        return rate

    def own_connection(producers: int) -> float:
        path = scratch / "records.db"
        sqlite.connect(path).close()

        def make() -> Produce:
            connection = sqlite.connect(path)
            return lambda pair: sqlite.insert_one(connection, pair)

        rate = acknowledged([make] * producers)
        settle(*sqlite.files(path))
        return rate

    def shared_connection(producers: int) -> float:
        path = scratch / "records.db"
        connection, lock = sqlite.connect(path, shared=True), threading.Lock()

        def produce(pair: tuple[bytes, bytes]) -> None:
            with lock:
                sqlite.insert_one(connection, pair)

        rate = acknowledged([lambda: produce] * producers)
        connection.close()
        settle(*sqlite.files(path))
        return rate

    def plain() -> float:
        took = synced_writes(scratch / "plain", bytes(200), PLAIN_WRITES)
        settle(scratch / "plain")
        return PLAIN_WRITES / took

    one = alternate(
        {
            "in flight": in_flight,
            "one in flight": lambda: ours(1),
            "SQLite": lambda: own_connection(1),
            "write and sync": plain,
        },
        rounds,
        warm=1,
    )
    many = alternate(
        {
            "logstore": lambda: ours(PRODUCERS),
            "SQLite, own connections": lambda: own_connection(PRODUCERS),
            "SQLite, one shared": lambda: shared_connection(PRODUCERS),
        },
        rounds,
        warm=1,
    )
    best = better(many, [name for name in many if name != "logstore"])
    unit = "records/s"
    return [
        ratio("1 producer, in flight", unit, one, ours="in flight", theirs="SQLite", bar=1.5),
        ratio(
            "1 producer, one in flight", unit, one, ours="one in flight", theirs="SQLite", bar=1.5
        ),
        ratio("the disk alone", unit, one, ours="one in flight", theirs="write and sync", bar=None),
        ratio("32 producers", unit, many, ours="logstore", theirs=best, bar=10),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
