import json

import pytest
from mostly_long import mostly_long

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
            ("-2", 3),
            ("-9", 0),
            ("-0", 5),
        ],
    )
    def test_every_kind_of_place(self, logstore, place, first):
        result = logstore("consume", "numbers", "--from", place)
        assert result.lines == [str(n) for n in range(first, 5)]

    def test_the_last_of_each_partition_that_is_named(self, logstore):
        logstore("topic", "alter", "numbers", "--partitions", 3)
        for line, to in ((b"a", 1), (b"b", 1), (b"c", 2), (b"d", 2)):
            logstore("produce", "numbers", "--partition", to, stdin=line)
        words = ("consume", "numbers", "--from", -1)
        assert sorted(logstore(*words).lines) == ["4", "b", "d"]
        assert sorted(logstore(*words, "--partition", 2, "--partition", 0).lines) == ["4", "d"]

    def test_a_group_does_not_begin_at_the_last(self, logstore):
        result = logstore("consume", "numbers", "--group", "g", "--from", -1, code=2)
        assert "'--from': -N cannot be combined with --group" in result.err

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
class TestTo:
    PLACES = (
        ("earliest", -1), ("latest", 4), ("3", 2), ("5", 4), ("9", 4), ("1970-01-01T02:00Z", 1),
        ("1970-01-01T02:30Z", 2), ("now", 4),
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("place", "last"), mostly_long(PLACES, [PLACES[4], PLACES[6]], rows=True)
    )
    def test_every_kind_of_place(self, logstore, place, last):
        result = logstore("consume", "numbers", "--to", place)
        assert result.lines == [str(n) for n in range(last + 1)]

    def test_two_ranges_that_meet_have_each_record_once(self, logstore):
        words = ("consume", "numbers", "--group", "g", "--to")
        assert logstore(*words, "1970-01-01T02:00Z").lines == ["0", "1"]
        assert logstore(*words, "1970-01-01T02:00Z").lines == []
        assert logstore(*words, "4").lines == ["2", "3"]
        assert logstore("consume", "numbers", "--group", "g").lines == ["4"]

    def test_it_begins_behind_the_end(self, logstore):
        assert logstore("consume", "numbers", "--from", 4, "--to", 2).lines == []

    def test_uncommitted_records_end_there_too(self, logstore):
        words = ("--isolation", "uncommitted", "--to", 2)
        assert logstore("consume", "numbers", *words).lines == ["0", "1"]

    def test_who_follows_has_no_end(self, logstore):
        result = logstore("consume", "numbers", "--to", 2, "--follow", code=2)
        assert "'--to': cannot be combined with --follow" in result.err

    def test_no_place(self, logstore):
        result = logstore("consume", "numbers", "--to", "tomorrow", code=2)
        assert "'--to': 'tomorrow' is not a time" in result.err


class TestKey:
    @pytest.fixture(autouse=True)
    def keyed(self, logstore):
        logstore("topic", "create", "keyed")
        lines = b"".join(b'{"k": "%s", "n": "%d"}\n' % (b"ab"[n % 2 :][:1], n) for n in range(9))
        logstore("produce", "keyed", "--key-field", "k", "--value-field", "n", stdin=lines)

    def test_only_records_of_the_key(self, logstore):
        assert logstore("consume", "keyed", "--key", "b").lines == ["1", "3", "5", "7"]
        assert logstore("consume", "keyed", "--key", "c").lines == []

    def test_so_many_of_them(self, logstore):
        assert logstore("consume", "keyed", "--key", "b", "--max", 2).lines == ["1", "3"]

    def test_a_group_goes_on_behind_the_last_that_was_printed(self, logstore):
        words = ("consume", "keyed", "--group", "g")
        assert logstore(*words, "--key", "b", "--max", 2).lines == ["1", "3"]
        assert logstore(*words, "--max", 1).lines == ["4"]
        assert logstore(*words, "--key", "b").lines == ["5", "7"]
        assert logstore(*words).lines == []

    def test_it_is_not_for_share_groups(self, logstore):
        for words in (("--key", "b"), ("--to", "latest")):
            result = logstore("consume", "keyed", "--share", "s", *words, code=2)
            assert f"{words[0]}: cannot be combined with --share" in result.err


@pytest.mark.usefixtures("numbers")
class TestCsv:
    def test_what_it_prints_can_be_loaded(self, logstore):
        logstore("topic", "create", "quoted")
        logstore("produce", "quoted", "--key", 'a "b"', stdin=b"x,y\n")
        printed = logstore("consume", "quoted", "--format", "csv:key,value").bytes
        assert printed == b'key,value\n"a ""b""","x,y"\n'
        words = ("--format", "csv", "--key-field", "key", "--value-field", "value")
        logstore("topic", "create", "again")
        logstore("produce", "again", *words, stdin=printed)
        assert logstore("consume", "again", "--format", "csv:key,value").bytes == printed

    def test_the_columns_are_named_though_there_are_no_rows(self, logstore):
        head = "topic,partition,offset,timestamp,key,value,headers"
        assert logstore("consume", "numbers", "--from", "latest", "--format", "csv").lines == [head]
        assert logstore("replay", "numbers", "--format", "csv", "--to", "@0s").lines == [head]

    def test_replay(self, logstore):
        words = ("--format", "csv:offset,headers", "--from", "1970-01-01T03:00Z")
        assert logstore("replay", "numbers", *words).lines == ["offset,headers", "3,n=3", "4,n=4"]

    @pytest.mark.long
    def test_a_share_group(self, logstore):
        words = ("--share", "s", "--from", "earliest", "--max", 1, "--format", "csv:value")
        assert logstore("consume", "numbers", *words).lines == ["value", "0"]

    def test_no_such_field(self, logstore):
        result = logstore("consume", "numbers", "--format", "csv:vlaue", code=2)
        assert "no field 'vlaue' in 'csv:vlaue' (did you mean value?)" in result.err


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
        assert "given twice" in logstore("consume", "numbers", "numbers", code=2).err

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
