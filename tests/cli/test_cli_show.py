import fcntl
import os
import pty
import sys
import termios
from struct import pack

import pytest
from logstore_cli.show import broken, counted, facts, narrowed, size, table


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    rows = [("flights", 3, None), ("a", 12, "x")]
    assert table(("topic", "partitions", "owner"), rows) == (
        "TOPIC    PARTITIONS  OWNER\n"
        "flights           3  -\n"
        "a                12  x\n"
    )  # fmt: skip


def test_how_many_is_written_with_separators_and_a_place_is_not():
    assert table(("partition", "end", "lag"), [(1000, 12345, 12345), (2, 3, None)]) == (
        "PARTITION    END     LAG\n"
        "     1000  12345  12,345\n"
        "        2      3       -\n"
    )  # fmt: skip
    assert facts((("ready", 1000), ("epoch", 1000))) == "ready  1,000\nepoch  1000\n"


def test_a_table_without_rows_is_its_heads():
    assert table(("topic", "records"), []) == "TOPIC  RECORDS\n"


@pytest.mark.parametrize(
    ("widths", "room", "narrow"),
    [
        ([20, 5, 40], 65, [20, 5, 40]),
        ([20, 5, 40], 55, [20, 5, 30]),
        ([20, 5, 40], 35, [15, 5, 15]),
        ([20, 5, 40], 12, [10, 5, 10]),
        ([4, 5, 90], 30, [4, 5, 21]),
    ],
)
def test_the_widest_texts_give_way_and_numbers_do_not(widths, room, narrow):
    assert narrowed(widths, [False, True, False], room) == narrow


def test_no_text_no_way():
    assert narrowed([30, 40], [True, True], 20) == [30, 40]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("exactly ten", ["exactly", "ten"]),
        ("0123456789 and", ["0123456789", "and"]),
        ("group.max.session", ["group.max.", "session"]),
        ("abcdefghijklmno", ["abcdefghij", "klmno"]),
        ("a bcdefghijklmn", ["a bcdefghi", "jklmn"]),
        ("", [""]),
    ],
)
def test_a_cell_is_broken_where_it_reads_well(text, lines):
    assert list(broken(text, 10)) == lines


def test_a_table_fits_a_terminal_and_is_whole_elsewhere(monkeypatch):
    rows = [("process 123 (logstore consume flights --group billing --follow)", 7)]
    whole = table(("member", "partitions"), rows)
    assert whole.splitlines()[1] == f"{rows[0][0]}           7"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(ours), open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert table(("member", "partitions"), rows) == (
            "MEMBER                        PARTITIONS\n"
            "process 123 (logstore                  7\n"
            "consume flights --group\n"
            "billing --follow)\n"
        )


def test_facts_stand_below_each_other():
    assert facts((("path", "data"), ("writer", None))) == "path    data\nwriter  -\n"


def test_sizes_for_people():
    assert [size(n) for n in (0, 1023, 1024, 1536, 5 << 20, 3 << 40, 2 << 50)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB", "2048.0 TiB",
    ]  # fmt: skip


def test_counts_for_people():
    assert [counted(n, "record") for n in (0, 1, 2000)] == [
        "0 records",
        "1 record",
        "2,000 records",
    ]
