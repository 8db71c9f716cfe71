"""Checks names and passwords outside the sessions' thread, because a hash takes milliseconds."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from logstore.kept.users import ScramKey


class Login(NamedTuple):
    """The result of one attempt to log in."""

    user: str | None  # his name; None: refused
    delay_s: float = 0.0  # that the refusal is to be held back


class Found(NamedTuple):
    """The key for a name. An unknown name gets an invented key that no password matches."""

    key: ScramKey
    known: bool


# Runs the first in another thread, then the second, with what it gave, in the sessions' own.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]


class Logins(Protocol):
    """Checks logins for one process."""

    def check(self, name: bytes, password: bytes, host: str, then: Callable[[Login], None]) -> None:
        """Call ``then`` with the result: now if it is known, otherwise in a later turn.

        A name or password that is empty or not UTF-8 is refused. ``host``: the address whose
        failures are counted.
        """

    def find(self, mechanism: str, name: str) -> Found:
        """The key for the SCRAM login of a client with this name."""

    def admits(self, name: str) -> bool:
        """Whether a client that has proved its name by other means may log in."""

    def ticket(self) -> str:
        """A password for OWNER_NAME that is valid until the process ends.

        For a user that may open the socket of the data directory, who may also read all its files.
        """

    def failed(self, host: str) -> float:
        """Count a failure that ``check`` did not see; returns the delay in seconds."""


class Nobody:
    """A ``Logins`` for a process without users: every login is refused."""

    def check(self, name: bytes, password: bytes, host: str, then: Callable[[Login], None]) -> None:
        then(Login(None))

    def find(self, mechanism: str, name: str) -> Found:
        from logstore.access.scram_keys import ITERATIONS, made_up

        return Found(made_up(mechanism, b"", name, ITERATIONS), known=False)

    def admits(self, name: str) -> bool:
        return False

    def ticket(self) -> str:
        return ""

    def failed(self, host: str) -> float:
        return 0.0
