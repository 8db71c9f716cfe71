"""Features that some systems lack, and what replaces each of them there.

The only file that distinguishes systems. Each rule is chosen at import, by the names that Python
offers, the kernel's version and one look at /proc. No system call is tried, so this takes
microseconds. ``portable.py`` makes most of the calls; ``logstore doctor`` shows the rules in
effect, and docs/deployment.md has the same table.
"""

import os
import re
import resource
import select
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

LINUX: Final = sys.platform == "linux"
MACOS: Final = sys.platform == "darwin"
SYSTEM: Final = {"linux": "Linux", "darwin": "macOS"}.get(sys.platform, sys.platform)


def version_of(release: str) -> tuple[int, ...]:
    """The two numbers that a kernel's release begins with; () where it begins with none."""
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


KERNEL: Final = version_of(os.uname().release)
# errseq_t: since then each failed write-back is told to whoever syncs the file next, even if it was
# opened after the failure. Before, no way of syncing can promise that.
KERNEL_TELLS: Final = (4, 17)
OPEN_MAX: Final = 10_240  # of macOS, which refuses a higher soft limit of open files


@dataclass(slots=True, eq=False)
class Rule:
    """One feature that some systems lack.

    ``there``: whether this system has the feature. ``promise``: the promise that is weaker without
    it, and what to do about that; "" if all promises hold.
    """

    name: str
    there: bool
    instead: str
    costs: str
    promise: str = ""


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):  # musl knows the name, and nothing of that name
        return False


# How much is synced at once, and how far down.

SYNCFS: Final = Rule(
    "syncfs",
    LINUX and KERNEL >= (5, 8),  # before, it does not tell of writes that have failed
    "each file and directory is synced by itself",
    "a sync for each partition written to, where one served all",
)
FDATASYNC: Final = Rule(
    "fdatasync",
    hasattr(os, "fdatasync") and not MACOS,
    # On macOS fsync leaves the data in the drive's own cache, and F_BARRIERFSYNC only orders it
    # there: neither is ever taken for a promise.
    "fcntl(F_FULLFSYNC), which empties the drive's cache" if MACOS else "fsync",
    "the slowest sync there is: milliseconds each" if MACOS else "a file's times are synced, too",
)
POSIX_FADVISE: Final = Rule(
    "posix_fadvise",
    hasattr(os, "posix_fadvise"),
    "what a recovery reads may come from the page cache",
    "nothing",
    "after an I/O error of the disk restart the machine, not only logstore",
)

# The lock of the writing process.

OFD_LOCKS: Final = Rule(
    "locks of open files (F_OFD_SETLK)",
    # Not by Python's names: all processes of a machine have to choose the same kind of lock, and
    # some Pythons were built where the names did not exist yet.
    LINUX and KERNEL >= (3, 15),
    # Not POSIX locks: any close of the file, by whoever in the process, would let go of them.
    "flock, which is of an open file, too",
    "a look at who writes takes the lock for a moment; who is refused asks again for 5 ms",
)

# Reading and writing.

PREADV: Final = Rule(
    "preadv and pwritev",
    hasattr(os, "preadv") and hasattr(os, "pwritev"),
    "pread and pwrite",
    "what is read or written is copied once more",
)
PREADV2: Final = Rule(
    "preadv2 (RWF_NOWAIT)",
    PREADV.there and hasattr(os, "RWF_NOWAIT"),
    "a server reads from the disk without asking whether it has to wait",
    "old records on a slow disk hold up all connections while they are read",
)
POSIX_FALLOCATE: Final = Rule(
    "posix_fallocate",
    hasattr(os, "posix_fallocate"),
    "zeros are appended",
    "room that is reserved is written",
)
SENDFILE: Final = Rule(
    "sendfile",
    hasattr(os, "sendfile"),
    "records are read and sent",
    "records that are fetched pass through memory",
)
MSG_MORE: Final = Rule(
    "MSG_MORE",
    hasattr(socket, "MSG_MORE"),
    "the head of a response is sent by itself",
    "one more packet for each response with records from a file",
)
PIPE_SIZE: Final = Rule(
    "F_SETPIPE_SZ",
    LINUX,
    "a pipe stays as large as it is",
    "`produce` reads a pipe in smaller pieces",
)

# Finding files.

O_PATH: Final = Rule(
    "O_PATH",
    hasattr(os, "O_PATH"),
    "directories are opened for reading",
    "nothing: their owner may read them",
)
O_TMPFILE: Final = Rule(
    "O_TMPFILE",
    hasattr(os, "O_TMPFILE"),
    "a file that is removed as soon as it is open",
    "`doctor --measure` shows a file for a moment",
)
PROC: Final = Rule(
    "/proc",
    LINUX and os.path.isdir("/proc/self/fd"),
    "paths as they are named, and getrusage",
    "a socket with a long path takes a link in the temporary directory for a moment; figures show "
    "the peak of memory, and no address space",
)
SOCKET_MODES: Final = Rule(
    "fchmod of sockets",
    LINUX,
    "a socket gets its mode once it has its name",
    "nothing: the directory is closed to others",
)
SO_PEERCRED: Final = Rule(
    "SO_PEERCRED",
    hasattr(socket, "SO_PEERCRED"),
    "a process at api.sock has no number",
    "log lines do not say which process it was",
)

ABSTRACT_SOCKETS: Final = Rule(
    "abstract sockets",
    LINUX,
    "a socket in a temporary directory",
    "servers of tests that are killed leave a directory in /tmp",
)

# The process.

MANY_FILES: Final = Rule(
    "higher limit of open files",
    not (MACOS and resource.getrlimit(resource.RLIMIT_NOFILE)[1] > OPEN_MAX),
    f"{OPEN_MAX:,} at the most",
    "fewer connections and open segments",
)
GLIBC: Final = Rule(
    "glibc's malloc",
    _is_glibc(),
    "the C library decides when memory is used again and given back",
    "after a burst a server may stay larger",
)


def event_loop() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """uvloop's, for a server; None (asyncio's own) where it is not installed, or does not load."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


def _uvloop() -> Rule:
    """Looked at when it is asked for: its import takes milliseconds."""
    return Rule(
        "uvloop",
        event_loop() is not None,
        "asyncio's own event loop",
        "more processor time for each request, and 20 ms at the start",
    )


CHOSEN: Final = (
    SYNCFS, FDATASYNC, POSIX_FADVISE, OFD_LOCKS, PREADV, PREADV2, POSIX_FALLOCATE, SENDFILE,
    MSG_MORE, PIPE_SIZE, O_PATH, O_TMPFILE, PROC, SOCKET_MODES, SO_PEERCRED, ABSTRACT_SOCKETS,
    MANY_FILES, GLIBC,
)  # fmt: skip


def rules() -> tuple[Rule, ...]:
    """All of them."""
    return (*CHOSEN, _uvloop())


# As Redis's INFO calls what asyncio and uvloop wait with.
MULTIPLEXING: Final = next(it for it in ("epoll", "kqueue", "poll") if hasattr(select, it))
