"""Kill a real server with SIGKILL while policies are set and definitions are imported.

    python -m tests.crash.kill_policies --rounds 100 [--seed 7]

In each round a client sets and deletes policies, publishes to queues that they limit, and imports
definitions, by HTTP; at a random moment the server is killed. Then the store is opened and read:

    a policy that was confirmed counts, one whose deletion was confirmed does not, and of one that
    was on its way it is the one or the other; a message that came while nothing limited its time is
    there; definitions that were confirmed are there, and others can be imported again; and verify
    finds nothing damaged.
"""

import json
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import logstore
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving

ROUNDS_OF_A_STORE = 25
STEPS_MOST = 25
EXTRA_S = 0.01  # until the server is killed, at most
SETTINGS = {"queue_segment_bytes": 1 << 20, "queue_retention_ms": 0}
NAMES = ("a", "b", "c")
HOUR_MS = 3_600_000


@dataclass
class Known:
    """What the client knows."""

    policies: dict = field(default_factory=dict)  # name -> all that it may be; None: not there
    timeless: set = field(default_factory=set)  # messages of ``kept``, which no policy limits
    imported: int = 0  # definitions that are confirmed
    tried: int = 0


@dataclass
class Totals:
    rounds: int = 0
    confirmed: int = 0
    in_flight: int = 0  # changes that were on their way when the server was killed

    def __str__(self):
        return f"{self.rounds} rounds: {self.confirmed} confirmed, {self.in_flight} in flight"


def definitions(number):
    return {
        "vhosts": [{"name": "imported"}],
        "exchanges": [{"name": f"x{number}", "vhost": "imported", "type": "topic"}],
        "queues": [{"name": f"q{number}.{n}", "vhost": "imported"} for n in range(5)],
        "bindings": [
            {"source": f"x{number}", "vhost": "imported", "destination": f"q{number}.{n}",
             "destination_type": "queue", "routing_key": "a", "arguments": {}}
            for n in range(5)
        ],
        "policies": [
            {"name": f"p{number}", "vhost": "imported", "pattern": "^q",
             "definition": {"max-length": number + 1}}
        ],
    }  # fmt: skip


class Client:
    def __init__(self, server, known, totals):
        self._base = f"http://{server.http[0]}:{server.http[1]}/api/v1"
        self.known, self.totals = known, totals

    def ask(self, method, path, value=None):
        """Whether it was confirmed."""
        body = None if value is None else json.dumps(value).encode()
        # Anybody, while there are no users; but no page of somebody else's.
        headers = {"Content-Type": "application/json", "Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
        request = urllib.request.Request(f"{self._base}/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
        self.totals.confirmed += 1

    def set(self, choose):
        name = choose.choice(NAMES)
        value = {
            "pattern": choose.choice(["^lim", "^limited$", "x"]), "priority": choose.randrange(3),
            "definition": {"message-ttl": HOUR_MS + choose.randrange(99), "max-length": 100_000},
        }  # fmt: skip
        wanted = json.dumps({**value, "apply_to": "all"}, sort_keys=True)
        self._changes(name, wanted, "PUT", value)

    def delete(self, choose):
        name = choose.choice(NAMES)
        if self.known.policies.get(name, {None}) != {None}:
            self._changes(name, None, "DELETE", None)

    def _changes(self, name, wanted, method, value):
        known = self.known.policies
        known[name] = known.get(name, {None}) | {wanted}
        self.ask(method, f"policies/{name}", value)
        known[name] = {wanted}

    def publish(self, _):
        for queue in ("kept", "limited"):
            number = self.known.tried
            self.known.tried += 1
            properties = {"delivery_mode": 2}
            value = {"key": queue, "body": str(number), "properties": properties}
            self.ask("POST", "exchanges/amq.direct/publish", value)
            if queue == "kept":
                self.known.timeless.add(number)

    def take(self, _):
        number = self.known.imported
        self.ask("POST", "definitions", definitions(number))
        self.known.imported = number + 1

    def run(self, choose):
        steps = [self.set] * 4 + [self.delete] * 2 + [self.publish] * 2 + [self.take]
        for _ in range(choose.randrange(3, STEPS_MOST)):
            choose.choice(steps)(choose)


def killed(path, choose, known, totals):
    server = Serving(path, resp_port=-1, amqp_port=0, http_port=0, **SETTINGS)
    client = Client(server, known, totals)

    def kill():
        time.sleep(choose.uniform(0, EXTRA_S))
        os.kill(server.process.pid, signal.SIGKILL)

    try:
        client.run(choose)
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            for _ in range(1000):  # until it is gone
                choose.choice([client.set, client.delete, client.take])(choose)
        except (OSError, urllib.error.URLError):
            totals.in_flight += 1
        killer.join()
    finally:
        code, errors = server.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL, errors


def check(path, known):
    with logstore.open(path) as store:
        there = {
            it.name: json.dumps(
                {"pattern": it.pattern, "priority": it.priority, "definition": it.definition,
                 "apply_to": it.apply_to}, sort_keys=True
            )
            for it in store.policies()
        }  # fmt: skip
        for name, may in known.policies.items():
            assert there.get(name) in may, f"policy {name}: {there.get(name)} is none of {may}"
            known.policies[name] = {there.get(name)}
        assert there.keys() <= known.policies.keys()
        ready = store.queue("kept").counts().ready
        assert ready >= len(known.timeless), f"{ready} of {len(known.timeless)} are there"
        for number in range(known.imported + 1):
            given = json.dumps(definitions(number)).encode()
            plan = store.import_definitions(given, dry_run=number < known.imported)
            if number < known.imported:
                assert plan.said() == "nothing new", (
                    f"of definitions {number} is gone: {plan.said()}"
                )
        known.imported += 1
        check_undamaged(store)


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, known, totals = random.Random(seed), Known(), Totals()
    with logstore.open(path) as store:
        for name in ("kept", "limited"):
            store.queue(name).bind("amq.direct", name)
    for number in range(rounds):
        try:
            killed(path, choose, known, totals)
            check(path, known)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, ROUNDS_OF_A_STORE)
