from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli.place import place
from logstore_cli.times import CachedTimestamps, iso, moment_ms, timestamp_ms

JAN_5 = 1_357_344_000_000  # 2013-01-05T00:00Z
NOW = JAN_5 + 500


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-05",
        "2013-01-05T00:00Z",
        "2013-01-05T00:00:00Z",
        "2013-01-05T00:00:00.000Z",
        "2013-01-05t00:00z",
        "2013-01-05 00:00",
        "2013-01-05T00:00",
        "2013-01-05T01:00+01:00",
        "2013-01-04T19:00:00-05:00",
        "@1357344000000",
    ],
)
def test_one_moment_in_all_its_spellings(text):
    assert moment_ms(text, NOW) == JAN_5


@pytest.mark.parametrize(
    ("text", "ago_ms"),
    [("-1h", 3_600_000), ("-30m", 1_800_000), ("-2d", 172_800_000), ("-10s", 10_000)],
)
def test_relative_times_count_back_from_now(text, ago_ms):
    assert moment_ms(text, NOW) == NOW - ago_ms


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2013", "20130105", "2013-13-01", "2013-01-05T25:00", "1h", "-h", "@", "@x"],
)
def test_what_is_no_time_is_refused_with_what_would_be(text):
    with pytest.raises(ValueError, match=r"is not a time: use .*@epoch-ms"):
        moment_ms(text, NOW)


def test_fractions_of_a_millisecond_are_cut_off():
    assert moment_ms("2013-01-05T00:00:00.0019Z", NOW) == JAN_5 + 1
    assert moment_ms("1969-12-31T23:59:59.9999Z", NOW) == -1


@pytest.mark.parametrize("value", [JAN_5, str(JAN_5), "2013-01-05T00:00:00Z", "2013-01-05"])
def test_timestamps_of_the_input(value):
    assert timestamp_ms(value) == JAN_5


# 10 digits are seconds since the epoch somewhere else, 8 are a date: not to be guessed.
@pytest.mark.parametrize("value", ["1357344000", "20130105", "", "noon", "@1357344000000", 2**63])
def test_what_is_no_timestamp_is_refused(value):
    with pytest.raises(ValueError, match="is not a timestamp"):
        timestamp_ms(value)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_printed_moment_reads_back(moment):
    assert moment_ms(iso(moment), NOW) == moment


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_timestamp_that_a_record_can_have_is_printed(moment):
    assert iso(moment).endswith("Z") or iso(moment) == f"@{moment}"


def test_the_cache_of_timestamps_is_bounded():
    cache = CachedTimestamps()
    for n in range(3 * cache.ENTRIES_MAX):
        assert cache[n] == n
        assert len(cache) <= cache.ENTRIES_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("0", 0),
        ("2013", 2013),
        ("2013-01-05", datetime(2013, 1, 5, tzinfo=UTC)),
        ("@1357344000001", datetime(2013, 1, 5, 0, 0, 0, 1000, tzinfo=UTC)),
        ("-1h", datetime(2013, 1, 4, 23, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_places(text, expected):
    assert place(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "first", "-5", "1.5", "@253402300800000"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match=r"use earliest, latest or an offset|years 1 to 9999"):
        place(text, NOW)
