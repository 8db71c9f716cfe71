import json

import pytest

HOUR_MS = 3_600_000


@pytest.fixture
def numbers(logstore):
    """Five records in one partition, an hour apart: their values are their offsets."""
    logstore("topic", "create", "numbers")
    lines = b"".join(b'{"n": "%d", "t": "@%dms"}\n' % (n, n * HOUR_MS) for n in range(5))
    fields = ("--value-field", "n", "--timestamp-field", "t", "--header-field", "n")
    logstore("produce", "numbers", "--key", "k", *fields, stdin=lines)


@pytest.mark.usefixtures("numbers")
class TestFormats:
    def test_raw_is_what_one_gets(self, logstore):
        expected = b"0\n1\n2\n3\n4\n"
        assert logstore("consume", "numbers").bytes == expected
        assert logstore("consume", "numbers", "--format", "raw").bytes == expected

    def test_a_template(self, logstore):
        words = ("--format", "{partition} {offset} {key} {value} {timestamp} {headers}", "--max", 1)
        assert logstore("consume", "numbers", *words).out == (
            "0 0 k 0 1970-01-01T00:00:00.000Z n=0\n"
        )

    def test_json(self, logstore):
        [line] = logstore("consume", "numbers", "--format", "json", "--from", 4).lines
        assert json.loads(line) == {
            "topic": "numbers", "partition": 0, "offset": 4, "key": "k", "value": "4",
            "timestamp": "1970-01-01T04:00:00.000Z", "timestamp_ms": 4 * HOUR_MS,
            "headers": [{"name": "n", "value": "4"}],
        }  # fmt: skip

    def test_hex(self, logstore):
        assert logstore("consume", "numbers", "--format", "hex").bytes == b"30\n31\n32\n33\n34\n"

    def test_unknown(self, logstore):
        result = logstore("consume", "numbers", "--format", "{vlaue}", code=2)
        assert "no field {vlaue} in a template (did you mean value?)" in result.err


@pytest.mark.usefixtures("numbers")
class TestFrom:
    @pytest.mark.parametrize(
        ("place", "first"),
        [
            ("earliest", 0),
            ("latest", 5),
            ("3", 3),
            ("5", 5),
            ("1970-01-01T02:00Z", 2),
            ("1970-01-01T02:30Z", 3),
            ("1970-01-01", 0),
            ("@7200000ms", 2),
            ("-1h", 5),
        ],
    )
    def test_every_kind_of_place(self, logstore, place, first):
        result = logstore("consume", "numbers", "--from", place)
        assert result.lines == [str(n) for n in range(first, 5)]

    def test_an_offset_above_the_end(self, logstore):
        result = logstore("consume", "numbers", "--from", 6, code=1)
        assert result.err == "logstore: numbers-0: offset 6 is above the end, 5\n"

    def test_an_offset_below_the_start(self, logstore, store):
        with store("write") as opened:
            opened.topic("numbers").partition(0).trim(2)
        result = logstore("consume", "numbers", "--from", 1, code=1)
        assert "numbers-0: offset 1 is below the start, 2" in result.err
        assert logstore("consume", "numbers", "--from", 2).lines == ["2", "3", "4"]

    def test_no_place(self, logstore):
        result = logstore("consume", "numbers", "--from", "yesterday", code=2)
        assert "'yesterday' is not a time" in result.err


@pytest.mark.usefixtures("numbers")
class TestGroup:
    def test_the_offset_survives_between_two_runs(self, logstore):
        words = ("consume", "numbers", "--group", "billing")
        assert logstore(*words, "--max", 2).lines == ["0", "1"]
        assert logstore(*words).lines == ["2", "3", "4"]
        assert logstore(*words).lines == []

    def test_groups_do_not_touch_each_other(self, logstore):
        logstore("consume", "numbers", "--group", "a")
        assert len(logstore("consume", "numbers", "--group", "b").lines) == 5

    def test_from_counts_until_something_is_committed(self, logstore):
        words = ("consume", "numbers", "--group", "billing", "--from", "3")
        assert logstore(*words, "--max", 1).lines == ["3"]
        assert logstore(*words).lines == ["4"]
        assert logstore(*words).lines == []

    def test_a_name_that_is_not_allowed(self, logstore):
        assert "group name" in logstore("consume", "numbers", "--group", "", code=1).err


class TestWhich:
    def test_many_topics(self, logstore, numbers):
        logstore("topic", "create", "letters")
        logstore("produce", "letters", stdin=b"a\nb\n")
        result = logstore("consume", "numbers", "letters", "--format", "{topic} {value}")
        assert sorted(result.lines) == sorted(
            ["letters a", "letters b", *(f"numbers {n}" for n in range(5))]
        )

    def test_some_partitions(self, logstore):
        logstore("topic", "create", "parts", "--partitions", 3)
        for n in range(3):
            logstore("produce", "parts", "--partition", n, stdin=b"%d\n" % n)
        result = logstore("consume", "parts", "--partition", 0, "--partition", 2)
        assert sorted(result.lines) == ["0", "2"]

    def test_a_partition_that_does_not_exist(self, logstore, numbers):
        assert "no partition 1" in logstore("consume", "numbers", "--partition", 1, code=1).err

    def test_a_topic_that_does_not_exist(self, logstore, numbers):
        assert "'nubmers'" in logstore("consume", "nubmers", code=1).err

    def test_a_topic_named_twice(self, logstore, numbers):
        assert "named twice" in logstore("consume", "numbers", "numbers", code=2).err

    def test_max(self, logstore, numbers):
        assert logstore("consume", "numbers", "--max", 3).lines == ["0", "1", "2"]
        assert "'--max'" in logstore("consume", "numbers", "--max", 0, code=2).err

    def test_bare_kafka_partitions_without_a_store(self, logstore, tmp_path, data, numbers):
        (tmp_path / "bare").mkdir()
        (data / "numbers-0").rename(tmp_path / "bare" / "numbers-0")
        assert logstore("consume", "numbers", "--data", "bare").lines == list("01234")
        result = logstore("produce", "numbers", "--data", "bare", stdin=b"x\n", code=1)
        assert "can only be read" in result.err


def test_a_damaged_batch_is_an_error_and_what_came_before_it_counts(logstore, data, numbers):
    logstore("produce", "numbers", stdin=b"5\n")
    log = max((data / "numbers-0").glob("*.log"))
    damaged = bytearray(log.read_bytes())
    damaged[-1] ^= 1
    log.write_bytes(damaged)
    result = logstore("consume", "numbers", "--group", "billing", "--max", 5)
    assert result.lines == list("01234")
    result = logstore("consume", "numbers", "--group", "billing", code=1)
    assert result.lines == []
    assert "numbers-0" in result.err
