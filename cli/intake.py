"""Lines from a file into a topic: what ``produce`` does, once it is clear what is wanted.

Everything before the first line that ends the run is produced and acknowledged, whatever that end
is: a bad line, a signal, a failing disk.
"""

import contextlib
import fcntl
import os
import stat
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from logstore import platforms
from logstore.errors import InvalidRecord, LogstoreError
from logstore.records.record import Message

from .ends import CommandFailed, Stopped, say
from .lines import BadLine, LineInput, Parsed
from .progress import Progress, is_watched
from .show import counted, number, size
from .site import Sink
from .stop import Stop

READ_BYTES = 1 << 20  # large enough to make work per chunk negligible
# The longest time that a line waits for others to share its batch and sync, even if they arrive
# steadily. The promise is 0.1 s from "read" to "on disk": the other half is for the sync.
WAIT_S = 0.05


class Input:
    """The bytes to be read: a file, or standard input."""

    def __init__(self, path: Path | None, stop: Stop) -> None:
        standard_input = path is None or str(path) == "-"
        self.name = "standard input" if standard_input else str(path)
        self._stop = stop
        if standard_input and sys.stdin is None:
            raise CommandFailed("standard input is closed")
        self._owned = not standard_input
        self._fd = 0 if path is None or standard_input else os.open(path, os.O_RDONLY)
        try:
            facts = os.fstat(self._fd)
        except OSError as error:
            raise CommandFailed(f"{self.name}: {error.strerror}") from None
        self.size = facts.st_size or None  # None: a pipe of unknown size
        # A regular file's lines are all on disk already: a full batch matters more than an early
        # one.
        self.live = not stat.S_ISREG(facts.st_mode)
        self.typed = os.isatty(self._fd)
        if stat.S_ISFIFO(facts.st_mode) and platforms.PIPE_SIZE.there:
            # Fewer and larger reads; the system may allow less, and then it stays as it is.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, READ_BYTES)

    def __enter__(self) -> "Input":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owned:
            os.close(self._fd)

    def ready(self, seconds: float) -> bool:
        """Whether more input is available within ``seconds``. Raises Stopped."""
        return self._stop.wait_readable(self._fd, max(seconds, 0))

    def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises Stopped, CommandFailed."""
        self._stop.wait_readable(self._fd)
        try:
            return os.read(self._fd, READ_BYTES)
        except OSError as error:
            raise CommandFailed(f"{self.name}: {error.strerror}") from None


class _Ending(Exception):
    """A line that ends the run."""

    def __init__(self, bad: BadLine) -> None:
        super().__init__(bad.reason)
        self.bad = bad


def stop_at(bad: BadLine) -> None:
    """Apply the policy ``stop``."""
    raise _Ending(bad)


class Skipped:
    """The policy ``skip``: counts, and keeps the first to show what was wrong."""

    def __init__(self, *, rows: bool = False) -> None:
        """``rows``: the input is CSV, whose rows may have several lines."""
        self.count = 0
        self.first: BadLine | None = None
        self._lines = 0
        self._rows = rows

    def __call__(self, bad: BadLine) -> None:
        self.count += 1
        self._lines += bad.lines
        self.first = self.first or bad

    def push(self) -> None:
        """Do nothing: no line is kept."""

    def flush(self) -> None:
        """Do nothing: no line is kept."""

    def __str__(self) -> str:
        first = f" (first: line {self.first.number}: {self.first.reason})" if self.first else ""
        rows = f", {counted(self.count, 'row')}" if self._rows else ""
        return f"skipped {counted(self._lines, 'line')}{rows}{first}"


class DeadLetters(Skipped):
    """The policy ``dead-letter``: bad lines go into a topic of their own, as they are."""

    def __init__(self, sink: Sink, topic: str, source_topic: str, *, rows: bool = False) -> None:
        super().__init__(rows=rows)
        self._sink = sink
        self._topic = topic
        self._source_topic = source_topic.encode()

    def __call__(self, bad: BadLine) -> None:
        super().__call__(bad)
        headers = (
            ("dead-letter.topic", self._source_topic),
            ("dead-letter.line", b"%d" % bad.number),
            ("dead-letter.reason", bad.reason.encode("utf-8", "replace")),
        )
        try:
            self._sink.send_many([Message(bad.raw, None, headers)])
        except InvalidRecord as error:
            raise _Ending(
                bad._replace(
                    reason=f"{bad.reason}; the line could not be appended as a dead letter either:"
                    f" {error}"
                )
            ) from None

    def push(self) -> None:
        self._sink.push()

    def flush(self) -> None:
        self._sink.flush()

    def __str__(self) -> str:
        return super().__str__().replace("skipped", f"put into {self._topic}:", 1)


class Intake:
    """One run of ``produce``."""

    def __init__(
        self,
        source: Input,
        lines: LineInput,
        sink: Sink,
        *,
        topic: str,
        partition: int | None = None,
        partitions: int = 0,
        bad_lines: Skipped | None = None,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
        did: str = "produced",
        noun: str = "record",
        policies: str = "skip or dead-letter",
    ) -> None:
        """``partition``: the partition of all messages; if None, each message may name one of the
        topic's ``partitions``, and its key decides otherwise. ``bad_lines``: None stops at the
        first bad line. ``clock`` counts seconds.

        ``did``, ``noun``, ``policies`` of --on-error: words of the final report.
        """
        self._did, self._noun, self._policies = did, noun, policies
        self._source = source
        self._lines = lines
        self._sink = sink
        self._topic = topic
        self._partition, self._partitions = partition, partitions
        self._bad_lines = bad_lines
        self._on_bad: Callable[[BadLine], None] = bad_lines or stop_at
        self._progress = progress
        self._clock = clock
        self._warned = False
        self._bytes = 0

    def run(self) -> None:
        """Process the source to its end. Raises CommandFailed, Stopped; both report the
        progress.
        """
        if self._source.typed and is_watched():
            say(f"each line that you type is a {self._noun}; Ctrl-D ends", "info")
        began = self._clock()
        ended: Exception | None = None
        try:
            try:
                self._read_all()
            except (_Ending, Stopped, CommandFailed) as error:
                ended = error
            self._flush()
        except LogstoreError as error:
            with contextlib.suppress(LogstoreError):  # earlier messages may still be stored
                self._flush()
            raise CommandFailed(f"{error}; {self._done()}") from error
        finally:
            self._progress.close()
        self._report(ended, self._clock() - began)

    def _report(self, ended: Exception | None, seconds: float) -> None:
        rate = self._sink.acknowledged / max(seconds, 1e-9)
        if ended is None:
            say(
                f"{self._done()} ({size(self._bytes)} read in {seconds:.2f} s,"
                f" {number(rate)} {self._noun}s/s)"
            )
        if self._bad_lines is not None and self._bad_lines.count:
            say(str(self._bad_lines))
        if isinstance(ended, _Ending):
            raise CommandFailed(
                f"{self._source.name}, line {ended.bad.number}: {ended.bad.reason};"
                f" {self._done()}. Correct the line, or use --on-error {self._policies}"
            )
        if isinstance(ended, CommandFailed):
            raise CommandFailed(f"{ended}; {self._done()}")
        if ended is not None:
            say(f"logstore: stopped: {self._done()}")
            raise ended

    def _read_all(self) -> None:
        live = self._source.live
        due: float | None = None  # when the oldest of the lines that still wait has to go
        while data := self._source.read():
            if due is None and live:
                due = self._clock() + WAIT_S
            self._bytes += len(data)
            self._take(self._lines.receive(data))
            if due is not None:
                if not self._source.ready(due - self._clock()):
                    self._flush()  # there is no other work meanwhile
                    due = None
                elif self._clock() >= due:
                    self._push()
                    due = None
            self._progress.update(self._bytes, self._sink.acknowledged)
        self._take(self._lines.end())

    def _take(self, parsed: Parsed) -> None:
        """Process lines in order, as far as the order matters before the end."""
        if not self._warned and (warning := self._lines.warning) is not None:
            self._warned = True
            self._progress.hide()
            say(f"logstore: warning: {self._source.name}: {warning}")
        if not parsed.bad:
            self._send(parsed)
            return
        if self._bad_lines is None:
            bad = parsed.bad[0]
            self._send(parsed, bisect_left(parsed.numbers, bad.number))
            raise _Ending(bad)
        self._send(parsed)
        for bad in parsed.bad:
            self._on_bad(bad)

    def _send(self, parsed: Parsed, count: int | None = None) -> None:
        messages, at = parsed.messages[:count], 0
        while at < len(messages):
            end, partition = self._alike(parsed, at, len(messages))
            whole = at == 0 and end == len(messages)
            try:
                self._sink.send_many(messages if whole else messages[at:end], partition)
                at = end
            except InvalidRecord as error:  # none of them was taken
                self._sink.send_many(messages[at : at + error.index], partition)
                at += error.index
                self._on_bad(BadLine(parsed.numbers[at], str(error), parsed.raws[at]))
                at += 1

    def _alike(self, parsed: Parsed, at: int, end: int) -> tuple[int, int | None]:
        """The end of the messages from ``at`` on with one partition, and the partition."""
        if self._partition is not None or not parsed.partitions:
            return end, self._partition
        asked, upto = parsed.partitions[at], at + 1
        while upto < end and parsed.partitions[upto] == asked:
            upto += 1
        return upto, asked if asked is not None and 0 <= asked < self._partitions else None

    def _push(self) -> None:
        self._sink.push()
        if self._bad_lines is not None:
            self._bad_lines.push()

    def _flush(self) -> None:
        self._sink.flush()
        if self._bad_lines is not None:
            self._bad_lines.flush()

    def _done(self) -> str:
        return f"{self._did} {counted(self._sink.acknowledged, self._noun)} to {self._topic}"
