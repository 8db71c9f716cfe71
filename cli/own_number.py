"""A process number that no other process at the store has.

Containers that share a volume, but no pid namespace, each have a process 1, and LMDB lets only one
of a number read. So where a command's number is taken, it goes on in a child process, which gets
another one; the command itself waits for it, hands on signals, and ends as the child does.
"""

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final, NoReturn

from logstore.storage.disk import Disk
from logstore.storage.environment import is_number_taken
from logstore.storage.names import CATALOG
from logstore.storage.reader_table import PLACES_MAX

# Stops and what the kernel sends to all of a terminal reach the child by themselves.
HANDED_ON: Final = {
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
}  # fmt: skip
_PR_SET_PDEATHSIG: Final = 1
_BY_THE_KERNEL: Final = 0x80  # si_code


def take_own_number(directory: Path) -> None:
    """Return in a process whose number is unique at this store; usually this one.

    If that is impossible (this process has threads or an open store), return in this one, and the
    store reports what to do. The original process ends with the exit code of the child.
    """
    path, disk = str(directory / CATALOG), Disk()
    if threading.active_count() > 1 or not is_number_taken(disk, path):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # or both would say it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*HANDED_ON, signal.SIGCHLD})
    for _ in range(PLACES_MAX + 1):  # each try gets another number, and no more can be taken
        told, tell = os.pipe()
        above = os.getpid()
        child = os.fork()
        if child:
            os.close(tell)
            if _is_told(told):
                _follow(child)
            os.waitpid(child, 0)
            continue
        os.close(told)
        _die_with(above)
        if is_number_taken(disk, path):
            os._exit(0)
        os.write(tell, b".")
        os.close(tell)
        break
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_told(told: int) -> bool:
    """Whether the child may continue."""
    with open(told, "rb", buffering=0) as pipe:
        return bool(pipe.read(1))


def _die_with(above: int) -> None:
    """Kill this process if its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != above:  # it died before
        os._exit(1)


def _follow(child: int) -> NoReturn:
    """Pass on signals until the child ends, and exit with its code."""
    while True:
        came = signal.sigwaitinfo({*HANDED_ON, signal.SIGCHLD})
        if came.si_signo != signal.SIGCHLD:
            if came.si_code != _BY_THE_KERNEL:  # as Ctrl-C: the child got that, too
                os.kill(child, came.si_signo)
            continue
        status = _ended(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _ended(child: int) -> int | None:
    """The child's status once it has ended; also reaps others, as process 1 must."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid in (0, child):
            return status if pid else None
