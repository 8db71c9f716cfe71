"""Queues of another node: what clients here get of them, and what becomes of it there."""

import pytest
from queue_parts import Consumer
from relay_kit import FarChannel, FarClient, Joined

from logstore.broker.queues.away.owner import LOOK_MAX
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import ExclusiveUse, NotOfType
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import ClusterBehind, ClusterUnreachable, NotOwned
from logstore.relay import messages
from logstore.relay.talk import FRESH_S


@pytest.fixture
def queue(shared):
    return shared.declare(b"q")


@pytest.fixture
def joined(shared, queue):
    joined = Joined(shared)
    joined.connect()
    yield joined
    joined.cut()
    joined.run()


def test_a_client_of_another_node_gets_messages_and_settles_them(joined, queue):
    client = joined.consume()
    joined.node.publish(b"q", b"one", b"two")
    joined.run()
    assert client.bodies == [b"one", b"two"]
    assert queue.out == 2
    for tag, _ in client.forget():
        client.channel.ack(tag)
    joined.run()
    assert (queue.ready, queue.out, queue.counts.acked) == (0, 0, 2)


def test_a_delivery_is_the_same_as_for_a_client_here(joined, queue):
    far, near = joined.consume(prefetch=1), Consumer(prefetch=1)
    queue.subscribe(near)
    joined.node.exchange(b"x", "fanout")
    joined.node.bind(b"x", b"q")
    for _ in range(2):
        headers = {"BCC": ["secret"], "n": 1}
        joined.node.publish(b"key", b"body", exchange=b"x", headers=headers, priority=3)
    joined.run()
    [(_, here)], [(_, there)] = near.had, far.had
    assert here == there
    far.channel.requeue(1)
    near.channel.requeue(1)
    joined.run()
    assert far.had[-1][1] == near.had[-1][1]
    assert far.had[-1][1].redelivered


def test_what_nobody_has_to_settle_is_settled_once_it_has_been_passed_on(joined, queue):
    client = joined.consume(no_ack=True)
    joined.node.publish(b"q", b"one", b"two")
    joined.run()
    assert client.bodies == [b"one", b"two"]
    assert not client.channel.unacked
    assert (queue.ready, queue.out) == (0, 0)


def test_what_nobody_has_to_settle_comes_again_where_it_has_not_come(joined, queue):
    joined.consume(no_ack=True)
    joined.node.publish(b"q", b"one")
    joined.node.run()
    assert queue.out == 1
    joined.cut()
    joined.run()
    assert (queue.ready, queue.out) == (1, 0)


def test_no_more_is_out_than_the_prefetch_count(joined, queue):
    client = joined.consume(prefetch=3)
    joined.node.publish(b"q", *(b"%d" % n for n in range(10)))
    joined.run()
    assert len(client.had) == 3
    assert queue.out == 3
    client.channel.ack(1)
    joined.run()
    assert len(client.had) == 4


def test_consumers_of_one_channel_share_its_room(joined, queue):
    joined.node.declare(b"other")
    channel = FarChannel(prefetch=3)
    one, two = joined.consume(channel=channel), joined.consume(b"other", channel=channel)
    joined.node.publish(b"q", b"1", b"2", b"3")
    joined.node.publish(b"other", b"4", b"5", b"6")
    joined.run()
    assert len(one.had) + len(two.had) == 3
    while channel.unacked:
        channel.ack(0, multiple=True)
        for it in one, two:  # as doors do, where a channel has room again
            joined.owner.wake(it.far)
        joined.run()
        assert len(channel.unacked) <= 3
    assert one.bodies == [b"1", b"2", b"3"]
    assert two.bodies == [b"4", b"5", b"6"]


def test_a_client_that_does_not_read_is_given_nothing(joined, queue):
    client = joined.consume()
    client.takes = 0
    joined.owner.wake(client.far)
    joined.run()
    joined.node.publish(b"q", b"one")
    joined.run()
    assert (client.had, queue.ready) == ([], 1)
    client.takes = 1
    joined.owner.wake(client.far)
    joined.run()
    assert client.bodies == [b"one"]


def test_what_has_come_already_waits_for_a_client_that_reads_no_more(joined, queue):
    client = joined.consume()
    joined.node.publish(b"q", b"one", b"two")
    joined.node.run()
    client.takes = 0
    joined.run()
    assert (client.had, client.far.waiting) == ([], 2)
    client.takes = 1
    joined.owner.wake(client.far)
    client.takes = 2
    joined.run()
    assert client.bodies == [b"one", b"two"]


def test_long_messages_are_not_gathered_for_a_client_that_reads_no_more(joined, queue):
    client = joined.consume()
    client.takes = 100
    joined.owner.wake(client.far)
    joined.run()
    client.takes = 0
    joined.node.publish(b"q", *[bytes(300_000)] * 20)
    joined.run()
    assert client.far.waiting == queue.out
    assert queue.out * 300_000 < 3 * messages.PASSED_BYTES
    client.takes = 100
    for _ in range(20):
        joined.owner.wake(client.far)
        joined.run()
    assert len(client.had) == 20


def test_the_owner_gives_a_node_that_does_not_read_no_more(joined, queue):
    joined.consume()
    joined.link.unsent = 1 << 20
    joined.node.publish(b"q", b"one")
    joined.run()
    assert (queue.ready, queue.out) == (1, 0)
    joined.link.unsent = 0
    joined.run()
    joined.session.wake(joined.now)
    joined.run()
    assert queue.out == 1


def test_consumers_of_all_nodes_have_their_turns(joined, queue):
    far, near = joined.consume(prefetch=10), Consumer(prefetch=10)
    queue.subscribe(near)
    joined.node.publish(b"q", *(b"%d" % n for n in range(10)))
    joined.run()
    assert (len(far.had), len(near.had)) == (5, 5)


def test_messages_that_come_back_are_counted_where_they_are(joined, queue):
    joined.node.delete(b"q")
    queue = joined.node.declare(b"q", queue_type="quorum", delivery_limit=1)
    client = joined.consume(prefetch=1)
    joined.node.publish(b"q", b"one")
    joined.run()
    client.channel.requeue(1)
    joined.run()
    assert [it.redelivered for _, it in client.had] == [False, True]
    assert b"x-delivery-count" in client.had[1][1].properties
    client.channel.requeue(2)
    joined.run()
    assert (queue.ready, queue.out, len(client.had)) == (0, 0, 2)


def test_what_nobody_wants_dies_there(joined, queue):
    joined.node.delete(b"q")
    joined.node.declare(b"dead")
    joined.node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="dead")
    client = joined.consume()
    joined.node.publish(b"q", b"one")
    joined.run()
    client.channel.reject(1)
    joined.run()
    assert joined.node.bodies(b"dead") == [b"one"]


def test_settlements_of_a_turn_are_few_frames(joined, queue, monkeypatch):
    client = joined.consume()
    joined.node.publish(b"q", *[b"x"] * 100)
    joined.run()
    put = []
    monkeypatch.setattr(type(joined.talk), "put", lambda _, message: put.append(message))
    for tag in [*range(1, 40), *range(60, 101)]:
        client.channel.ack(tag)
    joined.turns.over()
    settled = [it for it in put if isinstance(it, messages.Settle)]
    assert settled == [messages.Settle(client.far.id, ((1, 39), (60, 41)))]


def test_a_turn_gives_clients_no_more_than_some(joined, queue):
    clients = [joined.consume() for _ in range(3)]
    joined.node.publish(b"q", *[b"x"] * 3000)
    joined.node.run()
    joined.take()
    given = []
    while joined.turns.left:
        joined.turns.over()
        given.append(sum(len(it.forget()) for it in clients))
    assert given == [LOOK_MAX] * 3


# Its end


def test_what_a_consumer_has_stays_out_when_it_ends(joined, queue):
    client = joined.consume()
    joined.node.publish(b"q", b"one")
    joined.run()
    joined.owner.unsubscribe(client.far)
    joined.run()
    assert (queue.subscriptions, queue.out) == ([], 1)
    client.channel.ack(1)
    joined.run()
    assert queue.out == 0
    assert not joined.session._lending.lents
    assert not joined.owner._consumers


def test_what_comes_for_a_consumer_that_has_ended_goes_back(joined, queue):
    client = joined.consume()
    joined.node.publish(b"q", b"one", b"two")
    joined.node.run()
    assert queue.out == 2
    joined.owner.unsubscribe(client.far)
    joined.run()
    assert (client.had, queue.ready, queue.out) == ([], 2, 0)
    assert not joined.session._lending.lents
    assert not joined.owner._consumers


def test_a_queue_that_is_deleted_has_its_consumers_cancelled(joined, queue):
    client = joined.consume()
    joined.node.publish(b"q", b"one")
    joined.run()
    joined.node.delete(b"q")
    joined.run()
    assert client.is_cancelled
    client.channel.ack(1)
    joined.run()
    assert joined.owner.ready


def test_a_client_that_has_a_message_for_too_long_is_cancelled(joined, queue):
    client = joined.consume(timeout_ms=1000)
    joined.node.publish(b"q", b"one")
    joined.run()
    joined.node.later(1001)
    joined.run()
    assert client.is_cancelled
    assert not client.channel.unacked
    assert (queue.ready, queue.out) == (1, 0)


def test_consumers_of_a_queue_that_moves_wait_for_its_new_owner(joined, queue):
    other = joined.node.declare(b"other")
    client, stays = joined.consume(), joined.consume(b"other")
    joined.node.publish(b"q", b"one")
    joined.run()
    joined.door.leave(lambda it: it is queue)
    joined.run()
    assert not client.is_cancelled
    [([consumer], why)] = joined.lost
    assert consumer is client.far
    assert isinstance(why, NotOwned)
    assert (queue.subscriptions, len(other.subscriptions)) == ([], 1)
    assert queue.out == 1  # the queue is nobody's here: it is for its new owner to give it out
    client.channel.ack(1)
    joined.run()
    assert queue.out == 1
    joined.cut()
    [_, ([consumer], _)] = joined.lost
    assert consumer is stays.far


def test_all_that_is_out_comes_again_when_the_link_is_lost(joined, queue):
    client = joined.consume(prefetch=2)
    joined.node.publish(b"q", b"one", b"two", b"three")
    joined.run()
    joined.cut()
    joined.run()
    assert (queue.ready, queue.out, queue.subscriptions) == (3, 0, [])
    [([consumer], why)] = joined.lost
    assert consumer is client.far
    assert isinstance(why, ClusterUnreachable)
    client.channel.ack(1)  # of a link that is no more
    joined.connect()
    joined.subscribe(client)
    joined.run()
    # One is unacked still, to the client: there is room for one.
    assert client.bodies == [b"one", b"two", b"one"]
    assert client.had[-1][1].redelivered
    client.channel.ack(2)
    joined.owner.wake(client.far)  # as the seat does
    joined.run()
    assert (queue.ready, queue.out) == (1, 2)


def test_whoever_waits_for_an_answer_is_told_that_the_link_is_lost(joined, queue):
    told = []
    joined.owner.get(joined.wanted(), joined.away, FarChannel(), False, told.append)
    joined.owner.purge(joined.wanted(), told.append)
    joined.owner.look(joined.wanted(), told.append)
    joined.owner.ask(1, b"", told.append)
    client = joined.subscribe(FarClient())
    joined.cut()
    assert len(told) == 4
    assert all(isinstance(it, ClusterUnreachable) for it in told + client.told)
    assert joined.lost == []  # it was told so by its answer
    joined.owner.purge(joined.wanted(), told.append)
    assert isinstance(told[-1], ClusterUnreachable)


# What is refused


def test_the_same_error_is_raised_here(joined, queue):
    queue.subscribe(Consumer(exclusive=True))
    client = joined.subscribe(FarClient())
    joined.run()
    assert [(type(it), it.queue) for it in client.told] == [(ExclusiveUse, b"q")]
    assert not client.far.attached
    assert not joined.owner._consumers


def test_arguments_go_over(joined):
    wanted = arguments_of({"x-stream-offset": "first"})
    client = joined.subscribe(FarClient(arguments=wanted))
    joined.run()
    [error] = client.told
    assert isinstance(error, NotOfType)
    assert (error.queue, error.argument) == (b"q", b"x-stream-offset")


def test_another_queue_of_the_name_is_not_meant(joined, queue):
    wanted, told = joined.wanted(), []
    joined.owner.purge(wanted._replace(number=wanted.number + 1), told.append)
    joined.owner.purge(wanted._replace(queue=b"none"), told.append)
    joined.run()
    assert [type(it) for it in told] == [NotOwned, NoQueue]


def test_an_owner_is_not_asked_without_end(joined, monkeypatch):
    monkeypatch.setattr("logstore.broker.queues.away.owner.ASKS_MAX", 2)
    told = []
    for _ in range(3):
        joined.owner.purge(joined.wanted(), told.append)
    assert [type(it) for it in told] == [ClusterBehind]
    joined.run()
    assert told[1:] == [0, 0]


def test_there_is_always_room_to_give_questions_up(shared, monkeypatch):
    """An element that nobody waits for any more would be taken out of a list."""
    monkeypatch.setattr("logstore.broker.queues.away.owner.ASKS_MAX", 2)
    waiting = []

    def give_up(asker, content, then):
        waiting.pop(0)(b"given up")
        then(b"")

    joined = Joined(shared, asked={1: lambda _, __, then: waiting.append(then), 2: give_up})
    joined.connect()
    told = []
    for _ in range(3):
        joined.owner.ask(1, b"", told.append)
    for _ in range(2):
        joined.owner.ask(2, b"", lambda _: None, ends=True)
    joined.run()
    assert [type(it) for it in told[:1]] == [ClusterBehind]
    assert told[1:] == [b"given up", b"given up"]
    joined.cut()


# Fetching, and the rest


def test_a_message_is_fetched(joined, queue):
    channel = FarChannel()
    joined.node.publish(b"q", b"one", b"two")
    got = joined.fetch(channel)
    assert (got.tag, got.delivery.body, got.ready) == (1, b"one", 1)
    assert queue.out == 1
    assert joined.fetch(channel, no_ack=True).delivery.body == b"two"
    assert joined.fetch(channel) is None
    joined.run()
    assert (queue.ready, queue.out) == (0, 1)
    channel.requeue(1)
    again = joined.fetch(channel)
    assert (again.delivery.body, again.delivery.redelivered) == (b"one", True)
    channel.ack(again.tag)
    joined.run()
    assert (queue.ready, queue.out) == (0, 0)


def test_what_was_fetched_goes_back_with_the_link(joined, queue):
    joined.node.publish(b"q", b"one")
    joined.fetch(FarChannel())
    joined.cut()
    joined.run()
    assert (queue.ready, queue.out) == (1, 0)


def test_a_queue_is_purged_and_looked_at(joined, queue):
    joined.node.publish(b"q", b"one", b"two")
    client = joined.consume(prefetch=1)
    told = []
    joined.owner.look(joined.wanted(), told.append)
    joined.run()
    joined.node.run(until=lambda: not joined.node.busy)
    joined.run()
    [counts] = told
    assert counts[1:] == (1, 1, 1, joined.node.clock())
    joined.owner.purge(joined.wanted(), told.append)
    joined.run()
    assert told[-1] == 1
    assert (queue.ready, queue.out, len(client.had)) == (0, 1, 1)


def test_other_questions_have_answers_of_their_own(shared, queue):
    def twice(asker, content, then):
        then(asker.node + content * 2)

    joined = Joined(shared, asked={7: twice})
    joined.connect()
    told = []
    joined.owner.ask(7, b"x", told.append)
    joined.owner.ask(8, b"x", told.append)
    joined.run()
    assert told[0] == b"askerxx"
    assert "kind 8" in str(told[1])
    joined.cut()


def test_a_message_of_any_size_goes_over(joined, queue):
    client = joined.consume()
    bodies = [b"", bytes(1 << 20), b"x" * 70_000]
    for it in bodies:
        joined.node.vhost.publish(
            [(joined.node.vhost.route(m), m) for m in [Message(b"", b"q", b"\0\0", it)]]
        )
    joined.run()
    assert client.bodies == bodies


def test_a_node_that_was_frozen_gives_nobody_what_the_owner_has_taken_back(joined, queue):
    client, near = joined.consume(), Consumer()
    joined.steady += FRESH_S
    joined.node.publish(b"q", b"one")
    joined.run()
    assert (client.had, queue.out) == ([], 1)
    joined.cut()
    queue.subscribe(near)
    joined.run()
    assert near.bodies == [b"one"]
    assert client.had == []


def test_a_node_that_was_frozen_for_a_moment_goes_on_once_the_owner_answers(joined, queue):
    client = joined.consume()
    joined.steady += FRESH_S
    joined.node.publish(b"q", b"one")
    joined.run()
    joined.now = joined.talk.deadline
    joined.talk.look()
    joined.run()
    assert client.bodies == [b"one"]
    client.channel.ack(1)
    joined.steady += FRESH_S
    joined.owner.unsubscribe(client.far)
    joined.run()
    joined.node.publish(b"q", b"two")
    assert isinstance(joined.fetch(FarChannel()), ClusterUnreachable)
    assert (queue.ready, queue.out) == (1, 0)
