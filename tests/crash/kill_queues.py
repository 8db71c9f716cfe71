"""Kill a real server with SIGKILL while its queues are in use, and check what they have afterwards.

    python -m tests.crash.kill_queues --rounds 100 [--seed 7]

In each round a client publishes numbered messages with confirms, fetches, acknowledges, requeues
and rejects them, and moves some to another queue, and a topic, by transactions; it waits for little
of that.
After a random number of such steps and a random fraction of a moment the server is killed. Then the
store is opened and read:

    what was confirmed is there, once, until it was acknowledged; what was acknowledged before a
    commit that succeeded never comes back; what has been fetched comes again as redelivered, in its
    place; a rejected message is in its queue or where dead letters go; a commit is whole or absent,
    in the topic as in the queue, and there once; nothing is there that was never sent; and verify
    finds nothing damaged.
"""

import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field

import logstore
from logstore.amqp import methods
from logstore.amqp.properties import Properties
from tests.kit.amqp_wire import Closed, Line
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving

ROUNDS_OF_A_STORE = 25
STEPS_MOST = 40
EXTRA_S = 0.004  # and then at most so long until the server is killed
SIZE_MOST = 30_000  # of a body: some dozens fill the smallest segment of a queue
WORK, DEAD, MOVED = "work", "dead", "moved"
BOTH, TOPIC = "both", "copies"  # the exchange of MOVED and of the topic
PLAIN, IN_COMMITS = 1, 2  # channels
SETTINGS = {"queue_segment_bytes": 1 << 20, "queue_retention_ms": 0}
PERSISTENT = Properties(delivery_mode=2)


@dataclass
class Known:
    """What the client knows of one message: where it may be, and whether it must be there."""

    may: frozenset
    must: bool = False
    fetched: bool = False


@dataclass
class Totals:
    rounds: int = 0
    confirmed: int = 0
    settled: int = 0  # for good
    moved: int = 0  # by commits that succeeded
    left: int = 0  # in the queues at the end

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.confirmed} confirmed, {self.settled} settled for good, "
            f"{self.moved} moved by commits, {self.left} left in queues"
        )


@dataclass
class Round:
    """One life of a server."""

    line: Line
    choose: random.Random
    known: dict  # number -> Known
    totals: Totals
    out: dict = field(default_factory=dict)  # channel -> tag -> number, fetched and not settled
    sent: list = field(default_factory=list)  # numbers, by their tags less 1
    acked: list = field(default_factory=list)  # not known to be synced
    commits: list = field(default_factory=list)  # numbers of each: not known to have succeeded

    def run(self):
        self.out = {PLAIN: {}, IN_COMMITS: {}}
        self.line.tell(PLAIN, methods.ConfirmSelect(False))
        self.line.tell(IN_COMMITS, methods.TxSelect())
        steps = [self.publish] * 4 + [self.fetch] * 3 + [self.settle] * 3
        steps += [self.requeue, self.reject, self.commit, self.commit]
        for _ in range(self.choose.randrange(3, STEPS_MOST)):
            self.choose.choice(steps)()

    def publish(self):
        for _ in range(self.choose.randrange(1, 9)):
            number = len(self.known)
            self.known[number] = Known(frozenset([WORK]))
            self.sent.append(number)
            self._publish(PLAIN, WORK, number)

    def _publish(self, channel, queue, number, exchange=""):
        body = b"%d|" % number + bytes(self.choose.randrange(SIZE_MOST))
        publish = methods.BasicPublish(0, exchange, queue, False, False)
        self.line.tell(channel, publish, PERSISTENT, body)

    def hear(self):
        """Confirms that have come."""
        for tag, taken in self.line.channels[PLAIN].confirms.items():
            number = self.sent[tag - 1]
            if taken and number is not None:
                self.sent[tag - 1] = None
                self.totals.confirmed += 1
                if not self.known[number].fetched:  # else it may be settled by now
                    self.known[number].must = True

    def fetch(self, channel=PLAIN, count=None):
        found = []
        for _ in range(count or self.choose.randrange(1, 9)):
            got = self.line.tell(channel, methods.BasicGet(0, WORK, False))
            if isinstance(got, methods.BasicGetEmpty):
                break
            number = int(got.body.split(b"|")[0])
            known = self.known[number]
            assert WORK in known.may, f"{number} comes from {WORK}, may be in {set(known.may)}"
            if known.fetched:
                assert got.method.redelivered, f"{number} comes as if for the first time"
            known.fetched = known.must = True
            self.out[channel][got.method.delivery_tag] = number
            found.append(number)
        self.hear()
        return found

    def _some(self):
        tags = list(self.out[PLAIN])
        picked = self.choose.sample(tags, min(len(tags), self.choose.randrange(1, 6)))
        return [(tag, self.out[PLAIN].pop(tag)) for tag in picked]

    def settle(self):
        for tag, number in self._some():
            self.known[number].must = False
            self.acked.append(number)
            self.line.tell(PLAIN, methods.BasicAck(tag, False))

    def requeue(self):
        for tag, _ in self._some():
            self.line.tell(PLAIN, methods.BasicReject(tag, True))

    def reject(self):
        for tag, number in self._some():
            self.known[number].may = frozenset([WORK, DEAD])
            self.line.tell(PLAIN, methods.BasicReject(tag, False))

    def commit(self):
        """Move some; what was acknowledged before is synced when it has succeeded."""
        numbers = self.fetch(IN_COMMITS, self.choose.randrange(1, 5))
        self.commits.append(numbers)
        for number in numbers:
            self.known[number].may = frozenset([WORK, MOVED])
            self._publish(IN_COMMITS, MOVED, number, BOTH)
        for tag in self.out[IN_COMMITS]:
            self.line.tell(IN_COMMITS, methods.BasicAck(tag, False))
        self.out[IN_COMMITS] = {}
        earlier = len(self.acked)
        reply = self.line.tell(IN_COMMITS, methods.TxCommit())
        assert not isinstance(reply, Closed), reply
        self.commits.pop()
        self.totals.moved += len(numbers)
        for number in numbers:
            self.known[number].may = frozenset([MOVED])
        for number in self.acked[:earlier]:
            self.known[number].may = frozenset()
            self.totals.settled += 1
        del self.acked[:earlier]

    def drain(self):
        """What the server had sent before it was killed."""
        with suppress(AssertionError, OSError):  # that is its end
            while True:
                self.line._file(*self.line._frame())
        self.hear()


def killed(path, choose, known, totals):
    """A server, used and killed; what is not known of its commits."""
    often = choose.random() < 0.5
    server = Serving(
        path, resp_port=-1, amqp_port=0, upkeep_interval_ms=50 if often else -1, **SETTINGS
    )
    line = Line(server.amqp, channels=(PLAIN, IN_COMMITS))
    one = Round(line, choose, known, totals)
    try:
        one.run()
        steps = choose.sample([one.publish, one.settle, one.reject, one.requeue], 2)
        for step in steps:  # of which nothing is waited for
            step()
        if choose.random() < 0.3:
            line._send(IN_COMMITS, methods.TxCommit())
        time.sleep(choose.uniform(0, EXTRA_S))  # the random moment itself
    finally:
        code, errors = server.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL, errors
    one.drain()
    line.end()
    return one.commits


def contents(path):
    """Of each queue what is ready: numbers in order, and whether redelivered."""
    with logstore.open(path) as store:
        found = {}
        for name in (WORK, DEAD, MOVED):
            messages = []
            while (message := store.queue(name).get()) is not None:
                messages.append((int(message.body.split(b"|")[0]), message.redelivered))
            found[name] = messages
        with store.consumer(TOPIC) as consumer:
            copies = sorted(int(it.value.split(b"|")[0]) for it in consumer)
        check_undamaged(store)
    moved = sorted(number for number, _ in found[MOVED])
    assert copies == moved, f"{MOVED} has {moved}, topic {TOPIC} has {copies}"
    return found


def check(known, commits, found):
    """The law; from then on what is there is what is known."""
    places = {}
    for name, messages in found.items():
        for number, redelivered in messages:
            assert number in known, f"{number} was never sent"
            places.setdefault(number, []).append(name)
            if name == WORK and known[number].fetched:
                assert redelivered, f"{number} comes as if for the first time"
    work = [number for number, _ in found[WORK]]
    assert work == sorted(work), f"not in order: {work}"
    for number, it in known.items():
        there = places.get(number, [])
        assert len(there) <= 1, f"{number} is in {there}"
        assert set(there) <= it.may, f"{number} is in {there}, may be in {set(it.may)}"
        assert there or not it.must, f"{number} is lost: it must be in {set(it.may)}"
    for numbers in commits:
        assert len({places[it][0] for it in numbers}) <= 1, f"half a commit: {numbers}"
    for number, it in known.items():
        it.may = frozenset(places.get(number, ()))
        it.must = bool(it.may)
    for number, _ in found[WORK]:
        known[number].fetched = True


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, known, totals = random.Random(seed), {}, Totals()
    with logstore.open(path) as store:
        store.queue(DEAD)
        store.create_topic(TOPIC, partitions=2)
        store.queue(MOVED).bind(store.exchange(BOTH, "fanout"))
        store.exchange(BOTH).lead(f"topic:{TOPIC}")
        store.queue(WORK, dead_letter_exchange="", dead_letter_routing_key=DEAD)
    for number in range(rounds):
        try:
            commits = killed(path, choose, known, totals)
            if choose.random() < 0.3:  # what was committed comes to the topic by a server
                code, errors = Serving(path, resp_port=-1, amqp_port=0, **SETTINGS).stop()
                assert code == 0, errors
            found = contents(path)
            check(known, commits, found)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
        totals.left = sum(map(len, found.values()))
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, ROUNDS_OF_A_STORE)
