"""Queues of several nodes, at one that does not serve them: over the link to the one that does."""

import pytest
from queue_parts import KINDS_WITH_NOTES, Time
from relay_kit import FarChannel, FarClient, Joined
from roaming_parts import PARTITIONS, Common, RoamingNode
from storage_kit import Opened

from logstore.broker.queues.away.seat import LOOK_AGAIN_MS, AwaySeat, seat_at
from logstore.broker.queues.journaling import RETRY_MS
from logstore.broker.queues.roaming.nowhere import Nowhere
from logstore.broker.queues.settling import Settling, settled
from logstore.broker.queues.transaction import Transaction
from logstore.errors import ClusterUnreachable, NotOwned


class Elsewhere:
    """What the second node knows of the first."""

    def __init__(self):
        self.joined = None
        self.asked = []  # of queues whose owner is another one

    def seat(self, queue, partition, home):
        joined = self.joined
        if joined is None:
            return None
        return seat_at(
            queue, b"/", joined.owner, joined.asker.clock, lambda: self.asked.append(queue)
        )


class Both:
    def __init__(self, a, b, elsewhere):
        self.a, self.b, self.elsewhere = a, b, elsewhere
        self.joined = Joined(a, b)
        self.joined.connect()
        elsewhere.joined = self.joined
        a.own_all()
        self.moved()

    def moved(self):
        for number in range(PARTITIONS):
            self.b.roamers.moved(number)
        self.run()

    def run(self):
        if self.joined.session is not None:
            self.joined.run()
        self.a.run()
        self.b.run()

    def declare(self, name=b"q", **given):
        its = [node.declare(name, **given) for node in (self.a, self.b)]
        self.run()
        return its

    def publish(self, *bodies):
        self.b.publish(b"q", *bodies)
        self.a.roamers.lanes_came([it.id for it in self.a.roamers.queues()])
        self.run()


@pytest.fixture
def both(tmp_path):
    common, clock, elsewhere = Common(), Time(), Elsewhere()
    opened = [Opened(tmp_path / name) for name in ("a", "b")]
    a, b = (
        RoamingNode(it.writer(kinds=KINDS_WITH_NOTES), clock, common, known)
        for it, known in zip(opened, (None, elsewhere), strict=True)
    )
    both = Both(a, b, elsewhere)
    yield both
    both.joined.cut()
    for node, its in zip((a, b), opened, strict=True):
        node.close()
        its.close_all()


def subscribed(both, queue, **given):
    client = FarClient(**given)
    queue.subscribe(client)
    both.run()
    return client


def test_a_consumer_gets_and_settles_what_another_node_serves(both):
    there, here = both.declare()
    client = subscribed(both, here, prefetch=1)
    both.publish(b"1", b"2", b"3")
    assert client.bodies == [b"1"]
    client.channel.ack(1)
    both.run()
    client.channel.requeue(2)
    both.run()
    assert client.bodies == [b"1", b"2", b"2"]
    assert (there.ready, there.out) == (1, 1)
    client.channel.reject(3)
    both.run()
    assert client.bodies[3:] == [b"3"]
    here.unsubscribe(client)
    both.run()
    assert there.subscriptions == []


def test_counts_are_the_owners(both):
    there, here = both.declare()
    both.publish(b"1", b"2")
    known = []
    here.when_open(lambda: known.append((here.ready, here.out)))
    assert known == []
    both.run()
    assert known == [(2, 0)]
    assert here.is_open()
    both.b.clock.now_ms += LOOK_AGAIN_MS
    there.purge(lambda _: None)
    here.is_open()
    both.run()
    assert here.ready == 0


def test_counts_are_as_they_were_where_the_owner_is_not_reached(both):
    _, here = both.declare()
    both.publish(b"1")
    here.when_open(lambda: None)
    both.run()
    both.joined.cut()
    known = []
    here.when_open(lambda: known.append(here.ready))
    assert known == [1]


def test_a_queue_whose_messages_are_not_known_is_not_deleted_as_an_empty_one(both):
    _, here = both.declare()
    both.publish(b"1")
    both.joined.cut()
    for place in (AwaySeat, Nowhere):
        assert isinstance(here.seat, place)
        here.when_known(lambda: None)
        with pytest.raises((NotOwned, ClusterUnreachable)):
            both.b.vhost.delete_queue(here, if_empty=True)
        both.elsewhere.joined = None
        both.b.roamers.moved(both.b.roamers.partition_of(here.id))
    assert not here.gone


def test_counts_that_matter_are_asked_for_anew(both):
    _, here = both.declare()
    here.when_open(lambda: None)
    both.joined.send()
    both.a.run()
    both.b.publish(b"q", b"1")
    counts = []
    here.when_known(lambda: counts.append(here.ready))
    both.run()
    assert counts == [1]


def test_messages_are_fetched_and_purged_there(both):
    there, here = both.declare()
    both.publish(b"1", b"2", b"3")
    channel, found = FarChannel(), []
    here.get(channel, False, found.append)
    both.run()
    assert [it.delivery.body for it in found] == [b"1"]
    channel.ack(1)
    here.purge(found.append)
    both.run()
    assert found[1:] == [2]
    assert (there.ready, there.out) == (0, 0)


def test_whoever_asks_while_the_link_goes_is_told_something(both):
    _, here = both.declare()
    found = []
    here.get(FarChannel(), False, found.append)
    here.seat.get(FarChannel(), False, found.append)
    here.purge(found.append)
    both.joined.cut()
    assert found == [None, 0], "who has asked the queue waits for its next seat"
    with pytest.raises(NotOwned, match="not reached"):
        here.seat.get(FarChannel(), False, found.append)
    with pytest.raises(NotOwned, match="not reached"):
        here.purge(found.append)


def test_a_consumer_that_the_owner_refuses_is_cancelled(both):
    there, here = both.declare()
    there.subscribe(FarClient(exclusive=True))
    client = subscribed(both, here)
    assert client.is_cancelled
    assert here.subscriptions == []


def test_a_consumer_that_the_owner_cancels_is_none_any_more(both):
    _, here = both.declare()
    client = subscribed(both, here, timeout_ms=1000)
    both.publish(b"1")
    both.a.later(1001)
    both.run()
    assert client.is_cancelled
    assert here.subscriptions == []
    here.wake()
    assert here.seat._consumers == {}


def test_consumers_wait_while_the_link_is_gone_and_go_on_with_the_next(both):
    there, here = both.declare()
    client = subscribed(both, here)
    both.publish(b"1")
    both.joined.cut()
    both.run()
    assert (there.ready, there.subscriptions) == (1, [])
    assert here.subscriptions == [client]
    client.channel.ack(1)  # of a link that is no more
    both.joined.connect()
    both.moved()
    assert client.bodies == [b"1", b"1"]
    assert not client.is_cancelled
    client.channel.ack(2)
    both.run()
    assert (there.ready, there.out) == (0, 0)


def test_consumers_follow_the_queue_to_their_own_node(both):
    there, here = both.declare()
    client = subscribed(both, here)
    both.publish(b"1")
    both.a.lose_all()
    both.joined.door.leave(lambda _: True)
    both.run()
    assert there.subscriptions == []
    both.b.own_all()
    both.run()
    assert client.bodies == [b"1", b"1"]
    client.channel.ack(1)
    both.run()
    assert here.out == 1
    client.channel.ack(2)
    both.run()
    assert (here.ready, here.out) == (0, 0)


def goes_home(both):
    both.a.lose_all()
    both.joined.door.leave(lambda _: True)
    both.run()
    both.b.own_all()


def goes_away(both):
    both.b.lose_all()
    both.a.own_all()
    both.moved()


def goes_and_comes(both):
    both.a.lose_all()
    both.joined.door.leave(lambda _: True)
    both.run()
    both.a.own_all()
    both.moved()


@pytest.mark.parametrize("verdict", ["ack", "requeue", "reject"])
@pytest.mark.parametrize(
    ("first", "then", "again"),
    [
        (None, Both.moved, False),
        (None, goes_and_comes, True),
        (None, goes_home, True),
        (goes_home, goes_away, True),
    ],
)
def test_a_client_without_room_goes_on_at_the_next_seat(both, first, then, again, verdict):
    """What it settles is of the seat before, and yet it has room by that."""
    _, here = both.declare()
    if first is not None:
        first(both)
    clients = [subscribed(both, here, prefetch=1) for _ in range(2)]
    both.publish(b"1", b"2", b"3", b"4")
    assert [it.bodies for it in clients] == [[b"1"], [b"2"]]
    then(both)
    assert [it.bodies for it in clients] == [[b"1"], [b"2"]]
    for it in clients:
        getattr(it.channel, verdict)(1)
    both.run()
    found = sorted(it.bodies[1] for it in clients)
    assert found == ([b"1", b"2"] if again or verdict == "requeue" else [b"3", b"4"])


def test_what_an_owner_before_gave_out_does_not_hinder_a_transaction(both):
    _, here = both.declare()
    client = subscribed(both, here, prefetch=1)
    both.publish(b"1", b"2")
    goes_home(both)
    held = Transaction()
    settling = Settling([(settled, client.channel.unacked.ack(1))], held)
    assert held.refused is None
    settling.done(None)
    both.run()
    assert client.bodies == [b"1", b"1"]


def test_a_queue_stays_for_a_consumer_of_a_node_that_looks_for_its_owner_again(both):
    """As it does each time the owner loses another partition."""
    there, here = both.declare(auto_delete=True)
    client = subscribed(both, here)
    both.moved()
    assert (there.gone, client.is_cancelled) == (False, False)
    both.publish(b"1")
    assert client.bodies == [b"1"]
    here.unsubscribe(client)
    both.run()
    assert there.gone


def test_who_fetches_from_an_owner_before_is_answered_by_the_present_one(both):
    """Though that was found before the other one has said that it is none."""
    _, here = both.declare()
    both.publish(b"1")
    both.a.lose_all()
    found = []
    here.get(FarChannel(), True, found.append)
    both.joined.send()
    both.a.run()
    both.b.own_all()
    both.run()
    assert [it.delivery.body for it in found] == [b"1"]


def test_of_many_who_come_at_once_none_is_turned_away(both, monkeypatch):
    """As when a link comes again: an owner is asked so much at a time, and no more."""
    monkeypatch.setattr("logstore.broker.queues.away.owner.ASKS_MAX", 1)
    queues, clients, got = [both.declare(name)[1] for name in (b"q", b"r")], [], []
    for it in queues:
        clients.append(FarClient())
        it.subscribe(clients[-1])
    queues[1].get(FarChannel(), True, got.append)
    assert [it.is_cancelled for it in clients] == [False, False]
    assert (both.elsewhere.asked, got) == ([queues[1]] * 2, [])
    both.run()
    both.moved()
    both.run()
    both.moved()
    assert got == [None]
    both.a.publish(b"r", b"1")
    both.run()
    assert clients[1].bodies == [b"1"]


def test_an_owner_that_is_none_yet_is_looked_for_again(both):
    both.a.lose_all()
    _, here = both.declare()
    client = subscribed(both, here)
    assert not client.is_cancelled
    assert both.elsewhere.asked == [here]
    both.a.own_all()
    both.moved()
    both.publish(b"1")
    assert client.bodies == [b"1"]


def test_a_consumer_that_comes_while_a_lane_can_not_be_opened_waits_until_it_is(both, monkeypatch):
    there, here = both.declare()
    both.publish(b"1")
    both.a.lose_all()

    def refused(lane, settings):
        raise ClusterUnreachable("no broker leads it")

    monkeypatch.setattr(both.a.common, "open", refused)
    both.a.own_all()
    there.is_open()
    both.run()
    both.moved()
    client = subscribed(both, here)
    assert (client.bodies, client.is_cancelled) == ([], False)
    monkeypatch.undo()
    both.a.later(RETRY_MS)
    both.run()
    assert client.bodies == [b"1"]


def test_a_queue_that_is_deleted_is_gone_for_its_consumers(both):
    _, here = both.declare()
    client = subscribed(both, here)
    both.b.delete(b"q")
    both.run()
    assert client.is_cancelled
    both.a.delete(b"q")
    both.run()
    assert both.joined.owner.ready
