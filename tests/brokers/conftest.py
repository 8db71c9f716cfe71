"""One cluster for all tests here; each finds it whole, whatever the one before has done to it."""

import itertools
import os
from collections import Counter
from contextlib import ExitStack

import pytest
from cluster_client import ClusterClient
from cluster_nodes import Trio
from cluster_seen import owners
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_cluster import KafkaCluster
from waiting import until

from logstore.node.roaming import JOURNAL

_numbers = itertools.count()
HISTORIES = '[[channel]]\npattern = "kept-*"\nhistory = "1h"\n'


def pytest_collection_modifyitems(items):
    for it in items:
        if "brokers" in it.path.parts:
            it.add_marker("brokers")


@pytest.fixture(scope="session")
def brokers(tmp_path_factory):
    running = KafkaCluster(tmp_path_factory.mktemp("kafka"))
    yield running
    running.close()


@pytest.fixture
def cluster(brokers):
    yield brokers
    brokers.heal()


@pytest.fixture(scope="session")
def admin(brokers):
    """librdkafka's."""
    return AdminClient({"bootstrap.servers": brokers.address, "log_level": 0})


@pytest.fixture
def make_topic(cluster, admin):
    """make_topic(partitions, **config) -> the name of a new topic of three replicas, in sync."""

    def make(partitions=1, name=None, **config):
        name = name or f"topic-{next(_numbers)}"
        config = {"retention_ms": -1} | config  # records of tests are old
        config = {key.replace("_", "."): str(it) for key, it in config.items()}
        [done] = admin.create_topics([NewTopic(name, partitions, 3, config=config)]).values()
        done.result()
        cluster.wait_in_sync()
        return name

    return make


@pytest.fixture
def connect(cluster):
    """connect() -> a client of our own, by the proxies; ``direct``: without; ``rack``: its own."""
    with ExitStack() as stack:

        def client(direct=False, rack=""):
            addresses = cluster.endpoints if direct else cluster.proxied
            made = ClusterClient(addresses, next(_numbers), rack)
            stack.callback(made.close)
            return made

        yield client


@pytest.fixture
def trio(cluster, connect, admin, tmp_path):
    """Three nodes, each of which owns its share."""
    client = connect(direct=True)
    before = {node for node, _ in owners(client, admin).values()}
    made = Trio(tmp_path, cluster, config=HISTORIES)

    def shares():
        return Counter(node for node, _ in owners(client, admin).values() if node not in before)

    try:
        until(lambda: set(shares().values()) == {JOURNAL.partitions // 3}, complain=shares)
        yield made
    finally:
        made.close()


@pytest.fixture
def figure(capsys):
    """figure(of what, what was measured): told, with how busy the machine is, and not tested."""

    def tell(what, found):
        with capsys.disabled():
            print(f"\n{what}: {found} (load {os.getloadavg()[0]:.0f})", flush=True)

    return tell
