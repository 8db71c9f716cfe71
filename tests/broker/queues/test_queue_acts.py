"""Messages published and fetched one at a time, by who has no channel."""

import pytest
from queue_parts import Channel, props

from logstore.broker.queues import acts
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import InvalidExpiration, SingleActive
from logstore.broker.routing.refusals import NoExchange

FEW = acts.FETCHED_AT_ONCE * 2 + 1


def publish(node, key, body=b"1", exchange=b"", data=None):
    found = []
    acts.publish(node.vhost, Message(exchange, key, data or props(), body), found.append)
    node.run(until=lambda: found)
    [it] = found
    return it


def fetch(node, name, count, **given):
    found = []
    acts.fetch(node.vhost, node.vhost.queue(name), count, found.append, **given)
    node.run(until=lambda: found)
    [it] = found
    return it


def bodies(fetched):
    return [it.delivery.body for it in fetched.messages]


@pytest.mark.parametrize("durable", [True, False])
def test_a_message_is_told_of_once_it_is_safe(shared, durable):
    node = shared
    queue = node.declare(b"q", durable=durable)
    assert publish(node, b"q") == (True, False)
    [lane] = queue.stock.order
    assert lane.safe == 1
    assert node.bodies(b"q") == [b"1"]


def test_a_message_for_no_queue_is_taken_by_none(shared):
    node = shared
    assert publish(node, b"nobody") == (False, False)


def test_a_message_that_a_queue_has_no_room_for_is_refused(lives):
    lives.node.declare(b"q", max_length=1, overflow="reject-publish")
    publish(lives.node, b"q")
    assert publish(lives.node, b"q") == (True, True)
    node = lives.again()  # it is not known yet whether it has room
    assert publish(node, b"q") == (True, True)
    assert node.bodies(b"q") == [b"1"]


def test_what_can_not_be_routed_is_said_at_once(shared):
    node = shared
    with pytest.raises(NoExchange):
        publish(node, b"q", exchange=b"x")
    with pytest.raises(InvalidExpiration):
        publish(node, b"q", data=props(expiration="x"))


@pytest.mark.parametrize("durable", [True, False])
def test_messages_are_fetched_together_and_given_back_to_their_places(shared, durable):
    node = shared
    node.declare(b"q", durable=durable)
    sent = [b"%d" % n for n in range(FEW)]
    node.publish(b"q", *sent)
    fetched = fetch(node, b"q", FEW + 10)
    assert bodies(fetched) == sent
    assert [it.ready for it in fetched.messages] == list(range(FEW - 1, -1, -1))
    assert (node.ready(b"q"), node.vhost.queue(b"q").out) == (0, FEW)
    fetched.end(acts.given_back)
    assert node.bodies(b"q") == sent


def test_to_look_at_a_message_is_no_failure_of_it(shared):
    node = shared
    node.declare(b"q", delivery_limit=0)
    node.publish(b"q", b"1")
    for _ in range(3):
        fetch(node, b"q", 1).end(acts.given_back)
    assert node.ready(b"q") == 1
    fetch(node, b"q", 1).end(acts.returned)
    assert node.ready(b"q") == 0


def test_what_is_settled_is_gone_and_what_is_rejected_dies(lives):
    node = lives.node
    node.declare(b"dead")
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", b"1", b"2", b"3")
    fetch(node, b"q", 1).end(acts.settled)
    fetch(node, b"q", 1).end(acts.rejected)
    node = lives.again()
    assert node.bodies(b"dead") == [b"2"]
    assert node.bodies(b"q") == [b"3"]


def test_large_messages_are_not_fetched_all_at_once(shared):
    node = shared
    node.declare(b"q")
    node.publish(b"q", b"a" * 60, b"b" * 60, b"c" * 60)
    assert bodies(fetch(node, b"q", 9, bytes_max=100)) == [b"a" * 60, b"b" * 60]


def test_an_empty_queue_gives_nothing_and_so_does_one_that_goes(shared):
    node = shared
    node.declare(b"q")
    assert bodies(fetch(node, b"q", 3)) == []
    assert bodies(fetch(node, b"q", 0)) == []
    node.publish(b"q", b"1")
    found = []
    acts.fetch(node.vhost, node.vhost.queue(b"q"), 2, found.append)
    node.delete(b"q")
    node.run(until=lambda: found)
    [fetched] = found
    fetched.end(acts.given_back)  # to a queue that is gone: nothing to do


def test_messages_are_fetched_from_a_queue_that_was_not_opened_yet(lives):
    lives.node.declare(b"q")
    lives.node.publish(b"q", b"1", b"2")
    assert bodies(fetch(lives.again(), b"q", 2)) == [b"1", b"2"]


def test_nobody_fetches_where_a_single_consumer_is_served(shared):
    node = shared
    node.declare(b"q", single_active_consumer=True)
    fetched = fetch(node, b"q", 1)
    assert isinstance(fetched.error, SingleActive)
    assert fetched.messages == []


def test_others_have_their_messages_while_many_are_fetched(shared):
    node = shared
    node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(FEW)))
    found = []
    acts.fetch(node.vhost, node.vhost.queue(b"q"), FEW, found.append)
    assert not found  # not in one turn
    assert node.get(b"q", Channel()).delivery.body == b"100"
    node.run(until=lambda: found)
    assert len(bodies(found[0])) == FEW - 1
