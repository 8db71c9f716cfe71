"""A partition's memory of its idempotent producers (KIP-98, KIP-360).

It keeps a batch that is sent twice from being stored twice.

A producer numbers its records per partition: a batch must begin where the one before ended. The
last five batches of each producer are known (a client has at most five in flight); if one of them
comes again, the answer is the offset that it has. A higher epoch begins again at 0 and fences the
lower ones.

A producer that has begun a transaction here (its batches say so) has it open until the marker that
ends it: the transactions that are open are known by the offset of their first record, and readers
of what is committed stop at the earliest (KIP-98).

Batches of held transactions have a producer of their own, which no client has (``queues/held.py``).
Its last batch says which of them are here, so this producer is never forgotten.

The ledger is made of the log's batches alone. The log saves it with its recovery point and tells it
at opening of the batches above, so it survives whatever the batches survive. Where the topic has
``deduplication.header``, the ids that it remembers are kept here, too (``deduplication/``).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from logstore.errors import CorruptStore, FencedProducer, OfEndedTransaction, OutOfSequence
from logstore.log import Aborted, Log
from logstore.records.batch import NUMBERED_PRODUCER, Batch
from logstore.records.control import COMMIT, outcome_of
from logstore.settings import TopicSettings

if TYPE_CHECKING:  # few topics have them
    from logstore.broker.deduplication.repeats import Repeats

BATCHES_KEPT: Final = 5  # as many requests as an idempotent client may have under way
PRODUCERS_MAX: Final = 16_384  # of one partition; the one not heard of for longest is forgotten
SEQUENCE_MAX: Final = 2**31 - 1

_PRODUCER = Struct(">qhqB")  # id, epoch, last seen (ms), batches
_BATCH = Struct(">iiq")
_REPEATS: Final = -2  # in place of an id: what follows is what is remembered of ids of records
_OPEN: Final = -3  # likewise: open transactions, as many as the last number says
_FIRST = Struct(">qq")  # id, the first offset of its open transaction

assert BATCHES_KEPT < 256, "a note counts them in one byte"


class Sent(NamedTuple):
    """One batch of a producer."""

    first_sequence: int
    last_sequence: int
    base_offset: int


class Known(NamedTuple):
    """What is known about one producer."""

    epoch: int
    seen_ms: int
    sent: tuple[Sent, ...]  # of this epoch, the newest last
    max_timestamp_ms: int = -1  # of its last batch; not kept over a restart


class Ledger:
    """The idempotent producers of one log. Not locked: its log calls it one call at a time."""

    def __init__(
        self,
        clock: Callable[[], int],
        expiration_ms: int,
        repeats: "Callable[[TopicSettings], Repeats] | None" = None,
    ) -> None:
        """``repeats``: makes a topic's deduplication, if its settings ask for it."""
        self.repeats: Repeats | None = None
        self._make_repeats = repeats
        self._clock = clock
        self._expiration_ms = expiration_ms
        self._producers: dict[int, Known] = {}  # the last heard of is last
        self._open: OrderedDict[int, int] = OrderedDict()  # first offsets, which rise, by producer
        self._frozen: Callable[[], bytes] | None = None

    def check(self, batch: Batch) -> int | None:
        """Return the batch's offset if it was appended before; None: it is the producer's next one.

        Raises OutOfSequence, OfEndedTransaction, FencedProducer.
        """
        known = self._known(batch.producer_id)
        if known is None:
            return None  # whatever came before is forgotten
        first, last = batch.base_sequence, last_sequence(batch)
        if batch.producer_epoch < known.epoch:
            raise FencedProducer(
                f"producer {batch.producer_id} has epoch {batch.producer_epoch}, "
                f"a newer one has {known.epoch}"
            )
        if batch.producer_epoch > known.epoch or not known.sent:
            if first != 0:
                raise OutOfSequence(
                    f"producer {batch.producer_id}: epoch {batch.producer_epoch} is new and begins "
                    f"with sequence {first}, expected 0"
                )
            return None
        for sent in known.sent:
            if sent.first_sequence == first and sent.last_sequence == last:
                begun = self._open.get(batch.producer_id)
                if batch.is_transactional and (begun is None or sent.base_offset < begun):
                    raise OfEndedTransaction(
                        f"producer {batch.producer_id}: sequence {first} is of a transaction that "
                        f"has ended: begin another one with a new epoch"
                    )
                return sent.base_offset
        expected = _after(known.sent[-1].last_sequence)
        if first != expected:
            raise OutOfSequence(
                f"producer {batch.producer_id}: sequence {first} came, expected {expected}"
            )
        return None

    def knows(self, producer_id: int) -> bool:
        """Return whether the producer has written here and has not expired."""
        return self._known(producer_id) is not None

    def _known(self, producer_id: int) -> Known | None:
        known = self._producers.get(producer_id)
        if known is None:
            return None
        expired = self._clock() - known.seen_ms >= self._expiration_ms
        return None if expired and not self._stays(producer_id) else known

    def _stays(self, producer_id: int) -> bool:
        """Return whether the producer is remembered however long it is silent."""
        return producer_id in self._open or producer_id == NUMBERED_PRODUCER

    def producers(self) -> Iterator[tuple[int, Known]]:
        """Yield the producers of clients that have not expired."""
        for producer_id in list(self._producers):
            known = self._known(producer_id)
            if known is not None and producer_id != NUMBERED_PRODUCER:
                yield producer_id, known

    @property
    def numbered(self) -> tuple[int, int] | None:
        """The epoch and base sequence of the last batch from a held transaction."""
        known = self._producers.get(NUMBERED_PRODUCER)
        return None if known is None else (known.epoch, known.sent[-1].first_sequence)

    @property
    def undecided(self) -> int | None:
        """As Deciding.undecided."""
        holder = self.holder
        return None if holder is None else holder[1]

    @property
    def holder(self) -> tuple[int, int] | None:
        """The producer and offset of the earliest open transaction. From any thread."""
        while True:
            try:
                return next(iter(self._open.items()), None)
            except RuntimeError:  # a batch came in between, in another thread
                continue

    @property
    def open(self) -> Mapping[int, int]:
        """The first offset of each open transaction, by its producer; the earliest first."""
        return self._open

    # What the log calls

    def apply(self, settings: TopicSettings) -> None:
        """As Once.apply."""
        if self._make_repeats is None:
            return
        header = settings.deduplication_header
        if self.repeats is not None and self.repeats.header == header:
            self.repeats.apply(settings)
        else:
            self.repeats = self._make_repeats(settings) if header else None
            self._frozen = None

    def admitted(self, batch: Batch) -> Batch:
        """As Once.admitted."""
        return batch if self.repeats is None else self.repeats.admitted(batch)

    def appended(self, batch: Batch, base_offset: int) -> Aborted | None:
        """As ``Notes.appended``. Batches of producers that are not idempotent are not noted."""
        if self.repeats is not None:
            self.repeats.appended(batch)
            self._frozen = None
        if batch.producer_id < 0:
            return None
        if batch.is_control:
            return self._ended(batch, base_offset)
        known = self._producers.pop(batch.producer_id, None)
        sent: tuple[Sent, ...] = ()
        if known is not None and known.epoch == batch.producer_epoch:
            sent = known.sent
            if sent and sent[-1].base_offset >= base_offset:  # told of before
                self._producers[batch.producer_id] = known
                return None
        sent = (
            *sent[1 - BATCHES_KEPT :],
            Sent(batch.base_sequence, last_sequence(batch), base_offset),
        )
        self._producers[batch.producer_id] = Known(
            batch.producer_epoch, self._clock(), sent, batch.max_timestamp_ms
        )
        self._frozen = None
        if batch.is_transactional:
            self._open.setdefault(batch.producer_id, base_offset)
        if len(self._producers) > PRODUCERS_MAX:
            self._forget_one()
        return None

    def _ended(self, batch: Batch, base_offset: int) -> Aborted | None:
        """Note a transaction's marker; the transaction may have no records here."""
        outcome = outcome_of(batch)
        if outcome is None:
            return None
        self._frozen = None
        known = self._producers.pop(batch.producer_id, None)
        sent: tuple[Sent, ...] = ()
        if known is not None and known.epoch == batch.producer_epoch:
            sent = known.sent  # with an epoch that the marker raises numbers begin anew (KIP-890)
        self._producers[batch.producer_id] = Known(
            batch.producer_epoch, self._clock(), sent, batch.max_timestamp_ms
        )
        first = self._open.get(batch.producer_id)
        if first is None or first > base_offset:  # told of before
            return None
        del self._open[batch.producer_id]
        if outcome == COMMIT:
            return None
        undecided = self.undecided
        stable = base_offset + 1 if undecided is None else undecided
        return Aborted(batch.producer_id, first, base_offset, stable)

    def _forget_one(self) -> None:
        """Forget the producer that was silent longest, except those that stay."""
        for producer_id in self._producers:
            if not self._stays(producer_id):
                del self._producers[producer_id]
                return

    def freeze(self) -> Callable[[], bytes]:
        """As Notes.freeze. Producers are values, so a shallow copy is enough."""
        if self._frozen is None:
            producers, begun = self._producers.copy(), self._open.copy()
            repeats = None if self.repeats is None else self.repeats.freeze()
            self._frozen = lambda: self._dump(producers, begun, repeats)
        return self._frozen

    def _dump(
        self,
        producers: dict[int, Known],
        begun: dict[int, int],
        repeats: Callable[[], bytes] | None,
    ) -> bytes:
        oldest = self._clock() - self._expiration_ms
        parts: list[bytes] = []
        for producer_id, known in producers.items():
            if known.seen_ms > oldest or producer_id in begun or producer_id == NUMBERED_PRODUCER:
                parts.append(
                    _PRODUCER.pack(producer_id, known.epoch, known.seen_ms, len(known.sent))
                )
                parts += [_BATCH.pack(*sent) for sent in known.sent]
        if begun:
            parts.append(_PRODUCER.pack(_OPEN, 0, len(begun), 0))
            parts += [_FIRST.pack(*it) for it in begun.items()]
        if repeats is not None:
            parts += (_PRODUCER.pack(_REPEATS, 0, 0, 0), repeats())
        return b"".join(parts)

    def load(self, note: bytes) -> None:
        """As Notes.load."""
        at = 0
        try:
            while at < len(note):
                producer_id, epoch, seen_ms, count = _PRODUCER.unpack_from(note, at)
                at += _PRODUCER.size
                if producer_id == _REPEATS:
                    if self.repeats is not None:
                        self.repeats.load(note[at:])
                    break
                if producer_id == _OPEN:
                    for _ in range(seen_ms):
                        self._open.update((_FIRST.unpack_from(note, at),))
                        at += _FIRST.size
                    continue
                sent = []
                for _ in range(count):
                    sent.append(Sent(*_BATCH.unpack_from(note, at)))
                    at += _BATCH.size
                self._producers[producer_id] = Known(epoch, seen_ms, tuple(sent))
        except StructError:
            raise CorruptStore("the note of a log's idempotent producers is cut off") from None


def producers_of(log: Log) -> Ledger | None:
    """Return the notes on producers of a topic's log; None in a process that only reads it.

    The kind of a log determines its notes: a topic's has these and no others (``store.py``).
    """
    return cast("Ledger | None", log.notes)


def once(log: Log, batch: Batch) -> Batch:
    """Prepare the batch if the log has deduplication, so that appending it takes no longer.

    It may take long. Raises CorruptBatch.
    """
    known = producers_of(log)
    repeats = None if known is None else known.repeats
    return batch if repeats is None else repeats.prepared(batch)


def ids_in(batch: Batch) -> int:
    """Return the number of records whose ids ``once`` has looked at."""
    return len(getattr(batch, "ids", ()))


def last_sequence(batch: Batch) -> int:
    """Return the last sequence of a batch; sequences wrap to 0 after 2**31 - 1."""
    return (batch.base_sequence + batch.last_offset_delta) & SEQUENCE_MAX


def _after(sequence: int) -> int:
    return (sequence + 1) & SEQUENCE_MAX
