"""Kill a server that keeps Redis's keys with SIGKILL, and check what is there.

    python -m tests.crash.kill_keys --rounds 100 [--seed 7]

In each round some connections put numbers under keys of their own, and count, many commands at a
time; the server is killed at a random moment, which may be while it reads its keys from disk. The
next one has, of each key, what was put last and answered, or something that was put after it; what
was deleted and answered is gone; what was under ``none`` is gone, too. Nothing else is there.
Nothing is refused once the keys are read.
"""

import random
import signal
import threading
import time

import logstore
from tests.kit.killing import begin, check_undamaged
from tests.kit.redis_parts import Raw, request
from tests.kit.serving import Serving

CONNECTIONS = 4
KEYS = 25  # of each
MOST_S = 0.8  # until the kill, at most
CONFIG = '[[keys]]\npattern = "tmp:*"\nsync = "none"\n'


class Totals:
    def __init__(self):
        self.rounds = self.answered = self.keys = 0

    def __str__(self):
        return f"{self.rounds} rounds: {self.answered} commands answered, {self.keys} keys"


def loaded(side):
    """Wait until the server has read its keys from disk. False: it is gone before that."""
    side.got = b"-LOADING"
    while side.got.startswith(b"-LOADING") and not side.ended:
        side.got = b""
        side.send(request("PING"))
        side.until(b"\r\n")
    return not side.ended


class Writer:
    """One connection's keys: what was sent of each, in order, and how much of that was answered."""

    def __init__(self, name):
        self.name = name
        self.sent = {}  # key -> [value or None]
        self.answered = {}  # key -> how many of these
        self.refused = []  # what was said instead

    def found(self, key, value):
        """A server has this: that is what all goes on from."""
        values = self.sent[key]
        possible = values[max(self.answered[key] - 1, 0) :] or [None]
        if not self.answered[key]:
            possible = [None, *possible]
        assert value in possible, f"{key}: {value}, not one of {possible[:5]}"
        self.sent[key], self.answered[key] = [value], 1

    def write(self, server, seed, count):
        """Until the server is gone."""
        chance, number = random.Random(seed), 0
        side = Raw(server)
        loaded(side)
        while not side.ended:
            words, keys = [], []
            for _ in range(chance.randrange(1, 30)):
                key = b"%b:%d" % (self.name, chance.randrange(KEYS))
                number += 1
                values = self.sent.setdefault(key, [])
                self.answered.setdefault(key, 0)
                if chance.random() < 0.1:
                    words.append(request("DEL", key))
                    values.append(None)
                else:
                    value = b"%d-%d" % (seed, number) * chance.choice([1, 1, 40])
                    dated = ["EX", "1000"] if chance.random() < 0.2 else []
                    words.append(request("SET", key, value, *dated))
                    values.append(value)
                keys.append(key)
            side.got = b""
            mark = b"%d-done" % number
            side.send(b"".join([*words, request("SET", b"tmp:" + self.name, "x"),
                                request("PING", mark)]))  # fmt: skip
            side.until(mark + b"\r\n")
            answers = side.got.split(b"\r\n")[:-1][: len(keys)]  # each of them is a line
            for key, answer in zip(keys, answers, strict=False):
                if answer.startswith(b"-"):
                    self.refused.append(answer)
                else:
                    self.answered[key] += 1
                    count[0] += 1
        side.close()


def one_round(path, seed, writers, totals):
    server, count = Serving(path), [0]
    chance = random.Random(seed)
    threads = [
        threading.Thread(target=it.write, args=(server, seed + at, count))
        for at, it in enumerate(writers)
    ]
    try:
        for thread in threads:
            thread.start()
        time.sleep(MOST_S * chance.random() ** 2 + 0.05)
    finally:
        server.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    totals.answered += count[0]


def checked(path, writers, totals):
    """A new server has what the law says."""
    server = Serving(path)
    try:
        side = Raw(server)
        there = {}
        assert loaded(side)
        for writer in writers:
            assert not writer.refused, writer.refused[0]
            for key in writer.sent:
                side.got = b""
                side.send(request("GET", key) + request("PING", "got-it"))
                side.until(b"got-it\r\n")
                head, _, rest = side.got.partition(b"\r\n")
                value = None if head == b"$-1" else rest[: int(head[1:])]
                writer.found(key, value)
                there[key] = value
        side.got = b""
        side.send(request("DBSIZE") + request("PING", "the-end"))
        side.until(b"the-end\r\n")
        expected = sum(value is not None for value in there.values())
        assert side.got.startswith(b":%d\r\n" % expected), (side.got[:20], expected)
        totals.keys = expected
        side.close()
    finally:
        code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    totals = Totals()
    with logstore.open(path):
        pass
    with open(f"{path}/logstore.toml", "w") as file:
        file.write(CONFIG)
    writers = [Writer(b"w%d" % number) for number in range(CONNECTIONS)]
    try:
        for number in range(rounds):
            one_round(path, seed + 1000 * number, writers, totals)
            checked(path, writers, totals)
            totals.rounds += 1
        with logstore.open(path) as store:
            check_undamaged(store)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, in round {totals.rounds}: {error}") from error
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, 20)
