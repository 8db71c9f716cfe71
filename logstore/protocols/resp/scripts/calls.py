"""The parts of scripts: the commands that they call, and their arguments."""

from collections.abc import Callable, Generator, Sequence
from typing import Final, Protocol

from logstore.protocols.resp.scripts.values import Value

CALL_UNITS: Final = 10  # of work, that a call takes


class Call(Protocol):
    """The function ``redis.call``. Raises Failed."""

    def __call__(self, name: str, *words: Value) -> Value: ...

    def in_parts(self, name: str, *words: Value) -> Generator[int, None, Value]:
        """The same in steps, of what may be about much."""

    def keys(self, pattern: Value) -> Generator[int, None, list[bytes]]:
        """What KEYS says, in steps: there may be millions of others."""


Keys = Sequence[bytes]
Script = Callable[[Call, Keys, Keys], "Value | Generator[int, None, Value]"]
