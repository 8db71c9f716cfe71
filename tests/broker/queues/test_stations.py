"""Stations: exchanges that keep what reaches them, beside queues that get the same messages."""

import pytest
from queue_parts import Channel

from logstore.broker.queues import stations
from logstore.broker.queues.station import Parcel
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing import exchange_types
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.key_matchers import Fanout
from logstore.errors import StorageFull


class Halting(Fanout):
    """Messages whose key begins with ``!`` end at its station."""

    by_key = True

    def stops(self, keys, properties):
        return keys[0].startswith(b"!")


class Keeping:
    def __init__(self, home):
        self.home = home
        self.number = home.number
        self.gone = False
        self.parcels = []
        self.refused = set()
        self.unrouted = set()
        self.held = []

    def take(self, parcel, intake):
        assert isinstance(parcel, Parcel)
        keys = list(parcel.keys)
        intake.refuse({keys.index(it) for it in self.refused & set(keys)}, StorageFull("full"))
        intake.unrouted |= {keys.index(it) for it in self.unrouted & set(keys)}
        intake.lasting |= set(range(len(keys)))
        self.parcels.append([*zip(keys, parcel.bodies, strict=True)])
        self.held.append(intake.held)

    def drop(self):
        self.gone = True


@pytest.fixture(autouse=True)
def halting(monkeypatch):
    monkeypatch.setitem(exchange_types.BUILT_IN, "x-halt", Halting)
    monkeypatch.setitem(stations.MAKERS, "x-halt", Keeping)


@pytest.fixture
def kept(node):
    node.exchange(b"stop", "x-halt")
    return node.vhost.topology.station(b"stop")


def test_a_message_ends_at_the_station_of_its_exchange(node, kept):
    published = node.publish(b"!k", b"1", b"2", exchange=b"stop")
    assert kept.parcels == [[(b"!k", b"1"), (b"!k", b"2")]]
    assert (published.unrouted, published.rejected) == ([], [])


def test_what_does_not_end_there_goes_on(node, kept):
    node.declare(b"q")
    node.bind(b"stop", b"q")
    node.publish(b"k", b"1", exchange=b"stop")
    assert (kept.parcels, node.bodies(b"q")) == ([], [b"1"])


def test_queues_and_stations_get_each_their_own_of_one_run(node, kept):
    node.exchange(b"all", "topic")
    node.declare(b"q")
    node.bind(b"all", b"q", b"#")
    pending = node.vhost.bind(Binding(b"all", b"stop", b"!.*", kind="exchange"))
    node.run(until=lambda: pending.done)
    messages = [(b"a", b"1"), (b"!.b", b"2"), (b"c", b"3"), (b"!.d", b"4")]
    published = node.publish_each(messages, exchange=b"all")
    assert published.unrouted == []
    assert kept.parcels == [[(b"!.b", b"2"), (b"!.d", b"4")]]
    assert node.bodies(b"q") == [b"1", b"2", b"3", b"4"]


def test_what_a_station_refuses_is_rejected_by_its_number_in_the_run(node, kept):
    kept.refused = {b"!b"}
    kept.unrouted = {b"!c"}
    messages = [(b"k", b"0"), (b"!a", b"1"), (b"!b", b"2"), (b"!c", b"3")]
    published = node.publish_each(messages, exchange=b"stop")
    assert (published.unrouted, published.rejected) == ([0, 3], [2])
    assert isinstance(published.error, StorageFull)


def test_a_transaction_is_told_to_the_station(node, kept):
    held = Transaction()
    message = node.message(b"!k", b"1", exchange=b"stop")
    published = node.vhost.publish([(node.vhost.route(message), message)], held)
    assert kept.held == [held]
    assert set(published.lasting) == {0}


def test_onward_passes_the_station_that_has_had_the_message(node, kept):
    node.declare(b"q")
    node.bind(b"stop", b"q")
    (queue,) = node.vhost.topology.onward(b"stop", [b"!k"])
    assert queue.facts.name == b"q"


def test_a_deleted_exchange_drops_its_station_and_routes_to_it_end(node, kept):
    node.publish(b"!k", b"1", exchange=b"stop")
    number = kept.number()
    node.run(until=lambda: node.vhost.delete_exchange(b"stop") is not None)
    assert kept.gone
    assert node.vhost.topology.stations == 0
    node.exchange(b"stop", "x-halt")
    assert node.vhost.topology.station(b"stop").number() > number


def test_a_station_keeps_its_number_over_a_restart(lives):
    lives.node.exchange(b"stop", "x-halt")
    number = lives.node.vhost.topology.station(b"stop").number()
    node = lives.again()
    assert node.vhost.topology.station(b"stop").number() == number


def test_a_deleted_virtual_host_drops_its_stations(node):
    pending = node.queues.add_vhost(b"v")
    node.run(until=lambda: pending.done)
    node.within(b"v").exchange(b"stop", "x-halt")
    kept = node.vhost.topology.station(b"stop")
    node.delete_vhost(b"v")
    assert kept.gone


def test_what_goes_ahead_is_safe_before_a_transaction_settles_anything(node, kept):
    """A crash between the two brings the message once more; it never takes it away."""
    queue = node.declare(b"q")
    node.publish(b"q", b"1")
    channel = Channel()
    got = node.get(b"q", channel, no_ack=False)
    held, order, waits = Transaction(), [], []

    def ahead(waiting):
        order.append("ahead")
        waiting.park()
        waits.append(waiting)

    held.ahead.append(ahead)
    group = channel.unacked.ack(got.tag)
    held.settle(group.queue, group.lane, group.first, group.bits)
    node.vhost.commit(held, order.append)
    node.run()
    assert order == ["ahead"]
    assert queue.out == 1
    log = queue.stock.lanes[0].log
    waits[0].unparked(log, log.end)
    node.run(until=lambda: len(order) == 2)
    assert order == ["ahead", None]
    assert queue.out == 0


def test_a_transaction_fails_with_what_goes_ahead(node, kept):
    queue = node.declare(b"q")
    held, found = Transaction(), []
    node.vhost.publish([((queue,), node.message(b"q", b"1"))], held)

    def ahead(waiting):
        waiting.park()
        waiting.unparked(None, 0, StorageFull("full"))

    held.ahead.append(ahead)
    node.vhost.commit(held, found.append)
    node.run(until=lambda: found)
    assert isinstance(found[0], StorageFull)
    assert queue.ready == 0


def test_what_is_forgotten_goes_nowhere(node, kept):
    held, called = Transaction(), []
    held.ahead.append(called.append)
    assert held
    held.forget()
    assert not held
    other = Transaction()
    other.ahead.append(called.append)
    held.join(other)
    assert held.ahead == [called.append]
    assert called == []
