"""Slow look-ups: a worker does one when it is asked for, and its result serves for a while.

So callers that ask again and again cost only a small share of a processor, all together.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from logstore.errors import LogstoreError

FRESH_S: Final = 2.0  # a result may be as old as this,
SHARE: Final = 50  # or so many times as long as the look has taken,
OLD_S: Final = 20.0  # and no longer

_T = TypeVar("_T")

Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]  # as House.work


class Fresh(Generic[_T]):
    """One such look-up. For the sessions' thread."""

    def __init__(
        self, look: Callable[[], _T], nothing: _T, work: Work, now: Callable[[], float]
    ) -> None:
        """``look`` is called in any thread; ``nothing``: what is known before.

        ``now``: seconds of a clock that only goes forward.
        """
        self.last = nothing  # as it was looked up last
        self._look = look
        self._work = work
        self._now = now
        self._until: float | None = None
        self._looking = False
        self._waiting: list[Callable[[LogstoreError | None], object]] = []

    def ask(self, then: Callable[[LogstoreError | None], object]) -> None:
        """``then`` is called, now or later, when ``last`` is as of now, or with why it is not."""
        now = self._now()
        if self._until is not None and now <= self._until:
            then(None)
            return
        self._waiting.append(then)
        if not self._looking:
            self._looking = True
            self._work(self._attempt, partial(self._looked, now))

    def forget(self) -> None:
        """Discard the last result: the next caller gets a new one."""
        self._until = None

    def _attempt(self) -> _T | LogstoreError:
        try:
            return self._look()
        except LogstoreError as error:
            return error

    def _looked(self, began: float, found: _T | LogstoreError) -> None:
        self._looking = False
        error = found if isinstance(found, LogstoreError) else None
        if not isinstance(found, LogstoreError):
            now = self._now()
            self.last = found
            self._until = now + max(FRESH_S, min(SHARE * (now - began), OLD_S))
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(error)
