"""A thread that makes group changes durable: many in one transaction, so that no loop waits.

While one batch is synced, the next gathers. What is refused (``GroupBusy`` and the like) is refused
by itself; what the machine can't do (a full disk) is told to all of the batch.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from logstore.errors import Closed, CorruptStore, Failed, LogstoreError, Refused
from logstore.log import TopicPartition
from logstore.storage.environment import Environment, Transaction
from logstore.storage.groups import TABLES, GroupEntry, GroupSaved, GroupTable
from logstore.storage.offsets import Committed, Wanted

_log = logging.getLogger("logstore.groups")

# So many changes go into one transaction: a longer one keeps other processes out for too long.
BATCH_MAX = 4096

Refusals = Collection[TopicPartition]


class _Item(NamedTuple):
    work: Callable[[Transaction], Refusals]
    finished: Callable[[LogstoreError | None, Refusals], None]


class GroupCommitter:
    """What a server's coordinator keeps its groups with. One thread calls; one thread writes."""

    def __init__(
        self,
        environment: Environment,
        table: GroupTable,
        deliver: Callable[[Callable[[], None]], object],
    ) -> None:
        """``deliver(call)`` has ``call`` made in the caller's own thread, soon and in order.

        A loop's ``call_soon_threadsafe``, say.
        """
        self._environment = environment
        self._table = table
        self._deliver = deliver
        self._queue: list[_Item] = []
        self._news = threading.Condition()
        self._closed = self._failing = False
        self._thread = threading.Thread(target=self._run, name="group committer", daemon=True)
        self._thread.start()

    # What is kept

    def load(self, group: str) -> GroupEntry | None:
        return self._table.load(group)

    def groups(self) -> dict[str, str]:
        return self._table.kinds()

    def embedded(self, group: str) -> bool:
        return self._table.embedded(group)

    def fetch(
        self, group: str, places: Collection[TopicPartition] | None = None
    ) -> dict[TopicPartition, Committed]:
        return self._table.offsets.fetch(group, places)

    # What is to be kept

    def save(
        self, group: str, change: GroupSaved, finished: Callable[[LogstoreError | None], None]
    ) -> None:
        self._add(lambda transaction: self._table.save(transaction, group, change), finished)

    def delete_group(self, group: str, finished: Callable[[LogstoreError | None], None]) -> None:
        self._add(lambda transaction: self._table.delete(transaction, group), finished)

    def delete_offsets(
        self,
        group: str,
        places: Collection[TopicPartition],
        finished: Callable[[LogstoreError | None], None],
    ) -> None:
        self._add(
            lambda transaction: self._table.delete_offsets(transaction, group, places), finished
        )

    def commit(
        self,
        group: str,
        offsets: Mapping[TopicPartition, Wanted],
        finished: Callable[[LogstoreError | None, Refusals], None],
    ) -> None:
        """``finished`` gets the partitions whose topic is gone, too."""
        self._put(
            _Item(lambda transaction: self._table.commit(transaction, group, offsets), finished)
        )

    def _add(
        self,
        work: Callable[[Transaction], None],
        finished: Callable[[LogstoreError | None], None],
    ) -> None:
        def and_none(transaction: Transaction) -> Refusals:
            work(transaction)
            return ()

        self._put(_Item(and_none, lambda error, _: finished(error)))

    def _put(self, item: _Item) -> None:
        with self._news:
            if self._closed:
                raise Closed("the store is closed")
            self._queue.append(item)
            self._news.notify()

    def close(self) -> None:
        """What was given is written, and told; nothing more is taken."""
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
                batch, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
            if not batch:
                return
            self._deliver(self._write(batch))

    def _write(self, batch: list[_Item]) -> Callable[[], None]:
        """Write them; the call that tells so."""

        def work(transaction: Transaction) -> list[tuple[LogstoreError | None, Refusals]]:
            return [_outcome(item, transaction) for item in batch]

        try:
            outcomes = self._environment.transact(TABLES, work)
            self._failing = False
        except LogstoreError as error:
            outcomes = [(error, ())] * len(batch)
            if not self._failing:  # clients try again and again: said once is enough
                _log.warning("consumer groups and offsets can't be kept: %s", error)
            self._failing = True
        except Exception as error:  # noqa: BLE001  else no group could change any more
            _log.exception("a bug in keeping consumer groups; %d changes are undone", len(batch))
            outcomes = [(Failed(f"internal error: {error!r}"), ())] * len(batch)

        def tell() -> None:
            for item, (error, refused) in zip(batch, outcomes, strict=True):
                item.finished(error, refused)

        return tell


def _outcome(item: _Item, transaction: Transaction) -> tuple[LogstoreError | None, Refusals]:
    """A refusal comes before anything is changed: it undoes nothing of the others."""
    try:
        return None, item.work(transaction)
    except (Refused, CorruptStore) as error:  # a damaged group is refused by itself
        return error, ()
