"""The queues of a store that no server has: opened at first use, closed with the store.

This process alone has them, as it alone writes the directory. Where a server in this process has
the same store, its model is the only one: see ``lend``.
"""

import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

from logstore.broker.queues.own_turn import OwnTurn
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.received import Hands, QueueConsumer
from logstore.broker.queues.served_turn import ServedTurn
from logstore.broker.queues.vhost import Vhost
from logstore.errors import Closed, LogstoreError, ReadOnly
from logstore.open_queues import OpenQueues
from logstore.storage.committer import Committer, QueueCommitter
from logstore.storage.directory import LocalDirectory

_T = TypeVar("_T")


class StoreQueues:
    """Of one store. A ``Desk``; from any thread."""

    def __init__(self, directory: LocalDirectory, clock: Callable[[], int]) -> None:
        self.hands = Hands()
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()  # who opens them
        self._turn: OwnTurn | ServedTurn | None = None  # an own one, or a server's
        self._queues: Queues | None = None
        self._committer: Committer | None = None
        self._consumers: weakref.WeakSet[QueueConsumer] = weakref.WeakSet()
        self._error: LogstoreError | None = None

    def forked(self, error: LogstoreError) -> None:
        """As Forkable.forked."""
        self._lock = threading.Lock()
        self._error = error
        if self._turn is not None:
            self._turn.forked(error)

    # As Desk

    def do(self, call: Callable[[Vhost], _T]) -> _T:
        """As Desk.do."""
        turn, vhost = self._opened()
        return turn.do(lambda: call(vhost))

    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """As Desk.wait."""
        turn, _ = self._opened()
        return turn.wait(ready, timeout_s)

    def poke(self) -> None:
        """As Desk.poke."""
        turn = self._turn
        if turn is not None:
            turn.poke()

    def consumer(self, consumer: QueueConsumer) -> QueueConsumer:
        """As Owner.consumer."""
        self._consumers.add(consumer)
        return consumer

    # Opened and closed

    def _opened(self) -> tuple[OwnTurn | ServedTurn, Vhost]:
        if self._error is not None:
            raise self._error
        with self._lock:
            if self._turn is None:
                self._open()
            assert self._turn is not None
            assert self._queues is not None
            return self._turn, self._queues.vhosts[b"/"]

    def _open(self) -> None:
        """Raises ReadOnly, SchemaTooNew, CorruptStore, StorageFull."""
        table = self._directory.groups
        try:
            directory = self._directory.writable()
        except ReadOnly as error:
            raise ReadOnly(
                f"{self._directory.path}: the store is open for reading, and only the process "
                f"that writes a store has its queues"
            ) from error
        assert table is not None, "a store that is written has a catalogue"
        turn = OwnTurn(self._clock)
        committer = Committer(table.environment, turn.soon, turn.soon)
        try:
            logs = OpenQueues(directory, QueueCommitter(committer, table.environment))
            queues = Queues(logs, self._clock, turn.soon, turn.work)
        except BaseException:
            committer.close()
            raise
        turn.begin(queues)
        self._committer, self._queues, self._turn = committer, queues, turn

    # Lent to a server

    def lend(self) -> None:
        """A server in this process is about to have them: consumers until then are closed."""
        with self._lock:
            turn, committer = self._turn, self._committer
            if isinstance(turn, OwnTurn) and committer is not None and self._error is None:
                turn.do(self._end)
                turn.close(Closed(f"{self._directory.path}: a server has the queues"),
                           committer.close)  # fmt: skip
            self._turn = self._queues = self._committer = None

    def serve(
        self, queues: Queues, soon: Callable[[Callable[[], object]], object]
    ) -> Callable[[], None]:
        """A server has these: calls go through its turn. What is returned ends that, in its thread.

        ``lend`` was called before.
        """
        with self._lock:
            turn = ServedTurn(soon)
            self._queues, self._turn = queues, turn

        def end() -> None:
            with self._lock:
                self._end()
                turn.end(Closed(f"{self._directory.path}: the server has stopped"))
                if self._turn is turn:
                    self._turn = self._queues = None

        return end

    # The end

    def close(self) -> None:
        """What was settled is kept; what is not is ready again. Raises LogFailed."""
        with self._lock:
            why = Closed(f"{self._directory.path}: the store is closed")
            turn, error = self._turn, self._error
            if not isinstance(turn, OwnTurn) or error is not None:
                self._error = error or why
                return
        try:
            turn.do(self._end)
            assert self._committer is not None
            turn.close(why, self._committer.close)
        finally:
            self._error = why

    def _end(self) -> None:
        """Nobody has any of it any more."""
        assert self._queues is not None
        for consumer in list(self._consumers):
            consumer.end()
        for group in self.hands.unacked.drain():
            group.queue.release(group, failed=False)
        for vhost in self._queues.vhosts.values():
            vhost.owner_gone(self)
