"""The share partitions of a node: their surroundings, and their one timer.

A worker reads their entries in the journal when they are first asked for. Nothing about them can
change before that, except that topics are deleted, which is noticed then.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from logstore.broker.topic import Topic
from logstore.clock import now_ms
from logstore.errors import Closed, LogstoreError
from logstore.internals import Internals
from logstore.node.groups import Alarm, Groups
from logstore.node.journal import NodeJournal
from logstore.node.queues import NodeQueues
from logstore.protocols.house import Work
from logstore.turn import Turn

if TYPE_CHECKING:  # few stores have any
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.transaction import Transaction
    from logstore.broker.shared.by_place import ByPlace
    from logstore.broker.shared.dead_letters import Done
    from logstore.broker.shared.kept import TrimmedTelling
    from logstore.broker.shared.rules import Rules
    from logstore.broker.shared.shared_partition import SharedPartition
    from logstore.broker.shared.shares import Shares
    from logstore.broker.transacting.telling import Telling

log: Final = logging.getLogger("logstore.shares")

Then = Callable[["Shares | LogstoreError"], None]


class NodeShares:
    """The ``SharesOf`` of a server and ``Surroundings`` of its shares. In the sessions' thread."""

    def __init__(
        self,
        turn: Turn,
        store: Internals,
        journal: NodeJournal,
        queues: NodeQueues,
        work: Work,
        groups: Groups,
    ) -> None:
        self._turn = turn
        self._topics = store.topics
        self._path = store.directory.path
        self._directory = store.directory.writable()
        self._settings = store.directory.config.store
        self._journal = journal
        self._queues = queues
        self._work = work
        self._coordinator = groups.coordinator
        self._alarm = Alarm(turn, partial(turn.when_heard, self._look))
        self._telling: TrimmedTelling | None = None
        self._waiting: list[Then] = []
        self._shares: Shares | None = None
        self._end_news: Callable[[], None] = lambda: None
        self._over = False

    def start(self) -> None:
        """Forget settlements beyond the ends of logs, where other records will be written.

        Called before the doors open.
        """
        if not self._journal.is_there:
            return
        from logstore.clipped_shares import clip_shares

        try:
            journal = self._queues.journal()
        except LogstoreError as error:  # a later use reports the error
            log.warning("share groups are not looked at: %s", error)
        else:
            clip_shares(journal, self._directory, self._topics)

    # As SharesOf

    @property
    def opened(self) -> "Shares | None":
        """As SharesOf.opened."""
        return self._shares

    def when_open(self, then: Then) -> None:
        """As SharesOf.when_open."""
        if self._over:
            then(Closed(f"{self._path}: the server has stopped"))
        elif self._shares is not None:
            then(self._shares)
        else:
            self._waiting.append(then)
            if len(self._waiting) == 1:
                self._journal.when_open(self._journal_opened)

    def _journal_opened(self, telling: "Telling | LogstoreError") -> None:
        if isinstance(telling, LogstoreError):
            self._answer(telling)
        else:
            self._work(partial(_read, telling), partial(self._was_read, telling))

    def _was_read(
        self, telling: "Telling", found: "ByPlace[SharedPartition | bytes] | LogstoreError"
    ) -> None:
        if self._over:
            return
        if isinstance(found, LogstoreError):
            self._answer(found)
            return
        from logstore.broker.shared.kept import TrimmedTelling
        from logstore.broker.shared.shares import Shares

        self._telling = TrimmedTelling(
            telling, lambda: self._work(self._journal.trim, lambda _: None)
        )
        shares = self._shares = Shares(found, self)
        self._end_news = self._topics.tell(shares.topics_changed)
        shares.forget_topics()
        self._answer(shares)

    def _answer(self, answer: "Shares | LogstoreError") -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(answer)

    # As Surroundings

    def rules(self, group: str) -> "Rules":
        """As Surroundings.rules."""
        from logstore.broker.shared.rules import rules_of

        return rules_of(self._coordinator.settings_of(group))

    def by_id(self, topic_id: bytes) -> Topic | None:
        """As Surroundings.by_id: of those that queues have none."""
        return self._topics.by_uuid(topic_id)

    def by_name(self, name: str) -> Topic | None:
        """As Surroundings.by_name: likewise."""
        return self._topics.get(name)

    def letters_prefix(self) -> str:
        """As Surroundings.letters_prefix."""
        return self._settings.errors_deadletterqueue_topic_name_prefix

    def now_ms(self) -> int:
        """As Surroundings.now_ms: stands still while the loop does."""
        return int(self._turn.now() * 1000)

    def wall_ms(self) -> int:
        """As Surroundings.wall_ms."""
        return now_ms()

    def tell(self, key: bytes, value: bytes, then: Callable[[int | LogstoreError], None]) -> None:
        """As Surroundings.tell."""
        if self._telling is None or self._over:
            then(Closed(f"{self._path}: the server has stopped"))
            return
        self._telling.tell(key, value, then)

    def hold(self, held: "Transaction", then: "Done") -> None:
        """As Surroundings.hold: by the queues, which are opened for it."""
        self._queues.when_open(partial(self._hold, held, then))

    def _hold(self, held: "Transaction", then: "Done", found: "Queues | LogstoreError") -> None:
        if self._over:
            then(Closed(f"{self._path}: the server has stopped"))
        elif isinstance(found, LogstoreError):
            then(found)
        else:
            found.commit(held, then)

    def crowded(self) -> bool:
        """As Surroundings.crowded."""
        queues = self._queues.opened
        return queues is not None and queues.crowded

    def soon(self, call: Callable[[], object]) -> None:
        """As Surroundings.soon."""
        self._turn.soon(call)

    def alarm(self, at_ms: int) -> None:
        """As Surroundings.alarm."""
        self._alarm.set(at_ms)

    def work(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """As Surroundings.work."""
        self._work(job, then)

    def _look(self) -> None:
        if self._shares is not None and not self._over:
            self._shares.look_at_times()

    def close(self) -> None:
        """Close; records that members hold become available to the next process."""
        self._over = True
        self._end_news()
        self._alarm.stop()


def _read(telling: "Telling") -> "ByPlace[SharedPartition | bytes] | LogstoreError":
    from logstore.broker.shared.kept import kept_of

    try:
        return kept_of(telling.journal)
    except LogstoreError as error:
        return error
