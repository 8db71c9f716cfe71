"""The journal of a node, and the entries of all models except queues: one batch a turn, one sync.

A worker opens it when it is first written or read.
"""

import logging
from collections.abc import Callable
from typing import Final

from logstore.broker.transacting.telling import Telling
from logstore.clock import now_ms
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.node.queues import NodeQueues
from logstore.protocols.house import Work
from logstore.turn import Turn

log: Final = logging.getLogger("logstore.node")

Then = Callable[[Telling | LogstoreError], None]


class NodeJournal:
    """The journal of one node. For the sessions' thread."""

    def __init__(self, turn: Turn, queues: NodeQueues, work: Work) -> None:
        self._soon = turn.soon
        self._queues = queues
        self._work = work
        self._telling: Telling | None = None
        self._waiting: list[Then] = []

    @property
    def is_there(self) -> bool:
        """Whether the store has a journal."""
        return self._queues.has_journal

    def when_open(self, then: Then) -> None:
        """Call ``then`` with the journal's Telling, or with the error that prevents it."""
        if self._telling is not None:
            then(self._telling)
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._work(self._opened, self._tell)

    def _opened(self) -> Log | LogstoreError:
        try:
            return self._queues.journal()
        except LogstoreError as error:
            return error

    def _tell(self, found: Log | LogstoreError) -> None:
        waiting, self._waiting = self._waiting, []
        if isinstance(found, LogstoreError):
            for then in waiting:
                then(found)
            return
        telling = Telling(found, now_ms, self._soon, lambda: self._soon(telling.end_turn))
        self._telling = telling
        for then in waiting:
            then(telling)

    def trim(self) -> None:
        """Remove unneeded records below the recovery point. Called in a worker."""
        try:
            self._queues.trim_journal()
        except LogstoreError as error:  # the next one tries again
            log.warning("the journal can't be trimmed: %s", error)

    def close(self) -> None:
        """Stop reporting what is safe."""
        if self._telling is not None:
            self._telling.close()
