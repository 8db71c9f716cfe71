"""Ctrl-C, SIGTERM and SIGHUP as a wish, granted at the next good moment.

An exception out of a signal handler can strike between "printed" and "counted". So the handler only
notes the wish; all that may wait for long waits here, and wakes up when the wish comes. A second
signal ends the process at once: the log's own recovery takes care of the rest.
"""

import os
import select
import signal
import time
from collections.abc import Sequence
from types import FrameType, TracebackType

from .ends import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# timeout(1) sends its signal to the process and to the process group: the same wish twice.
TWICE_S = 1.0


class Stop:
    """While entered, these signals are noted here; not those that were ignored before (nohup)."""

    def __init__(self, *, ignored: Sequence[int] = ()) -> None:
        """``ignored``: signals that do not stop the command."""
        self._ignored = ignored
        self.signal_number: int | None = None
        self._since = 0.0

    def __enter__(self) -> "Stop":
        self._wake, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        heard = [it for it in SIGNALS if signal.getsignal(it) is not signal.SIG_IGN]
        self._before = {number: signal.getsignal(number) for number in heard}
        self._wakeup_before = self.hear()
        return self

    def hear(self) -> int:
        """Handle signals again, after an event loop that handled them has ended.

        Returns the file descriptor that signals woke before.
        """
        for number in self._before:
            signal.signal(number, signal.SIG_IGN if number in self._ignored else self._note)
        # The interpreter writes into it from within the C handler: no signal comes between a look
        # at the wish and the wait.
        return signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._wake_write)

    def _note(self, signal_number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._since = signal_number, now
        elif now - self._since > TWICE_S:
            signal.signal(signal_number, signal.SIG_DFL)
            os.kill(os.getpid(), signal_number)

    @property
    def asked(self) -> bool:
        return self.signal_number is not None

    def check(self) -> None:
        """Raise Stopped if a signal has arrived."""
        if self.signal_number is not None:
            raise Stopped(self.signal_number)

    def wait_readable(self, fd: int, seconds: float | None = None) -> bool:
        """Whether ``fd`` can be read within ``seconds``. Raises Stopped on a signal."""
        ready, _, _ = select.select([fd, self._wake], [], [], seconds)
        self.check()
        return fd in ready

    def wait_writable(self, fd: int) -> bool:
        """Wait until ``fd`` accepts ``select.PIPE_BUF`` bytes; False if a signal comes first."""
        select.select([self._wake], [fd], [])
        return not self.asked

    def wait_either(self, fd: int, seconds: float | None, *, write: bool) -> tuple[bool, bool]:
        """Whether ``fd`` can be read, and written, within ``seconds``; a signal ends the wait.

        An earlier signal does not.
        """
        wake = [] if self.asked else [self._wake]
        readable, writable, _ = select.select([fd, *wake], [fd] if write else [], [], seconds)
        return fd in readable, fd in writable

    def wait_many(
        self, read: Sequence[int], write: Sequence[int], seconds: float
    ) -> tuple[set[int], set[int]]:
        """The descriptors that can be read, and written, within ``seconds``; a signal ends the
        wait.

        An earlier signal does not.
        """
        wake = [] if self.asked else [self._wake]
        readable, writable, _ = select.select([*read, *wake], write, [], seconds)
        return set(readable), set(writable)

    def sleep(self, seconds: float) -> None:
        """Sleep. Raises Stopped on a signal."""
        self.check()
        select.select([self._wake], [], [], max(seconds, 0))
        self.check()
