"""How far a replay is, told once a second by a clock of ours."""

import pytest
from logstore_cli.pace import ShownPace, pace_for

from logstore.records.record import Record

HOUR_MS = 3_600_000
ERASE = "\r\x1b[K"


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def records(*hours):
    return [Record("t", 0, n, n * HOUR_MS, None, b"", ()) for n in hours]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shown(capsys):
    """shown() -> what was drawn over each other, without the records that were printed between."""
    return lambda: capsys.readouterr().err.split(ERASE)


def past(clock, shown_pace, *lists):
    """Lists of records; before each but the first two and a half seconds are waited."""
    for n, it in enumerate(lists):
        if n:
            shown_pace.slept(clock.sleep, 2.5)
        yield it


def test_a_paced_replay_says_each_second_where_it_is_and_how_long_it_takes(clock, shown):
    it = ShownPace(3600, lambda: 5 * HOUR_MS, terminal=True, clock=clock)
    assert list(it.through(past(clock, it, records(0), records(3)))) == [records(0), records(3)]
    assert shown() == [
        "",
        "at 1970-01-01T01:00:00.000Z, 1 record, 4 s left",
        "at 1970-01-01T02:00:00.000Z, 1 record, 3 s left",
        "",  # before the records are printed
    ]


def test_where_nobody_watches_each_is_a_line(clock, shown):
    it = ShownPace(3600, lambda: 5 * HOUR_MS, terminal=False, clock=clock)
    list(it.through(past(clock, it, records(0), records(2))))
    assert shown() == [
        "at 1970-01-01T01:00:00.000Z, 1 record, 4 s left\n"
        "at 1970-01-01T02:00:00.000Z, 1 record, 3 s left\n"
    ]


def test_as_fast_as_possible_the_rest_is_guessed_by_what_is_done(clock, shown):
    it = ShownPace(0, lambda: 6 * HOUR_MS, terminal=True, clock=clock)
    for _ in it.through(iter([records(0), records(1), records(2, 4)])):
        clock.sleep(1)
    assert shown() == [
        "",
        "at 1970-01-01T00:00:00.000Z, 1 record",
        "",
        "at 1970-01-01T01:00:00.000Z, 2 records, 10 s left",
        "",
        "at 1970-01-01T04:00:00.000Z, 4 records, 1 s left",
        "",
    ]


def test_the_end_is_asked_for_once_and_may_be_unknown(clock, shown):
    asked = []
    it = ShownPace(3600, lambda: asked.append(1), terminal=True, clock=clock)
    list(it.through(past(clock, it, records(0), records(9), records(10))))
    assert shown()[1] == "at 1970-01-01T01:00:00.000Z, 1 record"
    assert asked == [1]


def test_a_narrow_terminal_is_not_overrun(clock, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    it = ShownPace(3600, lambda: None, terminal=True, clock=clock)
    list(it.through(past(clock, it, records(0), records(9))))
    assert shown()[1] == "at 1970-01-01T01:00"


def test_a_replay_that_breaks_leaves_the_terminal_clean(clock, shown):
    def broken():
        yield records(0)
        it.slept(clock.sleep, 2)
        raise ZeroDivisionError

    it = ShownPace(1, lambda: None, terminal=True, clock=clock)
    with pytest.raises(ZeroDivisionError):
        list(it.through(broken()))
    assert shown()[-2:] == ["at 1970-01-01T00:00:02.000Z, 1 record", ""]


def test_nothing_is_shown_unless_somebody_watches_or_asks(clock):
    assert not isinstance(pace_for(None, 1, lambda: None), ShownPace)
    assert not isinstance(pace_for(False, 1, lambda: None), ShownPace)
    assert isinstance(pace_for(True, 1, lambda: None), ShownPace)
