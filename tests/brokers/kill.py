"""Kill nodes and brokers of a cluster again and again under load, and check what clients saw.

    PYTHONPATH=tests/kit python -m tests.brokers.kill --rounds 20 [--seed 7] [--keep DIR]

In each round clients of RabbitMQ publish numbered messages with confirms to queues, and consume,
fetch and acknowledge them, or give them back, and clients of Redis publish to channels with
histories, and listen, through all of three nodes over three real brokers. Meanwhile nodes are
killed, frozen and thawed, and ended, and brokers killed, and one node is cut off from all brokers
in either direction or both, at random moments and in random order; two nodes may be away at one
time, and one broker. Then all run again, what is left is consumed, and the laws are checked:

    what was confirmed is delivered until it is settled; what was acknowledged comes again only if
    it was under way when a node was lost, and then as redelivered; no record stands twice; no
    record of a fenced owner stands above a claim; each channel has one order, at all nodes and for
    all who have listened, in which all that was taken stands once.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path
from urllib.request import urlopen

from cluster_client import ClusterClient
from cluster_load import Load, named
from cluster_nodes import CUT_OFF, Trio
from cluster_seen import journal, messages, owners
from confluent_kafka.admin import AdminClient
from history_load import HistoryLoad
from kafka_cluster import KafkaCluster
from tcp_proxy import BOTH, DOWN, UP

FAULTS = 12  # of a round
QUEUES = 12
STALL_S = 12.0  # after a broker was killed; what is acknowledged meanwhile is under way
AWAY_S = (0.5, 12.0)
BETWEEN_S = (0.2, 5.0)
HISTORIES = '[[channel]]\npattern = "kept-*"\nhistory = "1h"\n'


class Storm:
    """What is done to a cluster in one round."""

    def __init__(self, choose, brokers, trio):
        self._choose, self._brokers, self._trio = choose, brokers, trio
        self._undo = []  # (when, what is called)
        self.done = []
        self._broken_at = None
        self._cut = False

    def run(self):
        for _ in range(FAULTS):
            self._strike()
            self._wait(self._choose.uniform(*BETWEEN_S))
        self._wait(float("inf"))

    def _wait(self, seconds):
        until = time.monotonic() + seconds
        while self._undo:
            when, call = min(self._undo, key=lambda it: it[0])
            if when > until:
                break
            time.sleep(max(0, when - time.monotonic()))
            self._undo.remove((when, call))
            call()
        if self._undo or seconds < float("inf"):
            time.sleep(max(0, until - time.monotonic()))

    def _strike(self):
        trio, choose = self._trio, self._choose
        acts = []
        running = trio.running()
        if len(running) > 1:
            acts += [(act, it) for it in running for act in (trio.kill, trio.freeze, trio.end)]
        brokers = list(self._brokers.brokers.values())
        if CUT_OFF in running and len(running) > 1 and not self._cut:
            acts += [(self._cut_off, it) for it in (BOTH, (UP,), (DOWN,))]
        if all(it.runs for it in brokers):
            acts += [(self._kill_broker, it) for it in brokers]
        if not acts:
            return
        act, it = choose.choice(acts)
        self.done.append(f"{act.__name__} {getattr(it, 'number', it)}")
        if self._broken_at is not None and time.monotonic() - self._broken_at < STALL_S:
            trio.stalled_since = self._broken_at
        else:
            trio.stalled_since = None
        act(it)
        undo = {self._cut_off: self._mend, trio.freeze: trio.thaw}
        undo |= {trio.kill: self._begin, trio.end: self._begin}
        back = undo.get(act, lambda it: it.runs or it.start())
        self._undo.append((time.monotonic() + choose.uniform(*AWAY_S), lambda: back(it)))

    def _cut_off(self, ways):
        self._cut = True
        self._trio.cut(ways)

    def _mend(self, ways=BOTH):
        if self._cut:
            self._cut = False
            self._trio.mend()

    def _begin(self, name):
        if name == CUT_OFF:
            self._mend()
        # A node may wait for the only broker that was in sync, which is about to come back.
        for it in self._brokers.brokers.values():
            if not it.runs:
                it.start()
        self._trio.begin(name)

    def _kill_broker(self, broker):
        self._broken_at = time.monotonic()
        broker.kill()


def _shown(node, queues):
    """What a node knows of the queues: the lanes of those that it owns, and their consumers."""
    host, port = node.http
    for name in queues:
        with urlopen(f"http://{host}:{port}/api/v1/queues/{name}") as answer:
            it = json.load(answer)
        yield name, {key: it.get(key) for key in ("lanes", "ready", "unacked", "consumers")}


def run_round(choose, brokers, trio, client, admin):
    """What was found, in a line."""
    queues, histories = (
        Load(trio.places, named(trio, QUEUES), publishers=6, pause_s=0, mixed=True),
        HistoryLoad(trio.redis_places),
    )
    storm = Storm(choose, brokers, trio)
    began = time.monotonic()
    try:
        queues.wait_until_it_flows()
        storm.run()
        brokers.heal()
        queues.wait_until_it_flows()
        missing = queues.drain(120)
        assert not missing, f"{len(missing)} messages are missing: {missing[:5]}"
    except AssertionError:
        print(f"  owners of the journal: {owners(client, admin)}")
        for name, node in trio.nodes.items():
            print(f"  node {name} shows {list(_shown(node, queues.queues))}, and said:")
            print(node.errors())
        raise
    finally:
        print("  " + ", ".join(storm.done), flush=True)
        histories.over.set()
        queues.stop()
        histories.stop()
    queues.check()
    known = queues.known
    assert not known.strange, known.strange[:5]
    for what, found in (
        ("acknowledged", known.back(trio.faults)),
        ("unmarked", known.unmarked(trio.freezes)),
    ):
        first = trio.faults[:1] and min(it.begin for it in trio.faults)
        assert not found, f"{len(found)} come again, {what}: {found[:3]} {first} {trio.faults}"
    assert not journal(client).strangers
    twice = [it for it, n in Counter(messages(client, admin, queues.filling)).items() if n > 1]
    assert not twice, f"{len(twice)} records stand twice: {twice[:5]}"
    length = histories.check([it.redis for it in trio.nodes.values()])
    again = sum(len(it.deliveries) > 1 for _, it in known.all())
    confirmed = sum(it.confirmed is not None for _, it in known.all())
    return (
        f"{time.monotonic() - began:.0f} s, {len(storm.done)} faults: {confirmed} of "
        f"{len(known.messages)} confirmed, {queues.nacked} refused, {again} came again, "
        f"{length} in channels"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, help="where the files of nodes and brokers stay")
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}, {given.rounds} rounds", flush=True)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # connections are lost all the time
    scratch = nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory()
    with scratch as folder, closing(KafkaCluster(Path(folder))) as brokers:
        admin = AdminClient({"bootstrap.servers": brokers.address, "log_level": 0})
        for number in range(given.rounds):
            choose = random.Random(seed + number)
            path = Path(folder) / f"round-{number}"
            path.mkdir()
            print(f"round {number}, seed {seed + number}", flush=True)
            with (
                closing(Trio(path, brokers, config=HISTORIES)) as trio,
                closing(ClusterClient(brokers.endpoints, number)) as client,
            ):
                print("  " + run_round(choose, brokers, trio, client, admin), flush=True)


if __name__ == "__main__":
    sys.exit(main())
