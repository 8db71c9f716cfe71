"""Kill real producers with SIGKILL at random moments, and check that nothing acknowledged is lost.

    python -m tests.crash.kill --rounds 200 [--seed 7] [--keep DIR]

Each round starts a process that appends numbered records to the same store and says on its
standard output what it is about to send (``s N``) and what was acknowledged (``a N``); it is killed
after a random number of those lines and a random fraction of a moment more. Every fourth round is
the real command, ``logstore produce``, fed through a pipe; it shows its progress at every chunk.
Then the store is opened (by turns for writing and for reading) and read:

    every acknowledged record is there, in order, once; nothing is there that was never sent.

Segments are tiny, so that many kills hit a roll.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import astuple, dataclass

import logstore

ROUNDS_OF_A_STORE = 25  # all of it is read after every round
PARTITIONS = 3
TOPIC = "numbers"
SETTINGS = {"segment.bytes": "700", "index.interval.bytes": "100"}
LINES_MOST = 60  # heard of a worker before it is killed
EXTRA_S = 0.004  # and then at most so long
AHEAD_MOST = 100  # records that the command is fed before it has acknowledged others
DEADLINE_S = 60  # generous: it only ends a run that would hang
SAID = re.compile(
    rb"s (?P<sent>\d+)\n|a (?P<done>\d+)\n|(?P<acknowledged>[\d,]+) records? acknowledged, .*\n"
)
# The command as it is, but for how often it tells.
TALKATIVE = """
from logstore_cli import progress
from logstore_cli.main import main
progress.Lines.every_s = 0.0
main()
"""
STYLES = ("append", "append_many", "producer", "command")


@dataclass
class Totals:
    rounds: int = 0
    acknowledged: int = 0
    unknown: int = 0  # sent, not acknowledged, and there all the same: allowed
    lost: int = 0  # sent, not acknowledged, not there: allowed

    def __add__(self, other):
        return Totals(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.acknowledged} acknowledged, all there; of those that "
            f"were not acknowledged {self.unknown} are there and {self.lost} are not"
        )


# The worker


def work(path, number, style):
    """Append until killed: record n goes to partition n % PARTITIONS."""
    say = os.write
    with logstore.open(path) as store:
        topic = store.topic(TOPIC)
        produce = {"append": _append, "append_many": _append_many, "producer": _producer}[style]
        for sent, acknowledged in produce(store, topic, number):
            line = b"s %d\n" % sent if acknowledged is None else b"a %d\n" % acknowledged
            say(1, line)


def value(number, n):
    return b"%d:%d" % (number, n)


def _append(store, topic, number):
    n = 0
    while True:
        yield n + 1, None
        topic.append(value(number, n), partition=n % PARTITIONS)
        n += 1
        yield n, n


def _append_many(store, topic, number):
    n = 0
    while True:
        yield n + 3 * PARTITIONS, None
        for partition in range(PARTITIONS):
            numbers = range(n + partition, n + 3 * PARTITIONS, PARTITIONS)
            topic.append_many(
                [logstore.Message(value(number, m)) for m in numbers], partition=partition
            )
        n += 3 * PARTITIONS
        yield n, n


def _producer(store, topic, number):
    n = 0
    with store.producer(TOPIC, batch_bytes=200) as producer:
        while True:
            count = random.randrange(1, 40)
            yield n + count, None
            for m in range(n, n + count):
                producer.send(value(number, m), partition=m % PARTITIONS)
            n += count
            producer.flush()
            yield n, n


# The killer


class Round:
    """One process, killed; what it sent and what it was told."""

    def __init__(self, path, number, style, choose):
        self.sent = self.acknowledged = 0
        self.number, self.style = number, style
        self._path = path
        self._lines = choose.randrange(LINES_MOST)
        self._extra_s = choose.uniform(0, EXTRA_S)
        self._choose = random.Random(choose.random())  # the feeder's own: it is another thread
        self._told = threading.Condition()
        self._killed = False

    def run(self):
        if self.style == "command":
            self._run_command()
        else:
            self._run_worker()

    def _run_worker(self):
        command = [sys.executable, os.path.abspath(__file__)]
        command += ["--worker", self._path, str(self.number), self.style]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as process:
            self._hear_and_kill(process, process.stdout)

    def _run_command(self):
        """The command in one partition: the lines are this round's numbers."""
        command = [sys.executable, "-c", TALKATIVE, "produce", TOPIC, "--data", self._path]
        command += ["--format", "raw", "--partition", "0", "--batch-bytes", "300", "--progress"]
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, env=_environment(), **pipes) as process:
            feeder = threading.Thread(target=self._feed, args=(process.stdin,), daemon=True)
            feeder.start()
            self._hear_and_kill(process, process.stderr)
            with self._told:
                self._killed = True
                self._told.notify()
            feeder.join()

    def _hear_and_kill(self, process, lines):
        for heard, line in enumerate(lines):
            self._hear(line)
            if heard >= self._lines:
                time.sleep(self._extra_s)  # the random moment itself: nothing waits for it
                process.kill()
                break
        for line in lines:
            self._hear(line)
        if process.wait() != -signal.SIGKILL:
            raise AssertionError(f"the process of round {self.number} ended by itself")

    def _hear(self, line):
        if not line.endswith(b"\n"):
            return  # cut off by the kill
        said = SAID.fullmatch(line)
        if said is None:
            raise AssertionError(f"round {self.number}: {line.decode()}")
        count = int((said["sent"] or said["done"] or said["acknowledged"]).replace(b",", b""))
        if said["sent"]:
            self.sent = count
            return
        with self._told:
            self.acknowledged = count
            self._told.notify()

    def _feed(self, pipe):
        """Lines, a random number at a time; never far ahead of what was acknowledged."""
        with suppress(BrokenPipeError), pipe:
            while not self._killed:
                count = self._choose.randrange(1, AHEAD_MOST)
                lines = [value(self.number, n) for n in range(self.sent, self.sent + count)]
                self.sent += count
                pipe.write(b"\n".join(lines) + b"\n")
                pipe.flush()
                with self._told:
                    self._told.wait_for(self._may_feed, DEADLINE_S)

    def _may_feed(self):
        return self._killed or self.sent - self.acknowledged < AHEAD_MOST

    def expected(self, partition, count):
        """The records of the first ``count`` sent that belong into the partition."""
        if self.style == "command":
            return list(range(count)) if partition == 0 else []
        return list(range(partition, count, PARTITIONS))


def _environment():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def read_all(path, mode):
    """What is there: (round, partition) -> numbers, in order."""
    found = defaultdict(list)
    with logstore.open(path, mode) as store:
        for report in store.verify():
            for finding in report.findings:
                if not finding.derived:
                    raise AssertionError(finding)
        for record in store.consumer(TOPIC):
            number, n = record.value.split(b":")
            found[int(number), record.partition].append(int(n))
    return found


def check(rounds, found):
    """The law, over all rounds so far. Returns totals."""
    totals = Totals(rounds=len(rounds))
    for it in rounds:
        for partition in range(PARTITIONS):
            there = found.pop((it.number, partition), [])
            sent = it.expected(partition, it.sent)
            acknowledged = it.expected(partition, it.acknowledged)
            where = f"round {it.number} ({it.style}), partition {partition}"
            if there != sent[: len(there)]:
                raise AssertionError(f"{where}: not what was sent, in order, once: {there}")
            if len(there) < len(acknowledged):
                lost = acknowledged[len(there) :]
                raise AssertionError(f"{where}: acknowledged and lost: {lost}")
            totals.acknowledged += len(acknowledged)
            totals.unknown += len(there) - len(acknowledged)
            totals.lost += len(sent) - len(there)
    if found:
        raise AssertionError(f"records that nobody sent: {dict(found)}")
    return totals


def run(rounds, seed, path, styles=STYLES, each=lambda one: None):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose = random.Random(seed)
    with logstore.open(path) as store:
        store.create_topic(TOPIC, PARTITIONS, SETTINGS)
    done, totals = [], Totals()
    for number in range(rounds):
        style = styles[number % len(styles)]
        one = Round(path, number, style, choose)
        one.run()
        each(one)
        done.append(one)
        mode = choose.choice(["write", "read"])
        try:
            totals = check(done, read_all(path, mode))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after round {number}: {error}") from None
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", help="a directory for the stores, which are left there")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        path, number, style = given.worker
        work(path, int(number), style)
        return
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}, {given.rounds} rounds", flush=True)
    whole = Totals()
    with tempfile.TemporaryDirectory() as scratch:
        for begin in range(0, given.rounds, ROUNDS_OF_A_STORE):
            path = os.path.join(given.keep or scratch, f"store-{begin}")
            whole += run(min(ROUNDS_OF_A_STORE, given.rounds - begin), seed + begin, path)
            print(whole, flush=True)


if __name__ == "__main__":
    main()
