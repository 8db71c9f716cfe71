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
    """on_terminal("retention", "run", ...) -> all that went to a terminal."""
    monkeypatch.setenv("TERM", "xterm")

    def run(*words):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", SHOW_ALL, *map(str, words)],
            stdin=theirs, stdout=theirs, stderr=theirs,
        ):  # fmt: skip
            os.close(theirs)
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
