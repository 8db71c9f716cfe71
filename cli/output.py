"""Standard output, line by line: knows how many lines have wholly left this process."""

import os
import select
import stat
import sys
from itertools import accumulate

from .ends import CommandFailed
from .stop import Stop


class Output:
    """Takes whole lines; whoever reads them may go away at any time."""

    def __init__(self, stop: Stop, fd: int = 1) -> None:
        if sys.stdout is None:
            raise CommandFailed("standard output is closed")
        self._stop = stop
        self._fd = fd
        mode = os.fstat(fd).st_mode
        self._may_block = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
        self.error: OSError | None = None

    @property
    def closed(self) -> bool:
        return isinstance(self.error, BrokenPipeError)

    def write(self, lines: list[bytes]) -> int:
        """Write lines; returns how many were written completely.

        The number is lower after a signal, if the reader has closed (``closed``), or on ``error``.
        """
        data = b"".join(lines)
        written = self._write(memoryview(data))
        if written == len(data):
            return len(lines)
        return sum(end <= written for end in accumulate(map(len, lines)))

    def write_whole(self, data: bytes) -> bool:
        """Write bytes, which need not be lines; returns whether all were written."""
        return self._write(memoryview(data)) == len(data)

    def _write(self, data: memoryview) -> int:
        # A writable pipe accepts PIPE_BUF bytes without blocking (POSIX), so a write of up to that
        # size never blocks where a signal could not end it, and its result is never lost.
        step = select.PIPE_BUF if self._may_block else len(data)
        at = 0
        try:
            while at < len(data):
                if self._may_block and not self._stop.wait_writable(self._fd):
                    break
                at += os.write(self._fd, data[at : at + step])
        except OSError as error:
            self.error = error
        return at

    def abandoned(self) -> bool:
        """Whether the reader has closed, as far as can be told without writing."""
        if not self._may_block:
            return False
        poll = select.poll()
        poll.register(self._fd, 0)  # errors are told in any case
        return bool(poll.poll(0))

    def check(self) -> None:
        """Raise CommandFailed if writing failed, except if the reader has closed."""
        if self.error is not None and not self.closed:
            raise CommandFailed(f"standard output: {self.error.strerror}")
