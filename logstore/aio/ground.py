"""The shared parts beneath the objects of one store's asyncio library."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from logstore.aio.bell import Bell
from logstore.aio.model import Model
from logstore.aio.rounds import Rounds
from logstore.aio.safety import Safety
from logstore.aio.workers import Workers
from logstore.broker.topic import Topic
from logstore.errors import Closed, Refused
from logstore.log import Log
from logstore.store import Store as Behind

if TYPE_CHECKING:
    from logstore.store_queues import StoreQueues

WORKERS: Final = 4  # for what takes milliseconds: opening, reading, encoding
SLOW_WORKERS: Final = 2  # for what may take minutes, such as verify and backup
ROUND_WORKERS: Final = 2  # one for each kind of a consumer's chores


class Ground:
    """The shared parts. Created in the loop in which the store is used."""

    def __init__(self, store: Behind) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.store = store
        self.bell = Bell(loop)
        self.workers = Workers(self.bell, loop, WORKERS, "aio")
        self.slow = Workers(self.bell, loop, SLOW_WORKERS, "aio-slow")
        self._going_round = Workers(self.bell, loop, ROUND_WORKERS, "aio-rounds")
        self.rounds = Rounds(self.bell, loop, self._going_round)
        self.safety = Safety(self.bell, loop)
        self.model = Model(self._queues, self.bell, loop, self.workers)
        self.openings: dict[Topic, asyncio.Future[None]] = {}  # topics whose logs are being opened
        self._closing: asyncio.Task[None] | None = None
        self._why = Closed(f"{store.path}: the store is closed")
        if store.mode == "write":
            self.model.attach()

    def _queues(self) -> "StoreQueues":
        return self.checked().internals().queues()

    def checked(self) -> Behind:
        """The store. Raises Closed; Refused in an event loop other than the store's."""
        if asyncio.get_running_loop() is not self.loop:
            raise Refused(
                f"{self.store.path}: the store was opened in another event loop; use it in that"
                " loop"
            )
        if self._closing is not None:
            raise self._why
        return self.store

    async def safe(self, marks: Iterable[tuple[Log, int]], what: str) -> None:
        """Return once these marks are safe. A cancelled task is told what may not be safe.

        Raises as Safety.safe.
        """
        try:
            await self.safety.all_safe(marks)
        except asyncio.CancelledError as error:
            error.add_note(f"{what}: appended, and not known to be synced when this was cancelled")
            raise

    # The end

    async def finish(self, call: Callable[[], None]) -> None:
        """Run the call in a worker to its end, even if the waiting task is cancelled.

        Does nothing after the store is closed, which has done it.
        """
        if self._closing is not None:
            await self.close()
        else:
            await asyncio.shield(self.workers.start(call))

    async def close(self) -> None:
        """As Store.close; continues if the waiting task is cancelled."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        last = Workers(self.bell, self.loop, 1, "aio-close")
        self.rounds.close()
        try:
            await last.run(self.store.close)
        finally:
            self.model.close(self._why)
            workers = (self.workers, self.slow, self._going_round)
            for it in workers:
                it.refuse(self._why)
            for it in workers:
                await last.run(it.shut)
            for it in (*workers, last):
                it.close(self._why)
            self.safety.close(self._why)
