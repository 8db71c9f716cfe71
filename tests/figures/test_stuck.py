"""The rules of what is stuck."""

from logstore.figures import stuck
from logstore.figures.series import KINDS, Series
from logstore.figures.stuck import ALONE_STEPS, STILL_STEPS


def seen(kind, *values):
    """One look a step, from the first one on."""
    series = Series(KINDS[kind], values[0], 0, 0.0)
    for step, it in enumerate(values[1:], 1):
        series.take(KINDS[kind], it, step, step * 10.0)
    return series


def test_a_group_is_stuck_that_commits_nothing_for_five_minutes_while_more_comes():
    looks = [(5, 10 + n, 5 + n) for n in range(STILL_STEPS + 1)]
    found = stuck.group("bills", seen("group", *looks), STILL_STEPS)
    assert (found.kind, found.object, found.step) == ("group", "bills", 0)
    assert stuck.group("bills", seen("group", *looks[:-1]), STILL_STEPS - 1) is None


def test_a_group_that_has_read_all_or_to_which_nothing_comes_is_not():
    still = [(10, 10, 0)] * 100
    assert stuck.group("g", seen("group", *still), 99) is None
    no_news = [(5, 10, 5)] * 100
    assert stuck.group("g", seen("group", *no_news), 99) is None


def test_a_group_that_goes_on_slowly_is_not():
    looks = [(n // 20, 1000 + n, 1000) for n in range(100)]
    assert stuck.group("g", seen("group", *looks), 99) is None


def test_a_queue_is_stuck_whose_consumers_acknowledge_nothing_for_five_minutes():
    looks = [(9, 9, 4, 0, 5)] * (STILL_STEPS + 1)
    found = stuck.queue("mail", "/", seen("queue", *looks), 1, STILL_STEPS)
    assert "5 unacked" in found.detail
    assert stuck.queue("mail", "/", seen("queue", *looks[:-1]), 1, STILL_STEPS - 1) is None


def test_it_is_not_while_some_are_acknowledged_or_have_just_been_given_out():
    acking = [(9, 9, n, 0, 5) for n in range(100)]
    assert stuck.queue("mail", "/", seen("queue", *acking), 1, 99) is None
    fresh = [(9, 0, 0, 9, 0)] * 99 + [(9, 5, 0, 4, 5)]
    assert stuck.queue("mail", "/", seen("queue", *fresh), 1, 99) is None


def test_a_queue_with_messages_is_stuck_after_a_minute_without_consumers():
    looks = [(0, 0, 0, 0, 0), *[(3, 0, 0, 3, 0)] * (ALONE_STEPS + 1)]
    series = seen("queue", *looks)
    found = stuck.queue("a/b", "/", series, 0, ALONE_STEPS + 1)
    assert (found.step, found.view) == (1, "#/queues/%2F/a%2Fb")
    assert stuck.queue("a/b", "/", series, 1, ALONE_STEPS + 1) is None
    assert stuck.queue("a/b", "/", seen("queue", *looks[:-1]), 0, ALONE_STEPS) is None


def test_a_connection_is_told_of_once_half_of_what_it_may_leave_unread_is_reached():
    assert stuck.connection("resp x", 50, 100, 1) is None
    assert "cut off at 100" in stuck.connection("resp x", 51, 100, 1).detail
    assert stuck.connection("kafka x", 1 << 30, 0, 1) is None
