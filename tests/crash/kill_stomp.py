"""Kill a real server with SIGKILL while a STOMP client is at it, and check what is there.

    python -m tests.crash.kill_stomp --rounds 100 [--seed 7]

In each round a client sends numbered messages, acknowledges some that it gets, and has transactions
that send to two queues and acknowledge what came from a third; some frames ask for a receipt. Then
the server is killed at a random moment, and the store is opened and read:

    what was sent before a frame that has its receipt is there, in order, once, until it has been
    acknowledged; what was acknowledged with a receipt is gone; all of a transaction has happened,
    or nothing of it, and all of it once its COMMIT has its receipt; verify finds nothing damaged.
"""

import random
import signal
import socket
import time
from dataclasses import dataclass, field

import logstore
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving
from tests.kit.stomp_wire import frame, said

ROUNDS_OF_A_STORE = 25
STEPS_MOST = 30
EXTRA_S = 0.004
SIZE_MOST = 30_000
WAIT_S = 30
SETTINGS = {"queue_segment_bytes": 1 << 20, "queue_retention_ms": 0}
PLAIN, ONE, TWO = "a", "x", "y"  # queues: of plain messages, and of transactions


@dataclass
class Together:
    """A transaction."""

    numbers: list  # a message in each of the two queues for each of these
    acked: list  # of the plain queue
    kept: set = field(default_factory=set)  # of these: what must be there if nothing has happened
    done: bool = False  # it has its receipt
    never: bool = False  # it was aborted, or not ended


@dataclass
class Known:
    """What is there, or may be; over all rounds."""

    next: int = 0
    may: set = field(default_factory=set)  # of the plain queue, by number
    must: set = field(default_factory=set)
    gone: set = field(default_factory=set)
    together: list = field(default_factory=list)

    def number(self):
        self.next += 1
        return self.next


@dataclass
class Totals:
    rounds: int = 0
    safe: int = 0  # messages whose receipt has come
    gone: int = 0  # acknowledgements whose receipt has
    commits: int = 0
    left: int = 0

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.safe} messages and {self.gone} acknowledgements with "
            f"their receipts, {self.commits} commits, {self.left} messages left"
        )


class Line:
    """A connection."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, WAIT_S)
        self.raw = b""
        self.receipts, self.messages = set(), []
        self.sock.sendall(frame("CONNECT", {"accept-version": "1.2", "host": "/"}))

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def read(self):
        """What has come; whether it goes on."""
        try:
            part = self.sock.recv(1 << 18)
        except ConnectionError:
            part = b""
        self.raw += part
        upto = self.raw.rfind(b"\0") + 1  # no body of these has one
        for it in said(self.raw[:upto], "1.2"):
            assert it.command != "ERROR", it
            if it.command == "RECEIPT":
                self.receipts.add(it["receipt-id"])
            elif it.command == "MESSAGE":
                self.messages.append(it)
        self.raw = self.raw[upto:]
        return bool(part)

    def wait(self, receipt):
        while receipt not in self.receipts:
            assert self.read(), "it ended"


class Round:
    """One life of a server."""

    def __init__(self, server, choose, known, totals):
        self.choose, self.known, self.totals = choose, known, totals
        self.line = Line(server.stomp)
        self.asked = {}  # receipt -> what to do once it has come
        self.unsaid = []  # numbers that were sent since the last receipt was asked for
        self.serial = 0
        self.line.send(frame("SUBSCRIBE", {
            "destination": f"/queue/{PLAIN}", "id": "0", "ack": "client-individual",
        }))  # fmt: skip

    def run(self):
        steps = [self.publish] * 4 + [self.acknowledge] * 3 + [self.transact] * 3 + [self.hear]
        for _ in range(self.choose.randrange(3, STEPS_MOST)):
            self.choose.choice(steps)()

    def receipt(self, then):
        self.serial += 1
        name = f"r{self.serial}"
        self.asked[name] = then
        return {"receipt": name}

    def body(self, number):
        return b"%d|" % number + b"x" * self.choose.randrange(SIZE_MOST)

    def sending(self, queue, number, **headers):
        return frame("SEND", {"destination": f"/queue/{queue}", **headers}, self.body(number))

    def publish(self):
        frames = []
        for _ in range(self.choose.randrange(1, 9)):
            number = self.known.number()
            self.known.may.add(number)
            self.unsaid.append(number)
            frames.append((PLAIN, number))
        asks = self.asks() if self.choose.random() < 0.5 else {}
        last = len(frames) - 1
        self.line.send(*[
            self.sending(queue, number, **(asks if n == last else {}))
            for n, (queue, number) in enumerate(frames)
        ])  # fmt: skip

    def asks(self):
        """A receipt for all that was sent so far."""
        those, self.unsaid = self.unsaid, []

        def safe():
            self.totals.safe += len(those)
            self.known.must |= {it for it in those if it in self.known.may}

        return self.receipt(safe)

    def some(self):
        """Messages that have come and are to be acknowledged now."""
        count = min(len(self.line.messages), self.choose.randrange(1, 5))
        found = self.choose.sample(self.line.messages, count)
        for it in found:
            self.line.messages.remove(it)
        return [(it["ack"], int(it.body.split(b"|")[0])) for it in found]

    def acknowledge(self):
        for id, number in self.some():
            self.known.must.discard(number)

            def gone(number=number):
                self.totals.gone += 1
                self.known.gone.add(number)

            asks = self.receipt(gone) if self.choose.random() < 0.5 else {}
            self.line.send(frame("ACK", {"id": id, **asks}))

    def transact(self):
        self.serial += 1
        within = {"transaction": f"t{self.serial}"}
        its = Together([self.known.number() for _ in range(self.choose.randrange(1, 4))], [])
        self.known.together.append(its)
        frames = [frame("BEGIN", within)]
        for number in its.numbers:
            frames += self.sending(ONE, number, **within), self.sending(TWO, number, **within)
        end = self.choose.random()
        its.never = end < 0.2
        acks = self.some() if not its.never else []
        for id, number in acks:
            its.acked.append(number)
            if number in self.known.must:
                self.known.must.discard(number)
                its.kept.add(number)
            frames.append(frame("ACK", {"id": id, **within}))
        if end < 0.1:
            frames.append(frame("ABORT", within))
        elif not its.never:
            frames.append(frame("COMMIT", {**within, **self.receipt(lambda: self.happened(its))}))
        self.line.send(*frames)

    def happened(self, its):
        its.done = True
        self.totals.commits += 1

    def hear(self):
        """What has come, up to now."""
        asks = self.asks()
        self.line.send(frame("SEND", {"destination": "/topic/nobody", **asks}))
        self.line.wait(asks["receipt"])
        self.told()

    def told(self):
        for name in [it for it in self.asked if it in self.line.receipts]:
            self.asked.pop(name)()

    def drain(self):
        """What the server had sent before it was killed."""
        while self.line.read():
            pass
        self.line.sock.close()
        self.told()


def killed(path, choose, known, totals):
    often = choose.random() < 0.5
    server = Serving(
        path, resp_port=-1, stomp_port=0, upkeep_interval_ms=50 if often else -1, **SETTINGS
    )
    try:
        one = Round(server, choose, known, totals)
        one.run()
        for step in choose.sample([one.publish, one.acknowledge, one.transact], 2):
            step()  # of which nothing is waited for
        time.sleep(choose.uniform(0, EXTRA_S))  # the random moment itself
    finally:
        code, errors = server.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL, errors
    assert "Traceback" not in errors, errors
    one.drain()


def contents(path):
    """The numbers in each queue, in its order."""
    with logstore.open(path) as store:
        found = {PLAIN: [], ONE: [], TWO: []}
        there = set(store.queues())
        for name, numbers in found.items():
            if name not in there:
                continue
            queue = store.queue(name)
            while (message := queue.get()) is not None:  # what is not acknowledged comes back
                numbers.append(int(message.body.split(b"|")[0]))
        check_undamaged(store)
    return found


def check(known, found):
    """The law; from then on what is there is what is known."""
    for name, numbers in found.items():
        assert numbers == sorted(set(numbers)), f"{name}: not in order, or twice: {numbers}"
    plain, one, two = (set(it) for it in found.values())
    assert not known.must - plain, f"lost: {sorted(known.must - plain)}"
    assert plain <= known.may, f"never sent: {sorted(plain - known.may)}"
    assert not plain & known.gone, f"acknowledged, and there: {sorted(plain & known.gone)}"
    for its in known.together:
        numbers = set(its.numbers)
        assert (numbers & one) in (set(), numbers), f"half of {its}: {numbers & one}"
        assert numbers & one == numbers & two, f"in one queue alone: {its}"
        happened = bool(numbers & one)
        assert happened or not its.done, f"lost: {its}"
        assert not happened or not its.never, f"aborted, and there: {its}"
        left = set(its.acked) & plain
        assert not happened or not left, f"{its} happened, and {left} is there"
        assert happened or its.kept <= plain, f"{its} has not happened, and its acks have"
        its.done, its.never = happened, not happened
        its.kept = set()
        if not happened:
            its.acked = []  # they came back, and may be acknowledged again
    known.may, known.must = plain, set(plain)


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, totals, known = random.Random(seed), Totals(), Known()
    for number in range(rounds):
        try:
            killed(path, choose, known, totals)
            found = contents(path)
            check(known, found)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
        totals.left = sum(map(len, found.values()))
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, ROUNDS_OF_A_STORE)
