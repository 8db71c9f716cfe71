"""Queues that keep repeats out: by RabbitMQ's plugin's rules, and by ours where it has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_parts import Channel, Commit, Lives, props

from logstore.broker.queues.message import Message
from logstore.broker.queues.transaction import Transaction

pytestmark = pytest.mark.long


def send(node, *bodies, it="a", key=b"q", **given):
    """Until they are confirmed, each with the id ``it``."""
    headers = {"x-deduplication-header": it} if it is not None else None
    return node.publish(key, *bodies, headers=headers, **given)


def purge(node):
    told = []
    node.vhost.queue(b"q").purge(told.append)
    node.run(until=lambda: told)


@pytest.fixture
def queue(node):
    return node.declare(b"q", message_deduplication=True)


# The plugin's own cases


@pytest.mark.parametrize("it", ["text", 42, 4.2, True, b"bytes"])
def test_an_id_of_any_type_is_compared(node, queue, it):
    published = send(node, b"1", b"2", it=it)
    send(node, b"3", it=it)
    assert (published.unrouted, published.rejected) == ([], [])
    assert node.bodies(b"q") == [b"1"]


def test_a_header_that_is_there_and_void_is_an_id(node, queue):
    node.publish(b"q", b"1", b"2", headers={"x-deduplication-header": None})
    assert node.bodies(b"q") == [b"1"]


def test_what_has_no_id_is_stored(node, queue):
    node.publish(b"q", b"1", b"2")
    node.publish(b"q", b"3", b"4", headers={"x-deduplication-header": [1, 2]})
    assert node.bodies(b"q") == [b"1", b"2", b"3", b"4"]


def test_ids_of_two_types_are_two(node, queue):
    for n, it in enumerate([1, 1.0, "1", True]):
        send(node, b"%d" % n, it=it)
    assert node.bodies(b"q") == [b"0", b"1", b"2", b"3"]


def test_an_id_comes_again_once_its_message_is_settled(node, queue):
    send(node, b"1")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    send(node, b"2")  # it is out
    channel.ack(1)
    send(node, b"3")
    assert node.bodies(b"q") == [b"3"]


def test_a_requeued_message_keeps_its_id(node, queue):
    send(node, b"1")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    channel.requeue(1)
    send(node, b"2")
    assert node.bodies(b"q") == [b"1"]


def test_an_id_is_free_when_its_message_was_fetched_without_acknowledgement(node, queue):
    send(node, b"1")
    assert node.bodies(b"q") == [b"1"]
    send(node, b"2")
    assert node.bodies(b"q") == [b"2"]


def test_an_id_is_free_when_its_message_has_expired(node):
    node.declare(b"q", message_deduplication=True, message_ttl=1000)
    send(node, b"1")
    node.later(999)
    send(node, b"2")
    node.later(1)
    send(node, b"3")
    assert node.bodies(b"q") == [b"3"]


def test_an_expired_message_behind_one_that_has_not_keeps_no_other_out(node, queue):
    """It goes only when it is at the head: a repeat that were dropped for it would be lost."""
    node.publish(b"q", b"first")
    send(node, b"1", expiration="100")
    node.later(100)
    send(node, b"2", expiration="5000")
    assert node.bodies(b"q") == [b"first", b"2"]


def test_an_id_is_free_when_its_message_was_dropped_for_room(node):
    node.declare(b"q", message_deduplication=True, max_length=1)
    send(node, b"1", it="a")
    send(node, b"2", it="b")
    send(node, b"3", it="a")
    assert node.bodies(b"q") == [b"3"]


def test_an_id_is_free_at_once_when_its_message_goes_to_a_dead_letter_exchange(node):
    node.declare(b"dead")
    node.declare(
        b"q", message_deduplication=True, dead_letter_exchange="", dead_letter_routing_key="dead"
    )
    send(node, b"1")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    channel.reject(1)
    node.publish_soon(b"q", b"2", headers={"x-deduplication-header": "a"})  # in the same turn
    node.run()
    assert node.bodies(b"q") == [b"2"]
    assert node.bodies(b"dead") == [b"1"]


def test_a_purge_frees_ids(node, queue):
    send(node, b"1")
    purge(node)
    send(node, b"2")
    assert node.bodies(b"q") == [b"2"]


# Ours


def test_a_repeat_is_confirmed_when_the_first_is_safe(node, queue):
    first = node.publish_soon(b"q", b"1", headers={"x-deduplication-header": "a"})
    again = node.publish_soon(b"q", b"2", headers={"x-deduplication-header": "a"})
    assert not again.waiting.settled()  # the lane is being made
    node.run(until=first.waiting.settled)
    assert again.waiting.settled()
    assert again.waiting.failed is None
    send(node, b"other", it="b")
    first = node.publish_soon(b"q", b"3", headers={"x-deduplication-header": "c"})
    again = node.publish_soon(b"q", b"4", headers={"x-deduplication-header": "c"})
    assert not again.waiting.settled()
    node.run(until=again.waiting.settled)
    assert first.waiting.settled()
    assert node.bodies(b"q") == [b"1", b"other", b"3"]


@pytest.mark.parametrize("durable", [True, False])
def test_ids_of_all_priorities_are_one(node, durable):
    node.declare(b"q", durable=durable, message_deduplication=True, max_priority=3)
    send(node, b"1", priority=1)
    send(node, b"2", priority=3)
    send(node, b"3", it="b", priority=2)
    assert node.bodies(b"q") == [b"3", b"1"]


def test_the_message_id_is_the_id_where_that_is_asked_for(node):
    node.declare(b"q", deduplication_header="message-id")
    node.publish(b"q", b"1", b"2", message_id="m")
    node.publish(b"q", b"3", message_id="n", headers={"message-id": "m"})
    node.publish(b"q", b"4", headers={"message-id": "m"})
    assert node.bodies(b"q") == [b"1", b"3", b"4"]


def test_a_header_of_any_name_is_the_id(node):
    node.declare(b"q", message_deduplication=True, deduplication_header="order")
    node.publish(b"q", b"1", b"2", headers={"order": 7})
    send(node, b"3", b"4", it=7)
    assert node.bodies(b"q") == [b"1", b"3", b"4"]


def test_with_a_time_an_id_is_known_after_its_message_was_settled(node):
    node.declare(b"q", message_deduplication=True, cache_ttl=1000)
    send(node, b"1")
    assert node.bodies(b"q") == [b"1"]
    node.later(999)
    send(node, b"2")
    node.later(1)
    send(node, b"3")
    node.later(5000)
    send(node, b"4")  # 3 is there
    assert node.bodies(b"q") == [b"3"]


def test_who_waits_for_a_repeat_is_told_when_the_queue_goes_before_its_first_came(node, queue):
    held, told = Transaction(), []
    first = Message(b"", b"q", props({"x-deduplication-header": "a"}), b"1")
    node.vhost.publish([(node.vhost.route(first), first)], held)
    again = node.publish_soon(b"q", b"2", headers={"x-deduplication-header": "a"})
    node.vhost.commit(held, told.append)
    node.delete(b"q")
    node.run(until=lambda: told)
    assert told == [None]
    assert again.waiting.settled()


def test_of_too_many_ids_those_that_came_first_are_forgotten(node):
    node.declare(b"q", message_deduplication=True, cache_size=2)
    for it in "abcab":
        send(node, it.encode(), it=it)
    assert node.bodies(b"q") == [b"a", b"b", b"c", b"a", b"b"]


def test_of_too_many_ids_those_that_came_first_are_forgotten_whatever_their_priority(node):
    queue = node.declare(b"q", message_deduplication=True, cache_size=2, max_priority=2)
    for priority, it in enumerate("abc"):
        send(node, it.encode(), it=it, priority=priority)
        node.later(1)
    assert queue.repeats.ids == 2
    for it in "cba":
        send(node, it.encode() * 2, it=it)
        node.later(1)
    assert queue.repeats.ids == 2
    assert node.bodies(b"q") == [b"c", b"b", b"a", b"aa"]


def test_what_a_full_queue_refuses_is_not_known(node):
    node.declare(b"q", message_deduplication=True, max_length=1, overflow="reject-publish")
    send(node, b"1", it="a")
    published = node.publish_soon(b"q", b"2", b"3", headers={"x-deduplication-header": "b"})
    assert published.rejected == [0, 1]
    assert send(node, b"4", it="a").rejected == []  # a repeat takes no room
    assert node.bodies(b"q") == [b"1"]
    assert send(node, b"5", it="b").rejected == []
    assert node.bodies(b"q") == [b"5"]


def test_each_queue_knows_its_own(node):
    node.exchange(b"x", "fanout")
    node.declare(b"once", message_deduplication=True)
    node.declare(b"order", message_deduplication=True, deduplication_header="order")
    node.declare(b"all")
    for name in (b"once", b"order", b"all"):
        node.bind(b"x", name)
    for n, (it, order) in enumerate([(1, 1), (1, 2), (2, 1), (1, 1)]):
        headers = {"x-deduplication-header": it, "order": order}
        node.publish(b"", b"%d" % n, exchange=b"x", headers=headers)
    assert node.bodies(b"once") == [b"0", b"2"]
    assert node.bodies(b"order") == [b"0", b"1"]
    assert node.bodies(b"all") == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("how", ["close", "kill"])
def test_ids_are_known_after_a_restart(lives, how):
    node = lives.node
    node.declare(b"q", message_deduplication=True, cache_ttl=10_000, max_priority=2)
    send(node, b"1", it="ready")
    send(node, b"2", it="done", priority=2)
    node.get(b"q")
    node.run()
    node = lives.kill() if how == "kill" else lives.again()
    published = node.publish_soon(b"q", b"3", headers={"x-deduplication-header": "ready"})
    assert published.rejected == [0]  # the queue is not open yet: publishers wait until it is
    node.ready(b"q")
    for it in ("ready", "done", "new"):
        send(node, it.encode(), it=it)
    assert node.bodies(b"q") == [b"1", b"new"]
    node.later(10_000)
    send(node, b"4", it="done")
    assert node.bodies(b"q") == [b"4"]


def commit(node, *sent):
    """(body, id) in one transaction."""
    held, answers = Transaction(), []
    for body, it in sent:
        message = Message(b"", b"q", props({"x-deduplication-header": it}), body)
        node.vhost.publish([(node.vhost.route(message), message)], held)
    node.vhost.commit(held, answers.append)
    return answers


def test_a_transaction_brings_each_id_once(node, queue):
    send(node, b"1", it="a")
    answers = commit(node, (b"2", "a"), (b"3", "b"), (b"4", "b"))
    node.run(until=lambda: answers)
    assert answers == [None]
    assert node.bodies(b"q") == [b"1", b"3"]


def test_what_a_transaction_brings_is_known_before_it_is_there(node, queue):
    send(node, b"0", it="x")
    answers = commit(node, (b"1", "a"))
    published = node.publish_soon(b"q", b"2", headers={"x-deduplication-header": "a"})
    assert not published.waiting.settled()
    other = commit(node, (b"3", "a"))
    node.run(until=lambda: answers and other and published.waiting.settled())
    assert (answers, other, published.waiting.failed) == ([None], [None], None)
    assert node.bodies(b"q") == [b"0", b"1"]


def test_what_a_transaction_does_not_bring_after_all_is_not_known(node, queue):
    send(node, b"0", it="x")
    held = Transaction()
    message = Message(b"", b"q", props({"x-deduplication-header": "a"}), b"1")
    node.vhost.publish([(node.vhost.route(message), message)], held)
    published = node.publish_soon(b"q", b"2", headers={"x-deduplication-header": "a"})
    held.forget()
    node.run(until=published.waiting.settled)
    assert "send it again" in str(published.waiting.failed)
    send(node, b"3")
    assert node.bodies(b"q") == [b"0", b"3"]


def test_a_commit_that_a_kill_interrupts_is_known_after_it(lives):
    node = lives.node
    node.declare(b"q", message_deduplication=True)
    send(node, b"0", it="x")
    answers = commit(node, (b"1", "a"))
    node.run(until=lambda: answers)
    node = lives.kill()
    node.ready(b"q")
    send(node, b"2", it="a")
    assert node.bodies(b"q") == [b"0", b"1"]


def test_false_turns_it_off(node):
    node.declare(b"q", message_deduplication=False, deduplication_header="x")
    node.publish(b"q", b"1", b"2", headers={"x": 1})
    assert node.bodies(b"q") == [b"1", b"2"]


STEP = st.one_of(
    st.tuples(st.just("send"), st.lists(st.sampled_from("abc"), min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["ack", "requeue", "reject", "take", "purge"]), st.none()),
    st.tuples(st.just("later"), st.sampled_from([300, 700])),
    st.tuples(st.sampled_from(["close", "kill"]), st.none()),
)


@given(st.lists(STEP, max_size=12), st.sampled_from([None, 1000]))
def test_as_a_list_says(tmp_path_factory, steps, known_ms):
    """A queue of at most one message of an id, and a time for which it is known after it came."""
    lives = Lives(tmp_path_factory.mktemp("model"))
    node = lives.open()
    given_ = {} if known_ms is None else {"cache_ttl": known_ms}
    node.declare(b"q", message_deduplication=True, **given_)
    ready, out, known = [], [], {}
    channel, n = Channel(), 0
    for what, more in steps:
        if what == "send":
            for it in more:
                body = b"%s%d" % (it.encode(), n)
                n += 1
                send(node, body, it=it)
                there = {chr(b[0]) for b in ready + [b for _, b in out]}
                if it in there or known.get(it, 0) > node.clock.now_ms:
                    continue
                ready.append(body)
                known[it] = node.clock.now_ms + (known_ms or 0)
        elif what == "take" and ready:
            got = node.get(b"q", channel, no_ack=False)
            assert got.delivery.body == ready[0]
            out.append((got.tag, ready.pop(0)))
        elif what in ("ack", "reject") and out:
            tag, _ = out.pop(0)
            getattr(channel, what)(tag)
        elif what == "requeue" and out:
            tag, body = out.pop(0)
            channel.requeue(tag)
            ready = sorted([*ready, body], key=lambda it: int(it[1:]))
        elif what == "purge":
            purge(node)
            ready = []
        elif what == "later":
            node.later(more)
        elif what in ("close", "kill"):
            node.run()
            ready = sorted([*ready, *(b for _, b in out)], key=lambda it: int(it[1:]))
            out, channel = [], Channel()
            node = lives.kill() if what == "kill" else lives.again()
            node.ready(b"q")
    node.run()
    assert node.bodies(b"q") == ready
    lives.end()


@pytest.mark.parametrize("ttl", [None, 10**6])
def test_a_message_that_comes_back_from_where_it_died_is_no_repeat(node, ttl):
    """Else whoever tries again later, by queues that expire, would lose it."""
    more = {} if ttl is None else {"cache_ttl": ttl}
    node.declare(
        b"q", message_deduplication=True, dead_letter_exchange="", dead_letter_routing_key="later",
        **more,
    )  # fmt: skip
    node.declare(b"later", message_ttl=1000, dead_letter_exchange="", dead_letter_routing_key="q")
    send(node, b"1")
    for _ in range(3):
        channel = Channel()
        got = node.get(b"q", channel, no_ack=False)
        assert got.delivery.body == b"1"
        channel.reject(got.tag)
        node.run()
        node.later(1000)
        node.ready(b"q")
        send(node, b"2")  # it is there again
    assert node.bodies(b"q") == [b"1"]


def test_a_message_that_expires_into_its_own_queue_is_no_repeat(node):
    node.declare(
        b"q", message_deduplication=True, dead_letter_exchange="", dead_letter_routing_key="q"
    )
    send(node, b"1")
    for _ in range(2):
        channel = Channel()
        channel.reject(node.get(b"q", channel, no_ack=False).tag)
        node.run(until=lambda: not node.vhost.queue(b"q").dead_letters)
    assert node.bodies(b"q") == [b"1"]


def test_repeats_of_a_queue_that_is_deleted_meanwhile_are_confirmed(node):
    """As what was sent to it is: it counts as consumed."""
    queue = node.declare(b"q", message_deduplication=True)
    first = node.publish_soon(b"q", b"1", headers={"x-deduplication-header": "a"})
    again = node.publish_soon(b"q", b"2", headers={"x-deduplication-header": "a"})
    node.vhost.delete_queue(queue)
    node.run(until=lambda: first.waiting.settled() and again.waiting.settled())
    assert first.waiting.failed is None
    assert again.waiting.failed is None


# Within one transaction


def rejected_with(commit, channel, *tags):
    for tag in tags:
        group = channel.unacked.ack(tag)
        assert group.queue.reject_with(group, commit.held)


def test_dead_letters_of_one_id_that_come_with_one_commit_are_one(node, queue):
    dying = node.declare(b"dying", dead_letter_exchange="", dead_letter_routing_key="q")
    send(node, b"1", b"2", key=b"dying")
    channel, commit = Channel(), Commit(node)
    for _ in range(2):
        node.get(b"dying", channel, no_ack=False)
    rejected_with(commit, channel, 1, 2)
    assert commit.end() is None
    assert (node.bodies(b"q"), dying.out) == ([b"1"], 0)


def test_a_dead_letter_with_the_id_of_what_its_commit_brings_is_a_repeat(node, queue):
    dying = node.declare(b"dying", dead_letter_exchange="", dead_letter_routing_key="q")
    send(node, b"1", key=b"dying")
    channel, commit = Channel(), Commit(node)
    node.get(b"dying", channel, no_ack=False)
    commit.publish(b"q", b"0", headers={"x-deduplication-header": "a"})
    rejected_with(commit, channel, 1)
    assert commit.end() is None
    assert (node.bodies(b"q"), dying.out) == ([b"0"], 0)
