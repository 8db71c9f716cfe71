"""What clients see of messages that have died: x-death, where they go, when they stop (T6 to T10).

``tests/broker/queues/test_queue_deaths.py`` has what becomes of them on disk.
"""

import pytest
from amqp_kit import bind, declare, exchange, get, headers, message

from logstore.amqp import fields, methods, properties
from logstore.amqp.properties import Properties

DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
TYPES = {
    "count": "l", "reason": "S", "queue": "S", "time": "T", "exchange": "S", "routing-keys": "A",
    "original-expiration": "S",
}  # fmt: skip


def kinds(table):
    return {name: fields.KINDS[type(value)] for name, value in table.items()}


def take(peer, queue, tag=None):
    """Fetch one; method, properties, body."""
    method, data, body = peer.ask(get(queue, no_ack=tag is None))
    assert tag is None or method.delivery_tag == tag
    return method, properties.read(data), body


def test_t6_a_death_has_fields_of_rabbitmqs_types(door, peer):
    peer.ask(exchange())
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD))
    peer.ask(bind(key="k"))
    given = Properties(headers={"CC": ["also"], "BCC": ["blind"]}, expiration="50")
    peer.publish(b"x", exchange="e", key="k", props=given)
    door.run()
    door.node.later(50)
    door.run()
    method, found, _ = take(peer, "dead")
    assert (method.exchange, method.routing_key, found.expiration) == ("", "dead", None)
    (death,) = found.headers["x-death"]
    assert kinds(death) == TYPES
    assert death["time"] == door.node.now_ms // 1000
    assert {name: death[name] for name in death if name != "time"} == {
        "count": 1, "reason": "expired", "queue": "q", "exchange": "e",
        "routing-keys": ["k", "also"], "original-expiration": "50",
    }  # fmt: skip
    for which in ("first", "last"):
        assert [found.headers[f"x-{which}-death-{it}"] for it in ("reason", "queue", "exchange")] \
            == ["expired", "q", "e"]  # fmt: skip


def test_t6_without_an_expiration_there_is_no_original_one(peer):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD))
    peer.publish(b"x")
    peer.ask(get())
    peer.send(methods.BasicReject(1, False))
    peer.door.run()
    (death,) = take(peer, "dead")[1].headers["x-death"]
    assert death.keys() == TYPES.keys() - {"original-expiration"}


def test_t6_two_deaths_are_two_entries_the_newest_first_and_the_same_one_counts(peer):
    peer.ask(declare("a", dead_letter_exchange="", dead_letter_routing_key="b"))
    peer.ask(declare("b", dead_letter_exchange="", dead_letter_routing_key="a"))
    peer.publish(b"x", key="a")
    for tag, queue in enumerate("abab", 1):
        take(peer, queue, tag)
        peer.send(methods.BasicNack(tag, False, False))
        peer.door.run()
    _, found, _ = take(peer, "a", 5)
    deaths = found.headers["x-death"]
    assert [(it["queue"], it["count"]) for it in deaths] == [("b", 2), ("a", 2)]
    assert found.headers["x-first-death-queue"] == "a"
    assert found.headers["x-last-death-queue"] == "b"
    # Of a death that has happened before, what it was the first time stays.
    assert [(it["exchange"], it["routing-keys"]) for it in deaths] == [("", ["b"]), ("", ["a"])]


REASONS = {
    "rejected": {}, "expired": {"message_ttl": 0}, "maxlen": {"max_length": 0},
    "delivery_limit": {"delivery_limit": 0},
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_t6_reasons_are_these_four(door, peer, reason):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD, **REASONS[reason]))
    peer.publish(b"x")
    door.run()
    if reason in ("rejected", "delivery_limit"):
        take(peer, "q", 1)
        peer.send(methods.BasicReject(1, reason != "rejected"))
        door.run()
    assert take(peer, "dead")[1].headers["x-death"][0]["reason"] == reason


@pytest.mark.parametrize(
    "given",
    [
        "text", 5, None, True, 1.5, {}, {"queue": "q"}, [], [1, "two", None], [[[]]],
        [{"queue": 5, "reason": [], "count": "x"}], [{"count": -1, "queue": "q"}],
        [{"queue": "q", "reason": "rejected", "count": "three"}],
        [{"queue": "q", "reason": "rejected", "count": fields.Long(2**63 - 1)}],
        fields.Timestamp(5), b"bytes",
    ],
)  # fmt: skip
def test_t7_a_history_of_any_type_that_a_client_made_harms_nobody(peer, given):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD))
    peer.publish(b"x", props=Properties(headers={"x-death": given}))
    _, found, _ = take(peer, "q", 1)
    assert found.headers == {"x-death": given}
    peer.send(methods.BasicReject(1, False))
    peer.door.run()
    deaths = take(peer, "dead")[1].headers["x-death"]
    assert (deaths[0]["queue"], deaths[0]["reason"]) == ("q", "rejected")
    assert kinds(deaths[0])["count"] == "l"
    assert deaths[0]["count"] >= 1


def test_t7_a_history_that_a_client_sends_back_is_counted_on(peer):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD))
    sent = Properties()
    for round_ in range(1, 4):  # a retry as applications write it
        peer.publish(b"x", props=sent)
        take(peer, "q", 2 * round_ - 1)
        peer.send(methods.BasicReject(2 * round_ - 1, False))
        peer.door.run()
        sent = take(peer, "dead")[1]
        assert [it["count"] for it in sent.headers["x-death"]] == [round_]


def test_t8_a_missing_exchange_drops_what_dies(door, peer):
    peer.ask(declare(dead_letter_exchange="no"))
    peer.publish(b"x")
    take(peer, "q", 1)
    peer.send(methods.BasicReject(1, False))
    door.run()
    assert peer.ask(declare(passive=True)).message_count == 0
    peer.ask(exchange("no", "fanout"))  # too late for that one
    peer.ask(declare("dead"))
    peer.ask(bind("dead", "no"))
    peer.publish(b"y")
    take(peer, "q", 2)
    peer.send(methods.BasicReject(2, False))
    door.run()
    assert take(peer, "dead")[2] == b"y"


def test_t8_with_a_key_of_its_own_copies_are_forgotten(door, peer):
    for name in ("dead", "cc", "bcc"):
        peer.ask(declare(name))
    peer.ask(declare(**DEAD))
    peer.publish(b"x", props=Properties(headers={"CC": ["cc"], "BCC": ["bcc"], "mine": 1}))
    door.run()
    assert [take(peer, it)[2] for it in ("cc", "bcc")] == [b"x", b"x"]
    take(peer, "q", 3)
    peer.send(methods.BasicReject(3, False))
    door.run()
    _, found, _ = take(peer, "dead")
    assert found.headers.keys() >= {"mine", "x-death"}
    assert not found.headers.keys() & {"CC", "BCC"}
    assert [door.node.ready(it) for it in (b"cc", b"bcc")] == [0, 0]


def test_t8_without_one_it_goes_by_all_its_keys_and_blind_ones_stay_blind(door, peer):
    peer.ask(exchange("dlx", "direct"))
    for name in ("dead", "cc", "bcc"):
        peer.ask(declare(name))
        peer.ask(bind(name, "dlx", name))
    peer.ask(declare(dead_letter_exchange="dlx"))
    peer.ask(bind("dead", "dlx", "q"))
    given = Properties(headers={"CC": ["cc"], "BCC": ["bcc"]}, expiration="0")
    peer.publish(b"x", props=given)
    door.run()
    for name in ("cc", "bcc"):  # these are dead in their own queues
        assert door.node.ready(name.encode()) == 1
        method, found, _ = take(peer, name)
        assert (method.exchange, method.routing_key) == ("dlx", "q")
        assert "BCC" not in found.headers
        assert found.headers["CC"] == ["cc"]
        assert found.headers["x-death"][0]["routing-keys"] == ["q", "cc"]
    assert take(peer, "dead")[0].exchange == "dlx"


def test_t8_the_time_of_the_next_queue_begins_at_the_death(door, peer):
    peer.ask(declare("dead", message_ttl=100))
    peer.ask(declare(**DEAD, message_ttl=100))
    peer.publish(b"x", props=Properties(expiration="100"))
    door.run()
    for left in (1, 0):
        door.node.later(99)
        door.run()
        assert door.node.ready(b"q") + door.node.ready(b"dead") == 1
        door.node.later(1)
        door.run()
        assert (door.node.ready(b"q"), door.node.ready(b"dead")) == (0, left)


def test_t8_a_key_without_an_exchange_is_refused(peer):
    close = peer.ask(declare(dead_letter_routing_key="k"))
    assert (close.reply_code, close.reply_text) == (
        406,
        "PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'q' in vhost '/': "
        "routing_key_but_no_dlx_defined",
    )


def test_t8_who_sent_it_is_not_checked_again(door, peer):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD, message_ttl=0))
    peer.publish(b"x", props=Properties(user_id="guest"))
    door.run()
    assert take(peer, "dead")[1].user_id == "guest"


def test_t9_what_expires_into_its_own_queue_is_dropped_the_first_time(door, peer):
    peer.ask(declare(message_ttl=10, dead_letter_exchange=""))
    peer.publish(b"x")
    door.run()
    door.node.later(10)
    door.run()
    assert door.node.ready(b"q") == 0


def test_t9_what_expires_round_two_queues_ends_where_it_began(door, peer):
    peer.ask(declare("a", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="b"))
    peer.ask(declare("b", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="a"))
    peer.publish(b"x", key="a")
    door.run()
    seen = []
    for _ in range(4):
        seen.append((door.node.ready(b"a"), door.node.ready(b"b")))
        door.node.later(10)
        door.run()
    assert seen == [(1, 0), (0, 1), (0, 0), (0, 0)]


def test_t9_by_rejection_it_goes_round_for_ever(door, peer):
    peer.ask(declare(dead_letter_exchange=""))
    peer.publish(b"x")
    for tag in range(1, 31):
        take(peer, "q", tag)
        peer.send(methods.BasicReject(tag, False))
        door.run()
    assert take(peer, "q")[1].headers["x-death"][0]["count"] == 30


def test_t9_a_retry_with_its_old_headers_is_no_cycle(door, peer):
    """celery#9867: such tasks were dropped by brokers that believe a client's x-death."""
    peer.ask(declare("task"))
    for name, to in (("4 s", "2 s"), ("2 s", "1 s"), ("1 s", "task")):
        peer.ask(declare(name, message_ttl=10, dead_letter_exchange="", dead_letter_routing_key=to))
    sent = Properties()
    for retry in range(1, 6):
        peer.publish(b"x", key="4 s", props=sent)
        door.run()
        for _ in range(3):
            door.node.later(10)
            door.run()
        _, sent, body = take(peer, "task")
        assert body == b"x"
        deaths = [(it["queue"], it["count"]) for it in sent.headers["x-death"]]
        assert deaths == [("1 s", retry), ("2 s", retry), ("4 s", retry)]


@pytest.mark.parametrize("strategy", [{}, {"dead_letter_strategy": "at-least-once"}])
def test_t10_a_target_that_is_full_drops_or_waits_by_the_strategy(door, peer, strategy):
    peer.ask(declare("dead", max_length=1, overflow="reject-publish"))
    peer.ask(declare(**DEAD, overflow="reject-publish", **strategy))
    peer.publish(b"1", b"2")
    for tag in (1, 2):
        take(peer, "q", tag)
    peer.send(methods.BasicReject(2, False), methods.BasicReject(1, False))
    door.run()
    first = take(peer, "dead", 3)[2]
    peer.send(methods.BasicAck(3, False))
    door.run()
    door.node.later(1000)
    door.run()
    if strategy:
        assert {first, take(peer, "dead")[2]} == {b"1", b"2"}
    else:
        assert peer.ask(get("dead")) == methods.BasicGetEmpty("")
    assert len(door.node.queues.vhosts[b"/"].queue(b"q").dead_letters) == 0


def test_t10_a_source_that_is_deleted_sends_what_was_dying(door, peer):
    peer.ask(declare("dead", durable=True))
    peer.ask(declare(durable=True, **DEAD))
    peer.publish(b"1", b"2")
    door.run()
    for tag in (1, 2):
        take(peer, "q", tag)
    peer.give(b"")
    peer.send(methods.BasicNack(2, True, False), methods.QueueDelete(0, "q", False, False, False))
    door.run()
    assert door.node.ready(b"dead") == 2


@pytest.mark.long
def test_t10_a_million_deaths_at_once_are_many_small_steps(door, peer):
    peer.ask(declare("dead"))
    peer.ask(declare(**DEAD, message_ttl=10))
    peer.give(b"".join(message(b"%d" % n) for n in range(1500)))
    door.run()
    queue = door.node.queues.vhosts[b"/"].queue(b"q")
    dead = door.node.queues.vhosts[b"/"].queue(b"dead")
    door.node.later(10)
    most = before = 0
    while queue.ready or queue.out:
        door.node.step()
        most, before = max(most, dead.ready - before), dead.ready
    assert 0 < most <= 1000
    door.run()
    assert dead.ready == 1500
    assert headers(peer.ask(get("dead"))[1])["x-death"][0]["count"] == 1
