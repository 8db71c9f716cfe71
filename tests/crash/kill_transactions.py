"""Kill, pause and restart a real server while Kafka clients have transactions, and check what came
of them by the histories of all clients.

    python -m tests.crash.kill_transactions --rounds 50 [--seed 7]

Transactions of sends by librdkafka, aiokafka and kafka-python, a group of two that consumes,
transforms and produces, AMQP's transactions of messages to topics, readers of committed records and
of all. They stay while the server is killed, stopped, or paused for longer than a transaction may
take, and while others take their transactional ids. Then, with all transactions at an end,
everything is read, and nothing of what ``tests.histories.findings`` looks for may be found.
"""

import random
import signal
import tempfile
import time
from dataclasses import dataclass

import logstore
from tests.histories import confluent
from tests.histories.confluent import TRANSACTION_MS, Reader, Sender, Worker
from tests.histories.findings import findings
from tests.histories.held import Amqp
from tests.histories.history import History, Outcome
from tests.histories.others import Aio, Python
from tests.histories.recorder import Recorder
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving
from tests.kit.waiting import until

ROUNDS_OF_A_STORE = 10  # all that was ever sent is checked at their end
INPUTS = [("in", 0), ("in", 1)]
OUTPUTS = [("out", 0), ("out", 1), ("out", 2)]
HELD = [("held-0", 0), ("held-1", 0), ("held-2", 0)]  # AMQP's alone, by exchanges of these names
PLACES = INPUTS + OUTPUTS + HELD
GROUP = "workers"
SHOWN = 20  # findings
QUIET_MOST_S = 2  # without anybody who commits
EXTRA_S = 0.004  # and then at most so long
GOES_ON_WITHIN_S = 60  # each client, once the server is left alone
SETTINGS = {"recovery_bytes": 1 << 16}
SEGMENTS = {"segment.bytes": "20000", "index.interval.bytes": "1000"}  # many kills hit a roll
FAULTS = {"kill": 5, "pause": 2, "zombie": 2, "stop": 1}  # how often, by comparison


@dataclass
class Totals:
    rounds: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0  # transactions of which nobody was told
    read: int = 0

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.ok} transactions committed, {self.failed} aborted, "
            f"{self.unknown} of unknown end, {self.read} records read"
        )


def prepare(path):
    with logstore.open(path) as store:
        for topic, places in (("in", INPUTS), ("out", OUTPUTS)):
            store.create_topic(topic, len(places), SEGMENTS)
        for topic, _ in HELD:
            store.create_topic(topic, settings=SEGMENTS)
            store.exchange(topic, "x-topic")


class Crowd:
    """All clients."""

    def __init__(self, address, amqp, choose):
        self.address, self.choose, self.recorder = address, choose, Recorder()
        self.clients, self.zombies = [], 0
        for name, places in (("feeder", INPUTS), ("sender", OUTPUTS), ("both", INPUTS + OUTPUTS)):
            self.add(Sender, name, places)
        for number in range(2):
            self.add(Worker, f"worker-{number}", OUTPUTS, GROUP, "in")
        self.add(Aio, "aio", OUTPUTS)
        self.add(Python, "python", OUTPUTS)
        for number in range(2):
            self.add(Amqp, f"amqp-{number}", HELD, address=amqp)
        self.add(Reader, "committed", PLACES, True)
        self.add(Reader, "all", PLACES, False)

    def add(self, kind, name, *more, address=None):
        choose = random.Random(self.choose.random())
        client = kind(name, self.recorder, choose, address or self.address, *more)
        self.clients.append(client)
        client.start()

    def zombie(self):
        """Another one with the id of one that is at work."""
        self.zombies += 1
        victim = self.choose.choice(["feeder", "sender", "both"])
        self.add(Sender, f"zombie-{self.zombies}", OUTPUTS, victim)

    def banish(self):
        for it in [it for it in self.clients if it.name.startswith("zombie")]:
            it.stop()
            self.clients.remove(it)

    def check_that_all_go_on(self):
        writing = {it.name: it for it in self.clients if not isinstance(it, Reader)}
        for name in self.recorder.wait_for_commits(writing, GOES_ON_WITHIN_S):
            raise AssertionError(f"{name} commits nothing any more: {writing[name].where()}")

    def stop(self):
        for it in self.clients:
            it.stopping.set()
        for it in self.clients:
            it.stop()


class Trial:
    """One server, life after life, and its clients."""

    def __init__(self, path, choose):
        self.path, self.choose = path, choose
        self.faults = []  # when, and which
        self.server = self.serve(0, 0)
        self.ports = self.server.endpoint[1], self.server.amqp[1]
        self.crowd = Crowd(self.server.address, self.server.amqp, choose)

    def serve(self, port, amqp_port):
        return Serving(self.path, port=port, resp_port=-1, amqp_port=amqp_port, **SETTINGS)

    def end_life(self, number):
        code, errors = self.server.stop(number)
        assert code == (0 if number == signal.SIGTERM else -number), errors
        assert "Traceback" not in errors, errors

    def round(self):
        time.sleep(self.choose.uniform(0.3, 2))  # the random moment itself
        if self.choose.random() < 0.7:  # rather, a random one while something commits
            self.crowd.recorder.wait_for_a_commit(QUIET_MOST_S)
            time.sleep(self.choose.uniform(0, EXTRA_S))
        (fault,) = self.choose.choices(list(FAULTS), FAULTS.values())
        self.faults.append(f"{time.monotonic():.4f} {fault}")
        if fault == "zombie":
            self.crowd.zombie()
        elif fault == "pause":
            self.server.process.send_signal(signal.SIGSTOP)
            time.sleep(self.choose.uniform(0.2, 1.5) * TRANSACTION_MS / 1000)
            self.server.process.send_signal(signal.SIGCONT)
        else:
            self.end_life(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
            time.sleep(self.choose.choice([0, 0, 0.5]))
            self.server = self.serve(*self.ports)
        if self.choose.random() < 0.5:
            self.crowd.banish()

    def history(self):
        """Of all clients, once they and their transactions have come to an end."""
        self.crowd.banish()
        self.crowd.check_that_all_go_on()
        self.crowd.stop()
        address = self.server.address
        until(
            lambda: confluent.ends(address, PLACES, True) == confluent.ends(address, PLACES, False),
            complain=lambda: "a transaction does not come to an end",
        )
        last = {place: confluent.all_committed(address, place) for place in PLACES}
        stands = confluent.stands(address, GROUP, INPUTS)
        groups = {(GROUP, place): offset for place, offset in stands.items()}
        return History(tuple(self.crowd.recorder.operations), last, groups)


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when something is found; the seed tells which."""
    choose = random.Random(seed)
    prepare(path)
    trial = Trial(path, choose)
    try:
        for _ in range(rounds):
            trial.round()
        history = trial.history()
    finally:
        trial.end_life(signal.SIGTERM)
    found = findings(history) + findings(history.only(HELD), held=True)
    if found:
        shown = "\n".join(map(str, found[:SHOWN]))
        kept = keep(history, trial)
        raise AssertionError(f"seed {seed}: {len(found)} findings, all of it in {kept}\n{shown}")
    with logstore.open(path) as store:
        check_undamaged(store)
    return totals(rounds, history)


def keep(history, trial):
    """For whoever wants to know what was wrong."""
    by_time = sorted(history.operations, key=lambda it: it.begun)
    lines = [*map(str, by_time), *(f"the last of {it}" for it in history.last.items())]
    with tempfile.NamedTemporaryFile("w", suffix=".history", delete=False) as file:
        file.writelines(f"{it}\n" for it in (*lines, history.groups, *trial.faults))
    return file.name


def totals(rounds, history):
    ends = [it.outcome for it in history.operations if it.asked is not None]
    read = sum(len(poll.read) for it in history.operations for poll in it.polls())
    counted = [ends.count(it) for it in (Outcome.OK, Outcome.FAIL, Outcome.INFO)]
    return Totals(rounds, *counted, read)


if __name__ == "__main__":
    begin(__doc__, run, 50, ROUNDS_OF_A_STORE)
