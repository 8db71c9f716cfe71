"""Calls the queues' model from the loop: directly as a rule, and by a worker if that would wait.

Each call is one turn; its remaining work is done in the loop's next iterations. If another thread
or a server uses the model, a worker waits for it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from logstore.aio.bell import Bell
from logstore.aio.workers import Workers
from logstore.broker.queues.served_turn import NotNow
from logstore.errors import Closed, LogstoreError

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost
    from logstore.store_queues import StoreQueues

_T = TypeVar("_T")
Answer = Callable[[Any], None]

log: Final = logging.getLogger("logstore.aio")


class Model:
    """The model of one store, in its loop."""

    def __init__(
        self,
        queues: "Callable[[], StoreQueues]",
        bell: Bell,
        loop: asyncio.AbstractEventLoop,
        workers: Workers,
    ) -> None:
        """``queues()``: called once, before anything else."""
        self._queues = queues
        self._bell = bell
        self._loop = loop
        self._workers = workers
        self._watched: StoreQueues | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked: set[asyncio.Future[Any]] = set()

    def attach(self) -> None:
        """End turns from now on, for any user of the queues; does not open them."""
        self._store_queues()

    def _store_queues(self) -> "StoreQueues":
        if self._watched is None:
            self._watched = self._queues()
            self._watched.watch(self._told)
        return self._watched

    # Its turns

    def _told(self) -> None:
        """Have a turn ended. Called from any thread."""
        self._bell.ring(self._end_turn)

    def _end_turn(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        assert self._watched is not None
        try:
            due_s = self._watched.end_turn()
        except NotNow:  # another thread in the model may have checked for the last time
            self._workers.leave(self._end_turn_later)
        except LogstoreError as error:
            log.debug("no more turns: %s", error)
        else:
            if due_s is not None:
                self._timer = self._loop.call_later(due_s, self._end_turn)

    def _end_turn_later(self) -> None:
        """End a turn; called in a worker."""
        assert self._watched is not None
        self._watched.end_turn(wait=True)
        self._told()  # for the timer

    def close(self, why: Closed) -> None:
        """End no more turns; waiting calls get ``why``."""
        if self._timer is not None:
            self._timer.cancel()
        for future in self._asked:
            if not future.done():
                future.set_exception(why)

    # Calls

    async def do(
        self,
        vhost: bytes,
        call: "Callable[[Vhost], _T]",
        lost: Callable[[_T], object] | None = None,
    ) -> _T:
        """As Desk.do; ``lost`` as Workers.run has it. Raises what the call does; Closed, Forked."""
        queues = self._store_queues()
        return await self._run(queues.in_vhost(vhost, call), lost)

    async def do_elsewhere(
        self,
        vhost: bytes,
        call: "Callable[[Vhost], _T]",
        lost: Callable[[_T], object] | None = None,
    ) -> _T:
        """As ``do``, in a worker, for a call that would delay the loop."""
        queues = self._store_queues()
        return await self._workers.run(lambda: queues.do_in(vhost, call), lost)

    async def run(self, call: Callable[[], _T], lost: Callable[[_T], object] | None = None) -> _T:
        """As Desk.run."""
        return await self._run(call, lost)

    async def run_elsewhere(
        self, call: Callable[[], _T], lost: Callable[[_T], object] | None = None
    ) -> _T:
        """As ``run``, in a worker, for a call that would delay the loop."""
        queues = self._store_queues()
        return await self._workers.run(lambda: queues.run(call), lost)

    async def _run(self, call: Callable[[], _T], lost: Callable[[_T], object] | None) -> _T:
        queues = self._store_queues()
        try:
            return queues.at_once(call)
        except NotNow:
            return await self._workers.run(lambda: queues.run(call), lost)

    async def ask(
        self,
        vhost: bytes,
        start: "Callable[[Vhost, Answer], None]",
        lost: Callable[[Any], object] | None = None,
    ) -> Any:  # noqa: ANN401  what it is answered
        """The answer that ``start`` gives in the model, at once or in a later turn.

        ``lost`` is called in the model with an answer that comes after its task was cancelled.
        Raises as ``start``.
        """
        asked = _Asked(self._loop.create_future(), self, lost)
        self._asked.add(asked.future)
        try:
            await self.do(vhost, lambda found: start(found, asked.answer))
            return await asked.future
        except asyncio.CancelledError:
            asked.give_up()
            raise
        finally:
            self._asked.discard(asked.future)

    def answer(self, call: Callable[[], object]) -> None:
        """Run a call in the loop soon."""
        self._bell.ring(call)

    def do_soon(self, call: Callable[[], object]) -> None:
        """Run a call in the model, without waiting for it; called in the loop."""
        self._workers.leave(lambda: self._store_queues().run(call))


class _Asked:
    """A call to the model."""

    def __init__(
        self, future: "asyncio.Future[Any]", home: Model, lost: Callable[[Any], object] | None
    ) -> None:
        self.future = future
        self._home = home
        self._lost = lost
        self._found: Any = None

    def answer(self, found: object) -> None:
        """Give the answer; called in the model."""
        self._found = found
        self._home.answer(self._answered)

    def _answered(self) -> None:
        """Pass the answer to the waiting task; called in the loop."""
        if self.future.done():  # no task waits for it
            self._lose()
        else:
            self.future.set_result(self._found)

    def give_up(self) -> None:
        """Drop the answer, because the task is cancelled; called in the loop."""
        if not self.future.cancel() and self.future.exception() is None:
            self._lose()

    def _lose(self) -> None:
        lost, found = self._lost, self._found
        if lost is not None:
            self._home.do_soon(lambda: lost(found))
