"""Keys over a cluster as clients see them: each database has one owner at a time."""

import signal
from contextlib import ExitStack, closing, suppress

import pytest
import redis
from cluster_nodes import Cluster
from waiting import until

pytestmark = pytest.mark.long

DATABASES = 16


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.stop()


@pytest.fixture
def nodes(cluster):
    return [cluster.node(name) for name in ("a", "b")]


def of(stack, node, database=0):
    return stack.enter_context(closing(redis.Redis(*node.redis, database, socket_timeout=20)))


def serving(clients):
    """Those by which a client reads and writes, once any does."""
    found = []

    def looked():
        found.clear()
        for it in clients:
            with suppress(redis.ResponseError):
                it.get("x")
                found.append(it)
        return found

    until(looked)
    return list(found)


def refusal(client):
    """Why its node does not serve the database; "": it does."""
    try:
        client.get("x")
    except redis.ResponseError as error:
        return str(error)
    return ""


def test_a_database_is_served_by_one_node_and_another_says_which(nodes):
    with ExitStack() as stack:
        clients = [[of(stack, it, n) for it in nodes] for n in range(DATABASES)]
        found = []

        def shared():
            found[:] = [[refusal(it) for it in both] for both in clients]
            served = [[not why for why in both].count(True) for both in found]
            said = ["served by node" in why for both in found for why in both if why]
            if set(served) != {1} or not all(said):
                return False
            return {both.index("") for both in found} == {0, 1}  # the later one has its part, too

        until(shared)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_another_node_takes_over_with_all_that_was_answered(nodes, number):
    with ExitStack() as stack:
        clients = [of(stack, it) for it in nodes]
        until(lambda: len(serving(clients)) == 1)
        [owner] = serving(clients)
        [other] = [it for it in clients if it is not owner]
        for n in range(200):
            owner.set(f"k{n}", n)
        owner.delete("k7")
        owner.set("__owner", "a key as any other")
        owner.rpush("list", *range(100))
        owner.lpop("list")
        owner.expire("k8", 1000)
        node = nodes[clients.index(owner)]
        node.process.send_signal(number)
        node.process.wait(30)
        assert serving([other]) == [other]
        assert other.mget([f"k{n}" for n in range(200)]) == [
            None if n == 7 else b"%d" % n for n in range(200)
        ]
        assert other.get("__owner") == b"a key as any other"
        assert other.lrange("list", 0, -1) == [b"%d" % n for n in range(1, 100)]
        assert 0 < other.ttl("k8") <= 1000
