"""The reply to a request: immediate or later, complete or in lines."""

from collections.abc import Callable
from functools import partial
from typing import Protocol


class Reply(Protocol):
    """One reply: one ``answer`` or ``refuse``, or lines and an ``end``. Used in one thread."""

    @property
    def begun(self) -> bool:
        """Whether a line was given: the answer has its status."""

    def answer(self, value: object, status: int = 200) -> None:
        """All of it: a value, as JSON."""

    def refuse(self, status: int, sentence: str, kind: str = "") -> None:
        """Why not: one line. ``kind``: what the library calls this error."""

    def line(self, data: bytes, *, skip: bool = False) -> None:
        """A line of JSON. ``skip``: the next one may take its place, if the peer is slow."""

    def end(self) -> None:
        """No more lines come."""


class ReplyFromAfar:
    """A ``Reply`` that is used in another thread than its own."""

    def __init__(self, reply: Reply, soon: Callable[[Callable[[], object]], object]) -> None:
        """``soon``: has a call made in that thread, in order."""
        self.begun = False
        self._reply = reply
        self._soon = soon

    def answer(self, value: object, status: int = 200) -> None:
        """As Reply.answer."""
        self._soon(partial(self._reply.answer, value, status))

    def refuse(self, status: int, sentence: str, kind: str = "") -> None:
        """As Reply.refuse."""
        self._soon(partial(self._reply.refuse, status, sentence, kind))

    def line(self, data: bytes, *, skip: bool = False) -> None:
        """As Reply.line."""
        self.begun = True
        self._soon(partial(self._reply.line, data, skip=skip))

    def end(self) -> None:
        """As Reply.end."""
        self._soon(self._reply.end)
