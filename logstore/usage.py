"""The memory and processor time that this process uses and may use, as the system counts them."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logstore import platforms

_IMPORTED_S: Final = time.time()  # about when the process began
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time."""

    user: float
    system: float


@dataclass(frozen=True, slots=True)
class Usage:
    """``thread`` is the calling thread's time; memory is in bytes."""

    process: Cpu
    children: Cpu
    thread: Cpu
    resident_bytes: int
    resident_bytes_max: int  # since the start
    machine_bytes: int


def _cpu(who: int) -> Cpu:
    used = resource.getrusage(who)
    return Cpu(used.ru_utime, used.ru_stime)


def _cpu_of_thread() -> Cpu:
    if platforms.LINUX:
        return _cpu(resource.RUSAGE_THREAD)
    return Cpu(time.thread_time(), 0.0)  # both together


def measure() -> Usage:
    """What it is now."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most *= 1 if platforms.MACOS else 1024  # getrusage(2)
    resident = most
    if platforms.PROC.there:
        with open("/proc/self/statm", "rb") as pages:
            resident = int(pages.read().split()[1]) * _PAGE_BYTES
    return Usage(
        _cpu(resource.RUSAGE_SELF),
        _cpu(resource.RUSAGE_CHILDREN),
        _cpu_of_thread(),
        resident,
        max(most, resident),  # the system takes its note now and then
        os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES,
    )


def files_open() -> int:
    """File descriptors of this process. Raises OSError: a sandbox may hide them."""
    place = "/proc/self/fd" if platforms.PROC.there else "/dev/fd"
    return len(os.listdir(place)) - 1  # without the one of the directory itself


def files_open_max() -> int:
    """How many it may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def threads() -> int:
    """Of this process; those of C libraries, too, where the system counts them."""
    if platforms.PROC.there:
        return len(os.listdir("/proc/self/task"))
    return threading.active_count()


def started_s() -> float:
    """When this process began, in seconds since 1970."""
    if not platforms.PROC.there:
        return _IMPORTED_S
    with open("/proc/self/stat", "rb") as stat, open("/proc/stat", "rb") as machine:
        ticks = int(stat.read().rpartition(b")")[2].split()[19])  # proc(5): field 22
        booted = next(int(line.split()[1]) for line in machine if line.startswith(b"btime"))
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def virtual_bytes() -> int:
    """Of the address space of this process; 0 where that can't be told."""
    if not platforms.PROC.there:
        return 0
    with open("/proc/self/statm", "rb") as pages:
        return int(pages.read().split()[0]) * _PAGE_BYTES


def memory_bytes_max(root: Path = Path("/")) -> int:
    """How much memory this process may use: the machine's, or what a limit leaves of it.

    Limits of control groups (version 1 and 2, of its group and those above it) and of ``ulimit``.
    ``root``: where /proc and /sys are.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES, *_of_groups(root)]
    for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(which)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min(limits)


def _of_groups(root: Path) -> Iterator[int]:
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # a system without control groups
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            yield from _upwards(mounted, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _upwards(mounted / "memory", path, "memory.limit_in_bytes")


def _upwards(mounted: Path, path: str, name: str) -> Iterator[int]:
    """The limits of a group and those above it, as far as they are seen from here."""
    group = mounted / path.lstrip("/")
    while True:
        try:
            text = (group / name).read_text().strip()
        except OSError:  # within a container the path may be one of the outside
            text = ""
        if text.isdigit():  # else "max"
            yield int(text)
        if group == mounted or mounted not in group.parents:
            return
        group = group.parent
