"""Which limit a message has is told by its timestamp."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.queues.lifetimes import EARLIER_MAX, changed, kept, read, ttl_at

TTL = st.none() | st.integers(0, 1000)


@given(st.lists(st.tuples(st.integers(1, 9), TTL), max_size=24), TTL)
def test_each_message_has_the_limit_that_counted_when_it_came(changes, last):
    """Beyond the bound the earliest may live longer, and never shorter."""
    earlier, now, had = (), 0, []
    for wait, ttl in changes:
        had += [(it, ttl) for it in range(now, now + wait)]
        now += wait
        earlier = changed(earlier, ttl, now)
    had.append((now, last))
    for timestamp, ttl in had:
        found = ttl_at(earlier, timestamp, last)
        if len(changes) <= EARLIER_MAX:
            assert found == ttl
        else:
            assert found is None or (ttl is not None and found >= ttl)
    assert len(earlier) <= EARLIER_MAX
    assert read(kept(earlier, last)) == (earlier, last)


def test_a_clock_that_is_put_back_shortens_no_life():
    earlier = changed((), None, 1000)
    assert changed(earlier, 5, 400) == earlier
    assert ttl_at(changed(earlier, 5, 400), 999, 5) is None
    assert changed(earlier, 5, 1000) == earlier


@pytest.mark.parametrize("numbers", [[], [1, 2]])
def test_what_is_no_row_is_refused(numbers):
    with pytest.raises(ValueError, match="numbers of lifetimes"):
        read(numbers)
