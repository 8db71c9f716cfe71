"""Has a process run as if on another system, where this directory is in PYTHONPATH.

``LACKING=3.10`` is a Linux whose kernel is of that version, ``LACKING=macOS`` takes away what macOS
does not have. Before anything of the program is imported: what stays here is what it can use.
"""

import fcntl
import os
import socket
import sys
import sysconfig

F_FULLFSYNC = 51
NOT_ON_MACOS = {
    os: (
        "fdatasync", "posix_fadvise", "posix_fallocate", "RWF_NOWAIT", "O_PATH", "O_TMPFILE",
        "eventfd", "eventfd_read", "eventfd_write", "memfd_create", "splice", "copy_file_range",
        "pidfd_open", "setns", "unshare", "sched_getaffinity", "CLD_KILLED",
    ),
    fcntl: ("F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW", "F_SETPIPE_SZ", "F_GETPIPE_SZ"),
    socket: ("MSG_MORE", "SO_PEERCRED", "SOCK_NONBLOCK", "SOCK_CLOEXEC"),
}  # fmt: skip


def kernel(release):
    """Pretend to be a Linux kernel of this release."""
    facts = list(os.uname())
    facts[2] = release
    os.uname = lambda: os.uname_result(facts)


def macos():
    """Imitate macOS as far as possible; ``F_FULLFSYNC`` is an fsync, counted in ``full_syncs``."""
    for module, names in NOT_ON_MACOS.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    given, sync = fcntl.fcntl, os.fsync

    def call(fd, command, *arguments):
        if command == F_FULLFSYNC:
            fcntl.full_syncs += 1
            return sync(fd) or 0
        return given(fd, command, *arguments)

    def fsync(fd):
        raise AssertionError("on macOS fsync promises nothing")

    sysconfig.get_config_vars()  # which are of this system, and read at the first use
    fcntl.fcntl, fcntl.full_syncs, os.fsync = call, 0, fsync
    sys.modules["uvloop"] = None
    kernel("23.1.0")
    sys.platform = "darwin"


LACKING = os.environ.get("LACKING", "")
if LACKING == "macOS":
    macos()
elif LACKING:
    kernel(LACKING)
