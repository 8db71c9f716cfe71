"""A thread that makes changes of groups, queues and users durable, one transaction a turn.

The changes of one turn of the caller are gathered until the turn ends; while they are synced, the
changes of the next turn gather. A refused change (``GroupBusy`` and the like) does not affect the
others; a failure of the machine (a full disk) ends the whole transaction.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from logstore.errors import Closed, CorruptStore, Failed, LogstoreError, Refused, StorageFull
from logstore.kept.groups import GroupChange, KeptGroup, Offsets, OffsetToCommit, ToCommit
from logstore.kept.keeping import Keeping  # fmt: skip
from logstore.kept.mqtt import Kept as KeptOfMqtt
from logstore.kept.mqtt import KeptMqtt
from logstore.kept.queues import Kept, KeptRouting
from logstore.kept.schedules import Entry
from logstore.kept.users import Forgotten, KeptAccess
from logstore.kept.users import Kept as KeptOfAccess
from logstore.kept.wills import KeptWill, KeptWills
from logstore.log import TopicPartition
from logstore.storage import mqtt, queues, schedules, users, wills
from logstore.storage.environment import Environment, Transaction
from logstore.storage.groups import TABLES, GroupTable
from logstore.storage.schedules import ScheduleTable

_log = logging.getLogger("logstore.committer")

# So many changes go into one transaction: a longer one keeps other processes out for too long.
BATCH_MAX: Final = 4096
# So long others are waited for where nobody waits for what is there: a commit takes as long as the
# sync of the journal that has it already.
LINGER_S: Final = 0.01

Refusals = Collection[TopicPartition]
Outcome = tuple[LogstoreError | None, Refusals]
Work = Callable[[Transaction], Refusals]


class Late(Protocol):
    """A change that is already durable elsewhere, and waits a moment for others to be written
    together.
    """

    @property
    def group(self) -> str: ...
    def work(self, transaction: Transaction) -> Refusals: ...
    def join(self, later: Any) -> bool:  # noqa: ANN401  one of its own kind
        """Whether it takes over the work of the later change."""

    def refused_of(self, refused: Refusals) -> Refusals:
        """The change's own part of what the work refuses."""


@dataclass(slots=True)
class _Item:
    tables: Sequence[bytes]  # that the work is done on
    work: Work
    keeping: Keeping
    frees: bool  # it takes no room, so a full disk is no reason to refuse it
    late: Late | None
    joined: "list[_Item]" = field(default_factory=list)  # whose work it does

    def finish(self, error: LogstoreError | None, refused: Refusals) -> None:
        """Report the result to the callers in order."""
        for it in (self, *self.joined):
            its = refused if it.late is None else it.late.refused_of(refused)
            it.keeping.finish(error, its)


class Committer:
    """Called by one thread; writes in another."""

    def __init__(
        self,
        environment: Environment,
        deliver: Callable[[Callable[[], None]], object],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        """``deliver(call)``: makes ``call`` in the caller's thread, soon and in order.

        ``soon(call)``: the same, from that thread, when its turn ends.
        """
        self._environment = environment
        self._deliver = deliver
        self._soon = soon
        self._turn: list[_Item] = []  # of the caller's turn, which has not ended
        self._queue: list[_Item] = []
        self._late: dict[str, _Item] = {}  # of the queue, with nothing but others of these behind
        self._news = threading.Condition()
        self._closed = self._failing = False
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def keep(
        self,
        tables: Sequence[bytes],
        work: Callable[[Transaction], Refusals | None],
        *,
        frees: bool = False,
    ) -> Keeping:
        """Make this change of these tables in its turn's transaction.

        ``frees``: the change only deletes, so it may use the disk space reserved for deletions.

        ``work`` may be called again, and changes nothing but the transaction. It must raise Refused
        or CorruptStore before its first change.
        """
        return self._add(_Item(tables, lambda it: work(it) or (), Keeping(), frees, None))

    def keep_late(self, tables: Sequence[bytes], late: Late) -> Keeping:
        """As ``keep``, for a change that is durable elsewhere."""
        return self._add(_Item(tables, late.work, Keeping(), frees=False, late=late))

    def _add(self, item: _Item) -> Keeping:
        if self._closed:
            raise Closed("the store is closed")
        self._turn.append(item)
        if len(self._turn) == 1:
            self._soon(self._end_turn)
        return item.keeping

    def _end_turn(self) -> None:
        with self._news:
            hurries = not self._queue  # for the first that waits, the time begins
            for item in self._turn:
                hurries = self._line_up(item) or hurries
            self._turn = []
            if hurries:
                self._news.notify()

    def _line_up(self, item: _Item) -> bool:
        """Queue the change; returns whether a caller waits for it."""
        if item.late is None:
            self._late.clear()
            self._queue.append(item)
            return True
        earlier = self._late.get(item.late.group)
        if earlier is not None and earlier.late is not None and earlier.late.join(item.late):
            earlier.joined.append(item)
        else:
            self._late[item.late.group] = item
            self._queue.append(item)
        return False

    def close(self) -> None:
        """Write and report all accepted changes; accept no more."""
        self._end_turn()
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._queue and not self._closed:
                    self._news.wait()
                self._news.wait_for(self._hurries, LINGER_S)
                batch, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
                self._late.clear()
            if not batch:
                return
            self._deliver(self._write(batch))

    def _hurries(self) -> bool:
        return self._closed or any(it.late is None for it in self._queue)

    def _write(self, batch: list[_Item]) -> Callable[[], None]:
        """Write the changes; returns the call that reports the results."""
        try:
            outcomes = self._outcomes(batch)
            self._failing = False
        except LogstoreError as error:
            outcomes = [(error, ())] * len(batch)
            if not self._failing:  # clients try again and again: said once is enough
                _log.warning("changes of groups, queues and users can't be kept: %s", error)
            self._failing = True
        except Exception as error:  # noqa: BLE001  else no group could change any more
            _log.exception("a bug in what is to be kept; %d changes are undone", len(batch))
            outcomes = [(Failed(f"internal error: {error!r}"), ())] * len(batch)

        def tell() -> None:
            for item, (error, refused) in zip(batch, outcomes, strict=True):
                item.finish(error, refused)

        return tell

    def _outcomes(self, batch: list[_Item]) -> list[Outcome]:
        """The result of each change, in one transaction. Raises what fails all of them."""
        full: LogstoreError | None = None
        try:
            if not all(item.frees for item in batch):
                self._environment.check_room()
        except StorageFull as error:
            if not any(item.frees for item in batch):
                raise
            full = error

        def work(transaction: Transaction) -> list[Outcome]:
            return [
                (full, ()) if full is not None and not item.frees else _outcome(item, transaction)
                for item in batch
            ]

        return self._environment.transact({it for item in batch for it in item.tables}, work)


def _outcome(item: _Item, transaction: Transaction) -> Outcome:
    """A refusal is raised before any change, so it undoes nothing of the others."""
    try:
        return None, item.work(transaction)
    except (Refused, CorruptStore) as error:  # a damaged group is refused by itself
        return error, ()


class _Decided:
    """Offsets of a group that the journal has; only the last one of each partition counts."""

    __slots__ = ("_all", "_offsets", "_table", "group")

    def __init__(self, table: GroupTable, group: str, offsets: ToCommit) -> None:
        self.group = group
        self._table = table
        self._offsets = offsets  # its own
        self._all = dict(offsets)  # with those of later ones

    def work(self, transaction: Transaction) -> Refusals:
        """As Late.work."""
        return self._table.decided(transaction, self.group, self._all)

    def join(self, later: "_Decided") -> bool:
        """As Late.join."""
        known = self._all
        if any(not _follows(known.get(place), it) for place, it in later._offsets.items()):
            return False
        known.update(later._offsets)
        return True

    def refused_of(self, refused: Refusals) -> Refusals:
        """As Late.refused_of."""
        return [it for it in refused if it in self._offsets] if refused else ()


def _follows(known: OffsetToCommit | None, later: OffsetToCommit) -> bool:
    """Whether only the later one need be stored, because the earlier one has no result."""
    return known is None or (
        known.topic_id == later.topic_id
        and known.replayed == later.replayed
        and 0 <= known.record <= later.record
    )


class GroupCommitter:
    """The ``GroupKeeper`` over a table in LMDB."""

    def __init__(self, committer: Committer, table: GroupTable) -> None:
        self._committer = committer
        self._table = table

    def load(self, group: str) -> KeptGroup | None:
        return self._table.load(group)

    def kinds(self) -> Mapping[str, str]:
        return self._table.kinds()

    def embedded(self, group: str) -> bool:
        return self._table.embedded(group)

    def fetch(self, group: str, places: Collection[TopicPartition] | None = None) -> Offsets:
        return self._table.fetch(group, places)

    def save(self, group: str, change: GroupChange) -> Keeping:
        return self._committer.keep(TABLES, lambda it: self._table.save(it, group, change))

    def commit(self, group: str, offsets: ToCommit) -> Keeping:
        return self._committer.keep(TABLES, lambda it: self._table.commit(it, group, offsets))

    def decided(self, group: str, offsets: ToCommit) -> Keeping:
        return self._committer.keep_late(TABLES, _Decided(self._table, group, offsets))

    def delete_group(self, group: str) -> Keeping:
        return self._committer.keep(TABLES, lambda it: self._table.delete(it, group))

    def delete_offsets(self, group: str, places: Collection[TopicPartition]) -> Keeping:
        return self._committer.keep(
            TABLES, lambda it: self._table.delete_offsets(it, group, places)
        )


class ScheduleCommitter:
    """The ``ScheduleKeeper`` over the table in LMDB."""

    def __init__(self, committer: Committer, environment: Environment) -> None:
        self._committer = committer
        self.index = ScheduleTable(environment)

    def write(self, log: bytes, put: Sequence[Entry], gone: Sequence[Entry], mark: int) -> Keeping:
        """As ScheduleKeeper.write."""
        return self._committer.keep(
            schedules.TABLES, lambda it: self.index.write(it, log, put, gone, mark), frees=not put
        )

    def forget(self, log: bytes, most: int) -> Keeping:
        """As ScheduleKeeper.forget."""

        def work(transaction: Transaction) -> None:
            self.index.forget(transaction, log, most)

        return self._committer.keep(schedules.TABLES, work, frees=True)


class QueueCommitter:
    """The ``QueueKeeper`` over the tables in LMDB."""

    numbers = None

    def __init__(self, committer: Committer, environment: Environment) -> None:
        self._committer = committer
        self._environment = environment
        self.schedules = ScheduleCommitter(committer, environment)

    def used(self) -> bool:
        return queues.used(self._environment)

    def load(self) -> KeptRouting:
        return queues.load(self._environment)

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Keeping:
        return self._committer.keep(queues.TABLES, lambda it: queues.change(it, keep, forget))


class UserCommitter:
    """The ``UserKeeper`` over the table in LMDB."""

    def __init__(self, committer: Committer, environment: Environment) -> None:
        self._committer = committer
        self._environment = environment

    def load(self) -> KeptAccess:
        return users.load(self._environment)

    def change(
        self, keep: Sequence[KeptOfAccess] = (), forget: Sequence[Forgotten] = ()
    ) -> Keeping:
        return self._committer.keep(
            users.TABLES, lambda it: users.change(it, keep, forget), frees=not keep
        )


class WillCommitter:
    """The ``WillKeeper`` over the table in LMDB."""

    def __init__(self, committer: Committer, environment: Environment) -> None:
        self._committer = committer
        self._environment = environment

    def used(self) -> bool:
        """As WillKeeper.used. Raises Failed."""
        return wills.used(self._environment)

    def load(self) -> KeptWills:
        """As WillKeeper.load. Raises Failed."""
        return wills.load(self._environment)

    def change(self, keep: Sequence[KeptWill] = (), forget: Sequence[int] = ()) -> Keeping:
        """As WillKeeper.change."""
        return self._committer.keep(
            wills.TABLES, lambda it: wills.change(it, keep, forget), frees=not keep
        )


class MqttCommitter:
    """The ``MqttKeeper`` over the tables in LMDB."""

    def __init__(self, committer: Committer, environment: Environment) -> None:
        self._committer = committer
        self._environment = environment

    def used(self) -> bool:
        """As MqttKeeper.used. Raises Failed."""
        return mqtt.used(self._environment)

    def load(self) -> KeptMqtt:
        """As MqttKeeper.load. Raises Failed."""
        return mqtt.load(self._environment)

    def change(
        self,
        keep: Sequence[KeptOfMqtt] = (),
        forget: Sequence[KeptOfMqtt] = (),
        alive_ms: int = 0,
    ) -> Keeping:
        """As MqttKeeper.change."""
        return self._committer.keep(
            mqtt.TABLES, lambda it: mqtt.change(it, keep, forget, alive_ms), frees=not keep
        )
