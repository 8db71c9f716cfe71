"""Kill a replay of a queue's past with SIGKILL, and check both of its ends afterwards.

    python -m tests.crash.kill_replay --rounds 100 [--seed 7]

A queue has numbered messages that are settled, and among them some that were purged. In each round
they are replayed into a new queue or topic, by a process that has the store to itself, or through a
server; after a random moment that process, or the server, is killed. Then the store is opened:

    what has arrived is the past from its beginning, in order, each message once, and nothing that
    was purged; the past is as it was, and nothing was taken; the replay goes on behind what has
    arrived, and then all of it is there, once. A command that outlives its server says how far it
    has come: so much is there, and what it says to go on with leaves nothing out.
"""

import random
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import logstore
from tests.kit.cli_process import COMMAND
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving

SETTLED = 30_000
PURGED_EVERY, PURGED = 5_000, 40
MOST_S = 0.6  # until the kill, at most, from when the command begins to work
WAYS = ("queue", "topic")


@dataclass
class Totals:
    rounds: int = 0
    arrived: int = 0  # when it was killed
    whole: int = 0  # rounds in which the kill came too late

    def __str__(self):
        return f"{self.rounds} rounds: {self.arrived} had arrived, {self.whole} ended before"


def made(path):
    """The numbers that are settled, in order."""
    numbers, expected = iter(range(1 << 30)), []
    with logstore.open(path) as store:
        queue = store.queue("past")
        desk = store.exchange("")
        while len(expected) < SETTLED:
            batch = [next(numbers) for _ in range(PURGED_EVERY)]
            desk.publish_many([b"%d" % it for it in batch], "past")
            with queue.consume(PURGED_EVERY) as consumer:
                left = len(batch)
                while left:
                    got = consumer.get_many(PURGED_EVERY, 10)
                    consumer.ack(got)
                    left -= len(got)
            expected += batch
            desk.publish_many([b"%d" % next(numbers) for _ in range(PURGED)], "past")
            queue.purge()
    return expected


def begun(path, into, *more):
    words = [COMMAND, "queue", "replay", "past", "--into", into, "--data", path, *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def files(path):
    return sum(it.stat().st_blocks for it in Path(path).rglob("*.log"))


def killed(path, into, choose, *, served):
    """What the command said, if it was its server that was killed."""
    server = Serving(path, resp_port=-1, amqp_port=0) if served else None
    try:
        before = files(path)
        command = begun(path, into)
        while command.poll() is None and files(path) == before:
            time.sleep(0.001)
        time.sleep(choose.uniform(0, MOST_S) * choose.random())
        if server is None:
            command.kill()
    finally:
        if server is not None:
            server.stop(signal.SIGKILL)
    _, errors = command.communicate(timeout=60)
    assert "Traceback" not in errors, errors
    return errors


def arrived(store, way, name):
    if way == "queue":
        if name not in store.queues():
            return []
        return [int(it.body) for it in store.queue(name).history()]
    if name not in store.topics():
        return []
    with store.consumer(name) as consumer:
        return [int(it.value) for it in consumer]


def checked(path, way, name, expected):
    """Both ends; what has arrived."""
    with logstore.open(path) as store:
        found = arrived(store, way, name)
        past = list(store.queue("past").history())
        check_undamaged(store)
    assert [int(it.body) for it in past] == expected, "the past has changed"
    assert {it.state for it in past} == {"settled"}
    return found, past


def one(path, number, choose, expected, totals):
    way, served = choose.choice(WAYS), choose.random() < 0.5
    name = f"copy-{number}"
    into = f"{way}:{name}"
    with logstore.open(path) as store:
        if way == "queue":
            store.queue(name)
    errors = killed(path, into, choose, served=served)
    found, past = checked(path, way, name, expected)
    assert found == expected[: len(found)], "it is not the past from its beginning"
    totals.arrived += len(found)
    totals.whole += len(found) == len(expected)
    if served and "go on with --from " in errors:
        said = int(re.search(r"replayed ([\d,]+) ", errors)[1].replace(",", ""))
        assert said <= len(found), f"{said} were acknowledged, {len(found)} are there"
        on = re.search(r"--from (\S+)", errors)[1]
        del found[said:]  # what follows may come twice
    elif len(found) < len(expected):
        on = past[len(found)].position
    else:
        return
    again = begun(path, into, "--from", on)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    whole, _ = checked(path, way, name, expected)
    assert whole[-len(expected) + len(found) :] == expected[len(found) :], "something is missing"
    assert served or whole == expected


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, totals = random.Random(seed), Totals()
    expected = made(path)
    for number in range(rounds):
        try:
            one(path, number, choose, expected, totals)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100)
