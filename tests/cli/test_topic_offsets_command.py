import json

import pytest

HOURS = b"".join(b'{"at": "2013-01-05T%02d:00Z"}\n' % hour for hour in range(5))


@pytest.fixture
def hours(logstore):
    """Two partitions; the second has five records, an hour apart, the first two of them deleted."""
    logstore("topic", "create", "hours", "--partitions", 2)
    words = ("--timestamp-field", "at", "--partition", 1)
    logstore("produce", "hours", *words, stdin=HOURS)
    logstore("topic", "trim", "hours", "--partition", 1, "--before", 2)


@pytest.mark.usefixtures("hours")
def test_both_ends_are_shown_and_how_far_they_are_apart(logstore):
    assert logstore("topic", "offsets", "hours").lines == [
        "PARTITION  EARLIEST  LATEST  OFFSETS",
        "        0         0       0        0",
        "        1         2       5        3",
    ]


@pytest.mark.usefixtures("hours")
def test_a_time_is_that_of_the_first_record_at_or_after_it(logstore):
    places = {
        "2013-01-05": 2,
        "2013-01-05T03:00Z": 3,
        "2013-01-05T03:00:00.001Z": 4,
        "@1357358400": 4,
        "2013-01-05T06:00+01:00": 5,
        "-1d": 5,
        "now": 5,
        "earliest": 2,
    }
    words = [it for at in places for it in ("--at", at)]
    first, second = json.loads(logstore("topic", "offsets", "hours", *words, "--json").out)
    assert first == {"partition": 0, "at": dict.fromkeys(places, 0), "offsets": None}
    assert second == {"partition": 1, "at": places, "offsets": None}


@pytest.mark.usefixtures("hours")
def test_a_column_is_headed_by_the_time_that_it_is_of(logstore):
    words = ("--at", "latest", "--at", "@1357354800", "--at", "latest")
    assert logstore("topic", "offsets", "hours", *words).lines == [
        "PARTITION  LATEST  2013-01-05T03:00:00.000Z  OFFSETS",
        "        0       0                         0        0",
        "        1       5                         3        2",
    ]
    [heads, *_] = logstore("topic", "offsets", "hours", "--at", "earliest").lines
    assert heads.split() == ["PARTITION", "EARLIEST"]


@pytest.mark.parametrize("text", ["5", "-1", "soon", ""])
def test_an_offset_is_no_time(logstore, text):
    told = logstore("topic", "offsets", "hours", "--at", text, code=2).err
    assert f"'{text}' is not a time: use a date (2013-01-05)" in told
    assert "or now; or use earliest or latest" in told
