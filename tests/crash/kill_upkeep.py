"""Kill real processes that append, compact, recompress, retain and commit, at random moments.

    python -m tests.crash.kill_upkeep --rounds 200 [--seed 7]

Each round starts a process that appends keyed records to a compacted topic and numbered ones to a
topic with retention, commits as a group now and then, and does its upkeep all the time, the heavy
part in a child process. It says on its standard output what it is about to send, what was
acknowledged, and how far it has committed. Then it is killed, the store is opened, and read:

    of each key the latest acknowledged record is there, or a later one; what retention has left is
    there without a gap, up to the last acknowledged record; no commit is forgotten; nothing is
    there that was never sent; and verify finds nothing damaged.
"""

import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import logstore
from logstore import Message
from logstore.config import Config

PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans below this process become its children
KEYS = 7
AT_ONCE = 4
LINES_MOST = 250
EXTRA_S = 0.01
STATES = {
    "cleanup.policy": "compact", "segment.bytes": "1500", "min.cleanable.dirty.ratio": "0",
    "compression.sealed": "zstd", "index.interval.bytes": "200",
}  # fmt: skip
PLAIN = {"segment.bytes": "900", "retention.bytes": "4000", "index.interval.bytes": "200"}
BUSY = Config({
    "upkeep.interval.ms": ("1", "test"), "upkeep.bytes.per.second": ("-1", "test"),
    "recovery.bytes": ("65536", "test"),
})  # fmt: skip


def value(number, n):
    return b"%05d:%06d" % (number, n)


def parsed(data):
    number, n = data.split(b":")
    return int(number), int(n)


def work(path, number):
    """Until killed."""
    with logstore.open(path, config=BUSY) as store:
        states, plain = store.topic("states"), store.topic("plain")
        n = 0
        while True:
            os.write(1, b"s %d\n" % (n + AT_ONCE))
            messages = [
                Message(value(number, m), b"k%d" % (m % KEYS)) for m in range(n, n + AT_ONCE)
            ]
            states.append_many(messages)
            plain.append_many([Message(it.value) for it in messages])
            n += AT_ONCE
            os.write(1, b"a %d\n" % n)
            if n % (10 * AT_ONCE) == 0:
                with store.consumer("states", group="g") as consumer:
                    at = states.partition(0).safe
                    consumer.seek("states", 0, at)
                    consumer.commit()
                os.write(1, b"c %d\n" % at)


@dataclass
class Known:
    """What the rounds so far have told, by their numbers."""

    sent: dict = field(default_factory=dict)
    acknowledged: dict = field(default_factory=dict)
    committed: int = 0

    def hear(self, number, line):
        if not line.endswith(b"\n"):
            return  # cut off by the kill
        what, count = line.split()
        if what == b"c":
            self.committed = int(count)
        else:
            {b"s": self.sent, b"a": self.acknowledged}[what][number] = int(count)


def one_round(path, number, known, choose):
    lines, extra_s = choose.randrange(LINES_MOST), choose.uniform(0, EXTRA_S)
    command = [sys.executable, os.path.abspath(__file__), "--worker", path, str(number)]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        for heard, line in enumerate(process.stdout):
            known.hear(number, line)
            if heard >= lines:
                time.sleep(extra_s)  # the random moment itself: nothing waits for it
                process.kill()
                break
        for line in process.stdout:
            known.hear(number, line)
        assert process.wait() == -signal.SIGKILL, f"the process of round {number} ended by itself"


def reap_orphans():
    """Wait for the processes that worked for those that were killed; they come to us."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def check(path, known, mode, alone):
    """``alone``: no process of those that were killed is left that could still write."""
    off = Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(path, mode, config=off) as store:
        found = {name: [] for name in ("states", "plain")}
        for name, rows in found.items():
            with store.consumer(name) as consumer:
                rows += [(it.offset, it.key, parsed(it.value)) for it in consumer]
            offsets = [offset for offset, _, _ in rows]
            assert offsets == sorted(set(offsets)), (name, offsets)
            order = [it for _, _, it in rows]
            assert order == sorted(set(order)), (name, order)
            never = [(number, n) for number, n in order if n >= known.sent.get(number, 0)]
            assert not never, (name, never)
        check_states(found["states"], known)
        check_plain(found["plain"], known, store.topic("plain").partition(0))
        if known.committed:
            [position] = store.group("g").describe()
            assert position.committed >= known.committed, (position, known.committed)
        damage = [it for report in store.verify() for it in report.findings if not it.derived]
        assert not damage, damage
    if mode == "write" and alone:
        names = [name for _, _, files in os.walk(path) for name in files]
        left = [name for name in names if ".cleaned" in name]
        assert not left, left
    return sum(map(len, found.values()))


def check_states(rows, known):
    latest = {}
    for number, count in sorted(known.acknowledged.items()):
        latest |= {b"k%d" % (n % KEYS): (number, n) for n in range(count)}
    there = {key: it for _, key, it in rows}
    for key, it in latest.items():
        assert there.get(key, (-1, -1)) >= it, (key, it, there.get(key))


def check_plain(rows, known, log):
    offsets = [offset for offset, _, _ in rows]
    assert offsets == list(range(log.start, log.safe)), (log.start, log.safe, offsets)
    there = {it for _, _, it in rows}
    first = min(there, default=None)
    for number, count in known.acknowledged.items():
        for n in range(count):
            gone = first is not None and (number, n) < first
            assert gone or (number, n) in there, (number, n, first)


def run(rounds, seed, path):
    """All the rounds; how many records were acknowledged. Raises AssertionError."""
    choose, known = random.Random(seed), Known()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with logstore.open(path) as store:
        store.create_topic("states", partitions=1, settings=STATES)
        store.create_topic("plain", partitions=1, settings=PLAIN)
    for number in range(rounds):
        one_round(path, number, known, choose)
        alone = choose.random() < 0.5
        if alone:
            reap_orphans()
        try:
            check(path, known, choose.choice(("read", "write")), alone)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after round {number}: {error}") from error
        reap_orphans()
    return sum(known.acknowledged.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[0], int(given.worker[1]))
        return
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}, {given.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        acknowledged = run(given.rounds, seed, os.path.join(scratch, "store"))
    print(f"{given.rounds} rounds with upkeep: {acknowledged} acknowledged, the law holds")


if __name__ == "__main__":
    main()
