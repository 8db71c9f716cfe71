"""Sends listeners news of the server once a second, all by one timer, in slices.

Content that several listeners receive is built once.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol

from logstore.protocols.house import Timer
from logstore.slices import Slices, Steps

EVERY_S: Final = 1.0
TELL_UNITS: Final = 20  # of work in slices, to tell one
ALIKE_MAX: Final = 256  # that are remembered: what each user sees is another one


class Listener(Protocol):
    """A receiver of news."""

    @property
    def open(self) -> bool:
        """Whether it listens still."""

    def tell(self) -> None:
        """Tell it what there is now."""


class News:
    """The news of one door. Used in the sessions' thread."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, None] = {}
        self._ticks = self._telling = False
        self._alike: dict[Hashable, tuple[float, Any]] = {}

    def add(self, it: Listener, timer: Timer, slices: Slices) -> None:
        """Tell it now, and from now on every ``EVERY_S`` until it listens no more."""
        it.tell()
        self._listeners[it] = None
        if not self._ticks:
            self._ticks = True
            self._wait(timer, slices)

    def _wait(self, timer: Timer, slices: Slices) -> None:
        timer.call_at(timer.now() + EVERY_S, lambda: self._tick(timer, slices))

    def _tick(self, timer: Timer, slices: Slices) -> None:
        if not self._listeners:
            self._ticks = False
            self._alike.clear()
            return
        self._wait(timer, slices)
        if not self._telling:  # else a crowd is still being told
            self._telling = True
            slices.begin(self._tell(), self._told)

    def _tell(self) -> Steps:
        for it in list(self._listeners):
            if it.open:
                it.tell()
            else:
                del self._listeners[it]
            yield TELL_UNITS

    def _told(self, _: object) -> None:
        self._telling = False

    def alike(self, what: Hashable, now: float, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """What was made of this lately, or is made now."""
        known = self._alike.get(what)
        if known is None or not 0 <= now - known[0] < EVERY_S / 2:
            if len(self._alike) >= ALIKE_MAX:
                self._alike.clear()
            known = self._alike[what] = now, make()
        return known[1]
