"""Kill a program with SIGKILL that uses a store by asyncio, and check what it has afterwards.

    python -m tests.crash.kill_aio --rounds 50 [--seed 7]

In each round tasks of one program append numbered records, publish numbered messages, copy a topic
to another as a group that commits by itself, and consume the queue; some of these tasks are
cancelled again and again. Each says on its standard output what it was told. After a random
fraction of a moment the program is killed. Then the store is opened and read:

    what was acknowledged is there, once, in the order of its task; a message that was confirmed is
    in the queue unless it was acknowledged; what a group has committed was copied before; nothing
    is there that was never sent; and verify finds nothing damaged.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import logstore
import logstore.aio
from logstore.config import Config
from tests.kit.killing import check_undamaged
from tests.kit.waiting import until

TASKS = 8
LIVES_MOST_S = 1.0
SETTINGS = Config({"consumer.commit.ms": ("10", "test")})


@dataclass
class Totals:
    rounds: int = 0
    appended: int = 0
    confirmed: int = 0
    copied: int = 0
    cancelled: int = 0

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.appended} appended, {self.confirmed} confirmed, "
            f"{self.copied} copied, {self.cancelled} tasks cancelled"
        )


# The program that is killed


def say(what, *numbers):
    os.write(1, (" ".join(map(str, (what, *numbers))) + "\n").encode())


async def append(store, life, task):
    for number in count():
        await store.topic("t").append(b"%d %d %d" % (life, task, number), b"%d" % task)
        say("appended", life, task, number)


async def publish(queue, life, task):
    for number in count():
        say("sending", life, task, number)
        await queue.publish(b"%d %d %d" % (life, task, number))
        say("confirmed", life, task, number)


async def consume(queue):
    async with queue.consume(prefetch=5) as messages:
        async for message in messages:
            say("took", message.body.decode())
            await message.ack()


async def copy(store):
    async with (
        store.producer("out") as out,
        store.consumer("t", group="copy", follow=True) as records,
    ):
        async for record in records:
            await out.send(record.value)


async def again_and_again(what, most_s):
    """Cancel it, and begin it anew."""
    while True:
        task = asyncio.create_task(what())
        await asyncio.sleep(random.random() * most_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        say("cancelled")


async def live(path, life):
    async with logstore.aio.open(path, config=SETTINGS) as store:
        queue = await store.queue("q")
        say("open")
        works = [append(store, life, n) for n in range(TASKS)]
        works += [publish(queue, life, n) for n in range(TASKS)]
        works.append(again_and_again(lambda: consume(queue), 0.02))
        works.append(again_and_again(lambda: copy(store), 0.4))
        await asyncio.gather(*works)


# The check


def one_life(path, life, choose):
    """What the program has said."""
    heard = Path(f"{path}.{life}")  # a pipe would be full soon, and hold it up
    with heard.open("wb") as said:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.kill_aio", "--live", path, str(life)], stdout=said
        )
    until(lambda: heard.read_bytes().startswith(b"open\n") or program.poll() is not None)
    time.sleep(choose.random() * LIVES_MOST_S)
    assert program.poll() is None, "it has ended by itself"
    program.kill()
    program.wait()
    lines = [it.split() for it in heard.read_text().splitlines(keepends=True) if it[-1] == "\n"]
    return [(it[0], tuple(map(int, it[1:]))) for it in lines if it != ["open"]]


def check(path, said, totals):
    with logstore.open(path) as store:
        check_undamaged(store)
        with store.consumer("t") as records:
            found = [(it.partition, it.offset, _numbers(it.value)) for it in records]
        there = Counter(it for _, _, it in found)
        assert max(there.values(), default=1) == 1
        for task in range(TASKS):
            of_task = [it for _, _, it in found if it[1] == task]
            assert of_task == sorted(of_task)
        for it in said["appended"]:
            assert there[it] == 1, f"{it} was acknowledged"
        _check_copies(store, found)
        _check_queue(store, said)
        totals.appended = len(said["appended"])
        totals.confirmed = len(said["confirmed"])
        totals.cancelled = len(said["cancelled"])
        totals.copied = store.topic("out").partitions[0].end


def _check_copies(store, found):
    with store.consumer("out") as records:
        copied = {_numbers(it.value) for it in records}
    committed = {}
    if "copy" in store.groups():
        committed = {it.partition: it.committed or 0 for it in store.group("copy").describe()}
    for partition, offset, numbers in found:
        if offset < committed.get(partition, 0):
            assert numbers in copied, f"{numbers} counts as read, and was not copied"


def _check_queue(store, said):
    taken = Counter(said["took"])
    ready = store.queue("q").counts().ready
    queue = store.queue("q")
    left = [queue.get() for _ in range(ready)]
    there = Counter(_numbers(it.body) for it in left)
    assert max(there.values(), default=1) == 1
    for it in said["confirmed"]:
        assert there[it] or taken[it], f"{it} was confirmed"
    sent = set(said["sending"])
    assert set(there) <= sent
    assert set(taken) <= sent


def _numbers(value):
    return tuple(map(int, value.split()))


def rounds(number, seed, folder):
    choose, totals = random.Random(seed), Totals()
    path = os.path.join(folder, "data")
    with logstore.open(path) as store:
        store.create_topic("t", partitions=3)
        store.create_topic("out")
    said = {"appended": [], "confirmed": [], "sending": [], "took": [], "cancelled": []}
    for life in range(number):
        for what, numbers in one_life(path, life, choose):
            said[what].append(numbers)
        totals.rounds += 1
        check(path, said, totals)
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--live", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.live:
        asyncio.run(live(arguments.live[0], int(arguments.live[1])))
        return
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(rounds(arguments.rounds, arguments.seed, folder))


if __name__ == "__main__":
    main()
