"""The budget of what clients make the process hold: sums, who waits, who loses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.budget import (
    BUDGET_BYTES_MAX,
    BUDGET_BYTES_MIN,
    LITTLE_BYTES,
    PATIENCE_S,
    Budget,
    budget_of,
)
from logstore.config import Config

MIB = 1 << 20
SIZE = 64 * MIB


class Holder:
    """Lets go of everything when it loses."""

    def __init__(self, budget, name="", losers=None):
        self.name = name
        self.account = budget.open(self.lose)
        self.losers = losers if losers is not None else []
        self.why = None

    def lose(self, why):
        self.why = why
        self.losers.append(self.name)
        self.account.close()


def holders(budget, count):
    losers = []
    return [Holder(budget, number, losers) for number in range(count)], losers


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(0, 5), st.integers(0, 40 * MIB)),
        st.tuples(st.just("share"), st.integers(0, 3)),
        st.tuples(st.just("unshare"), st.integers(0, 3)),
        st.tuples(st.just("relieve"), st.floats(0, 10)),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_total_is_the_sum_and_the_largest_loses_first(steps):
    budget = Budget(SIZE)
    everyone, losers = holders(budget, 6)
    chunks = [bytes(MIB + number) for number in range(4)]
    shared = dict.fromkeys(range(4), 0)
    now = 0.0
    for kind, *rest in steps:
        before = {it.name: it.account.held_bytes for it in everyone}
        del losers[:]
        match kind:
            case "hold":
                everyone[rest[0]].account.hold(rest[1])
            case "share":
                shared[rest[0]] += 1
                budget.share(chunks[rest[0]])
            case "unshare" if shared[rest[0]]:
                shared[rest[0]] -= 1
                budget.unshare(chunks[rest[0]])
            case "relieve":
                now += rest[0]
                budget.relieve(now)
        sizes = [before[name] for name in losers]
        assert sizes == sorted(sizes, reverse=True)
        stayed = [size for name, size in before.items() if name not in losers]
        assert not sizes or not stayed or min(sizes) >= max(stayed)
        once = sum(len(chunks[number]) for number, holders in shared.items() if holders)
        assert budget.total_bytes == once + sum(it.account.own_bytes for it in everyone)
        if kind == "relieve":
            assert budget.total_bytes <= SIZE or not any(it.account.held_bytes for it in everyone)


def test_who_holds_most_loses_and_one_that_holds_little_is_not_touched():
    budget = Budget(SIZE)
    everyone, losers = holders(budget, 4)
    for holder, size in zip(everyone, (LITTLE_BYTES, 20 * MIB, 30 * MIB, 25 * MIB), strict=True):
        holder.account.hold(size)
    budget.relieve(0.0)
    assert losers == [2]
    assert budget.lost == 1
    assert "memory.clients.max.bytes (67108864) is used up" in everyone[2].why


def test_the_largest_wait_before_anyone_loses_and_little_ones_do_not():
    budget = Budget(SIZE)
    (large, other, little), losers = holders(budget, 3)
    large.account.hold(30 * MIB, missing_bytes=2 * MIB)
    other.account.hold(19 * MIB, missing_bytes=MIB)
    little.account.hold(LITTLE_BYTES, missing_bytes=MIB)
    assert budget.tight
    assert [it.account.must_wait() for it in (large, other, little)] == [True, True, False]
    budget.relieve(0.0)
    # The one goes on whose message is the nearest to its end, and sets memory free.
    assert not other.account.must_wait()
    assert large.account.must_wait()
    other.account.hold(0)
    budget.relieve(1.0)
    assert not large.account.must_wait()
    assert not losers


def test_after_patience_the_largest_loses_one_at_a_time():
    budget = Budget(SIZE)
    everyone, losers = holders(budget, 3)
    for holder, size in zip(everyone, (18 * MIB, 19 * MIB, 24 * MIB), strict=True):
        holder.account.hold(size, missing_bytes=MIB)
    budget.relieve(0.0)
    budget.relieve(PATIENCE_S - 0.1)
    assert not losers
    budget.relieve(PATIENCE_S)
    assert losers == [2]
    budget.relieve(3 * PATIENCE_S)
    assert losers == [2], "there is enough again"


def test_the_reserve_is_enough_for_the_largest_request():
    for size in (BUDGET_BYTES_MIN, SIZE, 3 * SIZE + 1, BUDGET_BYTES_MAX):
        for largest in (1 << 10, 100 * MIB, 1 << 31):
            budget = Budget(size, largest)
            served = min(largest, budget.request_bytes_max)
            assert budget.bytes_max - budget.tight_bytes >= served


def test_what_several_hold_is_counted_once_and_stays_while_one_holds_it():
    budget = Budget(SIZE)
    chunk = bytes(5 * MIB)
    for _ in range(100):
        budget.share(chunk)
    assert budget.total_bytes == 5 * MIB
    for _ in range(99):
        budget.unshare(chunk)
    assert budget.total_bytes == 5 * MIB
    budget.unshare(chunk)
    assert budget.total_bytes == 0


def test_who_only_shares_loses_where_that_is_the_most():
    budget = Budget(SIZE)
    (slow, other), losers = holders(budget, 2)
    chunk = bytes(40 * MIB)
    budget.share(chunk)
    slow.account.hold(0, len(chunk))
    other.account.hold(30 * MIB)
    slow_lose = slow.lose

    def lose(why):
        budget.unshare(chunk)
        slow_lose(why)

    slow.account._lose = lose
    budget.relieve(0.0)
    assert losers == [0]
    assert budget.total_bytes == 30 * MIB


def test_answers_become_shorter_before_it_is_tight():
    budget = Budget(SIZE)
    account = budget.open()
    assert budget.answer_bytes(8 * MIB) == 3 * MIB
    account.hold(40 * MIB)
    assert budget.answer_bytes(8 * MIB) == MIB // 2
    account.hold(budget.tight_bytes)
    assert budget.answer_bytes(8 * MIB) == LITTLE_BYTES
    assert budget.answer_bytes(1000) == 1000


def test_memory_is_given_back_once_much_less_is_held_for_a_while():
    budget = Budget(SIZE)
    account = budget.open()
    assert not budget.watched
    account.hold(50 * MIB)
    assert budget.watched
    account.hold(0)
    assert not budget.eased(), "it may be used again at once"
    assert budget.eased()
    assert not budget.eased()
    assert not budget.watched


@pytest.mark.parametrize(
    ("given", "most"),
    [(None, None), ("0", None), (str(SIZE), SIZE), ("5", BUDGET_BYTES_MIN)],
)
def test_the_setting_counts_else_a_part_of_the_memory(given, most):
    config = Config({} if given is None else {"memory.clients.max.bytes": (given, "a test")})
    found = budget_of(config.store).bytes_max
    if most is None:
        assert BUDGET_BYTES_MIN <= found <= BUDGET_BYTES_MAX
    else:
        assert found == most
