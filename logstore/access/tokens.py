"""Tokens that somebody who is trusted has signed, and what becomes of them.

Whoever checks them is a ``Tokens``: another kind of token needs another one of these.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Bearer(NamedTuple):
    """Whom a token names."""

    user: str
    expires_s: float  # since 1970: for so long it is good


class BadToken(NamedTuple):
    """One that does not let in."""

    why: str  # for people, and not for whoever has sent it


class UnknownKey(BadToken):
    """One that is signed by a key that is not known: there may be a new one."""

    __slots__ = ()


class Tokens(Protocol):
    """Of one process, in the sessions' thread."""

    def check(self, token: str, then: Callable[[Bearer | BadToken], None]) -> None:
        """``then`` gets what came of it: now, or in a later turn."""
