"""A log's transactions at random, and what they come to."""

from clock import NOW_MS

from logstore.broker.ledger import Ledger
from logstore.records.control import ABORT, COMMIT, marker, outcome_of
from logstore.records.encode import encode


def a_ledger():
    return Ledger(lambda: NOW_MS, 1000)


class Producers:
    """Some with transactions, some without; each batch and marker that ``next`` gives is in order.

    With ``bumps`` markers raise the epoch, as those of transactions of version 2 do (KIP-890).
    """

    def __init__(self, rng, *, bumps):
        self.rng, self.bumps = rng, bumps
        self.sequences, self.epochs, self.open = {}, {}, set()

    def next(self):
        rng, producer = self.rng, self.rng.randrange(4)
        if producer in self.open and rng.random() < 0.5:
            self.open.discard(producer)
            if self.bumps:
                self.epochs[producer] = self.epochs.get(producer, 0) + 1
                self.sequences[producer] = 0
            outcome = rng.choice([ABORT, COMMIT])
            return marker(outcome, producer, self.epochs.get(producer, 0), NOW_MS)
        if producer < 3:
            self.open.add(producer)
        count, first = rng.randrange(1, 3), self.sequences.get(producer, 0)
        self.sequences[producer] = first + count
        return encode(
            [(b"x", None, (), NOW_MS)] * count, producer_id=producer, base_sequence=first,
            producer_epoch=self.epochs.get(producer, 0), transactional=producer < 3,
        )  # fmt: skip


def every_batch(log):
    at = log.start
    while batches := log.read(at, 1000):
        yield from batches
        at = batches[-1].next_offset


def transactions_in(batches):
    """Open and aborted transactions, by a naive reading."""
    begun, aborted = {}, []
    for batch in batches:
        if not batch.is_transactional:
            continue
        if not batch.is_control:
            begun.setdefault(batch.producer_id, batch.base_offset)
            continue
        first = begun.pop(batch.producer_id, None)
        if first is not None and outcome_of(batch) == ABORT:
            stable = min(begun.values(), default=batch.next_offset)
            aborted.append((batch.producer_id, first, batch.base_offset, stable))
    return begun, aborted


def read_as_kafka(log, at, bytes_max):
    """The batches from ``at`` on that Kafka's consumer shows of committed records.

    Fetch by fetch, by the list of aborted transactions in each answer (CompletedFetch); no answer
    has a batch beyond the stable offset.
    """
    stable = log.stable
    while batches := [it for it in log.read(at, bytes_max) if it.next_offset <= stable]:
        upper = batches[-1].next_offset
        begun = sorted((it.first, it.producer_id) for it in log.aborted(at, upper))
        aborted = set()
        for batch in batches:
            while begun and begun[0][0] <= batch.last_offset:
                aborted.add(begun.pop(0)[1])
            if batch.is_control:
                if outcome_of(batch) == ABORT:
                    aborted.discard(batch.producer_id)
            elif not (batch.is_transactional and batch.producer_id in aborted):
                yield batch
        at = upper
