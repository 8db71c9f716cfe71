import json
import time
from pathlib import Path

import pytest

DAYS = ("--from", "2013-01-05T00:00Z", "--to", "2013-01-06T00:00Z")
FIELDS = ("--key-field", "k", "--timestamp-field", "t", "--header-field", "k")


@pytest.fixture
def flights(logstore):
    """Ten records of ten keys in three partitions, six hours apart, from the 4th to the 6th."""
    logstore("topic", "create", "flights", "--partitions", 3, "--config", "compression.type=lz4")
    lines = [
        b'{"k": "N%d", "t": "2013-01-%02dT%02d:00Z"}\n' % (n, 4 + n // 4, n % 4 * 6)
        for n in range(10)
    ]
    logstore("produce", "flights", *FIELDS, stdin=b"".join(lines))


@pytest.fixture
def sample():
    """A directory of partitions without a catalogue that has a topic called flights."""
    return Path(__file__).parents[2] / "segments"


def records(logstore, topic, *words):
    found = logstore("consume", topic, "--format", "json", *words)
    return [json.loads(line) for line in found.lines]


def without(record, *names):
    return {name: value for name, value in record.items() if name not in names}


def test_to_standard_output_in_the_order_of_time(logstore, flights):
    result = logstore("replay", "flights", *DAYS, "--format", "{key} {timestamp}")
    assert result.lines == [
        "N4 2013-01-05T00:00:00.000Z",
        "N5 2013-01-05T06:00:00.000Z",
        "N6 2013-01-05T12:00:00.000Z",
        "N7 2013-01-05T18:00:00.000Z",
    ]


def test_everything_where_nothing_is_said(logstore, flights):
    assert len(logstore("replay", "flights").lines) == 10


@pytest.mark.parametrize("count", [3, 11])
def test_so_many_and_no_more(logstore, flights, count):
    everything = logstore("replay", "flights").lines
    assert logstore("replay", "flights", "--max", count).lines == everything[:count]


def test_so_many_are_copied(logstore, flights):
    logstore("replay", "flights", "--max", 3, "--into", "few")
    assert sorted(it["key"] for it in records(logstore, "few")) == ["N0", "N1", "N2"]


def test_so_many_of_several_pieces(logstore, monkeypatch):
    monkeypatch.setattr("logstore.broker.replay.RECORDS_AT_ONCE", 2)
    logstore("topic", "create", "t")
    logstore("produce", "t", stdin=b"1\n2\n3\n4\n5\n")
    for count in (1, 2, 3, 4):
        assert len(logstore("replay", "t", "--max", count).lines) == count


def test_into_a_new_topic_it_is_identical_record_for_record(logstore, flights):
    result = logstore("replay", "flights", *DAYS, "--into", "flights-copy")
    assert result.out == ""
    assert result.err.startswith("replayed 4 records of flights into flights-copy in ")
    source = [r for r in records(logstore, "flights") if r["timestamp"].startswith("2013-01-05")]
    copy = records(logstore, "flights-copy")

    def comparable(found):
        return sorted((without(r, "topic", "offset") for r in found), key=lambda r: r["key"])

    assert comparable(copy) == comparable(source)


def test_a_new_topic_is_like_its_source(logstore, flights):
    logstore("replay", "flights", "--into", "flights-copy")
    source, copy = (
        json.loads(logstore("topic", "describe", name, "--json").out)
        for name in ("flights", "flights-copy")
    )
    assert copy["settings"] == source["settings"]
    assert len(copy["partitions"]) == 3


def test_into_a_topic_with_fewer_partitions_it_goes_by_key(logstore, flights):
    logstore("topic", "create", "one")
    logstore("replay", "flights", "--into", "one")
    found = records(logstore, "one")
    assert [record["key"] for record in found] == [f"N{n}" for n in range(10)]


def test_with_the_timestamps_of_now(logstore, flights):
    before = time.time() * 1000 - 1
    logstore("replay", "flights", *DAYS, "--into", "flights-copy", "--timestamps", "restamp")
    assert all(r["timestamp_ms"] >= before for r in records(logstore, "flights-copy"))


def test_into_another_store(logstore, flights, tmp_path):
    logstore("replay", "flights", *DAYS, "--into", "flights", "--into-data", tmp_path / "other")
    assert len(records(logstore, "flights", "--data", tmp_path / "other")) == 4
    assert len(records(logstore, "flights")) == 10


def test_fast_forward(logstore, flights):
    # 18 hours of the past at 6,480,000 a second: a hundredth of a second
    words = ("--speed", 6_480_000, "--into", "flights-copy")
    assert "replayed 4 records" in logstore("replay", "flights", *DAYS, *words).err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("flihgts",), 1, "'flihgts'"),
        (("flights", "--from", "noon"), 2, "'noon' is not a time"),
        (("flights", "--from", "2013-01-06", "--to", "2013-01-05"), 2, "--to is before --from"),
        (("flights", "--into", "flights"), 2, "'flights' is the same topic in "),
        (("flights", "--into", "a b"), 1, "is not allowed"),
        (("flights", "--into-data", "x"), 2, "need --into"),
        (("flights", "--timestamps", "restamp"), 2, "need --into"),
        (("flights", "--speed", "-1"), 2, "'--speed'"),
        (("flights", "--speed", "nan"), 2, "'--speed'"),
        (("flights", "--speed", "inf"), 2, "'--speed'"),
        (("flights", "--format", "xml"), 2, "'xml' is neither"),
    ],
)
def test_what_cannot_be(logstore, flights, words, code, message):
    assert message in logstore("replay", *words, code=code).err
    assert len(logstore("topic", "list").lines) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("flihgts", "--into", "flights"), "it has no directory flihgts-0 (did you mean flights?)"),
        (("flights", "--into", "a b"), "is not allowed"),
        (("flights", "--data", "segment", "--into", "x"), "segment: not a store: no such dir"),
    ],
)
def test_nothing_is_made_for_a_copy_that_cannot_be(logstore, sample, tmp_path, words, message):
    words = ("--data", sample, "replay", *words, "--into-data", "other")
    assert message in logstore(*words, code=1).err
    assert not (tmp_path / "other").exists()


def test_another_store_is_named_where_source_and_copy_are_one(logstore, sample):
    result = logstore("replay", "flights", "--data", sample, "--into", "flights", code=2)
    assert f"'flights' is the same topic in {sample}; name another store with" in result.err


def test_records_that_the_other_topic_does_not_take(logstore, flights):
    logstore("topic", "create", "small", "--config", "max.message.bytes=80")
    result = logstore("replay", "flights", "--into", "small", code=1)
    assert "is over max.message.bytes, 80; replayed 0 records of flights into small" in result.err
