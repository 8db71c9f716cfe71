"""What ``produce`` does between its source and its sink, by a clock that the source moves."""

import signal
import threading

import pytest
from logstore_cli.intake import DeadLetters, Intake
from logstore_cli.lines import LineInput, RawLines, Wanted
from logstore_cli.progress import Progress
from logstore_cli.rows import CsvRows

PROMISE_S = 0.1
SYNC_S = 0.05  # what of it is left to the sync


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Pipe:
    """Pieces that come at moments of their own; notes when each was read."""

    name = "a pipe"
    typed = False

    def __init__(self, clock, pieces, *, live=True):
        self.live = live
        self.read_at = []
        self._clock = clock
        self._pieces = list(pieces)

    def ready(self, seconds):
        comes = self._pieces[0][0] if self._pieces else self._clock.now  # the end is there
        if comes <= self._clock.now + max(seconds, 0):
            self._clock.now = max(self._clock.now, comes)
            return True
        self._clock.now += max(seconds, 0)
        return False

    def read(self):
        if not self._pieces:
            return b""
        comes, data = self._pieces.pop(0)
        self._clock.now = max(self._clock.now, comes)
        self.read_at.append(self._clock.now)
        return data


class Sink:
    """Notes when what was sent was handed on."""

    def __init__(self, clock):
        self.sent = []
        self.gone_at = []  # for each message of ``sent``
        self.pushes = 0
        self.acknowledged = 0
        self._clock = clock

    def send_many(self, messages, partition=None):
        self.sent += messages

    def push(self):
        self.pushes += 1
        self.gone_at += [self._clock.now] * (len(self.sent) - len(self.gone_at))

    def flush(self):
        self.push()
        self.acknowledged = len(self.sent)


def run(pieces, parser=RawLines, *, live=True, dead_letters=False):
    clock = Clock()
    pipe, sink, dead = Pipe(clock, pieces, live=live), Sink(clock), Sink(clock)
    Intake(
        pipe,
        LineInput(lambda first_line: parser(Wanted())),
        sink,
        topic="t",
        bad_lines=DeadLetters(dead, "bad", "t") if dead_letters else None,
        progress=Progress(),
        clock=clock,
    ).run()
    return pipe, sink, dead


@pytest.mark.parametrize("every_ms", [1, 5, 49, 50, 51, 99, 100, 101, 200, 1000])
def test_a_steady_slow_pipe_is_synced_line_by_line_however_fast_it_is(every_ms):
    pipe, sink, _ = run([(n * every_ms / 1000, b"line\n") for n in range(500)])
    late = [gone - read for read, gone in zip(pipe.read_at, sink.gone_at, strict=True)]
    assert max(late) <= PROMISE_S - SYNC_S + 1e-9


def test_lines_of_a_steady_pipe_share_syncs():
    _, sink, _ = run([(n / 1000, b"line\n") for n in range(1000)])  # for a second
    assert sink.pushes <= 1 / SYNC_S + 1


def test_dead_letters_of_a_steady_pipe_do_not_wait_either():
    rows = [b"a,b\n"] + [b"1,2\n", b"1\n"] * 100
    pipe, _, dead = run([(n / 100, row) for n, row in enumerate(rows)], CsvRows, dead_letters=True)
    late = [gone - read for read, gone in zip(pipe.read_at[2::2], dead.gone_at, strict=True)]
    assert max(late) <= PROMISE_S - SYNC_S + 1e-9


def test_the_lines_of_a_regular_file_fill_their_batches():
    _, sink, _ = run([(n, b"line\n") for n in range(10)], live=False)
    assert sink.pushes == 1  # at the end


@pytest.mark.long
@pytest.mark.parametrize("by", ["directory", "server"])
def test_what_a_steady_pipe_has_said_is_seen_and_outlives_kill_9(
    by, logstore, spawn, start_serving, data
):
    place = () if by == "directory" else ("--bootstrap", start_serving(data).address)
    logstore("topic", "create", "k9", *place)
    producing = spawn("produce", "k9", *place)
    enough = threading.Event()

    def feed():
        n = 0
        while not enough.wait(0.005):  # the rate of the pipe: it never rests for long
            producing.write(b"%d\n" % n)
            n += 1

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        code, out, _ = spawn("consume", "k9", "--follow", "--max", "20", *place).end()
        assert (code, out) == (0, b"".join(b"%d\n" % n for n in range(20)))
    finally:
        enough.set()
        feeding.join()
    producing.send(signal.SIGKILL)
    producing.end()
    assert logstore("consume", "k9", *place).lines[:20] == [str(n) for n in range(20)]
