"""What is nearly full."""

import pytest

from logstore.figures.full import STEPS_MIN, Room, forecast


def growing(first, a_step, steps=300):
    return [first + a_step * n for n in range(steps)]


def test_what_grows_steadily_is_full_when_the_rest_is_used():
    found = forecast(Room("disk", 2990, 3400), growing(0, 10))
    assert found.share == pytest.approx(0.879, abs=0.001)
    assert found.full_in_s == pytest.approx(410)  # at 1 a second
    assert found.nearly


@pytest.mark.parametrize(
    "history",
    [[], [5.0] * 300, growing(1000, -1), [*[None] * 100, *growing(0, 10, STEPS_MIN - 1)]],
    ids=["nothing", "level", "falling", "too little"],
)
def test_nothing_is_expected_of_what_does_not_grow_or_is_hardly_known(history):
    assert forecast(Room("disk", 100, 1000), history).full_in_s is None


def test_steps_of_which_nothing_is_known_do_not_count():
    history = [it if n % 3 else None for n, it in enumerate(growing(0, 10, 330))]
    assert forecast(Room("disk", 900, 1000), history).full_in_s == pytest.approx(100)


def test_what_is_full_is_full_now_and_what_has_no_limit_never():
    assert forecast(Room("files", 10, 10), []).full_in_s == 0
    nothing = forecast(Room("files", 0, 0), [])
    assert nothing.share == 0


def test_it_is_told_from_four_fifths_on_or_a_day_before():
    assert forecast(Room("files", 80, 100), []).nearly
    assert not forecast(Room("files", 79, 100), []).nearly
    slowly = [n / 1000 for n in range(360)]
    assert not forecast(Room("disk", 1, 1 << 40), slowly).nearly
