"""Exchanges that send each message on once: by RabbitMQ's plugin's rules, and after every kill."""

import pytest
from queue_parts import Channel, Commit, Lives, props

from logstore.broker.deduplication import deduplication
from logstore.broker.policies import Policy
from logstore.broker.queues.handles import begin
from logstore.broker.queues.message import Message
from logstore.broker.queues.seen import Seen, encode
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import InvalidArgument, NoCacheSize
from logstore.errors import CorruptStore

TYPE = "x-message-deduplication"

pytestmark = pytest.mark.long


def once(node, name=b"x", *queues, **given):
    given = {"x_cache_size": 100, **given}
    node.exchange(name, TYPE, **given)
    for queue in queues:
        node.bind(name, queue)


def send(node, *bodies, it="a", exchange=b"x", headers=None, **given):
    """Until they are confirmed, each with the id ``it``."""
    headers = {**({} if it is None else {"x-deduplication-header": it}), **(headers or {})}
    return node.publish(b"key", *bodies, exchange=exchange, headers=headers, **given)


@pytest.fixture
def queues(node):
    node.declare(b"q")
    node.declare(b"r")
    once(node, b"x", b"q", b"r")
    return b"q", b"r"


def test_a_message_goes_to_all_that_are_bound_and_a_repeat_to_none(node, queues):
    first = send(node, b"1", b"2")
    again = send(node, b"3")
    for published in (first, again):
        assert (published.unrouted, published.rejected) == ([], [])
    assert [node.bodies(it) for it in queues] == [[b"1"], [b"1"]]
    send(node, b"4")  # settled, and known
    assert node.bodies(b"q") == []


def test_what_has_no_id_passes(node, queues):
    send(node, b"1", b"2", it=None)
    send(node, b"3", it=[1])
    assert node.bodies(b"q") == [b"1", b"2", b"3"]


def test_ids_have_types(node, queues):
    for n, it in enumerate([1, 1.0, "1", True, None]):
        headers = {"x-deduplication-header": it}
        node.publish(b"", b"%d" % n, b"again", exchange=b"x", headers=headers)
    assert node.bodies(b"q") == [b"0", b"1", b"2", b"3", b"4"]


def test_an_id_is_known_for_the_time_of_the_exchange_or_of_its_own(node):
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_ttl=1000)
    send(node, b"1")
    send(node, b"2", it="own", headers={"x-cache-ttl": 300})
    send(node, b"3", it="text", headers={"x-cache-ttl": "3000"})
    node.later(300)
    for it in ("a", "own", "text"):
        send(node, it.encode(), it=it)
    node.later(700)
    for it in ("a", "text"):
        send(node, it.encode(), it=it)
    assert node.bodies(b"q") == [b"1", b"2", b"3", b"own", b"a"]


def test_of_too_many_ids_those_that_came_first_are_forgotten(node):
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_size=2)
    for it in "abcbca":
        send(node, it.encode(), it=it)
    assert node.bodies(b"q") == [b"a", b"b", b"c", b"a"]


def policy(node, *removed, **definition):
    settings = {it.replace("_", "-"): value for it, value in definition.items()}
    put = [Policy("p", "^x$", settings, 0, "exchanges")] if settings else []
    done = node.vhost.set_policies(put, removed)
    node.run(until=lambda: done.done)
    assert done.error is None


def test_a_policy_says_how_many_ids_are_known_before_the_arguments(node):
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_size=2)
    policy(node, x_cache_size=3)
    for it in "abcabc":
        send(node, it.encode(), it=it)
    policy(node, x_cache_size=1)
    for it in "dc":
        send(node, it.encode(), it=it)
    policy(node, "p")
    for it in "cdc":
        send(node, it.encode(), it=it)
    assert node.bodies(b"q") == [b"a", b"b", b"c", b"d", b"c", b"d"]


def test_a_policy_says_for_how_long_ids_are_known_that_come_from_then_on(node):
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_ttl=1000)
    send(node, b"1", it="a")
    policy(node, x_cache_ttl=100)
    send(node, b"2", it="b")
    node.later(100)
    for it in "ab":
        send(node, it.encode(), it=it)
    assert node.bodies(b"q") == [b"1", b"2", b"b"]


def test_after_a_restart_a_policy_counts_from_the_first_message_on(tmp_path):
    lives = Lives(tmp_path)
    node = lives.open()
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_size=1)
    policy(node, x_cache_size=3)
    for it in "abc":
        send(node, it.encode(), it=it)
    for again in (lives.again, lives.kill):
        node = again()
        for it in "abc":
            send(node, b"again", it=it)
    assert node.bodies(b"q") == [b"a", b"b", b"c"]
    lives.end()


def test_the_message_id_is_the_id_where_that_is_asked_for(node):
    node.declare(b"q")
    once(node, b"x", b"q", x_deduplication_header="message-id")
    node.publish(b"", b"1", b"2", exchange=b"x", message_id="m")
    node.publish(b"", b"3", exchange=b"x", headers={"x-deduplication-header": "m"})
    node.publish(b"", b"4", exchange=b"x", headers={"x-deduplication-header": "m"})
    assert node.bodies(b"q") == [b"1", b"3", b"4"]


def test_what_no_queue_gets_is_not_known(node):
    once(node)
    assert send(node, b"1", b"2").unrouted == [0, 1]
    node.declare(b"q")
    node.bind(b"x", b"q")
    assert send(node, b"3").unrouted == []
    assert node.bodies(b"q") == [b"3"]


def test_what_one_queue_refuses_no_queue_gets_and_it_is_not_known(node):
    node.declare(b"q")
    node.declare(b"full", max_length=1, overflow="reject-publish")
    once(node, b"x", b"q", b"full")
    send(node, b"1", it="a")
    published = node.publish_soon(
        b"", b"2", b"3", exchange=b"x", headers={"x-deduplication-header": "b"}
    )
    assert published.rejected == [0, 1]
    assert node.bodies(b"full") == [b"1"]
    assert send(node, b"4", it="b").rejected == []
    assert node.bodies(b"full") == [b"4"]
    assert node.bodies(b"q") == [b"1", b"4"]


def test_a_repeat_is_confirmed_when_the_first_is_safe(node, queues):
    headers = {"x-deduplication-header": "a"}
    first = node.publish_soon(b"", b"1", exchange=b"x", headers=headers)
    again = node.publish_soon(b"", b"2", exchange=b"x", headers=headers)
    assert not again.waiting.settled()
    node.run(until=again.waiting.settled)
    assert first.waiting.settled()
    assert again.waiting.failed is None
    assert node.bodies(b"q") == [b"1"]


def test_a_chain_of_such_exchanges_knows_at_each(node):
    node.declare(b"q")
    once(node, b"x")
    once(node, b"y", b"q", x_deduplication_header="other")
    pending = node.vhost.bind(Binding(b"x", b"y", b"", kind="exchange"))
    node.run(until=lambda: pending is None or pending.done)
    send(node, b"1", it="a", headers={"other": 1})
    send(node, b"2", it="b", headers={"other": 1})
    send(node, b"3", it="b", headers={"other": 2})
    send(node, b"4", it="c", headers={"other": 2})
    assert node.bodies(b"q") == [b"1", b"4"]


def test_it_passes_on_to_delayed_messages_and_topics(node):
    node.topic("t")
    node.declare(b"q")
    node.exchange(b"to-t", "x-topic", x_target="t")
    node.exchange(b"later", "x-delayed-message", x_delayed_type="fanout")
    node.bind(b"later", b"q")
    once(node)
    for destination in (b"to-t", b"later"):
        pending = node.vhost.bind(Binding(b"x", destination, b"", kind="exchange"))
        node.run(until=lambda pending=pending: pending is None or pending.done)
    for body in (b"1", b"2"):
        send(node, body, headers={"x-delay": 1000})
    assert [it.value for it in node.records("t")[0]] == [b"1"]
    assert node.ready(b"q") == 0
    waiting = node.vhost.topology.station(b"later").stock.lanes[0]
    node.run(until=lambda: waiting.safe)
    node.later(1000)
    assert node.bodies(b"q") == [b"1"]


@pytest.mark.parametrize("how", ["close", "kill"])
def test_ids_are_known_after_a_restart(lives, how):
    node = lives.node
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_ttl=5000)
    send(node, b"1")
    assert node.bodies(b"q") == [b"1"]
    node.run()
    node = lives.kill() if how == "kill" else lives.again()
    node.later(4999)
    send(node, b"2")
    send(node, b"3", it="b")
    node.later(1)
    node = lives.again()
    send(node, b"4")
    send(node, b"5", it="b")
    assert node.bodies(b"q") == [b"3", b"4"]


def test_ids_are_known_after_the_journal_was_trimmed(lives):
    """They are a part of what is kept beside it then."""
    node = lives.node
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_size=10_000)
    send(node, b"1")
    log = node.queues._journaling.log
    log.secure()
    log.roll()
    log.secure()
    log.trim(log.end)
    node = lives.kill()
    send(node, b"2")
    send(node, b"3", it="b")
    assert node.bodies(b"q") == [b"1", b"3"]


@pytest.mark.parametrize("turns", range(8))
def test_id_and_message_are_both_there_or_neither_wherever_a_kill_comes(lives, turns):
    node = lives.node
    node.declare(b"q")
    node.declare(b"r")
    once(node, b"x", b"q", b"r")
    send(node, b"0", it="other")
    published = node.publish_soon(b"", b"1", exchange=b"x", headers={"x-deduplication-header": "a"})
    for _ in range(turns):
        node.turn()
    confirmed = published.waiting.settled()
    node = lives.kill()
    send(node, b"2")
    there = node.bodies(b"q")
    assert node.bodies(b"r") == there
    assert there in ([b"0", b"1"], [b"0", b"2"])
    assert there == [b"0", b"1"] or not confirmed


def test_an_exchange_that_is_deleted_is_forgotten(lives):
    node = lives.node
    node.declare(b"q")
    once(node, b"x", b"q")
    send(node, b"1")
    node.vhost.delete_exchange(b"x")
    node.run()
    assert node.queues._notes.exchanges() == []
    once(node, b"x", b"q")
    send(node, b"2")
    send(node, b"3")
    node = lives.kill()
    send(node, b"4")
    assert node.bodies(b"q") == [b"1", b"2"]


def test_what_was_on_its_way_as_an_exchange_went_is_nothing_to_the_next_of_its_name(lives):
    node = lives.node
    node.declare(b"q")
    once(node, b"x", b"q")
    headers = {"x-deduplication-header": "a"}
    published = node.publish_soon(b"key", b"1", exchange=b"x", headers=headers)
    node.vhost.delete_exchange(b"x")
    facts = ExchangeFacts(b"x", TYPE, True, arguments=arguments_of({"x-cache-size": 100}))
    node.vhost.declare_exchange(facts)
    node.vhost.bind(Binding(b"x", b"q", b""))
    send(node, b"2", it="b")
    node.run(until=published.waiting.settled)
    node.run()
    assert len(node.queues._notes.exchanges()) == 1
    node = lives.kill()
    send(node, b"3", it="a")  # it came to the other one
    send(node, b"4", it="b")
    assert node.bodies(b"q") == [b"1", b"2", b"3"]


def test_one_that_does_not_last_knows_as_long_as_it_is_there(node):
    node.declare(b"q")
    node.exchange(b"x", TYPE, durable=False, x_cache_size=5)
    node.bind(b"x", b"q")
    send(node, b"1", b"2")
    send(node, b"3")
    assert node.bodies(b"q") == [b"1"]
    assert node.queues._notes.exchanges() == []


def commit(node, *sent):
    """(body, id) in one transaction."""
    held, answers = Transaction(), []
    for body, it in sent:
        message = Message(b"x", b"", props({"x-deduplication-header": it}), body)
        node.vhost.publish([(node.vhost.route(message), message)], held)
    node.vhost.commit(held, answers.append)
    return answers


def test_a_transaction_brings_each_id_once(node, queues):
    send(node, b"1", it="a")
    answers = commit(node, (b"2", "a"), (b"3", "b"), (b"4", "b"))
    other = commit(node, (b"5", "b"), (b"6", "c"))
    node.run(until=lambda: answers and other)
    assert (answers, other) == ([None], [None])
    assert node.bodies(b"q") == [b"1", b"3", b"6"]


def test_what_a_transaction_does_not_bring_after_all_is_not_known(node, queues):
    held = Transaction()
    message = Message(b"x", b"", props({"x-deduplication-header": "a"}), b"1")
    node.vhost.publish([(node.vhost.route(message), message)], held)
    published = node.publish_soon(b"", b"2", exchange=b"x", headers={"x-deduplication-header": "a"})
    held.forget()
    node.run(until=published.waiting.settled)
    assert "send it again" in str(published.waiting.failed)
    send(node, b"3")
    assert node.bodies(b"q") == [b"3"]


def test_a_queue_that_is_not_open_yet_is_waited_for(lives):
    """Whether it has room, or has the message, is known once it is."""
    node = lives.node
    node.declare(b"q", max_length=1, overflow="reject-publish")
    once(node, b"x", b"q")
    send(node, b"1")
    node = lives.again()
    message = Message(b"x", b"", props({"x-deduplication-header": "b"}), b"2")
    run = [(node.vhost.route(message), message)]
    queue = node.vhost.to_be_counted(run)
    assert queue is node.vhost.queue(b"q")
    node.ready(b"q")
    assert node.vhost.to_be_counted(run) is None
    assert node.vhost.publish(run).rejected == [0]


def test_a_queue_that_is_not_open_yet_is_waited_for_by_the_library(lives):
    node = lives.node
    node.declare(b"q", max_length=2, overflow="reject-publish")
    once(node, b"x", b"q")
    send(node, b"1")
    node = lives.again()
    message = Message(b"x", b"", props({"x-deduplication-header": "b"}), b"2")
    poked = []
    assert begin(node.vhost, [message], lambda: poked.append(True)) is node.vhost.queue(b"q")
    node.run(until=lambda: poked)
    published = begin(node.vhost, [message], lambda: None)
    node.run(until=published.waiting.settled)
    assert (published.error, published.rejected) == (None, [])
    assert node.bodies(b"q") == [b"1", b"2"]


def test_once_all_queues_are_open_nobody_asks_for_them_any_more(lives):
    """Else each run of messages would be gone through for queues that nobody publishes to."""
    node = lives.node
    for name in (b"q", b"r", b"s"):
        node.declare(name, max_length=1, overflow="reject-publish")
        node.publish(name, b"1")
    node = lives.again()
    assert len(node.queues.uncounted) == 3
    node.run(until=lambda: not node.queues._unopened)
    assert not node.queues.uncounted


def test_a_queue_behind_two_such_exchanges_is_waited_for(lives):
    node = lives.node
    node.declare(b"q", max_length=1, overflow="reject-publish")
    once(node, b"y", b"q")
    once(node, b"x")
    node.vhost.bind(Binding(b"x", b"y", b"", kind="exchange"))
    send(node, b"1")
    node = lives.again()
    message = Message(b"x", b"", props({"x-deduplication-header": "b"}), b"2")
    run = [(node.vhost.route(message), message)]
    assert node.vhost.to_be_counted(run) is node.vhost.queue(b"q")


def test_a_queue_that_one_of_many_messages_reaches_is_waited_for(lives):
    """They have one key, and go on by their headers."""
    node = lives.node
    node.declare(b"q", max_length=1, overflow="reject-publish")
    once(node, b"x")
    node.exchange(b"h", "headers")
    node.vhost.bind(Binding(b"x", b"h", b"", kind="exchange"))
    node.vhost.bind(Binding(b"h", b"q", b"", arguments_of({"to": "q"})))
    send(node, b"1", headers={"to": "q"})
    node = lives.again()
    headers = [{"x-deduplication-header": "b", "to": "q"}, {"x-deduplication-header": "c"}]
    messages = [Message(b"x", b"", props(it), b"2") for it in headers]
    run = [(node.vhost.route(it), it) for it in messages]
    assert node.vhost.to_be_counted(run) is node.vhost.queue(b"q")


def test_ids_beyond_the_memory_are_forgotten(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(deduplication, "BYTES_MAX", 1)
    lives = Lives(tmp_path)
    node = lives.open()
    node.queues._surroundings.deduplication._bytes_max = 1 << 16
    node.declare(b"q")
    once(node, b"x", b"q", x_cache_size=10**9)
    for n in range(1030):
        send(node, b"%d" % n, it=n)
    assert node.vhost.topology.station(b"x").ids <= 1024
    assert "deduplication.memory.bytes" in caplog.text
    lives.end()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, NoCacheSize),
        ({"x_cache_size": 0}, NoCacheSize),
        ({"x_cache_size": -5}, NoCacheSize),
        ({"x_cache_size": "ten"}, NoCacheSize),
        ({"x_cache_size": 1.0}, NoCacheSize),
        ({"x_cache_size": True}, NoCacheSize),
        ({"x_cache_size": "9" * 20}, NoCacheSize),
        ({"x_cache_size": 1, "x_cache_ttl": 0}, InvalidArgument),
        ({"x_cache_size": 1, "x_cache_ttl": "soon"}, InvalidArgument),
        ({"x_cache_size": 1, "x_cache_persistence": "tape"}, InvalidArgument),
        ({"x_cache_size": 1, "x_deduplication_header": ""}, InvalidArgument),
        ({"x_cache_size": 1, "x_deduplication_header": 1}, InvalidArgument),
    ],
)
def test_arguments_that_mean_nothing_are_refused(node, given, error):
    with pytest.raises(error):
        node.exchange(b"x", TYPE, **given)
    node.exchange(b"x", TYPE, x_cache_size="12", x_cache_ttl="5", x_cache_persistence="disk")


# In the journal


def ids(*numbers):
    return [(n.to_bytes(16, "big"), 0) for n in numbers]


def test_what_is_kept_is_what_the_exchange_knows():
    seen = Seen()
    seen.apply(encode([(b"a" * 16, 10), (b"b" * 16, 0)], 5, 100), "it")
    assert seen.items() == [(b"a" * 16, 110), (b"b" * 16, 2**63 - 1)]
    seen.apply(encode([(b"c" * 16, 10)], 5, 110), "it")
    assert [it for it, _ in seen.items()] == [b"b" * 16, b"c" * 16]
    again = Seen.decode(seen.encode(), "it")
    assert again.items() == seen.items()
    assert again.most == 5


def test_no_more_is_kept_than_the_exchange_knows():
    seen = Seen()
    for n in range(5000):
        seen.apply(encode(ids(n), 10, n), "it")
    assert seen.items() == [(it, 2**63 - 1) for it, _ in ids(*range(4990, 5000))]
    assert len(seen.untils) <= 2000
    assert len(seen.encode()) < 300


def test_bytes_that_make_no_sense_are_refused():
    good = encode(ids(1), 5, 100)
    for wrong in (good[:-1], good[:5], good + b"x"):
        with pytest.raises(CorruptStore):
            Seen().apply(wrong, "it")
    seen = Seen()
    seen.apply(good, "it")
    for wrong in (seen.encode()[:-1], seen.encode() + b"x"):
        with pytest.raises(CorruptStore):
            Seen.decode(wrong, "it")


def test_a_message_that_comes_back_from_where_it_died_passes_again(node):
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="later")
    node.declare(b"later", message_ttl=1000, dead_letter_exchange="x")
    once(node, b"x", b"q")
    send(node, b"1")
    for _ in range(3):
        channel = Channel()
        channel.reject(node.get(b"q", channel, no_ack=False).tag)
        node.run()
        node.later(1000)
        node.ready(b"q")
        send(node, b"2")
    assert node.bodies(b"q") == [b"1"]


def test_what_dies_elsewhere_is_compared(node):
    node.declare(b"q")
    once(node, b"x", b"q")
    node.declare(b"plain", dead_letter_exchange="x")
    for body in (b"1", b"2"):
        node.publish(b"plain", body, headers={"x-deduplication-header": "a"})
        channel = Channel()
        channel.reject(node.get(b"plain", channel, no_ack=False).tag)
        node.run()
    assert node.bodies(b"q") == [b"1"]
    assert node.ready(b"plain") == 0


def test_exchanges_that_are_bound_in_a_circle_end(node):
    node.declare(b"q")
    once(node, b"x", b"q")
    once(node, b"y")
    for source, to in ((b"x", b"y"), (b"y", b"x")):
        pending = node.vhost.bind(Binding(source, to, b"", kind="exchange"))
        node.run(until=lambda pending=pending: pending is None or pending.done)
    send(node, b"1", b"2", it="a")
    send(node, b"3", it="b", exchange=b"y")
    assert node.bodies(b"q") == [b"1", b"3"]


def test_the_journal_keeps_no_more_ids_than_there_is_memory(lives):
    from logstore.broker.deduplication.deduplication import Deduplication
    from logstore.broker.queues.journal import SettlementNotes

    notes = SettlementNotes(Deduplication(bytes_max=1 << 16))
    key = b"I\5"
    for n in range(4000):
        notes._let_pass(key, encode(ids(n), 10**9, n))
    assert len(notes._seen[key]) <= 1024
    assert len(notes._seen[key].ids) <= 16 * 3000


def test_of_an_exchange_that_goes_while_a_message_passes_the_journal_keeps_nothing(node):
    node.declare(b"q")
    once(node, b"x", b"q")
    passing = node.publish_soon(b"", b"1", exchange=b"x", headers={"x-deduplication-header": "a"})
    node.vhost.delete_exchange(b"x")
    node.run(until=passing.waiting.settled)
    assert node.bodies(b"q") == [b"1"]
    node.publish(b"q", b"2")
    assert node.bodies(b"q") == [b"2"]
    assert node.queues._notes.exchanges() == []


def test_what_comes_by_the_exchange_and_past_it_within_one_commit_is_stored_once(node):
    node.declare(b"q", message_deduplication=True)
    once(node, b"x", b"q")
    node.bind(b"x", b"q", b"key")
    commit, headers = Commit(node), {"x-deduplication-header": "a"}
    commit.publish(b"key", b"1", exchange=b"x", headers=headers)
    commit.publish(b"q", b"2", headers=headers)
    assert commit.end() is None
    assert node.bodies(b"q") == [b"1"]


def test_dead_letters_of_one_id_pass_once_within_one_commit(node, queues):
    dying = node.declare(b"dying", dead_letter_exchange="x")
    node.publish(b"dying", b"1", b"2", headers={"x-deduplication-header": "a"})
    channel, commit = Channel(), Commit(node)
    for tag in (1, 2):
        node.get(b"dying", channel, no_ack=False)
        group = channel.unacked.ack(tag)
        assert group.queue.reject_with(group, commit.held)
    assert commit.end() is None
    assert ([node.bodies(it) for it in queues], dying.out) == ([[b"1"], [b"1"]], 0)
