"""Long work in the sessions' thread, a slice a turn."""

import pytest
from turns_by_hand import Turns

from logstore.errors import Failed, LogstoreError
from logstore.slices import AT_ONCE, UNITS, Slices, parts


def counting(done, count, result="all"):
    for number in range(count):
        done.append(number)
        yield 1
    return result


def test_what_is_small_is_done_at_once():
    turns, done, results = Turns(), [], []
    slices = Slices(turns.soon)
    assert slices.begin(counting(done, AT_ONCE - 1), results.append)
    assert (results, turns.left) == (["all"], {})


def test_what_is_long_is_done_a_slice_a_turn(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    turns, done, results = Turns(), [], []
    slices = Slices(turns.soon)
    assert not slices.begin(counting(done, AT_ONCE + 3 * UNITS), results.append)
    for number in range(4):
        assert len(done) == AT_ONCE + number * UNITS
        assert results == []
        assert len(turns.left) == 1
        turns.over()
    assert (results, turns.left) == (["all"], {})
    assert slices.longest == UNITS


def test_many_share_the_slices_and_each_goes_on(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    turns, results = Turns(), []
    slices = Slices(turns.soon)
    works = [[] for _ in range(50)]
    for number, done in enumerate(works):
        slices.begin(counting(done, 10 * UNITS, number), results.append)
    before = sum(map(len, works))
    while turns.left:
        assert len(turns.left) == 1
        turns.over()
        assert sum(map(len, works)) - before <= UNITS
        before = sum(map(len, works))
    assert results == list(range(50))


def test_others_go_on_although_one_that_is_told_has_a_bug():
    turns, results = Turns(), []
    slices = Slices(turns.soon)

    def told(result):
        raise ValueError(result)

    for done in (told, results.append):
        slices.begin(counting([], AT_ONCE + 1, "done"), done)
    with pytest.raises(ValueError, match="done"):
        turns.over()
    while turns.left:
        turns.over()
    assert results == ["done"]


def test_a_slice_ends_by_the_clock_where_units_are_longer_than_expected(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", -1)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", -1)
    turns, done, results = Turns(), [], []
    Slices(turns.soon).begin(counting(done, 5), results.append)
    for number in range(1, 6):
        assert len(done) == number
        turns.over()
    assert results == ["all"]


def test_work_waits_and_goes_on_with_what_it_is_given():
    turns, results, waiting = Turns(), [], []

    def steps():
        first = yield waiting.append
        second = yield lambda go_on: go_on(first + 1)
        return first, second

    assert not Slices(turns.soon).begin(steps(), results.append)
    assert not turns.left
    waiting[0](1)
    turns.over()
    assert results == [(1, 2)]


def test_an_error_that_came_instead_is_raised_in_the_work():
    turns, results, waiting = Turns(), [], []

    def steps():
        try:
            yield waiting.append
        except LogstoreError as error:
            return str(error)
        return None

    Slices(turns.soon).begin(steps(), results.append)
    waiting[0](Failed("no disk"))
    turns.over()
    assert results == ["no disk"]


def test_a_refusal_and_a_bug_end_the_work_and_nobody_elses(caplog):
    turns, results = Turns(), []
    slices = Slices(turns.soon)

    def refused():
        yield 2 * AT_ONCE
        raise Failed("refused")

    def bug():
        yield 2 * AT_ONCE
        raise ZeroDivisionError

    for steps in (refused(), bug(), counting([], 2 * AT_ONCE)):
        slices.begin(steps, results.append)
    while turns.left:
        turns.over()
    assert [str(it) for it in results] == [
        "refused", "internal error: ZeroDivisionError()", "all",
    ]  # fmt: skip
    assert "a bug in work that is done in slices" in caplog.text


def test_without_a_loop_all_is_done_at_once():
    results, done = [], []
    assert Slices().begin(counting(done, 5 * UNITS), results.append)
    assert results == ["all"]


def test_parts_are_all_items_in_order():
    assert [list(it) for it in parts(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(parts([], 3)) == []
