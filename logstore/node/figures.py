"""The figures of a node: their sources, and the timer that reads them."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from logstore.broker.channel import Channels
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.topics import Topics
from logstore.budget import Budget
from logstore.descriptors import limit_of
from logstore.errors import LogstoreError
from logstore.figures import sources
from logstore.figures.figures import Figures
from logstore.figures.full import Room
from logstore.figures.ring import STEP_S
from logstore.figures.stuck import view
from logstore.protocols.house import Work
from logstore.server import Server
from logstore.slices import Slices
from logstore.usage import files_open

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues


CALLED: Final = {"resp": "redis", "amqp": "rabbitmq"}  # doors, by people
BEGIN_S: Final = 0.2  # a process that starts has other things to do


class NodeFigures:
    """Reads the figures periodically, from the first time that somebody asks for them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        figures: Figures,
        server: Server,
        work: Work,
        slices: Slices,
        *,
        topics: Topics,
        coordinator: Coordinator,
        channels: Channels,
        queues: "Callable[[], Queues | None]",
        budget: Budget,
    ) -> None:
        self._loop = loop
        self._figures = figures
        self._server = server
        self._work = work
        self._slices = slices
        self._topics = topics
        self._budget = budget
        self._groups = sources.GroupSource(coordinator, topics)
        self._timer: asyncio.Handle | None = None
        self._closed = self._looking = False
        self._queues = sources.QueueSource(queues)
        figures.begin = self.begin
        figures.connections = server.connections
        figures.messages["resp"] = lambda: (
            figures.door("resp").messages_in, channels.given_out
        )  # fmt: skip
        figures.sources = {
            "room": partial(sources.rooms, figures),
            "topic": sources.TopicSource(topics).seen,
            "queue": self._queues.seen,
            "all": partial(sources.waiting, self._queues, self._groups),
            "channel": partial(sources.channels, channels),
            "group": self._groups.seen,
            "connection": partial(sources.connections, server.connections),
            "door": partial(sources.doors, figures),
        }

    def begin(self) -> None:
        """Measure now, and then at every step."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(BEGIN_S, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(STEP_S - now % STEP_S, self._look)
        if self._looking:  # a disk that hangs, or very much to look at
            return
        self._looking = True
        read = self._groups.begin()
        self._work(lambda: (self._rooms(), read()), self._looked)

    def _looked(self, read: Any) -> None:  # noqa: ANN401
        """Slow figures have been read; measure the others now."""
        if self._closed or isinstance(read, LogstoreError):
            self._looking = False
            return
        rooms, of_groups = read
        self._groups.take(of_groups)
        self._figures.rooms = [*rooms, *self._of_memory(), *self._queues.near]
        self._slices.begin(self._figures.look(), self._over)

    def _over(self, _: object) -> None:
        self._looking = False

    def _rooms(self) -> list[Room]:
        """Room on the disk and for files; called in a worker."""
        return [*self._disk(), *_files()]

    def _disk(self) -> Iterable[Room]:
        try:
            space = self._topics.space()
        except LogstoreError:  # unknown: the log itself reports its errors
            return
        if space.total_bytes:
            used = space.total_bytes - space.usable_bytes
            yield Room("disk", used, space.total_bytes, view("server"), "bytes")

    def _of_memory(self) -> Iterable[Room]:
        budget = self._budget
        yield Room("memory of clients", budget.total_bytes, budget.bytes_max, unit="bytes")
        for doorway in self._server.doorways():
            if doorway.counts.opened:
                there, most = self._server.count(doorway), doorway.limits.connections_max
                called = doorway.called or CALLED.get(doorway.name, doorway.name)
                yield Room(
                    f"connections of {called}",
                    there,
                    most,
                    view("connections"),
                )

    def close(self) -> None:
        """Stop measuring."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()


def _files() -> Iterable[Room]:
    """Room for file descriptors of this process."""
    with suppress(OSError):  # a sandbox may hide them
        yield Room("files", files_open(), limit_of())
