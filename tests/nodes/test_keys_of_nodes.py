"""Keys over a cluster as clients see them: each database has one owner at a time."""

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest
import redis
from cluster_nodes import Cluster
from waiting import until

pytestmark = [pytest.mark.long, pytest.mark.nodes]

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


def shows_owners(clients):
    """Which node serves each database, once each of two has some: WATCH is for that one alone."""
    found = []

    def shared():
        found[:] = [[_watches(it) for it in both] for both in clients]
        one_each = all(sorted(both) == [False, True] for both in found)
        return one_each and {both.index(True) for both in found} == {0, 1}

    until(shared)
    return [both.index(True) for both in found]


def _watches(client):
    with client.pipeline() as pipe, suppress(redis.ResponseError):
        pipe.watch("x")
        return True
    return False


def served(call):
    """What a command gives, once there is a node that serves it."""
    found = []

    def done():
        with suppress(redis.ResponseError):
            found.append(call())
        return found

    until(done)
    return found[0]


def test_any_node_serves_all_databases(nodes):
    with ExitStack() as stack:
        clients = [[of(stack, it, n) for it in nodes] for n in range(DATABASES)]
        owners = shows_owners(clients)
        for database, (both, owner) in enumerate(zip(clients, owners, strict=True)):
            mine, other = both[owner], both[1 - owner]
            served(lambda other=other, database=database: other.set("k", database))
            assert mine.get("k") == b"%d" % database
            mine.incr("k")
            assert other.get("k") == b"%d" % (database + 1)
            with other.pipeline() as pipe:
                pipe.incr("k")
                pipe.rpush("list", "a", "b")
                assert pipe.execute() == [database + 2, 2]
            assert other.blpop("list", 1) == (b"list", b"a")
            with other.pipeline(transaction=False) as pipe:
                for n in range(20):
                    pipe.set(f"p{n}", n)
                assert pipe.execute() == [True] * 20
            assert mine.mget("p0", "p19") == [b"0", b"19"]
        assert served(clients[3][0].flushall)
        assert [both[0].dbsize() for both in clients] == [0] * DATABASES
        lock = clients[0][1 - owners[0]].lock("lock", timeout=100)
        assert lock.acquire()
        assert not clients[0][owners[0]].lock("lock").acquire(blocking=False)
        lock.release()


def test_one_who_waits_at_another_node_gets_what_comes(nodes):
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        clients = [[of(stack, it, n) for it in nodes] for n in range(DATABASES)]
        owner = shows_owners(clients)[0]
        mine, other = clients[0][owner], clients[0][1 - owner]
        waiting = pool.submit(lambda: served(lambda: other.brpop("list", 15)))
        until(lambda: mine.info("clients")["blocked_clients"] == 1)
        mine.lpush("list", "x")
        assert waiting.result(20) == (b"list", b"x")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_another_node_takes_over_with_all_that_was_answered(nodes, number):
    with ExitStack() as stack:
        clients = [[of(stack, it, n) for it in nodes] for n in range(DATABASES)]
        owner = shows_owners(clients)[0]
        mine, other = clients[0][owner], clients[0][1 - owner]
        for n in range(200):
            served(lambda n=n: (mine, other)[n % 2].set(f"k{n}", n))
        mine.delete("k7")
        mine.set("__owner", "a key as any other")
        mine.rpush("list", *range(100))
        mine.lpop("list")
        mine.expire("k8", 1000)
        nodes[owner].process.send_signal(number)
        nodes[owner].process.wait(30)
        assert served(lambda: other.mget([f"k{n}" for n in range(200)])) == [
            None if n == 7 else b"%d" % n for n in range(200)
        ]
        assert other.get("__owner") == b"a key as any other"
        assert other.lrange("list", 0, -1) == [b"%d" % n for n in range(1, 100)]
        assert 0 < other.ttl("k8") <= 1000
