"""The parts of scripts: the commands that they call, and their arguments."""

from collections.abc import Callable, Generator, Sequence
from typing import Final, Protocol

from logstore.protocols.resp.scripts.values import Value

CALL_UNITS: Final = 10  # of work, that a call takes


class Call(Protocol):
    """The function ``redis.call``. Raises Failed."""

    def __call__(self, name: str, *words: Value) -> Value: ...

    def in_parts(self, name: str, *words: Value) -> Generator[int, None, Value]:
        """As a plain call, in steps, for a command with a large result."""

    def keys(self, pattern: Value) -> Generator[int, None, list[bytes]]:
        """The result of KEYS, in steps: the database may hold millions of other keys."""


Keys = Sequence[bytes]
Script = Callable[[Call, Keys, Keys], "Value | Generator[int, None, Value]"]
