"""Who holds a lock: what others are told of a process that has the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock."""

    pid: int
    command: str
    since_ms: int
    endpoints: Mapping[str, str] = field(default_factory=dict)  # protocol: host:port

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})"
