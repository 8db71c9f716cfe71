"""What do 1,000 consumers cost that wait in an event loop, and how fast is it with many tasks?

By `logstore.aio`: 1,000 consumers of a topic, of a queue, members of 1,000 groups, and listeners of
a channel, each a task that waits. Each kind in a process of its own: memory that they add to twenty
before them (bar: 20 MB), threads that they add (bar: none), and how long it takes until all have
had one record or message that comes then (one for each, where they share a queue). And 100 tasks
that append records of 100 bytes, each one after the other, beside 100 threads that do the same
(shown alone: a busy machine gives more of itself to 100 threads). Sides take turns.
"""

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bench import harness
from bench.harness import Figure, bound

WAITING = harness.size(1000, 30)
BEFORE = 20
TASKS = harness.size(100, 4)
RECORDS = harness.size(100, 5)  # of each
MEMORY_MB = 20.0
KINDS = {
    "topic": "consumers of a topic",
    "queue": "consumers of a queue",
    "group": "members of a group each",
    "channel": "listeners of a channel",
}


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    for kind, what in KINDS.items():
        found = [_child(kind, scratch / f"{kind}-{n}") for n in range(rounds)]
        for name, unit, bar in [("memory", "MB", MEMORY_MB), ("threads", "", 0.0),
                                ("woken", "ms", None)]:  # fmt: skip
            row = f"{WAITING:,} {what}: {name}"
            figures.append(bound(row, unit, [it[name] for it in found], bar=bar))
    sides = {
        "tasks": lambda: _child("tasks", scratch / "tasks")["rate"],
        "threads": lambda: _child("threads", scratch / "threads")["rate"],
    }
    taken = harness.alternate(sides, rounds)
    row = f"{TASKS} tasks that append, beside {TASKS} threads"
    figures.append(harness.ratio(row, "records/s", taken, ours="tasks", theirs="threads", bar=None))
    return figures


def _child(kind: str, data: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.waiting", "--child", kind, str(data)],
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    harness.settle(data)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# The process of one kind


def memory_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(it.split()[1]) for it in lines if it.startswith("Private_"))


class Waiting:
    """Tasks that take what comes."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.opened = self.got = 0

    async def topic(self, number: int, group: str | None = None) -> None:
        async with self.store.consumer("t", follow=True, start="latest", group=group) as records:
            self.opened += 1
            async for _ in records:
                self.got += 1

    async def group(self, number: int) -> None:
        await self.topic(number, f"g{number}")

    async def queue(self, number: int) -> None:
        async with (await self.store.queue("q")).consume(prefetch=1) as messages:
            self.opened += 1
            async for message in messages:
                self.got += 1
                await message.ack()

    async def channel(self, number: int) -> None:
        async with self.store.listen("c") as messages:
            self.opened += 1
            async for _ in messages:
                self.got += 1

    async def send(self, kind: str) -> None:
        if kind == "queue":
            exchange = await self.store.exchange("")
            await exchange.publish_many([b"x" * 100] * WAITING, "q")
        elif kind == "channel":
            await self.store.channel("c").publish(b"x" * 100)
        else:
            await self.store.topic("t").append(b"x" * 100)


async def _some(run: Callable[[int], Coroutine[Any, Any, None]], numbers: range, waiting: Waiting
                ) -> list["asyncio.Task[None]"]:  # fmt: skip
    opened = waiting.opened + len(numbers)
    tasks = [asyncio.create_task(run(number)) for number in numbers]
    while waiting.opened < opened:
        await asyncio.sleep(0.01)
    return tasks


async def wait(kind: str, data: str) -> dict[str, float]:
    import logstore.aio

    async with logstore.aio.open(data) as store:
        topic = await store.create_topic("t")
        await topic.append(b"first")
        waiting = Waiting(store)
        run = getattr(waiting, kind)
        tasks = await _some(run, range(-BEFORE, 0), waiting)
        if kind == "group":  # until their first commit: it begins the second of the two threads
            await asyncio.sleep(harness.size(5.5, 0.1))
        gc.collect()
        before_kb, threads = memory_kb(), threading.active_count()
        tasks += await _some(run, range(WAITING), waiting)
        gc.collect()
        found = {
            "memory": (memory_kb() - before_kb) / 1024,
            "threads": float(threading.active_count() - threads),
        }
        began = time.perf_counter()
        await waiting.send(kind)
        while waiting.got < WAITING:
            await asyncio.sleep(0.001)
        found["woken"] = (time.perf_counter() - began) * 1000
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def tasks(data: str) -> float:
    import logstore.aio

    async with logstore.aio.open(data) as store:
        topic = await store.create_topic("t")
        await topic.append(b"first")

        async def append() -> None:
            for _ in range(RECORDS):
                await topic.append(b"x" * 100)

        began = time.perf_counter()
        await asyncio.gather(*(append() for _ in range(TASKS)))
        return TASKS * RECORDS / (time.perf_counter() - began)


def threads(data: str) -> float:
    import logstore

    with logstore.open(data) as store:
        topic = store.create_topic("t")
        topic.append(b"first")

        def append() -> None:
            for _ in range(RECORDS):
                topic.append(b"x" * 100)

        appending = [threading.Thread(target=append) for _ in range(TASKS)]
        began = time.perf_counter()
        for it in appending:
            it.start()
        for it in appending:
            it.join()
        return TASKS * RECORDS / (time.perf_counter() - began)


def child(kind: str, data: str) -> dict[str, float]:
    if kind == "tasks":
        return {"rate": asyncio.run(tasks(data))}
    if kind == "threads":
        return {"rate": threads(data)}
    return asyncio.run(wait(kind, data))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(*sys.argv[2:])))
    else:
        harness.script(__doc__ or "", measure)
