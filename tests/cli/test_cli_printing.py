"""Lines of large records: made in pieces, and the same as if they were made at once."""

import csv
import os

import pytest
from logstore_cli import printing
from logstore_cli.csv_lines import csv_rows, is_csv
from logstore_cli.formats import renderer
from logstore_cli.output import Output
from logstore_cli.printing import Lines
from logstore_cli.stop import Stop

from logstore.records.record import Record

FORMATS = [
    "raw", "hex", "json", "csv", "csv:value", "{offset}: {value} {value}|{key}", "{offset} alone",
]  # fmt: skip
DATA = {
    "text": 'a "quoted" \\ line\n\0 of ünïcödé €uros 🙂 '.encode() * 30,
    "bytes": bytes(range(256)) * 5,
    "almost text": "€".encode() * 400 + b"\xe2\x82",
    "nothing": b"",
    "null": None,
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(printing, "LARGE_BYTES", 100)
    monkeypatch.setattr(printing, "PIECE_BYTES", 9)


def record(key, value):
    return Record("t", 3, 17, 1_700_000_000_000, key, value, (("name", b"content"),))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("value", DATA.values(), ids=DATA)
@pytest.mark.parametrize("key", [None, b"key", *list(DATA.values())[:2]])
def test_the_pieces_are_the_line(format_, key, value):
    it = record(key, value)
    render = csv_rows(format_) if is_csv(format_) else renderer(format_)
    line = b"".join(Lines(format_).pieces(it))
    if is_csv(format_):  # what is large is quoted, whether it has to be or not
        assert rows(line) == rows(render([it])[0])
    else:
        assert line == render([it])[0]


def rows(line):
    """As another program reads it."""
    return list(csv.reader([line.decode("latin-1")], strict=True))


@pytest.mark.parametrize("format_", FORMATS)
def test_no_piece_is_large(format_):
    pieces = list(Lines(format_).pieces(record(None, DATA["bytes"])))
    assert max(map(len, pieces)) < 400  # of a piece as JSON escapes it, or what stands around it


def test_small_and_large_records_come_in_their_order(tmp_path):
    values = [b"a", b"x" * 300, b"y" * 500, b"b", b"c", b"z" * 100]
    records = [record(None, value) for value in values]
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    try:
        with Stop() as stop:
            assert Lines("raw").write(records, Output(stop, fd)) == len(records)
    finally:
        os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"".join(it + b"\n" for it in values)


def test_a_line_of_which_a_part_was_written_does_not_count(monkeypatch):
    records = [record(None, value) for value in (b"a", b"x" * 300, b"b")]

    class Full:
        """Takes so many bytes."""

        left = 100
        write_whole = Output.write_whole
        write = Output.write

        def _write(self, data):
            taken = min(self.left, len(data))
            self.left -= taken
            return taken

    assert Lines("raw").write(records, Full()) == 1
