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
        """Whether a step is being done, or was and nobody has heard of it."""
        return self._step is not None

    async def next(self, call: Callable[[], _T]) -> _T:
        """What comes of the call, or of the one before that nobody has waited for to its end."""
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
        """What comes of the call, once the one before is over, whatever came of that."""
        await self.idle()
        return await self.next(call)

    async def idle(self) -> None:
        """Return when no step is being done; what came of one that nobody waits for is dropped."""
        async with self._lock:
            step = self._step
            if step is not None:
                await asyncio.wait([step])
                _heard(step)
                self._step = None


def _heard(step: "asyncio.Future[_T]") -> None:
    """Whatever came of it: that nobody asks for it is no mistake."""
    if not step.cancelled():
        step.exception()
