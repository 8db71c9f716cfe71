"""Completes, at a start, transactions that were committed before and may not have been executed.

The journal has the record of each such transaction. Its messages are appended to the lanes and to
the partitions of topics before any later transaction can reach them; a log that already has them
ignores them.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from logstore.broker.here import read_when_here
from logstore.broker.queues.held import HELD, Body, Place, decode, first_of
from logstore.broker.queues.holding import Holding
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Entry, Holder
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.decode import decode as records_of

READ_BYTES: Final = 1 << 20  # at once

log: Final = logging.getLogger("logstore.queues")


def resume(
    journal: Log,
    unfinished: Sequence[tuple[int, int]],
    queue: Callable[[int], Holder | None],
    holding: Holding,
    *,
    all_known: bool,
    topics_known: bool,
) -> None:
    """Resume the transactions of an earlier process that are not finished.

    ``unfinished``: from the notes. ``queue``: returns a queue by number; None: it is deleted,
    unless not ``all_known``, when its row may be damaged. So may a topic's, if not
    ``topics_known``. Such a transaction, and an unreadable one, is logged, and stays unfinished.
    """
    for first, bodies in _transactions(journal, unfinished):
        waiting = Waiting(synced=True)
        for number, body in enumerate(bodies, first):
            if isinstance(body.to, Place):
                entry = Entry(body.to, body.batch)
                if holding.partitions is None or not topics_known:
                    log.error("a commit waits for a topic, which is damaged or not to be had here")
                    waiting.park()
                else:
                    holding.partitions.append(entry, waiting, number)
                continue
            for lane in body.to:
                if (holder := queue(lane.queue)) is not None:
                    holder.stock.append_held(
                        lane.priority, body.batch, _body_bytes(body.batch, holder), waiting,
                        again=number, expires=True,
                    )  # fmt: skip
                elif not all_known:
                    log.error("a commit waits for queue %d, which is damaged or gone", lane.queue)
                    waiting.park()
        holding.again(first, waiting)


def _transactions(
    journal: Log, unfinished: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, list[Body]]]:
    known: dict[int, bytes] = {}  # of the batch that was read last, by the first number
    for first, offset in unfinished:
        if offset < journal.start:  # that is why it could be trimmed
            yield first, []
            continue
        try:
            if first not in known:
                known = _held_in(read_when_here(journal, offset, 1))
            yield first, decode(known[first], first)
        except LogstoreError as error:
            log.error("what was committed can't be read again: %s", error)  # noqa: TRY400
        except KeyError:
            log.error("transaction %d is not where the journal should have it", first)  # noqa: TRY400


def _held_in(batches: Sequence[Batch]) -> dict[int, bytes]:
    return {
        first_of(record.key): record.value
        for batch in batches
        for record in records_of(batch)
        if record.key is not None and record.value is not None and record.key[:1] == HELD
    }


def _body_bytes(batch: Batch, holder: Holder) -> int:
    if not holder.stock.sized:
        return 0
    return sum(len(it.value or b"") for it in records_of(batch))
