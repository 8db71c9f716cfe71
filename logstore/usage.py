"""What this process uses: memory and processor time, as the system counts them."""

import os
import resource
from dataclasses import dataclass
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time."""

    user: float
    system: float


@dataclass(frozen=True, slots=True)
class Usage:
    """``thread`` is the thread that asks; bytes of memory."""

    process: Cpu
    children: Cpu
    thread: Cpu
    resident_bytes: int
    resident_bytes_max: int  # since the start
    machine_bytes: int


def _cpu(who: int) -> Cpu:
    used = resource.getrusage(who)
    return Cpu(used.ru_utime, used.ru_stime)


def measure() -> Usage:
    """What it is now."""
    with open("/proc/self/statm", "rb") as pages:
        resident = int(pages.read().split()[1]) * _PAGE_BYTES
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return Usage(
        _cpu(resource.RUSAGE_SELF),
        _cpu(resource.RUSAGE_CHILDREN),
        _cpu(resource.RUSAGE_THREAD),
        resident,
        max(most, resident),  # the system takes its note now and then
        os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES,
    )
