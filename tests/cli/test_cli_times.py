from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli.place import last_of, place
from logstore_cli.times import CachedTimestamps, early, iso, moment_ms, timestamp_ms

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
        "@1357344000",
        "@1357344000000",
        "@1357344000000000",
        "@1357344000000000000",
        "@1357344000.000999",
        "@1357344000s",
        "@1357344000000ms",
        "@1357344000000999us",
        "@1357344000000000999ns",
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


def test_now_is_a_time():
    assert moment_ms("now", NOW) == NOW


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2013", "20130105", "2013-13-01", "2013-01-05T25:00", "1h", "-h", "@", "@x"],
)
def test_what_is_no_time_is_refused_with_what_would_be(text):
    with pytest.raises(ValueError, match=r"is not a time: use .*@1357344000"):
        moment_ms(text, NOW)


def test_fractions_of_a_millisecond_are_cut_off():
    assert moment_ms("2013-01-05T00:00:00.0019Z", NOW) == JAN_5 + 1
    assert moment_ms("1969-12-31T23:59:59.9999Z", NOW) == -1


@pytest.mark.parametrize(
    "value",
    [
        JAN_5 // 1000,
        JAN_5,
        JAN_5 * 1000 + 999,
        JAN_5 * 1_000_000 + 999_999,
        float(JAN_5 // 1000),
        1.357344e9,
        "1357344000",
        "1357344000.0009",
        "1357344000000",
        "1357344000000000",
        "1357344000000000000",
        "@1357344000",
        "2013-01-05T00:00:00Z",
        "2013-01-05",
    ],
)
def test_timestamps_of_the_input(value):
    assert timestamp_ms(value) == JAN_5


def test_fractions_of_a_second_are_kept_to_the_millisecond():
    assert timestamp_ms(1357344000.123) == timestamp_ms("1357344000.123999") == JAN_5 + 123
    assert timestamp_ms("-0.0005") == -1
    assert timestamp_ms("-1.5") == -1500


@given(st.integers(100_000_000_000, 4_102_444_800_000))  # 1973 to 2100
def test_a_number_means_the_same_moment_in_every_unit(moment):
    numbers = (moment / 1000, moment, moment * 1000, moment * 1_000_000)
    assert {timestamp_ms(number) for number in numbers} == {moment}
    assert {moment_ms(f"@{number}", NOW) for number in numbers} == {moment}


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("@0", "the time @0 is read as seconds since 1970: 1970-01-01T00:00:00.000Z"),
        ("946684799", "the time 946684799 is read as seconds since 1970: 1999-12-31T23:59:59.000Z"),
        ("946684799999", "read as milliseconds since 1970: 1999-12-31T23:59:59.999Z"),
        ("946684799999999", "read as microseconds"),
        ("@946684799999999999", "read as nanoseconds"),
        ("20130105.5", "read as seconds since 1970: 1970-08-21T23:41:45.500Z"),
        ("@-5", "read as seconds since 1970: 1969-12-31T23:59:55.000Z"),
    ],
)
def test_a_number_that_means_a_time_before_2000_is_warned_about(text, warning):
    assert warning in early(text, timestamp_ms(text))


@pytest.mark.parametrize("text", ["946684800", "1970-01-01", "@5ms", "@1357344000"])
def test_no_other_time_is_warned_about(text):
    assert early(text, timestamp_ms(text)) is None


# 8 digits are a date in some places: not to be guessed.
@pytest.mark.parametrize("value", ["20130105", "", "noon", "@", "1e9", 2**63, "1" * 20])
def test_what_is_no_timestamp_is_refused(value):
    with pytest.raises(ValueError, match="is not a timestamp"):
        timestamp_ms(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_printed_moment_reads_back(moment):
    assert moment_ms(iso(moment), NOW) == moment


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_timestamp_that_a_record_can_have_is_printed(moment):
    assert iso(moment).endswith("Z") or iso(moment) == f"@{moment}ms"


def test_the_cache_of_timestamps_is_bounded():
    cache = CachedTimestamps()
    for n in range(3 * cache.ENTRIES_MAX):
        assert cache[n] == 1000 * n
        assert len(cache) <= cache.ENTRIES_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("0", 0),
        ("2013", 2013),
        ("2013-01-05", datetime(2013, 1, 5, tzinfo=UTC)),
        ("@1357344000", datetime(2013, 1, 5, tzinfo=UTC)),
        ("@1357344000001", datetime(2013, 1, 5, 0, 0, 0, 1000, tzinfo=UTC)),
        ("-1h", datetime(2013, 1, 4, 23, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_places(text, expected):
    assert place(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "count"), [("-10", 10), ("-0", 0), ("-1h", None), ("10", None), ("-", None)]
)
def test_so_many_at_the_end(text, count):
    assert last_of(text) == count


@pytest.mark.parametrize("text", ["", "first", "-5", "1.5", "@253402300800000ms"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match=r"use earliest, latest or an offset|years 1 and 9999"):
        place(text, NOW)
