"""The order of a database's keys: scans that see all that stays, whatever comes and goes."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.keys import order as order_module
from logstore.broker.keys.order import Order


def scan(order, cursor, count, most=10_000):
    found = []
    for _ in range(most):
        some, cursor = order.scan(cursor, count)
        found += some
        if not cursor:
            return found
    raise AssertionError("the scan did not end")


def test_a_scan_gives_each_key_once():
    order = Order()
    keys = [b"%d" % number for number in range(3000)]
    for key in keys:
        order.add(key)
    assert len(order) == 3000
    for count in (1, 7, 512, 10_000):
        assert sorted(scan(order, 0, count)) == sorted(keys)
    order.fill(keys[:1025])
    assert sorted(scan(order, 0, 10)) == sorted(keys[:1025])


def test_a_cursor_of_nobody_s_is_taken():
    order = Order()
    for number in range(10):
        order.add(b"%d" % number)
    assert order.scan(2**64 - 1, 3) == ([b"9", b"8", b"7"], 8)
    assert order.scan(1, 3) == ([], 0)
    assert Order().scan(0, 10) == ([], 0)


def test_a_scan_ends_while_keys_come_and_go_for_ever():
    order, cursor, fresh = Order(), 0, 0
    for number in range(1000):
        order.add(b"old%d" % number)
    calls = 0
    while cursor or not calls:
        _, cursor = order.scan(cursor, 10)
        calls += 1
        for _ in range(20):
            order.add(b"new%d" % fresh)
            fresh += 1
    assert calls == 100


def test_places_of_keys_that_are_gone_are_swept():
    order = Order()
    for number in range(100_000):
        order.add(b"%d" % number)
        if number >= 100:
            order.discard(b"%d" % (number - 100))
    assert len(order) == 100
    assert order._count < 3 * order_module.GONE_MIN
    assert len(order._chunks) <= order._count // order_module.CHUNK * 2 + 2
    assert sorted(scan(order, 0, 10)) == sorted(b"%d" % number for number in range(99_900, 100_000))


def test_a_key_that_comes_again_and_again_has_one_place():
    order = Order()
    for _ in range(10_000):
        order.add(b"a")
        order.discard(b"a")
    order.add(b"a")
    assert order._count == 1
    assert scan(order, 0, 10) == [b"a"]


def test_any_key_is_found_at_random():
    order, chance = Order(), Random(1)
    assert order.random(chance) is None
    for number in range(2000):
        order.add(b"%d" % number)
    for number in range(1999):
        order.discard(b"%d" % number)
    assert {order.random(chance) for _ in range(10)} == {b"1999"}
    for number in range(1999):
        order.add(b"%d" % number)
    assert len({order.random(chance) for _ in range(10_000)}) > 1900


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "delete", "scan"]), st.integers(0, 60)), max_size=300
)


@given(STEPS, st.integers(1, 9))
def test_what_stays_from_start_to_end_is_seen(steps, count):
    small = order_module.CHUNK, order_module.GONE_MIN, order_module.SWEEP_EVERY
    order_module.CHUNK, order_module.GONE_MIN, order_module.SWEEP_EVERY = 4, 3, 2
    try:
        order, there, cursor, seen, stayed = Order(), set(), 0, [], set()
        for what, number in steps:
            key = b"%d" % number
            if what == "add" and key not in there:
                order.add(key)
                there.add(key)
            elif what == "delete" and key in there:
                order.discard(key)
                there.discard(key)
                stayed.discard(key)
            elif what == "scan":
                if not cursor:
                    seen, stayed = [], set(there)
                some, cursor = order.scan(cursor, count)
                assert set(some) <= there
                seen += some
                if not cursor:
                    assert stayed <= set(seen)
            assert len(order) == len(there)
        assert sorted(scan(order, 0, count)) == sorted(there)
        assert sorted(key for keys in order.parts() for key in keys) == sorted(there)
    finally:
        order_module.CHUNK, order_module.GONE_MIN, order_module.SWEEP_EVERY = small
