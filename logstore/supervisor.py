"""Tells the service manager that started this process about its state: systemd's sd_notify(3).

Does nothing without ``NOTIFY_SOCKET`` in the environment. Knows no event loop: the caller provides
the timer.
"""

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Final

EXTEND_EVERY_S: Final = 5.0
EXTEND_BY_S: Final = 30.0  # a machine may be busy with what takes so long
EXTEND_MAX_S: Final = 3600.0  # then it hangs, and the manager's own limit counts
WATCHED: Final = 2  # signs of life in the time that one is due in

log: Final = logging.getLogger("logstore.supervisor")


class Supervisor:
    """Tells the service manager. From any thread."""

    def __init__(self, environment: Mapping[str, str], *process_ids: int) -> None:
        """``process_ids``: of those that are this service; the manager watches one of them."""
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment, process_ids) if self._address else 0.0
        self._failed = False

    @property
    def listens(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It is started, or loaded anew. ``status``: a line for people."""
        self._tell("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """It has begun to load what may have changed; ``ready`` ends that."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=stopping")

    def watch(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        """Give signs of life from now on, by this timer: none comes once its thread hangs."""
        if self._watchdog_s:
            self._tell("WATCHDOG=1")
            call_later(self._watchdog_s / WATCHED, lambda: self.watch(call_later))

    def waited_for(self) -> Callable[[], None]:
        """What is done now (recovery, the last syncs) may take longer than the manager waits.

        Until the result is called; for an hour at the most.
        """
        if not self._address:
            return lambda: None
        over = threading.Event()
        threading.Thread(target=self._extend, args=(over,), name="extend", daemon=True).start()
        return over.set

    def _extend(self, over: threading.Event) -> None:
        for _ in range(int(EXTEND_MAX_S / EXTEND_EVERY_S)):
            self._tell(f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY_S * 1e6)}")
            if over.wait(EXTEND_EVERY_S):
                return

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # no reason not to serve
            if not self._failed:
                self._failed = True
                log.warning("NOTIFY_SOCKET: the service manager can't be told: %s", error.strerror)


def _address(text: str) -> str:
    """Of a socket; one that begins with @ is no file. "" where there is none that we can reach."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog_s(environment: Mapping[str, str], process_ids: tuple[int, ...]) -> float:
    """In which time a sign of life is due; 0: in none, or of another process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    watched = environment.get("WATCHDOG_PID", "")
    if not (microseconds.isascii() and microseconds.isdigit()):
        return 0.0
    if watched and watched not in map(str, process_ids):
        return 0.0
    return int(microseconds) / 1e6


def _line(text: str) -> str:
    return " ".join(text.split())
