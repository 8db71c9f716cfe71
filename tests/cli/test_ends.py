"""How commands end when somebody else ends them: signals, closed pipes, full disks.

What was acknowledged is there, what was printed is committed, and nobody sees a traceback.
"""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
from array import array
from termios import FIONREAD

import pytest
from cli_process import COMMAND, DEADLINE_S
from waiting import until

pytestmark = pytest.mark.long

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
LINES = [f"line {n} ".encode() + b"." * (n % 50) for n in range(20_000)]


@pytest.fixture
def lines(logstore):
    """20,000 lines in one partition: many times what a pipe holds."""
    logstore("topic", "create", "lines")
    logstore("produce", "lines", stdin=b"\n".join(LINES))


def committed(logstore, group="billing"):
    found = json.loads(logstore("group", "describe", group, "--json").out)
    return found["partitions"][0]["committed"]


def fill(pipe):
    """Wait until the pipe takes no more; what it then holds stays in it."""
    waiting = array("i", [0])

    def full():
        fcntl.ioctl(pipe, FIONREAD, waiting)
        return waiting[0] == fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)

    until(full)


# Signals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_a_following_consumer(logstore, lines, spawn, number, code):
    consumer = spawn("consume", "lines", "--follow", "--group", "billing", "--from", "19999")
    assert consumer.line() == LINES[-1] + b"\n"
    consumer.send(number)
    assert consumer.end() == (code, b"", "")
    assert committed(logstore) == 20_000


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_what_was_printed_before_a_signal_is_committed_and_nothing_else(
    logstore, lines, spawn, number, code
):
    consumer = spawn("consume", "lines", "--group", "billing")
    fill(consumer.popen.stdout)
    consumer.send(number)
    consumer.popen.wait(DEADLINE_S)  # without reading: nothing more fits into the pipe
    ended, out, err = consumer.end()
    printed = out.split(b"\n")
    assert (ended, err) == (code, "")
    assert printed[:-1] == LINES[: len(printed) - 1]
    assert committed(logstore) == len(printed) - 1
    rest = logstore("consume", "lines", "--group", "billing").bytes.split(b"\n")
    assert rest[:-1] == LINES[len(printed) - 1 :]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_what_a_producer_had_read_before_a_signal_is_there(logstore, spawn, number, code):
    logstore("topic", "create", "t")
    producer, consumer = spawn("produce", "t"), spawn("consume", "t", "--follow")
    producer.write(b"one\ntwo\nthr")
    assert [consumer.line(), consumer.line()] == [b"one\n", b"two\n"]
    producer.send(number)
    producer.popen.wait(DEADLINE_S)
    assert producer.end() == (code, b"", "logstore: stopped: produced 2 records to t\n")
    assert logstore("consume", "t").bytes == b"one\ntwo\n"


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_to_a_busy_producer(logstore, spawn, number, code):
    """As many records are there as it says: those that it had acknowledged, in order, once."""
    logstore("topic", "create", "t", "--config", "segment.bytes=100000")
    with subprocess.Popen(["seq", "0", "1000000000"], stdout=subprocess.PIPE) as numbers:
        producer = spawn("produce", "t", "--batch-bytes", 5000, stdin=numbers.stdout)
        numbers.stdout.close()
        assert spawn("consume", "t", "--follow", "--max", 1).line() == b"0\n"
        producer.send(number)
        ended, _, err = producer.end()
    assert ended == code
    said = re.fullmatch(r"logstore: stopped: produced ([\d,]+) records to t\n", err)
    count = int(said[1].replace(",", ""))
    assert count > 0
    assert logstore("consume", "t").lines == [str(n) for n in range(count)]


def test_the_source_of_a_busy_producer_is_cut_off(logstore, spawn):
    """The end of its input is the end, whoever made it."""
    logstore("topic", "create", "t")
    with subprocess.Popen(["seq", "0", "1000000000"], stdout=subprocess.PIPE) as numbers:
        producer = spawn("produce", "t", stdin=numbers.stdout)
        numbers.stdout.close()
        assert spawn("consume", "t", "--follow", "--max", 1).line() == b"0\n"
        numbers.kill()
        code, _, err = producer.end()
    assert code == 0
    count = int(re.match(r"produced ([\d,]+) records", err)[1].replace(",", ""))
    lines = logstore("consume", "t").lines
    assert len(lines) == count
    assert lines[:-1] == [str(n) for n in range(count - 1)]  # the last may be cut off


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_a_replay_that_waits(logstore, spawn, number, code):
    logstore("topic", "create", "t")
    year = b'{"t": "2013-01-01"}\n{"t": "2014-01-01"}\n'
    logstore("produce", "t", "--timestamp-field", "t", stdin=year)
    replay = spawn("replay", "t", "--speed", 1)
    assert replay.line() == b'{"t": "2013-01-01"}\n'
    replay.send(number)
    assert replay.end() == (code, b"", "")
    logstore("topic", "create", "copy")
    copy = spawn("replay", "t", "--speed", 1, "--into", "copy")
    assert spawn("consume", "copy", "--follow").line() == b'{"t": "2013-01-01"}\n'
    copy.send(number)
    message = "logstore: stopped: replayed 1 record of t into copy\n"
    assert copy.end() == (code, b"", message)


# Closed pipes -------------------------------------------------------------------------------------


def test_a_reader_that_has_enough_is_no_error(logstore, lines, spawn):
    consumer = spawn("consume", "lines", "--group", "billing")
    fill(consumer.popen.stdout)
    capacity = fcntl.fcntl(consumer.popen.stdout, fcntl.F_GETPIPE_SZ)
    assert consumer.line() == LINES[0] + b"\n"  # and what else the reader's buffer takes
    consumer.popen.stdout.close()
    assert consumer.popen.wait(DEADLINE_S) == 0
    assert consumer.popen.stderr.read() == b""
    least = b"\n".join(LINES)[:capacity].count(b"\n")
    most = b"\n".join(LINES)[: 2 * capacity].count(b"\n")
    assert least <= committed(logstore) <= most
    [following] = logstore("consume", "lines", "--group", "billing", "--max", 1).lines
    assert following == LINES[committed(logstore) - 1].decode()


@pytest.mark.parametrize(
    "words", ["consume lines", "replay lines", "dump FILE --records", "dump FILE --json --records"]
)
def test_head_ends_every_printing_command_in_silence(logstore, lines, data, words):
    [file] = (data / "lines-0").glob("*.log")
    command = f"{COMMAND} {words.replace('FILE', str(file))} | head -1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False
    )
    assert (run.returncode, run.stderr, run.stdout.count(b"\n")) == (0, b"", 1)


def test_a_follower_notices_that_its_reader_has_gone(logstore, lines, spawn):
    consumer = spawn("consume", "lines", "--follow", "--group", "billing", "--from", "19999")
    assert consumer.line() == LINES[-1] + b"\n"
    consumer.popen.stdout.close()
    assert consumer.popen.wait(DEADLINE_S) == 0
    assert consumer.popen.stderr.read() == b""
    assert committed(logstore) == 20_000


def test_a_signal_that_is_ignored_stays_ignored(logstore, data):
    logstore("topic", "create", "t")
    command = f"trap '' HUP INT; exec {COMMAND} consume t --follow --max 2"
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE) as follower:
        logstore("produce", "t", stdin=b"one\n")
        assert follower.stdout.readline() == b"one\n"
        follower.send_signal(signal.SIGHUP)
        follower.send_signal(signal.SIGINT)
        logstore("produce", "t", stdin=b"two\n")
        assert follower.communicate(timeout=DEADLINE_S) == (b"two\n", None)
    assert follower.returncode == 0


def test_input_that_breaks_off_within_a_line(logstore, spawn):
    logstore("topic", "create", "t")
    producer = spawn("produce", "t", "--key-field", "k")
    producer.write(b'{"k": "a"}\n{"k": "b')
    producer.popen.stdin.close()
    producer.popen.stdin = None
    code, _, err = producer.end()
    assert code == 1
    assert "line 2: not JSON: it ends too early; produced 1 record to t" in err
    assert logstore("consume", "t").lines == ['{"k": "a"}']


def test_a_full_disk_behind_standard_output(logstore, lines, spawn):
    with open("/dev/full", "wb") as full:
        consumer = spawn("consume", "lines", "--group", "billing", stdout=full)
        code, _, err = consumer.end()
    assert (code, err) == (1, "logstore: standard output: No space left on device\n")
    assert len(logstore("consume", "lines", "--group", "billing").lines) == 20_000


@pytest.mark.parametrize("words", [("status",), ("topic", "list"), ("config", "show"), ("--help",)])
def test_a_full_disk_behind_a_short_output(logstore, lines, spawn, words):
    with open("/dev/full", "wb") as full:
        code, _, err = spawn(*words, stdout=full).end()
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "No space left on device" in err


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("consume lines >&-", 1, "logstore: standard output is closed"),
        ("produce lines <&-", 1, "logstore: standard input is closed"),
        ("produce lines 2>&- </dev/null", 0, ""),
        ("topic list >&-", 1, "logstore: standard output is closed"),
        ("topic list --json >&-", 1, "logstore: standard output is closed"),
        ("topic describe lines >&-", 1, "logstore: standard output is closed"),
        ("group list --json >&-", 1, "logstore: standard output is closed"),
        ("status >&-", 1, "logstore: standard output is closed"),
        ("config show >&-", 1, "logstore: standard output is closed"),
        ("verify >&-", 1, "logstore: standard output is closed"),
        ("topic alter lines --config retention.ms=-1 >&-", 0, ""),  # it is done
        ("retention run >&-", 0, ""),
        ("retention run --dry-run >&-", 1, "logstore: standard output is closed"),
        ("compact run --dry-run >&-", 1, "logstore: standard output is closed"),
        ("recompress run --dry-run --json >&-", 1, "logstore: standard output is closed"),
        ("topic trim lines --before 1 --dry-run >&-", 1, "logstore: standard output is closed"),
        ("--version >&-", 1, "logstore: standard output is closed"),
        ("consume nowhere 2>&-", 1, ""),
    ],
)
def test_streams_that_are_closed_from_the_start(logstore, lines, command, code, message):
    before = logstore("consume", "lines").bytes
    run = subprocess.run(["bash", "-c", f"{COMMAND} {command}"], capture_output=True, check=False)
    assert (run.returncode, run.stderr.decode().strip()) == (code, message)
    assert logstore("consume", "lines").bytes == before


# Other processes, and the machine -----------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("topic", "create", "u"),
        ("topic", "alter", "t", "--partitions", "2"),
        ("topic", "delete", "t", "--yes"),
        ("produce", "t"),
        ("replay", "t", "--into", "u"),
    ],
)
def test_a_second_writer_is_told_who_is_the_first(logstore, spawn, words):
    logstore("topic", "create", "t")
    writer, follower = spawn("produce", "t"), spawn("consume", "t", "--follow")
    writer.write(b"one\n")
    assert follower.line() == b"one\n"
    message = logstore(*words, stdin=b"two\n", code=1).err
    assert f"pid {writer.popen.pid} (logstore produce t)" in message
    assert logstore("consume", "t").lines == ["one"]
    assert logstore("topic", "list").lines[1].split()[:2] == ["t", "1"]


def test_a_full_disk_behind_the_store(logstore, spawn, data):
    logstore("topic", "create", "t")
    # No file of this process may grow over 64 KiB more than the catalogue has.
    blocks = max(path.stat().st_size for path in data.iterdir() if path.is_file()) // 1024 + 64
    noise = b"".join(os.urandom(500).hex().encode() + b"\n" for _ in range(2000))
    run = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; ulimit -f {blocks}; exec {COMMAND} produce t"],
        input=noise * (blocks // 1000 + 1),
        capture_output=True,
        check=False,
    )
    assert run.returncode == 1
    assert b"Traceback" not in run.stderr
    assert run.stderr.startswith(b"logstore: ")
    acknowledged = int(run.stderr.split(b"; produced ")[1].split()[0].replace(b",", b""))
    found = logstore("consume", "t").bytes.splitlines(keepends=True)
    assert len(found) >= acknowledged
    assert b"".join(found) == (noise * (blocks // 1000 + 1))[: len(b"".join(found))]


def test_an_error_names_the_file(logstore, spawn, tmp_path):
    logstore("topic", "create", "t")
    code, _, err = spawn("produce", "t", tmp_path / "nowhere").end()
    assert (code, err) == (1, f"logstore: {tmp_path}/nowhere: {os.strerror(errno.ENOENT)}\n")
