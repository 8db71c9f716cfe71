"""The audit log of a node: told by its doors, written in the sessions' thread without a wait."""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from logstore.access.access import Access
from logstore.access.audit import DONE, GATHER_MS, Entry, Gathering
from logstore.access.identity import Identity
from logstore.audit_topic import AuditTopic
from logstore.errors import LogstoreError
from logstore.log_facts import about
from logstore.open_topics import OpenTopics
from logstore.protocols.house import Work
from logstore.turn import Turn

WAITING_MAX: Final = 10_000  # records, while the topic is made or opened

log: Final = logging.getLogger("logstore.audit")


class NodeAudit:
    """The ``Audit`` of a node."""

    def __init__(
        self, topics: OpenTopics, access: Access, turn: Turn, work: Work, clock: Callable[[], int]
    ) -> None:
        self._topic = AuditTopic(topics, clock)
        self._access = access
        self._turn = turn
        self._work = work
        self._clock = clock
        self._thread = threading.get_ident()
        self._gathering = Gathering()
        self._ticking = False
        self._fresh: list[Entry] = []  # of this turn
        self._waiting: list[Entry] = []
        self._opening = False
        self._not_before_ms = 0  # the topic could not be had: no other try until then

    @property
    def dropped(self) -> int:
        """As AuditTopic.dropped."""
        return self._topic.dropped

    def tell(self, event: str, who: Identity, what: str = "", outcome: str = DONE) -> None:
        """As Audit.tell. Keeps nothing without users, because clients then have no identity."""
        if not self._access.required:
            return
        if threading.get_ident() != self._thread:
            self._turn.soon(partial(self.tell, event, who, what, outcome))
            return
        entry = self._gathering.add(event, who, what, outcome, self._clock())
        if entry is not None:
            self._fresh.append(entry)
            if len(self._fresh) == 1:
                self._turn.soon(self._write_fresh)
        if self._gathering and not self._ticking:
            self._ticking = True
            self._turn.call_at(self._turn.now() + GATHER_MS / 1000, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        self._write(self._gathering.take())

    def _write_fresh(self) -> None:
        """Write the entries of one turn as one batch: a change may concern thousands of users."""
        entries, self._fresh = self._fresh, []
        self._write(entries)

    # Into the topic

    def _write(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        _say(entries)
        topic = self._topic.at_hand()
        if topic is not None and not self._waiting:
            self._topic.append(topic, entries)
            return
        room = WAITING_MAX - len(self._waiting)
        self._waiting += entries[:room]
        self._topic.drop(len(entries[room:]), "too many at a time")
        if not self._opening and self._clock() >= self._not_before_ms:
            self._opening = True
            self._work(self._topic.open, self._opened)

    def _opened(self, error: LogstoreError | None) -> None:
        self._opening = False
        if error is not None:
            self._not_before_ms = self._clock() + GATHER_MS
        self._write_waiting(error)

    def _write_waiting(self, error: LogstoreError | None) -> None:
        entries, self._waiting = self._waiting, []
        topic = self._topic.at_hand() if error is None else None
        if topic is None:  # not to be had, or deleted just now
            self._topic.drop(len(entries), str(error or "the topic is gone"))
        elif entries:
            self._topic.append(topic, entries)

    def close(self) -> None:
        """Write pending entries. Called once, after the last entry."""
        last = [*self._fresh, *self._gathering.take()]
        _say(last)
        self._waiting += last
        if self._waiting:
            self._write_waiting(self._topic.open())


def _say(entries: Sequence[Entry]) -> None:
    """Write the entries to the server's log as well."""
    if log.isEnabledFor(logging.INFO):
        for entry in entries:
            log.info("%s", entry.sentence(), extra=about(**entry.fields()))
