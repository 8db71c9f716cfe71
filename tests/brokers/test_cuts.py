"""Connections between a node and brokers are cut, held, slow: appends and readers go on."""

import itertools

import pytest
from tcp_proxy import BOTH, DOWN, UP

COUNT = 300


@pytest.fixture
def both(make_topic, connect):
    """A log that is appended to, and the same one that another client reads."""
    topic = make_topic()
    writer, reader = connect(), connect()
    return (writer, writer.log(topic)), (reader, reader.log(topic))


def append(both, count, numbers):
    (client, log), _ = both
    for _ in range(count):
        client.append(log, b"%d" % next(numbers))


def all_is_there(both, count):
    expected = [b"%d" % it for it in range(count)]
    for client, log in both:
        client.until(log, lambda log=log: log.safe == count)
        assert client.read_all(log) == expected
    (client, log), _ = both
    client.until(log, lambda: log.done == count)
    assert [log.offset_of(it) for it in range(count)] == list(range(count))


def test_connections_that_are_lost_again_and_again(cluster, both):
    numbers = itertools.count()
    (client, log), _ = both
    for _ in range(10):
        append(both, 30, numbers)
        for it in cluster.proxies:
            it.drop()
        done = log.done
        client.until(log, lambda done=done: log.done > done)
    all_is_there(both, 300)


@pytest.mark.parametrize("ways", [(UP,), (DOWN,), BOTH], ids=["up", "down", "both"])
def test_a_leader_that_hears_or_says_nothing_until_its_connections_are_lost(
    cluster, both, connect, ways
):
    """What it was sent may stand there, and not be told of."""
    numbers = itertools.count()
    (client, log), _ = both
    append(both, COUNT, numbers)
    client.until(log, lambda: log.done == COUNT)
    leader = cluster.proxy(cluster.leader(log.place[0]).number)
    leader.hold(*ways)
    append(both, 5, numbers)
    if ways == (DOWN,):
        direct = connect(direct=True)
        it = direct.log(log.place[0])
        direct.until(it, lambda: it.safe == COUNT + 5)
    assert log.done == COUNT
    leader.cut()
    append(both, COUNT - 5, numbers)
    leader.heal()
    all_is_there(both, 2 * COUNT)


def test_a_leader_that_cannot_be_reached_for_a_while(cluster, both):
    numbers = itertools.count()
    (_, log), _ = both
    leader = cluster.proxy(cluster.leader(log.place[0]).number)
    append(both, COUNT, numbers)
    leader.cut()
    append(both, COUNT, numbers)
    leader.heal()
    all_is_there(both, 2 * COUNT)


def test_bytes_that_come_late_and_slowly(cluster, both):
    numbers = itertools.count()
    for it in cluster.proxies:
        it.late(0.01, 0.002, *BOTH)
        it.slow(200_000, *BOTH)
    append(both, COUNT, numbers)
    all_is_there(both, COUNT)
