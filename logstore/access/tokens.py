"""Tokens that a trusted issuer has signed, and the results of checking them.

A ``Tokens`` checks them; another kind of token needs another implementation.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Bearer(NamedTuple):
    """The user that a token names."""

    user: str
    expires_s: float  # since 1970: for so long it is good


class BadToken(NamedTuple):
    """A token that is refused."""

    why: str  # for people, and not for whoever has sent it


class UnknownKey(BadToken):
    """A token that an unknown key has signed: the issuer may have a new key."""

    __slots__ = ()


class Tokens(Protocol):
    """Checks the tokens of one process, in the sessions' thread."""

    def check(self, token: str, then: Callable[[Bearer | BadToken], None]) -> None:
        """Call ``then`` with the result: now, or in a later turn."""
