"""Packet identifiers, deadlines and grants: the pure parts of a session."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.mqtt.deadlines import Deadlines
from logstore.broker.mqtt.filters import matches
from logstore.broker.mqtt.grants import FEW, Grants
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.packet_ids import PID_MAX, PacketIds

words = st.sampled_from([b"a", b"b", b"", b"$x"])
topics = st.lists(words, min_size=1, max_size=4).map(b"/".join).filter(bool)
levels = st.lists(st.sampled_from([b"a", b"b", b"", b"$x", b"+"]), min_size=1, max_size=4)
filters = st.builds(
    lambda those, rest: b"/".join([*those, *rest]), levels, st.just([]) | st.just([b"#"])
)
filters = filters.filter(bool)


def test_packet_ids_go_round_and_pass_over_those_in_use():
    pids = PacketIds(PID_MAX - 3)
    assert [pids.take(n) for n in range(1, 6)] == [65_533, 65_534, 65_535, 1, 2]
    assert pids.free(1) == 4
    assert pids.take(6) == 3, "one that was free just now is not used again at once"
    for n in range(7, 7 + PID_MAX - 5):
        pids.take(n)
    assert len(pids) == PID_MAX
    assert set(pids) == set(range(1, PID_MAX + 1))
    assert pids.free(65_533) == 1
    assert pids.take(1 << 20) == 65_533


@given(st.lists(st.integers(1, 20), max_size=30))
def test_what_is_freed_together_comes_as_ranges_of_deliveries(those):
    pids = PacketIds()
    tag_of = {pids.take(tag): tag for tag in range(100, 115)}
    ranges, unknown = pids.free_all(those)
    known = [it for n, it in enumerate(those) if it in tag_of and it not in those[:n]]
    assert [tag for first, last in ranges for tag in range(first, last + 1)] == [
        tag_of[it] for it in known
    ]
    assert unknown == len(those) - len(known)
    assert all(it not in pids for it in known)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50) | st.none()), max_size=40),
    st.integers(0, 50), st.integers(1, 3),
)  # fmt: skip
def test_deadlines_are_those_that_were_set_last(steps, now_ms, most):
    deadlines, plain = Deadlines(), {}
    for number, at_ms in steps:
        if at_ms is None:
            deadlines.forget(number)
            plain.pop(number, None)
        else:
            deadlines.set(number, at_ms)
            plain[number] = at_ms
        assert deadlines.next_ms == min(plain.values(), default=None)
        assert len(deadlines) == len(plain)
    due = deadlines.due(now_ms, most)
    expected = sorted((at_ms, number) for number, at_ms in plain.items() if at_ms <= now_ms)
    assert due == [number for _, number in expected[:most]]
    assert len(deadlines) == len(plain) - len(due)


def test_deadlines_that_are_set_again_and_again_take_no_more_room():
    deadlines = Deadlines()
    for n in range(10_000):
        deadlines.set(n % 10, 1 << 40 | n)
        deadlines.forget(n % 7)
    assert len(deadlines._heap) < 1100


@given(
    st.lists(st.tuples(filters, st.integers(0, 2), st.booleans(), st.integers(0, 3)), max_size=14),
    st.lists(topics, max_size=6),
)
def test_grants_are_all_that_match_together(those, asked):
    grants, plain = Grants(), {}
    for n, (filter, qos, as_published, number) in enumerate(those):
        grant = Grant(qos, False, as_published, number)
        grants.put(filter, grant, n)
        plain[filter] = grant
        if n % 5 == 4:
            first = next(iter(plain))
            grants.remove(first)
            del plain[first]
        for topic in asked:
            found = [it for f, it in plain.items() if matches(f, topic)]
            granted = grants.of(topic)
            if not found:
                assert granted is None
                continue
            assert granted.qos == max(it.qos for it in found)
            assert granted.retain_as_published == any(it.retain_as_published for it in found)
            assert set(granted.ids) == {it.id for it in found if it.id}
    assert FEW < 14, "both ways of looking are tried"


def test_a_shared_filter_matches_nothing_of_the_sessions_own():
    grants = Grants()
    grants.put(b"$share/g/a", Grant(1), 1)
    assert not grants.queued
    assert grants.of(b"a") is None
    for n in range(20):
        grants.put(b"$share/g/%d" % n, Grant(1), n)
    grants.put(b"b", Grant(1), 30)
    assert grants.of(b"a") is None
    assert grants.of(b"b").qos == 1
    assert grants.queued
