"""Dead letters: what they carry, where they go, when they are dropped, and that none is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_parts import Channel, Consumer, props, spoil

from logstore.amqp import fields, properties
from logstore.broker.queues.deaths import (
    EXPIRED,
    REJECTED,
    Dying,
    dead_letter,
    encode_deaths,
    goes_in_circles,
    own_deaths,
)

DLX = {"dead_letter_exchange": "dlx"}


@pytest.fixture
def dead(node):
    """A queue behind an exchange for dead letters."""
    node.exchange(b"dlx", "fanout")
    queue = node.declare(b"dead")
    node.bind(b"dlx", b"dead")
    return queue


def reject(node, name, *, requeue=False):
    channel = Channel()
    got = node.get(name, channel, no_ack=False)
    channel.requeue(1) if requeue else channel.reject(1)
    node.run()
    return got


def headers_of(delivery):
    return properties.read(delivery.properties).headers


def test_a_death_tells_what_it_was_in_fields_of_the_right_types(node, dead):
    node.declare(b"q", **DLX)
    node.exchange(b"x")
    node.bind(b"x", b"q", b"key")
    data = {"headers": {"own": True, "CC": ["other"]}, "message_id": "m", "expiration": "5000"}
    node.publish(b"key", b"1", exchange=b"x", **data)
    reject(node, b"q")
    delivery = node.get(b"dead").delivery
    assert (delivery.exchange, delivery.key, delivery.body) == (b"dlx", b"key", b"1")
    assert delivery.redelivered is False
    found = properties.read(delivery.properties)
    assert (found.message_id, found.expiration) == ("m", None)
    [entry] = found.headers.pop("x-death")
    now_s = node.clock.now_ms // 1000
    assert entry == {
        "count": 1, "reason": "rejected", "queue": "q", "time": now_s, "exchange": "x",
        "routing-keys": ["key", "other"], "original-expiration": "5000",
    }  # fmt: skip
    assert type(entry["count"]) is fields.Long
    assert type(entry["time"]) is fields.Timestamp
    assert found.headers == {
        "own": True, "CC": ["other"],
        "x-first-death-reason": "rejected", "x-first-death-queue": "q",
        "x-first-death-exchange": "x", "x-last-death-reason": "rejected",
        "x-last-death-queue": "q", "x-last-death-exchange": "x",
    }  # fmt: skip


def test_the_same_death_again_is_one_entry_and_counts(node):
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="q")
    node.publish(b"q", b"1")
    first_s = node.clock.now_ms // 1000
    for n in range(1, 4):
        reject(node, b"q")
        node.later(5_000)
        channel = Channel()
        [entry] = headers_of(node.get(b"q", channel, no_ack=False).delivery)["x-death"]
        channel.end()
        assert (entry["count"], entry["time"]) == (n, first_s)
        assert entry["exchange"] == ""


def test_deaths_in_two_queues_are_two_entries_newest_first(node, dead):
    node.declare(b"b", **DLX)
    node.declare(b"a", dead_letter_exchange="", dead_letter_routing_key="b", message_ttl=10)
    node.publish(b"a", b"1")
    node.later(10)
    reject(node, b"b")
    headers = headers_of(node.get(b"dead").delivery)
    found = [(it["queue"], it["reason"], it["count"]) for it in headers["x-death"]]
    assert found == [("b", "rejected", 1), ("a", "expired", 1)]
    assert (headers["x-first-death-queue"], headers["x-last-death-queue"]) == ("a", "b")


def test_a_death_that_happens_again_moves_to_the_front(node):
    for name, other in ((b"a", "b"), (b"b", "a")):
        node.declare(name, dead_letter_exchange="", dead_letter_routing_key=other)
    node.publish(b"a", b"1")
    reject(node, b"a")
    reject(node, b"b")
    reject(node, b"a")
    entries = headers_of(node.get(b"b").delivery)["x-death"]
    assert [(it["queue"], it["count"]) for it in entries] == [("a", 2), ("b", 1)]


CLIENTS = [
    "text", 5, None, True, 1.5, b"bytes", {"queue": "q"}, [], ["text", 3], [["nested"]],
    [{"queue": 5, "reason": []}], [{}], [{"queue": "q", "reason": "rejected", "count": "many"}],
    [{"queue": "q", "reason": "rejected"}], [{"queue": "q", "reason": "rejected", "count": None}],
]  # fmt: skip


@pytest.mark.parametrize("made", CLIENTS, ids=repr)
def test_a_header_that_a_client_has_made_harms_nothing(node, dead, made):
    node.declare(b"q", **DLX)
    node.publish(b"q", b"1", headers={"x-death": made})
    reject(node, b"q")
    entries = headers_of(node.get(b"dead").delivery)["x-death"]
    assert (entries[0]["queue"], entries[0]["reason"]) == ("q", "rejected")
    assert entries[0]["count"] >= 1


def test_a_clients_history_is_counted_on(node, dead):
    node.declare(b"q", **DLX)
    old = {"count": 3, "reason": "rejected", "queue": "q", "time": fields.Timestamp(7)}
    node.publish(b"q", b"1", headers={"x-death": [{"queue": "z", "reason": "expired"}, old]})
    reject(node, b"q")
    entries = headers_of(node.get(b"dead").delivery)["x-death"]
    assert [(it["queue"], it.get("count")) for it in entries] == [("q", 4), ("z", None)]
    assert entries[0]["time"] == 7


def nested(deep):
    value = "deepest"
    for _ in range(deep):
        value = [value]
    return value


def test_a_header_nested_a_hundred_deep_is_taken_along(node, dead):
    node.declare(b"q", **DLX)
    node.publish(b"q", b"1", headers={"x-death": nested(100), "own": nested(100)})
    reject(node, b"q")
    assert headers_of(node.get(b"dead").delivery)["own"] == nested(100)


def test_with_a_key_of_its_own_a_dead_letter_has_that_one_alone(node):
    node.exchange(b"dlx")
    for key in (b"dead", b"cc", b"bcc", b"q"):
        node.declare(b"by " + key)
        node.bind(b"dlx", b"by " + key, key)
    node.declare(b"q", dead_letter_routing_key="dead", **DLX)
    node.publish(b"q", b"1", headers={"CC": ["cc"], "BCC": ["bcc"]})
    reject(node, b"q")
    assert [node.ready(b"by " + it) for it in (b"dead", b"cc", b"bcc", b"q")] == [1, 0, 0, 0]
    delivery = node.get(b"by dead").delivery
    assert delivery.key == b"dead"
    assert not {"CC", "BCC"} & set(headers_of(delivery))


def test_without_one_it_goes_by_all_its_keys_and_shows_no_bcc(node):
    node.exchange(b"dlx")
    for key in (b"q", b"cc", b"bcc"):
        node.declare(b"by " + key)
        node.bind(b"dlx", b"by " + key, key)
    node.declare(b"q", **DLX)
    node.publish(b"q", b"1", headers={"CC": ["cc"], "BCC": ["bcc"]})
    reject(node, b"q")
    for key in (b"q", b"cc", b"bcc"):
        delivery = node.get(b"by " + key).delivery
        assert delivery.key == b"q"
        assert headers_of(delivery)["CC"] == ["cc"]
        assert "BCC" not in headers_of(delivery)
        assert headers_of(delivery)["x-death"][0]["routing-keys"] == ["q", "cc"]


def test_the_default_exchange_is_one_for_dead_letters(node):
    node.declare(b"other")
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="other")
    node.publish(b"q", b"1")
    reject(node, b"q")
    assert node.get(b"other").delivery.exchange == b""


def test_the_next_queues_time_begins_at_the_death(node):
    node.declare(b"next", message_ttl=100)
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="next", message_ttl=100)
    node.publish(b"q", b"1", expiration="70")
    node.later(70)
    assert node.ready(b"next") == 1
    node.later(99)
    assert node.ready(b"next") == 1
    node.later(1)
    assert node.ready(b"next") == 0


@pytest.mark.parametrize("there", [True, False])
def test_where_nobody_takes_it_it_is_dropped_and_counted(node, there):
    if there:
        node.exchange(b"dlx")
    queue = node.declare(b"q", **DLX)
    node.publish(b"q", b"1")
    reject(node, b"q")
    assert (queue.ready, queue.out, queue.dead_letters.dropped) == (0, 0, 1)


def test_at_least_once_keeps_it_until_somebody_takes_it(node):
    queue = node.declare(b"q", dead_letter_strategy="at-least-once", **DLX)
    node.publish(b"q", b"1")
    reject(node, b"q")
    assert (queue.ready, queue.out, len(queue.dead_letters)) == (0, 1, 1)
    node.exchange(b"dlx", "fanout")
    node.declare(b"dead")
    node.bind(b"dlx", b"dead")
    node.later(1_000)
    assert (queue.out, len(queue.dead_letters)) == (0, 0)
    assert node.bodies(b"dead") == [b"1"]


@pytest.mark.parametrize(("strategy", "left"), [("at-most-once", 0), ("at-least-once", 1)])
def test_a_target_that_is_full(node, strategy, left):
    node.declare(b"dead", max_length=1, overflow="reject-publish")
    queue = node.declare(
        b"q", dead_letter_exchange="", dead_letter_routing_key="dead",
        dead_letter_strategy=strategy,
    )  # fmt: skip
    node.publish(b"q", b"1", b"2")
    reject(node, b"q")
    reject(node, b"q")
    assert node.ready(b"dead") == 1
    assert queue.out == left
    assert node.bodies(b"dead") == [b"1"]
    node.later(1_000)
    assert node.bodies(b"dead") == [b"2"] * left


def test_a_queue_that_is_its_own_target_drops_what_expires_twice(node):
    queue = node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="q", message_ttl=10)
    node.publish(b"q", b"1")
    node.later(10)
    assert node.ready(b"q") == 0
    assert queue.dead_letters.dropped == 1


def test_by_rejection_it_goes_round_for_ever(node):
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="q")
    node.publish(b"q", b"1")
    for n in range(1, 30):
        reject(node, b"q")
        channel = Channel()
        got = node.get(b"q", channel, no_ack=False)
        assert headers_of(got.delivery)["x-death"][0]["count"] == n
        channel.end()


def test_a_retry_with_the_old_headers_is_no_circle(node):
    """celery#9867: a task that is published again with its x-death headers was dropped."""
    node.declare(b"work")
    node.declare(b"delay", dead_letter_exchange="", dead_letter_routing_key="work", message_ttl=10)
    data = props()
    for n in range(1, 6):
        node.publish(b"delay", b"task", data=data)
        node.later(10)
        got = node.get(b"work")
        assert got is not None, f"lost at retry {n}"
        data = got.delivery.properties
        assert headers_of(got.delivery)["x-death"][0]["count"] == n


def test_a_ladder_of_28_queues_keeps_the_key_and_tells_all_deaths(node):
    levels = 28
    node.declare(b"level-0")
    for n in range(1, levels + 1):
        node.declare(
            b"level-%d" % n, dead_letter_exchange="", message_ttl=n,
            dead_letter_routing_key=f"level-{n - 1}",
        )  # fmt: skip
    node.publish(b"level-28", b"task")
    for n in range(levels, 0, -1):
        node.later(n)
    delivery = node.get(b"level-0").delivery
    entries = headers_of(delivery)["x-death"]
    assert [it["queue"] for it in entries] == [f"level-{n}" for n in range(1, levels + 1)]
    assert delivery.body == b"task"


@pytest.mark.long
def test_many_that_expire_at_once_go_in_steps_and_all_arrive_in_order(node, dead):
    queue = node.declare(b"q", message_ttl=1_000, **DLX)
    for _ in range(5):
        node.publish(b"q", *(b"%d" % n for n in range(1000)))
    node.clock.now_ms += 1_000
    node.queues.tick(node.clock.now_ms)
    node.turn()
    assert queue.ready > 0  # not all of it in one turn
    node.run()
    assert (queue.ready, queue.out) == (0, 0)
    assert node.ready(b"dead") == 5000
    consumer = Consumer(no_ack=True)
    dead.subscribe(consumer)
    node.run()
    assert consumer.bodies == [b"%d" % (n % 1000) for n in range(5000)]


@pytest.mark.parametrize("durable", [True, False])
def test_a_dying_message_is_settled_only_when_it_is_safe_elsewhere(node, dead, durable):
    queue = node.declare(b"q", durable=durable, **DLX)
    node.publish(b"q", b"1")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    channel.reject(1)
    node.turn()
    assert (queue.ready, queue.out) == (0, 1)
    assert dead.ready == (0 if durable else 1)  # else the journal is to be safe first
    node.run()
    assert (queue.out, dead.ready) == (0, 1)


@pytest.mark.parametrize("turns", range(5))
def test_a_kill_on_the_way_loses_no_dead_letter(lives, turns):
    node = lives.node
    node.declare(b"dead")
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", *(b"%d" % n for n in range(10)))
    channel = Channel()
    consumer = Consumer(channel)
    node.vhost.queue(b"q").subscribe(consumer)
    node.run()
    channel.reject(10, multiple=True)
    for _ in range(turns):
        node.turn()
    node = lives.kill()
    left, gone = node.bodies(b"q"), node.bodies(b"dead")
    assert sorted([*left, *gone]) == [b"%d" % n for n in range(10)]
    assert gone == sorted(gone)


def test_what_is_refused_for_length_may_die_too(node, dead):
    node.declare(b"q", max_length=1, overflow="reject-publish-dlx", **DLX)
    published = node.publish(b"q", b"1", b"2")
    assert published.rejected == [1]
    delivery = node.get(b"dead").delivery
    assert delivery.body == b"2"
    assert headers_of(delivery)["x-death"][0]["reason"] == "maxlen"


def test_a_full_queue_that_is_its_own_target_ends(node):
    node.declare(
        b"q", max_length=1, overflow="reject-publish-dlx", dead_letter_exchange="",
        dead_letter_routing_key="q",
    )  # fmt: skip
    assert node.publish(b"q", b"1", b"2", b"3").rejected == [1, 2]
    assert node.bodies(b"q") == [b"1"]


def test_deleting_the_source_sends_what_was_dying(node, dead):
    node.declare(b"q", **DLX)
    node.publish(b"q", b"1")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    channel.reject(1)
    node.delete(b"q")
    assert node.bodies(b"dead") == [b"1"]


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("deleted", [False, True])
def test_a_dying_message_that_is_damaged_keeps_no_other_from_going(node, dead, deleted, more):
    queue = node.declare(b"q", **DLX)
    node.publish(b"q", b"0")
    lane = queue.stock.lanes[0]
    lane.log.roll()
    for n in range(1, 2 + more):
        node.publish(b"q", b"%d" % n)
    channel = Channel()
    for _ in range(2):
        node.get(b"q", channel, no_ack=False)
    spoil(lane.log.chain.segment(0).path)
    node.queues.windows.drop(lane)
    channel.reject(0, multiple=True)
    if deleted:
        node.delete(b"q")
    node.run()
    assert node.bodies(b"dead") == [b"1"]
    assert (queue.dying, node.queues.on_the_way) == (0, False)
    if not deleted:
        assert queue.out == 1  # it is not lost sight of
        assert node.bodies(b"q") == [b"2"] * more


def test_an_internal_exchange_takes_dead_letters(node):
    from logstore.broker.routing.exchange import ExchangeFacts

    node.vhost.declare_exchange(ExchangeFacts(b"dlx", "fanout", internal=True))
    node.declare(b"dead")
    node.bind(b"dlx", b"dead")
    node.declare(b"q", **DLX)
    node.publish(b"q", b"1", b"2")
    reject(node, b"q")
    reject(node, b"q")
    assert node.bodies(b"dead") == [b"1", b"2"]


OWN = st.lists(
    st.tuples(
        st.binary(max_size=255),
        st.sampled_from(["rejected", "expired", "maxlen", "delivery_limit"]),
    ),
    max_size=8,
).map(tuple)


@given(OWN)
def test_own_deaths_are_read_as_they_were_written(deaths):
    assert own_deaths(encode_deaths(deaths)) == deaths


@given(st.binary(max_size=40))
def test_any_bytes_are_some_deaths(data):
    assert encode_deaths(own_deaths(data)) == data[: len(encode_deaths(own_deaths(data)))]


@given(OWN, st.binary(max_size=2))
def test_a_circle_is_a_death_there_with_no_rejection_since(deaths, target):
    since = next((n for n, it in enumerate(deaths) if it[0] == target), None)
    expected = since is not None and all(it[1] != REJECTED for it in deaths[: since + 1])
    assert goes_in_circles(deaths, target) == expected


TABLE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), st.text(max_size=5),
        st.binary(max_size=5), st.floats(allow_nan=False),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)  # fmt: skip


@given(TABLE, TABLE)
def test_headers_of_any_type_make_a_dead_letter_that_can_be_read(death, copies):
    headers = {"x-death": death, "CC": copies, "x-first-death-queue": copies}
    dying = Dying(b"x", b"key", props(headers=headers), b"body", b"")
    letter = dead_letter(dying, b"q", EXPIRED, b"dlx", None, 1_000)
    found = properties.read(letter.properties)
    assert found.headers["x-death"][0]["queue"] == "q"
    assert letter.deaths == ((b"q", EXPIRED),)
