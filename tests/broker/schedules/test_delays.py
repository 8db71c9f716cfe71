"""When a message is due, by what its headers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.schedules.delays import WAIT_MAX_MS, due_of, moment_of, says_nothing

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("delay", "due"),
    [
        (1000, NOW_MS + 1000),
        (2**32, NOW_MS + 2**32),  # further than a timer of Erlang goes
        (WAIT_MAX_MS, NOW_MS + WAIT_MAX_MS),
        ("1000", NOW_MS + 1000),
        (b" 1000 ", NOW_MS + 1000),
        (1000.9, NOW_MS + 1000),
        (0, None),
        (-1000, None),  # as a message has it that has waited
        ("-5", None),
        (True, None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        (b"\xff\xfe", None),
        (float("nan"), None),
        (float("inf"), None),
        ([1000], None),
        ({"x": 1}, None),
        ("9" * 30, None),
        ("1" * 10_000, None),
        ("٣", None),  # a digit, and no number of ours
    ],
)
def test_a_delay_is_a_whole_number_of_milliseconds_or_nothing(delay, due):
    assert due_of(delay, None, NOW_MS) == due


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-11-14T22:13:21Z", NOW_MS + 1000),
        ("2023-11-14T22:13:21", NOW_MS + 1000),
        ("2023-11-14 22:13:21.5+00:00", NOW_MS + 1500),
        ("2023-11-15T00:13:21+02:00", NOW_MS + 1000),
        ("2023-11-15", 1_700_006_400_000),
        (str(NOW_MS + 7), NOW_MS + 7),
        (NOW_MS + 7, NOW_MS + 7),
        ("20231115", 20_231_115),  # a number, and long ago
        ("2023-13-45", None),
        ("2023-11-14T25:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
        ("tomorrow", None),
    ],
)
def test_a_moment_is_a_number_or_iso_8601(text, moment):
    assert moment_of(text) == moment


def test_a_moment_counts_before_a_delay():
    assert due_of(5000, NOW_MS + 9000, NOW_MS) == NOW_MS + 9000
    assert due_of(5000, NOW_MS - 9000, NOW_MS) is None  # past: at once
    assert due_of(5000, "no moment", NOW_MS) == NOW_MS + 5000


def test_what_means_nothing_is_told_apart_from_what_is_not_there():
    assert not says_nothing(None, None)
    assert not says_nothing(-5, "2023-11-15")
    assert says_nothing("soon", None)
    assert says_nothing(1000, "tomorrow")


@given(
    delay=st.none() | st.integers() | st.floats() | st.text() | st.binary(max_size=80),
    moment=st.none() | st.integers() | st.floats() | st.text() | st.binary(max_size=80),
)
def test_whatever_a_header_holds_is_a_time_to_come_or_nothing(delay, moment):
    due = due_of(delay, moment, NOW_MS)
    assert due is None or due > NOW_MS
