"""Who holds a lock: what others are told of a process that has the store."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock."""

    pid: int  # as its own pid namespace counts
    command: str
    since_ms: int
    endpoints: Mapping[str, str] = field(default_factory=dict)  # protocol: host:port
    pid_namespace: int = 0  # as ``pid_namespace()`` says there; 0: not known

    def __str__(self) -> str:
        return f"pid {self.pid}{self._whose} ({self.command})"

    @property
    def is_elsewhere(self) -> bool:
        """Whether its number is of another pid namespace, and means another process here."""
        here = pid_namespace()
        return 0 not in (here, self.pid_namespace) and self.pid_namespace != here

    @property
    def _whose(self) -> str:
        return " of another pid namespace (another container)" if self.is_elsewhere else ""


def pid_namespace() -> int:
    """The namespace that this process's number is of; 0 where that can't be told."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no /proc
        return 0
