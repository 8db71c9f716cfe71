"""The ring of the last hour."""

from logstore.figures.ring import STEPS, Ring


def test_nothing_is_known_of_an_empty_ring():
    assert Ring(1).column(0, 7, 3) == [None] * 3


def test_values_stand_in_their_steps_and_those_left_out_are_not_known():
    ring = Ring(2)
    ring.put(5, (1.0, 10.0))
    ring.put(8, (2.0, 20.0))
    assert ring.column(0, 9, 6) == [None, 1.0, None, None, 2.0, None]
    assert ring.column(1, 8, 4) == [10.0, None, None, 20.0]


def test_a_step_that_is_over_is_not_changed():
    ring = Ring(1)
    ring.put(5, (1.0,))
    ring.put(5, (2.0,))
    ring.put(4, (3.0,))
    assert ring.column(0, 5, 2) == [None, 1.0]


def test_an_hour_later_nothing_is_left_of_what_was():
    ring = Ring(1)
    for step in range(STEPS):
        ring.put(step, (float(step),))
    assert ring.column(0, STEPS - 1) == list(range(STEPS))
    ring.put(2 * STEPS + 3, (1.0,))
    found = ring.column(0, 2 * STEPS + 3)
    assert found == [None] * (STEPS - 1) + [1.0]


def test_what_is_older_than_the_ring_is_not_known():
    ring = Ring(1)
    ring.put(3, (1.0,))
    ring.put(3 + STEPS, (2.0,))
    assert ring.column(0, 3, 1) == [None]
