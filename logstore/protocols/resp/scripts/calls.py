"""What scripts are made of: what they call, and what they are given."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from logstore.protocols.resp.scripts.values import Value


class Call(Protocol):
    """``redis.call``. Raises Failed."""

    def __call__(self, name: str, *words: Value) -> Value: ...


Keys = Sequence[bytes]
Script = Callable[[Call, Keys, Keys], "Value | Generator[int, None, Value]"]
