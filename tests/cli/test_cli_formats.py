import json

import pytest
from logstore_cli.csv_lines import csv_head, csv_rows
from logstore_cli.formats import renderer

from logstore.records.record import Record

RECORD = Record("flights", 2, 7, 1_357_344_000_000, b"N14228", b"value", (("a", b"1"), ("b", None)))
NULLS = Record("flights", 0, 8, -1, None, None, ())
BYTES = Record("flights", 0, 9, 0, b"\xff", b"\x00\xfe\n", (("h", b"\xfd"),))


def test_the_template_of_the_readme():
    render = renderer("{partition} {offset} {key} {value}")
    assert render([RECORD, NULLS]) == [b"2 7 N14228 value\n", b"0 8  \n"]


def test_every_field_of_a_template():
    render = renderer("{topic}|{timestamp}|{timestamp_ms}|{headers}")
    assert render([RECORD]) == [b"flights|2013-01-05T00:00:00.000Z|1357344000000|a=1,b\n"]


def test_braces_escapes_and_percent_signs_in_a_template():
    render = renderer(r"{{{key}}}\t100%\n%d\\{value}")
    assert render([RECORD]) == [b"{N14228}\t100%\n%d\\value\n"]
    assert renderer("{{}}")([RECORD, RECORD]) == [b"{}\n", b"{}\n"]


def test_bytes_go_through_a_template_unchanged():
    assert renderer("{key}{value}")([BYTES]) == [b"\xff\x00\xfe\n\n"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{vlaue}", r"no field \{vlaue\} in a template \(did you mean value\?\)"),
        ("{key} }", "lone '}'"),
        ("{key", "lone '{'"),
        ("{}", r"no field \{\}"),
        ("{offset:>5}", "no field"),
        ("jsn", r"neither raw, json, hex, csv nor a template .* \(did you mean json\?\)"),
        ("", "nor a template"),
    ],
)
def test_what_is_no_format_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        renderer(text)


def test_raw_prints_values_alone():
    assert renderer("raw")([RECORD, NULLS, BYTES]) == [b"value\n", b"\n", b"\x00\xfe\n\n"]


def test_hex_prints_values_alone():
    assert renderer("hex")([RECORD, NULLS, BYTES]) == [b"76616c7565\n", b"\n", b"00fe0a\n"]


def test_json_is_one_object_a_line():
    lines = renderer("json")([RECORD, NULLS])
    assert [line.count(b"\n") for line in lines] == [1, 1]
    assert json.loads(lines[0]) == {
        "topic": "flights",
        "partition": 2,
        "offset": 7,
        "timestamp": "2013-01-05T00:00:00.000Z",
        "timestamp_ms": 1_357_344_000_000,
        "key": "N14228",
        "value": "value",
        "headers": [{"name": "a", "value": "1"}, {"name": "b", "value": None}],
    }
    nulls = json.loads(lines[1])
    assert (nulls["key"], nulls["value"], nulls["headers"]) == (None, None, [])


def test_json_says_what_is_base64():
    found = json.loads(renderer("json")([BYTES])[0])
    assert (found["key"], found["key_encoding"]) == ("/w==", "base64")
    assert (found["value"], found["value_encoding"]) == ("AP4K", "base64")
    assert found["headers"] == [{"name": "h", "value": "/Q==", "value_encoding": "base64"}]


def test_a_header_name_that_is_no_text_is_printed_all_the_same():
    record = RECORD._replace(headers=(("\udcff", b"1"),))
    assert renderer("{headers}")([record]) == [b"\xff=1\n"]
    assert json.loads(renderer("json")([record])[0])["headers"] == [
        {"name": "/w==", "name_encoding": "base64", "value": "1"}
    ]


@pytest.mark.parametrize(
    ("format_", "lines"),
    [
        ("csv", [b'flights,0,9,1970-01-01T00:00:00.000Z,\xff,"\x00\xfe\n",h=\xfd\n']),
        ("csv:value", [b'"\x00\xfe\n"\n']),
        ("csv:offset,timestamp_ms", [b"9,0\n"]),
    ],
)
def test_bytes_go_through_csv_unchanged(format_, lines):
    assert csv_rows(format_)([BYTES]) == lines


def test_in_csv_a_null_is_no_empty_text():
    empty = RECORD._replace(key=b"", value=b"")
    assert csv_rows("csv:key,value")([NULLS, empty]) == [b",\n", b'"",""\n']
    assert csv_rows("csv:key")([NULLS, empty]) == [b'""\n', b'""\n']  # no line is empty


def test_several_headers_are_one_quoted_cell_of_csv():
    assert csv_rows("csv:headers,key")([RECORD]) == [b'"a=1,b",N14228\n']
    assert csv_head("csv:headers,key") == b"headers,key\n"


@pytest.mark.parametrize("format_", ["csv:", "csv:key,", "csv: key"])
def test_what_is_no_column_of_csv_is_refused(format_):
    with pytest.raises(ValueError, match=r"no field .*; there are topic, partition, offset"):
        csv_rows(format_)
