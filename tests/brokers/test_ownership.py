"""Nodes that own partitions of a real cluster, by its groups and by their own."""

import threading
import time

import pytest
from clock import NOW_MS
from loop_thread import DEADLINE_S
from tcp_proxy import BOTH

from logstore.cluster import membership
from logstore.cluster.membership import HEARTBEAT, SESSION, Membership, Protocol
from logstore.cluster.ownership import Ownership
from logstore.records.decode import decode
from logstore.records.encode import encode

PARTITIONS = 6


class Found(list):
    """``State``: the values that stand."""

    def apply(self, it):
        self += [record.value for record in decode(it)]


class Node:
    """One, with a client of its own."""

    def __init__(self, name, client, topic, news):
        self.name, self.client, self.news, self.found = name, client, news, {}
        client.call(lambda: self._begin(topic))

    def _begin(self, topic):
        it = self.client
        self.owns = Ownership(
            it.client, it.told, topic, self.name, f"{self.name}:1",
            lambda told: Membership(
                it.brokers, it.around, it.client.random, f"nodes-{topic}", topic, told
            ),
            lambda number: self.found.setdefault(number, Found()),
            lambda: int(time.time() * 1000), lambda number: self.news.set(),
        )  # fmt: skip

    def owned(self):
        return self.client.call(
            lambda: {it for it in range(PARTITIONS) if self.owns.served(it) is not None}
        )

    def append(self, number, value):
        """Its log, and the mark after it."""

        def append():
            taking = self.owns.served(number)
            return taking.log, taking.append(encode([(value, None, (), NOW_MS)])) + 1

        return self.client.call(append)


@pytest.mark.parametrize("way", Protocol)
def test_what_a_node_owned_that_is_gone_others_take_over_with_all_it_had(
    cluster, connect, make_topic, monkeypatch, way
):
    if way is Protocol.CLASSIC:  # shorter than the cluster allows
        monkeypatch.setattr(membership, "WANTED_MS", {SESSION: 3000, HEARTBEAT: 1000})
    topic = make_topic(PARTITIONS)
    news = threading.Event()  # of any node

    def until(met):
        deadline = time.monotonic() + DEADLINE_S
        while not met():
            assert news.wait(max(0, deadline - time.monotonic())), [it.owned() for it in nodes]
            news.clear()

    nodes = [Node(str(it), connect(direct=it > 0), topic, news) for it in range(3)]
    until(lambda: all(len(it.owned()) == 2 for it in nodes))
    assert {it.owns.group.protocol for it in nodes} == {way}
    gone, *left = nodes
    had = gone.owned()
    for number in had:
        log, mark = gone.append(number, b"of 0")
        gone.client.until(log, lambda log=log, mark=mark: log.done >= mark)
    for it in cluster.proxies:
        it.hold(*BOTH)
    until(lambda: {n for it in left for n in it.owned()} == set(range(PARTITIONS)))
    assert all(it.found[n] == [b"of 0"] for it in left for n in had & it.owned())
    assert gone.owned() == had  # nobody has told it
    late = [gone.append(number, b"late") for number in had]
    for it in cluster.proxies:
        it.heal()
    until(lambda: all(len(it.owned()) == 2 for it in nodes))
    assert all(log.done < mark for log, mark in late)
    for it in nodes:
        for number in it.owned():
            assert b"late" not in it.found.get(number, ())
    gone.client.call(lambda: gone.owns.stop(lambda: None))
    until(lambda: {n for it in left for n in it.owned()} == set(range(PARTITIONS)))
