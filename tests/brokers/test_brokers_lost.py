"""Brokers are killed under load: nothing is lost or there twice, and no queue is moved for it."""

import time
from collections import Counter

import pytest
from amqp_wire import Line
from cluster_load import Load, named
from cluster_seen import journal, messages, owners
from pings import Pings, longest, turns
from serving import resident_bytes

from logstore.amqp import methods
from logstore.amqp.properties import Properties
from logstore.node.roaming import GROUP, JOURNAL

ROLES = {
    "leader": lambda it: it.leader(JOURNAL.name, 0),
    "follower": lambda it: it.follower(JOURNAL.name, 0),
    "controller": lambda it: it.controller(),
    "group coordinator": lambda it: it.group_coordinator(GROUP),
}

ALONE_S = 5.0  # longer than a broker's session
BODY = b"0 flood" + bytes(64 << 10)
FLOOD_BYTES_MAX = 256 << 20  # sockets, and what a node takes before it reads no more
GROWN_BYTES_MAX = 256 << 20
STUCK_S = 3.0


def flood(place, queue):
    """Publish until the node reads no more; how many bytes that were."""
    line, sent = Line(place, channels=(1,)), 0
    line.socket.settimeout(STUCK_S)
    try:
        while sent < FLOOD_BYTES_MAX:
            publish = methods.BasicPublish(0, "", queue, False, False)
            line.tell(1, publish, Properties(delivery_mode=2), BODY)
            sent += len(BODY)
    except TimeoutError:
        pass
    line.socket.close()
    return sent


def check(load, trio, client):
    """What holds whatever was done to the cluster; nothing is sent any more."""
    load.check()
    assert load.known.strange == []
    assert load.known.back(trio.faults) == []
    assert load.known.unmarked(trio.freezes) == []
    assert journal(client).strangers == []


def standing(load, client, admin):
    """What was sent and stands, once; some of what is settled is deleted by now."""
    stands = Counter(messages(client, admin, load.filling))
    assert [it for it, count in stands.items() if count > 1] == []
    return set(stands)


@pytest.mark.parametrize("role", ROLES)
def test_no_queue_moves_for_a_broker_that_is_killed(cluster, trio, connect, admin, figure, role):
    client = connect(direct=True)
    load = Load(trio.places, named(trio, 12))
    try:
        load.wait_until_it_flows()
        before = owners(client, admin)
        killed = ROLES[role](cluster)
        began = time.monotonic()
        killed.kill()
        load.wait_until_it_flows()
        load.wait_until_it_flows()
        confirms, deliveries = load.known.gaps(began, time.monotonic())
        figure(f"{role} killed", f"{max(confirms.values()):.1f} s without confirms of a queue")
        figure(f"{role} killed", f"{max(deliveries.values()):.1f} s without deliveries of a queue")
        cluster.heal()
        load.wait_until_it_flows()
        assert load.drain() == []
    finally:
        load.stop()
    check(load, trio, client)
    standing(load, client, admin)
    assert owners(client, admin) == before


def test_a_node_is_missed_though_its_coordinator_goes_with_it(
    cluster, trio, connect, admin, figure
):
    client = connect(direct=True)
    load = Load(trio.places, named(trio, 12))
    try:
        load.wait_until_it_flows()
        coordinator = cluster.group_coordinator(GROUP)
        began = time.monotonic()
        coordinator.kill()
        trio.kill("b")
        load.wait_until_it_flows()
        _, deliveries = load.known.gaps(began, time.monotonic())
        figure("node and coordinator killed", f"{max(deliveries.values()):.1f} s, of a queue")
        cluster.heal()
        assert load.drain() == []
    finally:
        load.stop()
    check(load, trio, client)
    standing(load, client, admin)


def test_each_record_stands_once_after_two_brokers_were_away(cluster, trio, connect, admin, figure):
    client = connect(direct=True)
    flood_queue, *queues = named(trio, 4)
    load = Load(trio.places, queues, consumers=0)
    try:
        load.wait_until_it_is_confirmed()
        one, other = cluster.leader(JOURNAL.name, 0), cluster.follower(JOURNAL.name, 0)
        one.kill()
        other.kill()
        time.sleep(ALONE_S)  # what was under way is answered, or is not
        began, sizes = time.monotonic(), [resident_bytes(it) for it in trio.nodes.values()]
        before = turns(trio["a"].http)
        with Pings(trio["a"].redis) as pings:
            flooded = flood(trio["a"].amqp, flood_queue)
        grown = resident_bytes(trio["a"]) - sizes[0]
        most_ms, turn_s = max(pings.took_s) * 1000, longest(before, turns(trio["a"].http))
        figure("two brokers killed", f"PING within {most_ms:.0f} ms, turns within {turn_s} s")
        figure("two brokers killed", f"{flooded >> 20} MiB taken, {grown >> 20} MiB more held")
        assert [n for n, it in load.known.all() if (it.confirmed or 0) > began] == []
        assert flooded < FLOOD_BYTES_MAX
        assert grown < GROWN_BYTES_MAX
        cluster.heal()
        load.wait_until_it_is_confirmed()
    finally:
        load.stop()
    check(load, trio, client)
    stands = standing(load, client, admin)
    assert {n for n, it in load.known.all() if it.confirmed is not None} <= stands
