"""Names and passwords, checked: outside the sessions' thread, since a hash takes milliseconds."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol


class Login(NamedTuple):
    """What came of a try."""

    user: str | None  # his name; None: refused
    delay_s: float = 0.0  # that the refusal is to be held back


# Runs the first in another thread, then the second, with what it gave, in the sessions' own.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]


class Logins(Protocol):
    """Of one process."""

    def check(self, name: bytes, password: bytes, host: str, then: Callable[[Login], None]) -> None:
        """``then`` gets what came of it: now, where it is known, or in a later turn.

        What is no UTF-8, or empty, is refused. ``host``: the address whose failures are counted.
        """


class Nobody:
    """``Logins`` of a process without users: everyone is refused."""

    def check(self, name: bytes, password: bytes, host: str, then: Callable[[Login], None]) -> None:
        then(Login(None))
