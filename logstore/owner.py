"""The process that holds a lock, as other processes see it."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_HIDDEN: Final = "***"
# What an option is called whose value is a secret; one of a file, or of another way, has none.
_SECRET: Final = re.compile(r"passw|passphrase|secret|token|credential|api[-_]?key", re.IGNORECASE)
_ELSEWHERE: Final = ("file", "stdin", "prompt")
_IN_ADDRESS: Final = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock."""

    pid: int  # as its own pid namespace counts
    command: str
    since_ms: int
    endpoints: Mapping[str, str] = field(default_factory=dict)  # protocol: host:port
    pid_namespace: int = 0  # as ``pid_namespace()`` says there; 0: not known
    cluster: str = ""  # of which it is a node: some broker's host:port; "": of none

    def __str__(self) -> str:
        return f"pid {self.pid}{self._whose} ({self.command})"

    @property
    def serves(self) -> bool:
        """Whether it is a server, perhaps one that does not listen yet."""
        return bool(self.endpoints) or self.command.split()[1:2] == ["serve"]

    @property
    def is_elsewhere(self) -> bool:
        """Whether its number is of another pid namespace, and means another process here."""
        here = pid_namespace()
        return 0 not in (here, self.pid_namespace) and self.pid_namespace != here

    @property
    def _whose(self) -> str:
        return " of another pid namespace (another container)" if self.is_elsewhere else ""


def in_the_way(owner: Owner | None) -> str:
    """Who keeps others from writing a store, and what they can do; None: it had gone again."""
    if owner is None:
        return "was written by another process, which has ended meanwhile: try again"
    if not owner.endpoints:
        return (
            f"written by {owner}: wait for it, stop it, or open the store for reading; run "
            f"`logstore serve` first: then commands share the store"
        )
    doors = ", ".join(f"{name} {address}" for name, address in owner.endpoints.items())
    return f"written by {owner}: connect to it ({doors}), stop it, or open the store for reading"


def pid_namespace() -> int:
    """The namespace that this process's number is of; 0 where that can't be told."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no /proc
        return 0


def command_of(arguments: Sequence[str]) -> str:
    """A command line for people, without passwords: it is shown to all who ask for the store.

    We take none there, but the program that uses us may.
    """
    return " ".join(_without_secrets(arguments))


def _without_secrets(arguments: Iterable[str]) -> Iterable[str]:
    hide = False
    for word in arguments:
        option, equals, _ = word.partition("=")
        is_secret = option.startswith("-") and _SECRET.search(option) is not None
        is_secret = is_secret and not option.lower().endswith(_ELSEWHERE)
        if hide and not word.startswith("-"):
            yield _HIDDEN
        elif is_secret and equals:
            yield f"{option}={_HIDDEN}"
        else:
            yield _IN_ADDRESS.sub(rf"\1:{_HIDDEN}@", word)
        hide = is_secret and not equals
