"""What is left on a terminal: progress bars give way to the lines that say what was done."""

import os
import pty
import re
import subprocess
import sys

import pytest

SHOW_ALL = (
    "from logstore_cli.progress import Bar; Bar.every_s = 0\n"
    "from logstore_cli.main import main; main()\n"
)
STEP = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[\?\d+[hl]|([\r\n])|([^\x1b\r\n]+)")


def screen(shown):
    """The lines that are left, by the few movements that a bar makes."""
    lines, row, column = [""], 0, 0
    for match in STEP.finditer(shown):
        count, letter, move, text = match.groups()
        if letter == "A":
            row = max(row - int(count or 1), 0)
        elif letter == "K":
            lines[row] = ""
        elif move == "\r":
            column = 0
        elif move == "\n":
            row, column = row + 1, column
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + len(text) :]
            column += len(text)
    return [line for line in lines if line.strip()]


@pytest.fixture
def on_terminal(data, monkeypatch):
    """on_terminal("retention", "run", ..., typed=b"...") -> all that went to a terminal."""
    monkeypatch.setenv("TERM", "xterm")

    def run(*words, typed=b""):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", SHOW_ALL, *map(str, words)],
            stdin=theirs, stdout=theirs, stderr=theirs,
        ):  # fmt: skip
            os.close(theirs)
            os.write(ours, typed)
            shown = b""
            while True:
                try:
                    shown += os.read(ours, 65536)
                except OSError:  # nobody has it open any more
                    break
        os.close(ours)
        return shown.decode()

    return run


@pytest.mark.long
def test_the_result_of_produce_stands_alone_below_no_bar(on_terminal, logstore, tmp_path):
    logstore("topic", "create", "t")
    (tmp_path / "lines").write_bytes(b'{"ts": 5}\n' * 300_000)
    shown = on_terminal("produce", "t", "lines", "--timestamp-field", "ts")
    assert "records acknowledged" in shown  # there was a bar
    warning, result = screen(shown)
    assert warning.startswith("logstore: warning: lines: the time 5 is read as seconds")
    assert result.startswith("produced 300,000 records to t (")


@pytest.mark.long
def test_no_bar_is_drawn_over_lines_that_are_typed(on_terminal, logstore):
    logstore("topic", "create", "t")
    shown = on_terminal("produce", "t", typed=b"one\rtwo\r\x04")
    assert "each line that you type is a record; Ctrl-D ends" in screen(shown)
    assert screen(shown)[-1].startswith("produced 2 records to t (8 B read in ")
    assert "acknowledged" not in shown
    assert "\x1b" not in shown


@pytest.mark.long
@pytest.mark.parametrize("job", ["compact", "recompress"])
def test_the_results_of_a_job_stand_alone_below_no_bar(on_terminal, logstore, job):
    rules = ("cleanup.policy=compact", "segment.bytes=500", "compression.sealed=zstd")
    rules = (*rules, "min.cleanable.dirty.ratio=0")
    options = [word for rule in rules for word in ("--config", rule)]
    logstore("topic", "create", "t", "--partitions", 3, *options)
    lines = b"".join(b'{"k": "%d"}\n' % (n % 30) for n in range(300))
    logstore("produce", "t", "--key-field", "k", "--batch-bytes", 1, stdin=lines)
    shown = on_terminal(job, "run")
    assert "logs done" in shown  # there was a bar
    starts = [line.split(":")[0] for line in screen(shown)[:3]]
    assert starts == ["t-0", "t-1", "t-2"]
    assert screen(shown)[3].startswith("in all ")
    assert len(screen(shown)) == 4


@pytest.mark.long
def test_a_paced_replay_draws_where_it_is_and_leaves_the_records_alone(on_terminal, logstore):
    logstore("topic", "create", "t")
    lines = b"".join(b'{"t": "@%ds"}\n' % (n * 3600) for n in range(1, 3))
    logstore("produce", "t", "--timestamp-field", "t", stdin=lines)
    shown = on_terminal("replay", "t", "--speed", 3000, "--format", "{timestamp}")
    assert "\r\x1b[Kat 1970-01-01T01:" in shown
    assert ", 1 record, 0 s left" in shown
    assert screen(shown) == ["1970-01-01T01:00:00.000Z", "1970-01-01T02:00:00.000Z"]


@pytest.mark.long
def test_a_group_that_has_nothing_new_is_told_how_to_begin_anew(on_terminal, logstore):
    logstore("topic", "create", "t")
    words = ("consume", "t", "--group", "a b")
    [line] = screen(on_terminal(*words))
    assert line == "no records for group a b yet"
    logstore("produce", "t", stdin=b"1\n")
    assert screen(on_terminal(*words)) == ["1"]
    [line] = screen(on_terminal(*words))
    assert line.startswith("nothing new for group a b; `logstore group reset-offsets 'a b' --to ")
    [line] = screen(on_terminal(*words, "--from", "earliest"))
    assert line.startswith(
        "--from earliest was ignored: group a b continues where it has committed;"
    )
    assert "`logstore group reset-offsets 'a b' --to earliest` moves it" in line
    logstore("group", "reset-offsets", "a b", "--to", "earliest")
    assert screen(on_terminal(*words)) == ["1"]
    assert logstore(*words).err == ""  # nobody watches


@pytest.mark.long
@pytest.mark.parametrize("command", ["get", "consume"])
def test_a_queue_without_a_ready_message_is_said_to_have_none(on_terminal, logstore, command):
    logstore("queue", "declare", "q")
    words = ("queue", command, "q")
    assert screen(on_terminal(*words)) == ["queue q has no ready message"]
    logstore("exchange", "publish", "", "--key", "q", "--message", "a")
    assert screen(on_terminal(*words)) == ["a"]
    assert logstore(*words).err == ""  # nobody watches


@pytest.mark.long
def test_a_store_that_is_made_is_named_once(on_terminal, logstore, data):
    assert screen(on_terminal("queue", "declare", "q")) == [
        f"created store {data}",
        "declared queue q",
    ]
    assert screen(on_terminal("topic", "create", "t")) == ["created topic t with 1 partition"]
    assert logstore("topic", "create", "t", "--data", "other").err == ""  # nobody watches


@pytest.mark.long
def test_a_replay_of_no_records_says_which_times_there_are(on_terminal, logstore):
    logstore("topic", "create", "t")
    logstore("topic", "create", "empty")
    lines = b'{"t": "2013-01-05T00:00Z"}\n{"t": "2013-01-06T00:00Z"}\n'
    logstore("produce", "t", "--timestamp-field", "t", stdin=lines)
    words = ("replay", "t", "--from", "2014-01-05")
    span = "0 records; t spans 2013-01-05T00:00:00.000Z to 2013-01-06T00:00:00.000Z"
    assert screen(on_terminal(*words)) == [span]
    assert screen(on_terminal(*words, "--into", "u"))[-1] == span
    assert screen(on_terminal("replay", "empty")) == ["0 records; empty is empty"]
    assert logstore(*words).err == ""  # nobody watches


@pytest.mark.long
def test_a_pattern_given_to_subscribe_points_to_psubscribe(on_terminal, logstore):
    hint = "`logstore channel psubscribe 'orders.*'`"
    shown = on_terminal("channel", "subscribe", "orders.eu", "orders.*")
    assert hint in shown
    assert "no server has this directory open" in shown  # it was no mistake of the command line
    assert hint not in logstore("channel", "subscribe", "orders.*", code=1).err
    assert "psubscribe" not in on_terminal("channel", "subscribe", "orders.eu")
