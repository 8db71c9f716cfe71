"""Rates and levels of one object."""

from math import isnan

from logstore.figures.series import KINDS, Series

QUEUE = KINDS["queue"]


def test_a_rate_is_not_known_before_the_second_look():
    series = Series(QUEUE, (10, 0, 0, 5, 0), 1, 10.0)
    assert series.rates is None
    series.take(QUEUE, (30, 10, 0, 5, 0), 2, 20.0)
    assert series.rates == (2.0, 1.0, 0.0)


def test_a_counter_that_went_back_has_no_rate_for_a_step():
    series = Series(QUEUE, (10, 0, 0, 0, 0), 1, 10.0)
    series.take(QUEUE, (0, 0, 0, 0, 0), 2, 20.0)
    assert isnan(series.rates[0])
    series.take(QUEUE, (20, 0, 0, 0, 0), 3, 30.0)
    assert series.rates[0] == 2.0


def test_looking_twice_at_one_moment_changes_no_rate():
    series = Series(QUEUE, (0, 0, 0, 0, 0), 1, 10.0)
    series.take(QUEUE, (10, 0, 0, 0, 0), 2, 20.0)
    series.take(QUEUE, (10, 0, 0, 0, 0), 2, 20.0)
    assert series.rates == (1.0, 0.0, 0.0)


def test_it_is_known_when_a_value_has_changed_and_since_when_a_level_is_above_zero():
    series = Series(QUEUE, (0, 0, 0, 0, 0), 1, 10.0)
    series.take(QUEUE, (1, 0, 0, 1, 0), 2, 20.0)
    series.take(QUEUE, (1, 0, 0, 1, 0), 3, 30.0)
    assert series.changed == (2, 1, 1, 2, 1)
    assert series.positive == (2, -1)
    series.take(QUEUE, (1, 1, 1, 0, 0), 4, 40.0)
    assert series.positive == (-1, -1)


def test_a_history_begins_when_its_ring_does():
    series = Series(QUEUE, (0, 0, 0, 0, 0), 1, 10.0)
    assert series.history(QUEUE, 1, 2)["in"] == [None, None]
    series.begin_ring(QUEUE)
    series.take(QUEUE, (10, 0, 0, 7, 0), 2, 20.0)
    found = series.history(QUEUE, 2, 2)
    assert found["in"] == [None, 1.0]
    assert found["ready"] == [None, 7.0]


def test_what_does_not_move_has_rates_of_nothing_and_keeps_its_steps():
    series = Series(QUEUE, (5, 0, 0, 5, 0), 1, 10.0)
    for step in range(2, 5):
        assert not series.take(QUEUE, (5, 0, 0, 5, 0), step, step * 10.0)
    assert series.rates == (0.0, 0.0, 0.0)
    assert series.changed == (1,) * 5
    assert series.positive == (1, -1)


def test_a_rate_is_that_of_the_last_step_also_after_steps_without_any_change():
    series = Series(QUEUE, (0, 0, 0, 0, 0), 1, 10.0)
    series.take(QUEUE, (0, 0, 0, 0, 0), 2, 20.0)
    series.take(QUEUE, (10, 0, 0, 0, 0), 3, 30.0)
    assert series.rates == (1.0, 0.0, 0.0)
