"""Input in any pieces gives the same messages: whole, byte by byte, and cut anywhere."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli.ends import CommandFailed
from logstore_cli.fields import JsonLines
from logstore_cli.lines import LineInput, RawLines, Wanted
from logstore_cli.rows import CsvRows

from logstore.records.record import Message

MAX = 10_000


def parse(parser, data, wanted=None, step=MAX, line_bytes_max=MAX):
    """([(line number, message, raw line)], [bad lines])"""
    lines = LineInput(lambda first_line: parser(wanted or Wanted()), line_bytes_max)
    good, bad = [], []
    pieces = [lines.receive(data[at : at + step]) for at in range(0, len(data), step)]
    for parsed in [*pieces, lines.end()]:
        good += zip(parsed.numbers, parsed.messages, parsed.raws, strict=True)
        bad += parsed.bad
    return good, bad


def messages(*args, **options):
    good, bad = parse(*args, **options)
    assert not bad
    return [message for _, message, _ in good]


def reasons(*args, **options):
    return [(number, reason) for number, reason, _ in parse(*args, **options)[1]]


# Raw ---------------------------------------------------------------------------------------------


def test_each_raw_line_is_a_value_as_it_stands():
    data = b"one\n\ntwo\r\n\xff\x00"
    assert messages(RawLines, data) == [
        Message(b"one"), Message(b""), Message(b"two\r"), Message(b"\xff\x00"),
    ]  # fmt: skip


def test_no_input_gives_nothing():
    assert parse(RawLines, b"") == ([], [])


def test_key_and_headers_for_all():
    wanted = Wanted(key=b"k", headers=(("a", b"1"),))
    assert messages(RawLines, b"x\n", wanted) == [Message(b"x", b"k", (("a", b"1"),))]


@given(st.binary(max_size=60), st.integers(1, 20))
def test_lines_are_the_same_in_any_pieces(data, step):
    good, bad = parse(RawLines, data, step=step)
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert not bad
    assert [message[0] for _, message, _ in good] == expected
    assert [number for number, _, _ in good] == list(range(1, len(expected) + 1))


def test_a_line_without_end_is_cut_and_refused_and_those_after_it_are_not():
    good, bad = parse(RawLines, b"a\n" + b"x" * 50 + b"\nb", step=5, line_bytes_max=12)
    assert [(number, message[0]) for number, message, _ in good] == [(1, b"a"), (3, b"b")]
    assert bad == [(2, "longer than 12 bytes", b"x" * 12)]


# JSON --------------------------------------------------------------------------------------------

FIELDS = Wanted(key_field="k", timestamp_field="t")


def test_a_json_line_is_the_value_and_its_fields_are_looked_up():
    line = b'{"other": [1, {"k": "no"}], "k":"N14228" , "t":"2013-01-05T00:00Z"}'
    assert messages(JsonLines, line + b"\n", FIELDS) == [
        Message(line, b"N14228", (), 1_357_344_000_000)
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b'"text"', b"text"),
        (b'""', b""),
        (b'"\\u00e9\\n"', "é\n".encode()),
        ('"é"'.encode(), "é".encode()),
        (b"null", None),
        (b"17", b"17"),
        (b"-1", b"-1"),
        (b"123456789012345678901234567890", b"123456789012345678901234567890"),
        (b"1.50", b"1.50"),
        (b"1e3", b"1e3"),
        (b"true", b"true"),
    ],
)
def test_keys_of_every_kind(key, expected):
    data = b'{"k": ' + key + b', "t": 0}'
    assert [message[1] for message in messages(JsonLines, data, FIELDS)] == [expected]


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (b"5", 5000),
        (b"-5", -5000),
        (b"5.25", 5250),
        (b"1.7e9", 1_700_000_000_000),
        (b'"1970-01-01T00:00:01+00:00"', 1000),
    ],
)
def test_timestamps_of_every_kind(timestamp, expected):
    data = b'{"k": "", "t": ' + timestamp + b"}"
    assert [message[3] for message in messages(JsonLines, data, FIELDS)] == [expected]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON: it ends too early"),
        (b'{"k": "a", "t": 1} x', "not JSON: trailing characters"),
        (b'{"k": "a", "t": 01}', "not JSON: invalid number (byte 17)"),
        (b"nonsense", "not JSON: invalid character"),
        (b"[]", "not a JSON object"),
        (b"17", "not a JSON object"),
        (b'{"t": 1}', "the field 'k' is missing; there is t"),
        (b'{"t": 1, "a": 2}', "the field 'k' is missing; there are t, a"),
        (b"{}", "the field 'k' is missing; the line has no fields"),
        (b'{"k": "a"}', "the field 't' is missing; there is k"),
        (b'{"k": [1], "t": 1}', "the field 'k' is [1]: a key must be a string, a number or null"),
        (b'{"k": "a", "t": null}', "the field 't' is null, not a timestamp"),
        (b'{"k": "a", "t": true}', "the field 't' is true, not a timestamp"),
        (b'{"k": "a", "t": [1]}', "the field 't' is [1], not a timestamp"),
        (b'{"k": "a", "t": 1e99}', "is not a timestamp"),
        (
            b'{"k": "\\ud800", "t": 1}',
            r"not JSON: the text contains half of a surrogate pair, \ud800",
        ),
        (
            b'{"k": "a", "t": 1, "x": "\\uD800"}',
            r"the text contains half of a surrogate pair, \uD800",
        ),
        (b'{"k": "\\udc00 ", "t": 1}', r"the text contains half of a surrogate pair, \udc00"),
        (b'{"k": "\\ud83d\\u0041", "t": 1}', r"the text contains half of a surrogate pair, \ud83d"),
        (b'{"k": "\\ud83d\\ude00", "t"', "it ends too early"),
        (b'{"k": "\xff", "t": 1}', "the field 'k' is not JSON: a text is not UTF-8"),
        (
            b'{"k": "a", "t": "noon"}',
            "the field 't': 'noon' is not a timestamp: use ISO 8601 (2013-01-05T00:00:00Z)"
            " or a number since 1970, in seconds, milliseconds, microseconds or nanoseconds",
        ),
    ],
)
def test_a_bad_json_line_is_named_and_those_around_it_are_not_lost(line, reason):
    good = b'{"k": "a", "t": 1}'
    data = good + b"\n" + line + b"\n" + good + b"\n"
    parsed, [bad] = parse(JsonLines, data, FIELDS)
    assert [number for number, _, _ in parsed] == [1, 3]
    assert (bad.number, bad.raw) == (2, line)
    assert reason in bad.reason


def test_a_line_that_is_nested_too_deeply_is_named_and_those_around_it_are_not_lost():
    """How deep that is, Python's version and its stack decide: from 3.14 on this is read."""
    good = b'{"k": "a", "t": 1}'
    line = b'{"k": ' + b"[" * 200_000 + b"]" * 200_000 + b', "t": 1}'
    data = b"\n".join([good, line, good, b""])
    parsed, [bad] = parse(JsonLines, data, FIELDS, line_bytes_max=len(data))
    assert [number for number, _, _ in parsed] == [1, 3]
    assert bad.number == 2
    read = sys.version_info >= (3, 14)
    assert ("a key must be" if read else "nested too deeply") in bad.reason


def test_blank_lines_between_json_lines_hold_nothing():
    good, bad = parse(JsonLines, b'{"k":"a","t":1}\n\n \r\n{"k":"b","t":2}\n\n', FIELDS)
    assert [(number, message[1]) for number, message, _ in good] == [(1, b"a"), (4, b"b")]
    assert not bad


def test_json_lines_without_fields_are_checked_all_the_same():
    assert messages(JsonLines, b'{"a": 1}\r\n') == [Message(b'{"a": 1}\r')]
    assert reasons(JsonLines, b"{}\nx\n[]\n") == [
        (2, "not JSON: invalid character (byte 0)"),
        (3, "not a JSON object"),
    ]


def test_a_value_field_and_header_fields():
    wanted = Wanted(value_field="v", header_fields=("h", "v"), headers=(("c", b"0"),))
    data = b'{"v": "text", "h": 1}\n{"v": null, "h": null}\n{"v": {"a": [1, 2]}, "h": true}\n'
    assert messages(JsonLines, data, wanted) == [
        Message(b"text", None, (("c", b"0"), ("h", b"1"), ("v", b"text"))),
        Message(None, None, (("c", b"0"), ("h", None), ("v", None))),
        Message(b'{"a": [1, 2]}', None, (("c", b"0"), ("h", b"true"), ("v", b'{"a": [1, 2]}'))),
    ]


def test_field_names_that_are_no_identifiers():
    wanted = Wanted(key_field="a b", value_field="class", header_fields=("f0",))
    data = b'{"a b": "k", "class": "v", "f0": "h"}'
    assert messages(JsonLines, data, wanted) == [Message(b"v", b"k", (("f0", b"h"),))]


LINES = st.sampled_from(
    [
        b'{"k":"a","t":1}',
        b'{"k":null,"t":"2013-01-05"}',
        b'{"k":1.5,"t":2}',
        b"",
        b"{",
        b'{"k":1}',
    ]
)


@given(st.lists(LINES, max_size=8), st.integers(1, 40))
def test_json_is_the_same_in_any_pieces(lines, step):
    # In one piece a bad line sends all others the careful way; in small ones it does not.
    data = b"\n".join(lines)
    assert parse(JsonLines, data, FIELDS, step=step) == parse(JsonLines, data, FIELDS)


# CSV ---------------------------------------------------------------------------------------------


def test_a_csv_row_becomes_an_object():
    data = b'a,b\n1,"x ""q"",\n y"\n'
    wanted = Wanted(key_field="b", header_fields=("a",))
    assert parse(CsvRows, data, wanted) == (
        [
            (
                2,
                Message(b'{"a":"1","b":"x \\"q\\",\\n y"}', b'x "q",\n y', (("a", b"1"),)),
                b'1,"x ""q"",\n y"',
            )
        ],
        [],
    )


def test_a_lone_carriage_return_in_csv_is_told_as_such():
    _, bad = parse(CsvRows, b"a,b\n1,2\r3,4\n5,6\n")
    reason = "not CSV: a carriage return without a line feed, outside quotes"
    assert [(line, why) for line, why, _ in bad] == [(2, reason)]


def test_csv_fields_for_value_and_timestamp():
    wanted = Wanted(value_field="v", timestamp_field="t", key=b"k")
    data = b"t,v\r\n2013-01-05,x\r\n1357344000000,\r\n"
    assert messages(CsvRows, data, wanted) == [
        Message(b"x", b"k", (), 1_357_344_000_000),
        Message(b"", b"k", (), 1_357_344_000_000),
    ]


def test_a_byte_order_mark_is_not_part_of_the_first_column():
    assert messages(CsvRows, b"\xef\xbb\xbfa\n1\n", Wanted(key_field="a"))[0][1] == b"1"


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_a_byte_order_mark_before_json_is_no_part_of_the_first_line(step):
    data = b'\xef\xbb\xbf{"k": "a"}\n{"k": "b"}\n'
    found = messages(JsonLines, data, Wanted(key_field="k"), step)
    assert found == [Message(b'{"k": "a"}', b"a"), Message(b'{"k": "b"}', b"b")]


def test_bad_csv_rows_are_named_by_their_first_line():
    data = b'a,b\n1,"\n"\n\n3\n4,"q"x\n5,\xff\n6,7\n8,"open\n9,9\n'
    good, bad = parse(CsvRows, data)
    assert [number for number, _, _ in good] == [2, 8, 10]
    assert [(number, reason) for number, reason, _ in bad] == [
        (5, "1 column, but the first row names 2"),
        (6, "not CSV: ',' expected after '\"'"),
        (7, "not UTF-8"),
        (9, "not CSV: a quote is not closed"),
    ]
    assert [raw for _, _, raw in bad] == [b"3", b'4,"q"x', b"5,\xff", b'8,"open']


ROWS = [b"%d,v%d" % (n, n) for n in range(200)]


@pytest.mark.parametrize(
    ("stray", "reason"),
    [
        (b'x,"open', "not CSV: a quote is not closed"),
        (b'"x,open', "not CSV: a quote is not closed"),
        (b'x,"open,3', "not CSV: a quote is not closed"),
        (b'"', "not CSV: a quote is not closed"),
        (b"\xff,1", "not UTF-8"),
        (b"1", "1 column, but the first row names 2"),
    ],
)
@pytest.mark.parametrize("at", [0, 1, 100, 199])
def test_a_stray_quote_loses_its_own_line_and_no_good_row(stray, reason, at):
    rows = [*ROWS[:at], stray, *ROWS[at:]]
    good, bad = parse(CsvRows, b"\n".join([b"k,v", *rows]), step=1000)
    assert [raw for _, _, raw in good] == ROWS
    assert bad == [(at + 2, reason, stray)]


def test_a_stray_quote_that_a_later_quote_closes_loses_its_own_line_only():
    later = b'7,"quoted, and\nof two lines"'
    data = b"\n".join([b"k,v", *ROWS[:3], b'x,"open', *ROWS[3:9], later, *ROWS[9:]])
    good, bad = parse(CsvRows, data)
    assert [raw for _, _, raw in good] == [*ROWS[:9], later, *ROWS[9:]]
    assert bad == [(5, "not CSV: ',' expected after '\"' (at line 12)", b'x,"open')]


def test_a_stray_quote_that_closes_as_a_row_of_too_many_columns_loses_its_own_line_only():
    good, bad = parse(CsvRows, b'k,v\nx,"open\n1,2\n",3\n4,5\n')
    assert [raw for _, _, raw in good] == [b"1,2", b"4,5"]
    assert [number for number, _, _ in bad] == [2, 4]


def test_a_stray_quote_before_more_than_a_field_may_hold(monkeypatch):
    monkeypatch.setattr("logstore_cli.rows.FIELD_CHARACTERS_MAX", 100)
    good, bad = parse(CsvRows, b"\n".join([b"k,v", b'x,"open', *ROWS]))
    assert [raw for _, _, raw in good] == ROWS
    assert bad == [(2, "not CSV: a quote is not closed", b'x,"open')]


def test_a_whole_row_with_a_bad_timestamp_is_bad_with_all_of_its_lines():
    good, bad = parse(CsvRows, b't,v\nsoon,"one\ntwo"\n2013-01-05,x\n', Wanted(timestamp_field="t"))
    assert [raw for _, _, raw in good] == [b"2013-01-05,x"]
    [(number, _, raw)] = bad
    assert (number, raw) == (2, b'soon,"one\ntwo"')


def test_of_very_many_fields_only_the_first_are_named():
    line = b"{%b}" % b",".join(b'"f%d%s": 1' % (n, b"x" * 90) for n in range(40))
    [(_, reason, _)] = parse(JsonLines, line, Wanted(key_field="k"))[1]
    named = reason.partition("there are ")[2].split(", ")
    assert len(named) == 30
    assert named[0] == "f0" + "x" * 58
    assert named[-1].endswith(" and 10 more")


def test_a_line_that_is_too_long_ends_the_row_that_it_stands_in():
    data = b'k,v\n1,"a\n' + b"x" * 50 + b'\nb"\n2,3\n'
    good, bad = parse(CsvRows, data, step=5, line_bytes_max=20)
    assert [(number, raw) for number, _, raw in good] == [(5, b"2,3")]
    assert [number for number, _, _ in bad] == [2, 3, 4]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2\n", "line 1: no column 'k' in the first row; there are a, b$"),
        (b"k,k\n1,2\n", "line 1: the first row names a column twice"),
        (b"k,\xff\n1,2\n", "line 1: not UTF-8"),
    ],
)
def test_without_a_good_first_row_there_is_no_reading_on(data, message):
    with pytest.raises(CommandFailed, match=message):
        parse(CsvRows, data, Wanted(key_field="k"))


CELLS = st.sampled_from([b"1", b'"a\nb"', b'"""q"""', b'"open', b"", b'x"y', b"\xff"])


@given(st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=6), st.integers(1, 30))
def test_csv_is_the_same_in_any_pieces(rows, step):
    data = b"a,b\n" + b"\n".join(b",".join(row) for row in rows)
    assert parse(CsvRows, data, step=step) == parse(CsvRows, data)
