"""A call in a worker that survives the cancellation of its caller: the next caller continues it.

So a step-by-step reader is used by one caller at a time, and a cancelled task loses no step.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from logstore.aio.workers import Workers

_T = TypeVar("_T")


class Outlasting(Generic[_T]):
    """The steps of one reader. Used in the loop."""

    __slots__ = ("_lock", "_step", "_workers")

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = asyncio.Lock()  # whose turn it is to wait for a step
        self._step: asyncio.Future[_T] | None = None

    @property
    def busy(self) -> bool:
        """Whether a step is running, or has a result that no one has received."""
        return self._step is not None

    async def next(self, call: Callable[[], _T]) -> _T:
        """The result of the call, or of an earlier call whose waiting task was cancelled."""
        async with self._lock:
            if self._step is None:
                self._step = self._workers.start(call)
            step = self._step
            try:
                found = await asyncio.shield(step)
            except asyncio.CancelledError:
                step.add_done_callback(_heard)  # perhaps there is no next one
                raise
            except BaseException:
                self._step = None
                raise
            self._step = None
            return found

    async def anew(self, call: Callable[[], _T]) -> _T:
        """The result of the call, started after any earlier one has ended."""
        await self.idle()
        return await self.next(call)

    async def idle(self) -> None:
        """Return when no step is running; drops a result that no one waits for."""
        async with self._lock:
            step = self._step
            if step is not None:
                await asyncio.wait([step])
                _heard(step)
                self._step = None


def _heard(step: "asyncio.Future[_T]") -> None:
    """Mark the step's error as received: it is no mistake that no one asks for it."""
    if not step.cancelled():
        step.exception()
