"""Messages moved from one queue to wherever an exchange sends them: each is in one place, once."""

import pytest
from queue_parts import Channel, Consumer, props

from logstore.broker.queues import acts, moving
from logstore.broker.queues.moving import Target
from logstore.broker.queues.refusals import SingleActive
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import InternalExchange, NoExchange

TO = Target(b"", b"to")
OTHER_KINDS = [(True, False), (False, True), (False, False)]
MANY = moving.STEP_MAX * 2 + 3


def move(node, name, target=TO, limit=None, **given):
    found = []
    queue = node.vhost.queue(name)
    moving.move(node.vhost, queue, target, limit, found.append, **given)
    node.run(until=lambda: found)
    [it] = found
    return it


def taken(node, name):
    """The bodies of all that is ready."""
    found = []
    acts.fetch(node.vhost, node.vhost.queue(name), 10_000, found.append)
    node.run(until=lambda: found)
    [fetched] = found
    fetched.end(acts.settled)
    return [it.delivery.body for it in fetched.messages]


@pytest.mark.parametrize(
    ("durable", "lasts"),
    [(True, True), *(pytest.param(*it, marks=pytest.mark.long) for it in OTHER_KINDS)],
)
def test_messages_are_moved_in_order_with_all_that_they_have(shared, durable, lasts):
    node = shared
    node.declare(b"from", durable=durable)
    node.declare(b"to", durable=lasts)
    sent = [b"%d" % n for n in range(MANY)]
    node.publish(b"from", *sent, content_type="text/plain")
    assert move(node, b"from") == (MANY, 0, 0, None)
    assert (node.ready(b"from"), node.vhost.queue(b"from").out) == (0, 0)
    [first] = [node.get(b"to").delivery]
    assert (first.key, first.properties) == (b"to", props(content_type="text/plain"))
    assert not first.redelivered
    assert taken(node, b"to") == sent[1:]


def test_no_more_are_moved_than_asked_for_nor_what_comes_meanwhile(shared):
    node = shared
    node.declare(b"from")
    node.declare(b"to")
    node.publish(b"from", *(b"%d" % n for n in range(MANY)))
    assert move(node, b"from", limit=2).moved == 2
    wanted = iter([True] * 9)
    came = []

    def come():
        came.append(node.publish_soon(b"from", b"new"))
        return next(wanted)

    assert move(node, b"from", wanted=come).moved == MANY - 2
    assert taken(node, b"from") == [b"new"] * len(came)


@pytest.mark.long
def test_a_queue_may_be_moved_to_its_own_end(shared):
    node = shared
    node.declare(b"from")
    node.publish(b"from", b"1", b"2", b"3")
    assert move(node, b"from", Target(b"", b"from")).moved == 3
    assert taken(node, b"from") == [b"1", b"2", b"3"]


def test_what_no_queue_takes_stays_at_its_place(shared):
    node = shared
    node.declare(b"from")
    node.declare(b"to")
    node.exchange(b"x", "direct")
    node.bind(b"x", b"to", b"a")
    node.exchange(b"in", "fanout")
    node.bind(b"in", b"from")
    for number, key in enumerate((b"b", b"a", b"b", b"a")):
        node.publish(key, b"%d" % number, exchange=b"in")
    assert move(node, b"from", Target(b"x")) == (2, 2, 0, None)
    assert taken(node, b"to") == [b"1", b"3"]
    assert taken(node, b"from") == [b"0", b"2"]


@pytest.mark.parametrize(
    "overflow", [pytest.param("reject-publish", marks=pytest.mark.long), "reject-publish-dlx"]
)
def test_what_a_queue_has_no_room_for_stays_and_dies_nowhere(shared, overflow):
    node = shared
    node.declare(b"from")
    node.declare(b"dead")
    node.declare(
        b"to", max_length=2, overflow=overflow, dead_letter_exchange="",
        dead_letter_routing_key="dead",
    )  # fmt: skip
    node.publish(b"from", b"1", b"2", b"3", b"4")
    assert move(node, b"from") == (2, 0, 2, None)
    assert taken(node, b"to") == [b"1", b"2"]
    assert taken(node, b"from") == [b"3", b"4"]
    assert taken(node, b"dead") == []


@pytest.mark.long
def test_a_queue_that_was_not_opened_yet_is_asked_for_room_once_it_is(lives):
    node = lives.node
    node.declare(b"from")
    node.declare(b"to", max_length=1, overflow="reject-publish")
    node.publish(b"from", b"1", b"2")
    node.publish(b"to", b"0")
    node = lives.again()
    assert move(node, b"from") == (0, 0, 2, None)
    assert taken(node, b"from") == [b"1", b"2"]


def test_a_message_is_moved_by_the_key_that_is_given_alone(shared):
    node = shared
    for name in (b"from", b"to", b"copy"):
        node.declare(name)
    node.publish(b"from", b"1", headers={"CC": ["copy"], "h": "1"})
    taken(node, b"copy")
    assert move(node, b"from").moved == 1
    assert taken(node, b"copy") == []
    assert node.get(b"to").delivery.properties == props({"h": "1"})


def test_messages_that_consumers_have_are_not_moved(shared):
    node = shared
    node.declare(b"from")
    node.declare(b"to")
    node.publish(b"from", b"1", b"2")
    channel = Channel()
    node.get(b"from", channel, no_ack=False)
    assert move(node, b"from").moved == 1
    channel.end()
    assert taken(node, b"from") == [b"1"]


def test_what_has_expired_dies_and_is_not_moved(shared):
    node = shared
    node.declare(b"dead")
    node.declare(b"from", dead_letter_exchange="", dead_letter_routing_key="dead")
    node.declare(b"to")
    node.publish(b"from", b"1")
    node.publish(b"from", b"2", expiration="10")
    node.clock.now_ms += 20
    assert move(node, b"from").moved == 1
    assert taken(node, b"to") == [b"1"]
    assert taken(node, b"dead") == [b"2"]


@pytest.mark.long
def test_a_move_that_nobody_wants_any_more_ends_with_a_step(shared):
    node = shared
    node.declare(b"from")
    node.declare(b"to")
    node.publish(b"from", *(b"%d" % n for n in range(MANY)))
    answers = iter([True, False])
    moved = move(node, b"from", wanted=lambda: next(answers)).moved
    assert moved == moving.STEP_MAX
    assert (node.ready(b"from"), node.ready(b"to")) == (MANY - moved, moved)


def test_a_move_to_where_nothing_can_be_published_is_refused(shared):
    node = shared
    node.declare(b"from")
    node.vhost.declare_exchange(ExchangeFacts(b"i", "fanout", internal=True))
    for name, error in ((b"nobody", NoExchange), (b"i", InternalExchange)):
        with pytest.raises(error):
            moving.move(node.vhost, node.vhost.queue(b"from"), Target(name), None, print)


@pytest.mark.long
def test_an_exchange_that_goes_meanwhile_takes_nothing_with_it(shared):
    node = shared
    node.declare(b"from")
    node.declare(b"to")
    node.exchange(b"x", "fanout")
    node.bind(b"x", b"to")
    node.publish(b"from", *(b"%d" % n for n in range(MANY)))
    found = []
    moving.move(node.vhost, node.vhost.queue(b"from"), Target(b"x"), None, found.append)
    node.vhost.delete_exchange(b"x")
    node.run(until=lambda: found)
    [moved] = found
    assert moved.moved == moving.STEP_MAX
    assert isinstance(moved.error, NoExchange)
    assert (node.ready(b"from"), node.ready(b"to")) == (MANY - moved.moved, moved.moved)


@pytest.mark.long
@pytest.mark.parametrize("name", [b"from", b"to"])
def test_a_queue_that_goes_meanwhile_ends_it(shared, name):
    node = shared
    node.declare(b"from")
    node.declare(b"to")
    node.publish(b"from", *(b"%d" % n for n in range(MANY)))
    found = []
    moving.move(node.vhost, node.vhost.queue(b"from"), Target(b"", b"to"), None, found.append)
    node.delete(name)
    node.run(until=lambda: found)
    [moved] = found
    if name == b"to":
        assert moved.unrouted == MANY - moving.STEP_MAX
        assert node.ready(b"from") == moved.unrouted
    else:
        assert node.ready(b"to") == moved.moved


@pytest.mark.long
def test_nothing_is_taken_from_the_one_consumer_that_is_served(shared):
    node = shared
    queue = node.declare(b"from", single_active_consumer=True)
    node.declare(b"to")
    node.publish(b"from", b"1", b"2")
    consumer = Consumer(Channel(1))
    queue.subscribe(consumer)
    node.run()
    assert isinstance(move(node, b"from").error, SingleActive)
    queue.unsubscribe(consumer)
    consumer.channel.end()
    assert move(node, b"from").moved == 2


@pytest.mark.parametrize(
    "turns", [3, *(pytest.param(n, marks=pytest.mark.long) for n in (0, 1, 2, 4, 5, 6, 8, 12))]
)
def test_after_a_crash_a_message_is_in_one_of_the_two(lives, turns):
    node = lives.node
    node.declare(b"from")
    node.declare(b"to")
    sent = [b"%d" % n for n in range(MANY)]
    node.publish(b"from", *sent)
    moving.move(node.vhost, node.vhost.queue(b"from"), Target(b"", b"to"), None, print)
    for _ in range(turns):
        node.turn()
    node = lives.kill()
    assert sorted(taken(node, b"from") + taken(node, b"to"), key=int) == sent


def test_what_becomes_safe_before_its_log_is_watched_is_moved(node):
    """The thread that syncs is ahead of the move that waits for it."""
    for name in (b"from", b"to"):
        node.declare(name)
    queue = node.vhost.queue(b"from")
    node.publish(b"from", b"0")
    node.get(b"from")
    lane = queue.stock.lanes[0]
    lane.log = late = _SafeOnceWatched(lane.log)
    node.publish_soon(b"from", b"1")
    found = []
    moving.move(node.vhost, queue, TO, None, found.append)
    assert late.watched
    node.run(until=lambda: found)
    assert (found[0].moved, node.bodies(b"to")) == (1, [b"1"])


class _SafeOnceWatched:
    """A log that shows what is safe as late as possible."""

    def __init__(self, log):
        self._log = log
        self.safe = log.safe
        self.watched = False

    def __getattr__(self, name):
        return getattr(self._log, name)

    def watch(self, wake):
        self._log.wait(self._log.end)
        self.safe = self._log.safe
        self.watched = True
        return self._log.watch(wake)
