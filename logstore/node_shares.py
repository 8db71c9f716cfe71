"""The share partitions of a node: what they have around them, and their one timer.

What the journal has of them is read by a worker, when somebody asks first. Until then nothing of
them can change, but for topics that are deleted: that is seen then.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from logstore.broker.topic import Topic, uuid_of
from logstore.clock import now_ms
from logstore.errors import Closed, LogstoreError
from logstore.internals import Internals
from logstore.node_groups import Alarm, Groups
from logstore.node_journal import NodeJournal
from logstore.node_queues import NodeQueues
from logstore.protocols.house import Work
from logstore.slices import parts
from logstore.storage.kinds import TOPIC
from logstore.turn import Turn

if TYPE_CHECKING:  # few stores have any
    from logstore.broker.queues.share_groups import Place
    from logstore.broker.shared.rules import Rules
    from logstore.broker.shared.shares import Shares
    from logstore.broker.transacting.telling import Telling

TRIM_BYTES: Final = 1 << 20  # that the journal was told: a trim is a commit of the catalogue

CLIPPED_AT_ONCE: Final = 1000  # partitions, of one batch

log: Final = logging.getLogger("logstore.shares")

Then = Callable[["Shares | LogstoreError"], None]


class NodeShares:
    """``SharesOf`` of a server, and ``Surroundings`` of its shares. For the sessions' thread."""

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
        self._journal = journal
        self._queues = queues
        self._work = work
        self._coordinator = groups.coordinator
        self._alarm = Alarm(turn, partial(turn.when_heard, self._look))
        self._telling: Telling | None = None
        self._told_bytes = 0  # since it was last trimmed
        self._waiting: list[Then] = []
        self._shares: Shares | None = None
        self._end_news: Callable[[], None] = lambda: None
        self._over = False

    def start(self) -> None:
        """Forget what is settled beyond the ends of logs: other records will stand there.

        A backup has such, as its journal is copied last. Called before there is any door. Logs that
        a crash has left to be recovered have lost nothing that was settled.
        """
        if not self._journal.is_there:
            return
        from logstore.broker.queues.journal import settlements_of
        from logstore.broker.queues.share_groups import clipped, decode_state, share_key
        from logstore.records.encode import encode

        try:
            journal = self._queues.journal()
            kept = list(settlements_of(journal).shares().partitions())
            ends = self._ends() if kept else {}
            rows = [
                (clipped(end), share_key(place), (), now_ms())
                for place, state in kept
                if (end := ends.get((place.topic_id, place.partition))) is not None
                and decode_state(state, place).cursor > end
            ]
            for some in parts(rows, CLIPPED_AT_ONCE):
                journal.wait(journal.append(encode(some)) + len(some))
        except LogstoreError as error:  # whoever asks for them is told
            log.warning("share groups may miss records behind the ends of their logs: %s", error)

    def _ends(self) -> dict[tuple[bytes | None, int | None], int]:
        """Where logs end that no crash has left to be recovered."""
        found: dict[tuple[bytes | None, int | None], int] = {}
        for name, entry in self._directory.entries():
            if entry.kind != TOPIC.name:
                continue
            topic_id = uuid_of(entry.id)
            for partition, stands in enumerate(self._topics.offsets(name)):
                if stands is not None and self._directory.is_recovered(entry, partition):
                    found[topic_id, partition] = stands[1]
        return found

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
        self, telling: "Telling", found: "list[tuple[Place, bytes]] | LogstoreError"
    ) -> None:
        if self._over:
            return
        if isinstance(found, LogstoreError):
            self._answer(found)
            return
        from logstore.broker.shared.shares import Shares

        self._telling = telling
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

    def now_ms(self) -> int:
        """As Surroundings.now_ms: it stands still while nobody is heard."""
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
        self._told_bytes += len(key) + len(value)
        if self._told_bytes > TRIM_BYTES:
            self._told_bytes = 0
            self._work(self._trim, lambda _: None)

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

    def _trim(self) -> None:
        """What is below the journal's recovery point, and is not needed, goes."""
        try:
            self._queues.trim_journal()
        except LogstoreError as error:  # the next one tries again
            log.warning("the journal can't be trimmed: %s", error)

    def close(self) -> None:
        """What members have is available to the next process."""
        self._over = True
        self._end_news()
        self._alarm.stop()


def _read(telling: "Telling") -> "list[tuple[Place, bytes]] | LogstoreError":
    from logstore.broker.queues.journal import settlements_of

    try:
        return list(settlements_of(telling.journal).shares().partitions())
    except LogstoreError as error:
        return error
