import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest
from logstore_cli.progress import Bar, Lines, Progress, progress_for
from mostly_long import mostly_long

FLIGHTS = (
    b'{"tailnum":"N1","time_hour":"2013-01-05T05:00:00Z","dep":1}\n'
    b'{"tailnum":null,"time_hour":"2013-01-05T06:00:00Z","dep":2}\n'
    b'{"tailnum":"N2","time_hour":"2013-01-05T07:00:00Z","dep":3}\n'
)
FIELDS = ("--key-field", "tailnum", "--timestamp-field", "time_hour")


@pytest.fixture
def topic(logstore):
    logstore("topic", "create", "flights", "--config", "compression.type=zstd")


def consumed(logstore, topic="flights"):
    """(key, value) of every record."""
    found = logstore("consume", topic, "--format", "json")
    return [(record["key"], record["value"]) for record in map(json.loads, found.lines)]


def values(logstore, topic="flights"):
    return [value for _, value in consumed(logstore, topic)]


def test_the_issues_example(logstore):
    logstore("topic", "create", "flights", "--partitions", 3, "--config", "compression.type=zstd")
    result = logstore("produce", "flights", *FIELDS, stdin=FLIGHTS)
    assert result.out == ""
    assert result.err.startswith("produced 3 records to flights (180 B read in ")
    records = [
        json.loads(line) for line in logstore("consume", "flights", "--format", "json").lines
    ]
    assert {(r["key"], r["timestamp"], r["value"]) for r in records} == {
        ("N1", "2013-01-05T05:00:00.000Z", FLIGHTS.decode().splitlines()[0]),
        (None, "2013-01-05T06:00:00.000Z", FLIGHTS.decode().splitlines()[1]),
        ("N2", "2013-01-05T07:00:00.000Z", FLIGHTS.decode().splitlines()[2]),
    }


@pytest.mark.usefixtures("topic")
class TestInput:
    def test_raw_lines(self, logstore):
        logstore("produce", "flights", stdin=b"one\n\n\xfftwo")
        assert logstore("consume", "flights").bytes == b"one\n\n\xfftwo\n"

    def test_nothing(self, logstore):
        assert "produced 0 records" in logstore("produce", "flights").err

    def test_a_file(self, logstore, tmp_path):
        (tmp_path / "input").write_bytes(FLIGHTS)
        logstore("produce", "flights", *FIELDS, "input")
        assert [key for key, _ in consumed(logstore)] == ["N1", None, "N2"]

    def test_a_dash_is_standard_input(self, logstore):
        logstore("produce", "flights", "-", stdin=b"one\n")
        assert values(logstore) == ["one"]

    def test_json_is_found_out_by_the_first_line(self, logstore):
        result = logstore("produce", "flights", stdin=b'{"a":1}\nnot json\n', code=1)
        assert "line 2: not JSON" in result.err

    def test_json_is_found_out_behind_a_byte_order_mark(self, logstore):
        logstore("produce", "flights", stdin=b'\xef\xbb\xbf{"a":1}\n')
        assert values(logstore) == ['{"a":1}']

    def test_raw_json_lines_are_not_looked_into(self, logstore):
        logstore("produce", "flights", "--format", "raw", stdin=b'{"a":1}\nnot json\n')
        assert values(logstore) == ['{"a":1}', "not json"]

    def test_csv(self, logstore):
        logstore(
            "produce", "flights", "--format", "csv", "--key-field", "tail", "--value-field", "v",
            stdin=b'tail,v\nN1,"a\nb"\nN2,c\n',
        )  # fmt: skip
        assert consumed(logstore) == [("N1", "a\nb"), ("N2", "c")]

    def test_csv_without_the_column(self, logstore):
        words = ("produce", "flights", "--format", "csv", "--key-field", "tail")
        result = logstore(*words, "--on-error", "skip", stdin=b"a,b\n1,2\n", code=1)
        assert "line 1: no column 'tail' in the first row; there are a, b" in result.err

    def test_keys_and_headers(self, logstore):
        words = ("--key", "k", "--header", "a=1", "--header", "a=x=y", "--header-field", "dep")
        logstore("produce", "flights", *words, stdin=FLIGHTS[:60])
        [line] = logstore("consume", "flights", "--format", "{key} {headers}").lines
        assert line == "k a=1,a=x=y,dep=1"

    def test_compression_of_the_producer(self, logstore, data):
        logstore("topic", "create", "plain")
        logstore("produce", "plain", "--compression", "lz4", stdin=b"one\n")
        [log] = (data / "plain-0").glob("*.log")
        assert json.loads(logstore("dump", log, "--json").out)["batch"]["compression"] == "lz4"

    def test_a_small_batch_size_makes_many_batches(self, logstore, data):
        logstore("produce", "flights", "--batch-bytes", 100, stdin=b"x" * 50 + b"\n" + b"y" * 90)
        assert values(logstore) == ["x" * 50, "y" * 90]


class TestTombstone:
    """A record without a value, by which compaction removes its key."""

    @pytest.fixture(autouse=True)
    def topic(self, logstore):
        logstore("topic", "create", "flights", "--config", "cleanup.policy=compact")

    def test_null_in_the_field_of_the_value(self, logstore):
        words = ("--key-field", "k", "--value-field", "v")
        logstore("produce", "flights", *words, stdin=b'{"k":"c","v":"x"}\n{"k":"c","v":null}\n')
        assert consumed(logstore) == [("c", "x"), ("c", None)]

    def test_of_one_key_without_input(self, logstore):
        words = ("--key", "c", "--tombstone", "--header", "why=gone")
        said = logstore("produce", "flights", *words, stdin=b"not read\n").err
        assert said == "produced 1 tombstone to flights\n"
        [line] = logstore("consume", "flights", "--format", "json").lines
        found = json.loads(line)
        assert (found["key"], found["value"]) == ("c", None)
        assert logstore("consume", "flights", "--format", "{headers}").lines == ["why=gone"]

    @pytest.mark.parametrize(
        "words", [(), ("--key-field", "k"), ("--key", "c", "in"), ("--key", "c", "--format", "csv")]
    )
    def test_it_needs_a_key_and_goes_with_no_input(self, logstore, words):
        said = logstore("produce", "flights", "--tombstone", *words, code=2).err
        assert "--tombstone needs --key KEY, and reads no input" in said
        assert consumed(logstore) == []


class TestMessage:
    @pytest.fixture(autouse=True)
    def topic(self, logstore):
        logstore("topic", "create", "flights", "--partitions", 2)

    def test_it_is_one_record_whatever_is_in_it(self, logstore):
        words = ("--key", "c", "--message", '{"a":\n1}', "--header", "why=new", "--partition", 1)
        said = logstore("produce", "flights", *words, stdin=b"not read\n").err
        assert said == "produced 1 record to flights\n"
        [line] = logstore("consume", "flights", "--format", "json").lines
        found = json.loads(line)
        assert (found["partition"], found["key"], found["value"]) == (1, "c", '{"a":\n1}')
        assert logstore("consume", "flights", "--format", "{headers}").lines == ["why=new"]

    def test_it_may_be_empty(self, logstore):
        logstore("produce", "flights", "--message", "")
        assert consumed(logstore) == [(None, "")]

    @pytest.mark.parametrize("words", [("in",), ("--key-field", "k"), ("--format", "csv")])
    def test_it_goes_with_no_input(self, logstore, words):
        said = logstore("produce", "flights", "--message", "x", *words, code=2).err
        assert "--message takes the place of FILE, its format and its fields" in said
        assert consumed(logstore) == []

    def test_it_is_no_tombstone(self, logstore):
        words = ("--key", "c", "--tombstone", "--message", "x")
        assert "reads no input" in logstore("produce", "flights", *words, code=2).err


class TestPartition:
    def test_all_go_there(self, logstore):
        logstore("topic", "create", "flights", "--partitions", 3)
        logstore("produce", "flights", *FIELDS, "--partition", 2, stdin=FLIGHTS)
        result = logstore("consume", "flights", "--format", "{partition} {offset}")
        assert result.lines == ["2 0", "2 1", "2 2"]

    @pytest.mark.usefixtures("topic")
    def test_one_that_does_not_exist(self, logstore):
        result = logstore("produce", "flights", "--partition", 1, stdin=b"one\n", code=1)
        assert "no partition 1" in result.err


WARNING = "standard input: the time {} is read as {} since 1970: {}"


@pytest.mark.usefixtures("topic")
class TestTimestamps:
    MOMENT = "2026-09-21T14:13:20.000Z"
    NUMBERS = ("1790000000", "1790000000000", "1790000000000000", "1790000000000000000")

    @pytest.mark.parametrize("number", [*NUMBERS, "1790000000.0"])
    @pytest.mark.parametrize(
        "form", mostly_long(["json number", "json text", "csv"], ["json number"])
    )
    def test_a_plain_number_is_told_apart_by_its_size(self, logstore, number, form):
        text = number if form == "json number" else f'"{number}"'
        data = f"ts\n{number}\n" if form == "csv" else f'{{"ts": {text}}}\n'
        words = ("--format", form.split()[0], "--timestamp-field", "ts")
        told = logstore("produce", "flights", *words, stdin=data.encode()).err
        assert "warning" not in told
        assert logstore("consume", "flights", "--format", "{timestamp}").lines == [self.MOMENT]

    @pytest.mark.parametrize("number", NUMBERS)
    def test_places_that_are_numbers_are_told_apart_likewise(self, logstore, number):
        lines = b'{"t": 1789999999}\n{"t": 1790000000}\n'
        logstore("produce", "flights", "--timestamp-field", "t", stdin=lines)
        found = logstore("consume", "flights", "--from", f"@{number}", "--format", "{offset}")
        assert found.lines == ["1"]
        found = logstore("replay", "flights", "--to", f"@{number}", "--format", "{offset}")
        assert found.lines == ["0"]
        found = logstore("topic", "trim", "flights", "--before", f"@{number}", "--dry-run")
        assert found.lines[1].split() == ["0", "0", "1", "1"]

    @pytest.mark.parametrize("form", ["json", "csv"])
    def test_a_number_before_2000_is_stored_and_warned_about_once(self, logstore, form):
        data = b"ts\n86400\n5\n" if form == "csv" else b'{"ts": 86400}\n{"ts": 5}\n'
        words = ("--format", form, "--timestamp-field", "ts")
        told = logstore("produce", "flights", *words, stdin=data).err
        assert told.count("warning") == 1
        assert WARNING.format("86400", "seconds", "1970-01-02T00:00:00.000Z") in told
        found = logstore("consume", "flights", "--format", "{timestamp_ms}")
        assert found.lines == ["86400000", "5000"]

    def test_a_place_before_2000_is_warned_about(self, logstore):
        for words in (
            ("consume", "flights", "--from", "@900000000"),
            ("replay", "flights", "--to", "@900000000000"),
            ("topic", "trim", "flights", "--dry-run", "--before", "@900000000000000"),
        ):
            assert "1998-07-09T16:00:00.000Z" in logstore(*words).err

    def test_a_text_before_2000_is_not_warned_about(self, logstore):
        words = ("--timestamp-field", "ts", "--key", "k")
        told = logstore("produce", "flights", *words, stdin=b'{"ts": "1999-12-31"}\n').err
        assert "warning" not in told


@pytest.mark.usefixtures("topic")
class TestBadLines:
    BAD = FLIGHTS[:60] + b'{"time_hour":"2013-01-05T05:00:00Z"}\n' + FLIGHTS[60:] + b"{\n"

    def test_stop_keeps_what_came_before(self, logstore):
        result = logstore("produce", "flights", *FIELDS, stdin=self.BAD, code=1)
        assert result.err == (
            "logstore: standard input, line 2: the field 'tailnum' is missing; there is"
            " time_hour; produced 1 record to flights. Correct the line, or use --on-error skip or"
            " dead-letter\n"
        )
        assert [key for key, _ in consumed(logstore)] == ["N1"]

    def test_a_stray_quote_in_csv_is_skipped_and_every_good_row_is_there(self, logstore):
        rows = [b"%d,v%d\n" % (n, n) for n in range(20_000)]
        data = b"k,v\n" + b"".join([*rows[:2], b'x,"oops\n', *rows[2:]])
        words = ("--format", "csv", "--key-field", "k", "--on-error", "skip")
        result = logstore("produce", "flights", *words, stdin=data)
        assert "produced 20,000 records" in result.err
        assert "skipped 1 line, 1 row (first: line 4: not CSV: a quote is not closed)" in result.err

    def test_skipped_rows_of_csv_are_told_in_lines_and_rows(self, logstore):
        data = b't,v\nsoon,"one\ntwo"\n2013-01-05,x\n1\n'
        words = ("--format", "csv", "--timestamp-field", "t", "--on-error", "skip")
        result = logstore("produce", "flights", *words, stdin=data)
        assert "skipped 3 lines, 2 rows (first: line 2: " in result.err

    def test_skip_counts(self, logstore):
        result = logstore("produce", "flights", *FIELDS, "--on-error", "skip", stdin=self.BAD)
        assert "produced 3 records to flights" in result.err
        assert "skipped 2 lines (first: line 2: the field 'tailnum' is missing; there" in result.err
        assert [key for key, _ in consumed(logstore)] == ["N1", None, "N2"]

    @pytest.mark.parametrize(
        "words",
        [
            ("--on-error", "dead-letter", "--dead-letter", "bad"),
            ("--on-error", "dead-letter:bad"),
            ("--dead-letter", "bad"),
        ],
    )
    def test_dead_letters_say_why(self, logstore, words):
        logstore("topic", "create", "bad")
        result = logstore("produce", "flights", *FIELDS, *words, stdin=self.BAD)
        assert "put into bad: 2 lines (first: line 2:" in result.err
        assert logstore("consume", "bad", "--format", "{value}|{headers}").lines == [
            '{"time_hour":"2013-01-05T05:00:00Z"}|dead-letter.topic=flights,dead-letter.line=2,'
            "dead-letter.reason=the field 'tailnum' is missing; there is time_hour",
            "{|dead-letter.topic=flights,dead-letter.line=5,"
            "dead-letter.reason=not JSON: it ends too early",
        ]
        assert len(consumed(logstore)) == 3

    def test_dead_letters_need_a_topic_that_exists(self, logstore):
        words = ("produce", "flights", *FIELDS, "--dead-letter", "bad")
        assert "'bad'" in logstore(*words, stdin=self.BAD, code=1).err
        assert consumed(logstore) == []

    def test_the_file_is_named(self, logstore, tmp_path):
        (tmp_path / "input").write_bytes(self.BAD)
        result = logstore("produce", "flights", *FIELDS, "input", code=1)
        assert result.err.startswith("logstore: input, line 2: ")

    def test_a_bad_line_far_in(self, logstore):
        lines = [b'{"tailnum":"N%d","time_hour":%d}\n' % (n, n) for n in range(40_000)]
        lines[30_000] = b'{"tailnum":"N"}\n'
        result = logstore("produce", "flights", *FIELDS, stdin=b"".join(lines), code=1)
        assert "line 30001: the field 'time_hour' is missing; there is tailnum" in result.err
        assert "; produced 30,000 records" in result.err
        found = logstore("consume", "flights", "--format", "{key}")
        assert found.lines == [f"N{n}" for n in range(30_000)]


@pytest.fixture
def small(logstore):
    logstore("topic", "create", "small", "--config", "max.message.bytes=200")
    logstore("topic", "create", "bad")


@pytest.mark.usefixtures("small")
class TestRecordsThatTheTopicDoesNotTake:
    LINES = b"one\n" + bytes(range(33, 127)) * 4 + b"\ntwo\n"

    def test_too_large(self, logstore):
        result = logstore("produce", "small", stdin=self.LINES, code=1)
        assert "standard input, line 2: topic 'small': a record of " in result.err
        assert "is over max.message.bytes, 200; produced 1 record to small." in result.err
        assert values(logstore, "small") == ["one"]

    def test_too_large_and_skipped(self, logstore):
        result = logstore("produce", "small", "--on-error", "skip", stdin=self.LINES)
        assert "skipped 1 line (first: line 2: topic 'small': a record of " in result.err
        assert values(logstore, "small") == ["one", "two"]

    def test_too_large_and_put_aside(self, logstore):
        logstore("produce", "small", "--dead-letter", "bad", stdin=self.LINES)
        assert values(logstore, "small") == ["one", "two"]
        assert values(logstore, "bad") == [self.LINES.decode().splitlines()[1]]

    def test_too_large_for_the_dead_letters_as_well(self, logstore):
        logstore("topic", "alter", "bad", "--config", "max.message.bytes=100")
        result = logstore("produce", "small", "--dead-letter", "bad", stdin=self.LINES, code=1)
        assert "line 2: topic 'small': a record of " in result.err
        assert (
            "the line could not be appended as a dead letter either: topic 'bad': a record of "
            in result.err
        )
        assert values(logstore, "small") == ["one"]

    def test_a_timestamp_that_is_not_allowed(self, logstore):
        logstore("topic", "alter", "small", "--config", "message.timestamp.before.max.ms=1000")
        words = ("produce", "small", "--timestamp-field", "t")
        result = logstore(*words, stdin=b'{"t": "2013-01-05"}\n', code=1)
        assert "line 1: topic 'small': timestamp 1357344000000 ms is outside" in result.err

    def test_no_key_for_a_compacted_topic(self, logstore):
        logstore("topic", "create", "compact", "--config", "cleanup.policy=compact")
        lines = b'{"k":"a"}\n{"k":null}\n{"k":"b"}\n'
        words = ("produce", "compact", "--key-field", "k", "--on-error", "skip")
        assert "skipped 1 line (first: line 2: " in logstore(*words, stdin=lines).err
        assert [key for key, _ in consumed(logstore, "compact")] == ["a", "b"]


class TestRefused:
    def test_a_topic_that_does_not_exist(self, logstore):
        logstore("topic", "create", "flights")
        result = logstore("produce", "flihgts", stdin=b"one\n", code=1)
        assert "'flihgts'" in result.err
        assert logstore("topic", "list").lines[1:] == ["flights           1        0  0 B"]

    def test_a_directory_that_is_no_store(self, logstore, data):
        result = logstore("produce", "flights", stdin=b"one\n", code=1)
        assert f"{data}: not a store" in result.err
        assert not data.exists()

    @pytest.mark.usefixtures("topic")
    def test_a_file_that_does_not_exist(self, logstore):
        result = logstore("produce", "flights", "nowhere", code=1)
        assert result.err == "logstore: nowhere: No such file or directory\n"

    @pytest.mark.usefixtures("topic")
    def test_a_directory_as_file(self, logstore, tmp_path):
        (tmp_path / "folder").mkdir()
        result = logstore("produce", "flights", "folder", code=1)
        assert "logstore: folder: Is a directory" in result.err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--key", "k", "--key-field", "f"), "use --key or --key-field, not both"),
            (("--format", "raw", "--key-field", "f"), "raw lines have no fields"),
            (("--on-error", "ignore"), "neither stop, skip nor dead-letter"),
            (("--on-error", "dead-letter"), "needs --dead-letter TOPIC"),
            (("--on-error", "skip", "--dead-letter", "bad"), "not skip"),
            (("--on-error", "dead-letter:a", "--dead-letter", "b"), "given twice"),
            (("--header", "novalue"), "'novalue' is not NAME=VALUE"),
            (("--compression", "brotli"), "brotli"),
            (("--format", "xml"), "xml"),
            (("--partition", "-1"), "'--partition'"),
            (("--batch-bytes", "0"), "'--batch-bytes'"),
        ],
    )
    def test_options_that_make_no_sense(self, logstore, words, message):
        assert message in logstore("produce", "flights", *words, code=2).err


class TestProgress:
    def test_none_where_nobody_watches(self, logstore, topic):
        assert len(logstore("produce", "flights", stdin=b"one\n").err.splitlines()) == 1

    def test_wanted_all_the_same(self, logstore, topic):
        result = logstore("produce", "flights", "--progress", stdin=b"one\n")
        assert result.err.splitlines()[-1].startswith("produced 1 record")

    @pytest.mark.parametrize(
        ("wanted", "watched", "kind"),
        [
            (None, False, Progress),
            (None, True, Bar),
            (True, False, Lines),
            (True, True, Bar),
            (False, True, Progress),
        ],
    )
    def test_which_kind(self, monkeypatch, wanted, watched, kind):
        monkeypatch.setattr("sys.stderr.isatty", lambda: watched, raising=False)
        assert type(progress_for(wanted, None)) is kind

    def test_lines(self, capsys):
        Lines().show(3 << 20, 1234)
        assert capsys.readouterr().err == "1,234 records acknowledged, 3.0 MiB read\n"

    @pytest.mark.parametrize("total", [100, None])
    def test_a_bar_on_a_terminal(self, total):
        ours, theirs = pty.openpty()
        program = (
            f"from logstore_cli.progress import Bar; b = Bar({total}); b.show(50, 3); b.close()"
        )
        subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # at the end: nobody has it open any more
            while True:
                shown += os.read(ours, 65536)
        os.close(ours)
        assert b"3 records acknowledged" in shown
        assert b"Traceback" not in shown


class TestRecords:
    """What ``consume --format json`` prints, loaded again."""

    @pytest.fixture
    def full(self, logstore, store):
        """A topic with whatever a record may have."""
        from logstore import Message

        logstore("topic", "create", "full", "--partitions", 3)
        with store("write") as opened:
            topic = opened.topic("full")
            topic.append_many([
                Message(b"text", b"key", (("a", b"1"), ("b", None)), 1_357_344_000_000),
                Message(b"\x00\xff", b"\xfe", (("a", b"\xfd"), ("a", b"twice")), 5),
                Message(None, b"gone"),
                Message(b"", None),
                Message(b"", b""),
                Message('"\\\n€🙂'.encode(), "ü".encode()),
            ])  # fmt: skip
            topic.append(b"where no key leads", key=b"key", partition=2)

    def facts(self, logstore, topic, *dropped):
        lines = logstore("consume", topic, "--format", "json").lines
        found = [json.loads(line) for line in lines]
        return [{name: it[name] for name in it if name not in ("topic", *dropped)} for it in found]

    def test_a_topic_comes_back_as_it_was(self, logstore, full):
        logstore("topic", "create", "copy", "--partitions", 3)
        printed = logstore("consume", "full", "--format", "json").bytes
        result = logstore("produce", "copy", "--format", "record", stdin=printed)
        assert "produced 7 records to copy" in result.err
        assert self.facts(logstore, "copy") == self.facts(logstore, "full")
        assert len(self.facts(logstore, "copy")) == 7

    def test_where_the_topic_has_fewer_partitions_the_key_says_which(self, logstore, full):
        logstore("topic", "create", "two", "--partitions", 2)
        logstore("topic", "create", "same", "--partitions", 2)
        printed = logstore("consume", "full", "--partition", 2, "--format", "json").bytes
        logstore("produce", "two", "--format", "record", stdin=printed)
        without = printed.replace(b'"partition":2,', b"")
        logstore("produce", "same", "--format", "record", stdin=without)
        found, keyed = (
            [it for it in self.facts(logstore, topic, "offset") if it["key"] is not None]
            for topic in ("two", "same")
        )
        assert found == keyed != []  # one without a key goes to any

    def test_an_option_says_where_all_go_and_which_header_all_have(self, logstore, full):
        logstore("topic", "create", "copy", "--partitions", 3)
        printed = logstore("consume", "full", "--format", "json").bytes
        words = ("--format", "record", "--partition", 1, "--header", "from=full")
        logstore("produce", "copy", *words, stdin=printed)
        found = self.facts(logstore, "copy")
        assert {it["partition"] for it in found} == {1}
        assert {it["headers"][0]["value"] for it in found} == {"full"}

    def test_a_line_written_by_hand_needs_a_value_alone(self, logstore):
        logstore("topic", "create", "t")
        lines = b'\xef\xbb\xbf{"value":"a"}\n\n{"value":null,"key":"k","timestamp":"2013-01-05"}\n'
        logstore("produce", "t", "--format", "record", stdin=lines)
        first, second = self.facts(logstore, "t", "offset")
        assert (first["key"], first["value"], first["headers"]) == (None, "a", [])
        assert (second["key"], second["value"]) == ("k", None)
        assert second["timestamp"] == "2013-01-05T00:00:00.000Z"

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b'{"key":"a"}', "missing required field `value`"),
            (b'{"value":[1]}', "not a record as consume --format json prints it: Expected"),
            (
                b'{"value":"%","value_encoding":"base64"}',
                "the 'value' is not base64, though value_",
            ),
            (b'{"value":"a","value_encoding":"hex"}', "Invalid enum value 'hex'"),
            (b'{"value":"a","timestamp":"noon"}', "'noon' is not a timestamp"),
            (b'{"value":"\\ud800"}', "not JSON: the text contains half of a surrogate pair"),
            (b'{"value":', "not JSON: it ends too early"),
            (b"a", "not JSON: invalid character"),
        ],
    )
    def test_a_line_that_is_no_record_is_bad(self, logstore, line, reason):
        logstore("topic", "create", "t")
        words = ("--format", "record", "--on-error", "skip")
        result = logstore(
            "produce", "t", *words, stdin=b'{"value":"1"}\n%b\n{"value":"3"}\n' % line
        )
        assert "produced 2 records" in result.err
        assert "(first: line 2: " in result.err
        assert reason in result.err
        assert logstore("consume", "t").lines == ["1", "3"]

    def test_a_record_that_the_topic_does_not_take_stops_there(self, logstore):
        logstore("topic", "create", "t", "--partitions", 2, "--config", "max.message.bytes=200")
        lines = [b'{"value":"%d","partition":%d}\n' % (n, n % 2) for n in range(6)]
        lines[3] = b'{"value":"%b","partition":1}\n' % (b"x" * 300)
        result = logstore("produce", "t", "--format", "record", stdin=b"".join(lines), code=1)
        assert "line 4: " in result.err
        assert "produced 3 records to t" in result.err
        assert sorted(logstore("consume", "t").lines) == ["0", "1", "2"]

    @pytest.mark.parametrize(
        "words", [("--key", "k"), ("--key-field", "k"), ("--value-field", "v")]
    )
    def test_fields_of_lines_are_no_matter(self, logstore, words):
        logstore("topic", "create", "t")
        result = logstore("produce", "t", "--format", "record", *words, code=2)
        assert "lines of --format record have a key" in result.err
