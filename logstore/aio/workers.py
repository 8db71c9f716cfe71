"""Threads for calls that may wait: a few for all tasks.

A cancelled task continues immediately. A call that was not begun is not made; a call in progress is
completed, and its result goes to ``lost``.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

from logstore import forks
from logstore.aio.bell import Bell
from logstore.errors import Closed, Forked, LogstoreError

_T = TypeVar("_T")

log: Final = logging.getLogger("logstore.aio")


class Workers:
    """The threads of one loop."""

    def __init__(self, bell: Bell, loop: asyncio.AbstractEventLoop, most: int, name: str) -> None:
        """Run up to ``most`` threads, each started when needed."""
        self._bell = bell
        self._loop = loop
        self._pool = ThreadPoolExecutor(most, name)
        self._error: LogstoreError | None = None
        self._waiting: set[_Job[Any]] = set()
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: the threads are the parent's."""
        self._error = error

    def start(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """Run the call in a worker. Raises Closed, Forked."""
        return self._begin(call, None).future

    async def run(self, call: Callable[[], _T], lost: Callable[[_T], object] | None = None) -> _T:
        """Run the call in a worker and return its result. Raises as the call; Closed, Forked.

        ``lost`` is called in a worker with the result for a task that was cancelled.
        """
        job = self._begin(call, lost)
        try:
            return await job.future
        except asyncio.CancelledError:
            job.give_up()
            job.future.cancel()
            raise

    def _begin(self, call: Callable[[], _T], lost: Callable[[_T], object] | None) -> "_Job[_T]":
        if self._error is not None:
            raise self._error
        job = _Job(call, self._loop.create_future(), lost, self)
        self._waiting.add(job)
        job.future.add_done_callback(lambda _: self._waiting.discard(job))
        self._pool.submit(job.work)
        return job

    def leave(self, call: Callable[[], object]) -> None:
        """Run the call in a worker without waiting; called in the loop."""
        if self._error is None:
            self._pool.submit(_do, call)

    def answer(self, call: Callable[[], object]) -> None:
        """Run a call in the loop soon."""
        self._bell.ring(call)

    def refuse(self, why: Closed) -> None:
        """Start no more calls; later callers get ``why``. Called in the loop."""
        self._error = self._error or why

    def shut(self) -> None:
        """Return when all running calls are done; others are dropped. Not for the loop's thread."""
        self._pool.shutdown(cancel_futures=True)

    def close(self, why: Closed) -> None:
        """Drop all calls; waiting tasks get ``why``. Called in the loop."""
        self.refuse(why)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for job in list(self._waiting):
            job.give_up()
            if not job.future.done():
                job.future.set_exception(why)


def _do(call: Callable[[], object]) -> None:
    try:
        call()
    except LogstoreError as error:
        log.debug("nobody waits for it: %s", error)
    except Exception:
        log.exception("a bug in a worker")


class _Job(Generic[_T]):
    def __init__(
        self,
        call: Callable[[], _T],
        future: asyncio.Future[_T],
        lost: Callable[[_T], object] | None,
        workers: Workers,
    ) -> None:
        self.future = future
        self._call = call
        self._lost = lost
        self._workers = workers
        self._mutex = threading.Lock()
        self._done = self._given_up = False
        self._value: Any = None
        self._error: BaseException | None = None

    def work(self) -> None:
        """Run the call; called in a worker."""
        if self._given_up:
            return
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001  the caller's, whatever it is
            self._error = error
        if self._waited_for():
            self._workers.answer(self._answer)
        else:
            _do(self._lose)

    def _waited_for(self) -> bool:
        """Note that the call is done; returns whether a task still waits for it."""
        with self._mutex:
            self._done = True
            return not self._given_up

    def give_up(self) -> None:
        """Note that no task waits any more; the loop may end before the call. Called in the
        loop.
        """
        with self._mutex:
            lost = self._done and not self._given_up
            self._given_up = True
        if lost:
            self._workers.leave(self._lose)

    def _lose(self) -> None:
        """Pass the result to ``lost``; called in a worker."""
        if self._error is None and self._lost is not None:
            self._lost(self._value)

    def _answer(self) -> None:
        """Pass the result to the waiting task; called in the loop."""
        if self.future.done():
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._value)
