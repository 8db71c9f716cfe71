"""The notes beside the journal's log: the state of every queue as of a recovery point.

The journal has one record for each queue that a turn has changed. Its key is a letter (``Q`` for a
queue) and the queue's number, which is never used again; its value is described in ``settled.py``.
Other letters: ``H`` for the messages of a held transaction (``held.py``), ``I`` for ids that an
exchange has let pass (``seen.py``), ``M`` for exactly-once exchanges of a client's session
(``handovers.py``), ``G`` for settlements of a share group (``share_groups.py``), and others for
Kafka transactions (``transactions/operations.py``). So the state follows from the journal's batches
alone, except which transactions are finished: the caller reports that.

When a batch is appended, only its bytes are kept, because live queues have their state in their
``Settlement``s. The bytes are decoded when the log saves a recovery point, in the thread that does
so, or when the state of a queue is requested. The encoded state of each queue is kept; only changed
queues are encoded again.

The note is a format (a byte), then for each queue: length | key | length | state (``state.py``).
The key ``H``, if held transactions occurred, has the unfinished ones (``unfinished.py``); ``T`` has
the state of Kafka transactions (``transactions/journaled.py``); ``G`` has the settlements of share
groups.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, cast

from logstore.broker.packed import Packed, packed
from logstore.broker.queues import held
from logstore.broker.queues.handovers import HandOvers
from logstore.broker.queues.held import HELD
from logstore.broker.queues.settled import apply
from logstore.broker.queues.state import QueueState
from logstore.broker.queues.unfinished import Unfinished
from logstore.errors import CorruptStore, LogstoreError, SchemaTooNew
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.decode import decode

if TYPE_CHECKING:  # few stores have any
    from logstore.broker.deduplication.deduplication import Deduplication
    from logstore.broker.queues.seen import Seen
    from logstore.broker.queues.share_groups import JournaledShares
    from logstore.broker.transactions.journaled import Journaled
    from logstore.broker.transactions.staged import Committed

FORMAT: Final = 2
WITHOUT_REMOVED: Final = 1  # the earlier format, without purged messages
QUEUE: Final = b"Q"
SEEN: Final = b"I"
SESSION: Final = b"M"
TRANSACTIONS: Final = b"T"  # of the note; of records, one of these
SHARES: Final = b"G"
OF_TRANSACTIONS: Final = frozenset((b"T", b"P", b"O", b"F", b"D"))


def queue_key(queue: int) -> bytes:
    """Return the key of a queue's records, from its number."""
    return QUEUE + packed(queue)


def queue_of(key: bytes) -> int:
    """Return the number of the queue with this key. Raises SchemaTooNew, CorruptStore."""
    if key[:1] != QUEUE:
        raise SchemaTooNew(
            f"the journal has a record with the key {key[:16]!r}, which this logstore does not "
            f"know: open the store with the one that wrote it"
        )
    return _number_in(key)


def _number_in(key: bytes) -> int:
    data = Packed(key[1:], f"the key {key[:16]!r} of the journal")
    number = data.number()
    if data:
        raise data.damaged("is too long")
    return number


def seen_key(exchange: int) -> bytes:
    """Return the key of an exchange's records of message ids, from its number."""
    return SEEN + packed(exchange)


def exchange_of(key: bytes) -> int:
    """Return the number in a key made by ``seen_key``. Raises CorruptStore."""
    return _number_in(key)


def session_key(session: int) -> bytes:
    """Return the key of a session's hand-over records, from its number."""
    return SESSION + packed(session)


def session_of(key: bytes) -> int:
    """Return the number in a key made by ``session_key``. Raises CorruptStore."""
    return _number_in(key)


class SettlementNotes:
    """The ``Notes`` of the journal's log."""

    def __init__(self, deduplication: "Deduplication | None" = None) -> None:
        """``deduplication``: the memory budget for message ids of exchanges."""
        self._deduplication = deduplication
        self._states: dict[bytes, bytes] = {}  # as of the batch with the number _read
        self._seen: dict[bytes, Seen] = {}  # of exchanges, as of the same
        self._handovers: dict[bytes, HandOvers] = {}  # of sessions, as of the same
        # Of the queues that these are about: lanes and offsets. None: to be gathered.
        self._claims: dict[int, list[tuple[int, int]]] | None = None
        self._read = 0  # batches
        self._unread: list[tuple[int, bytes]] = []  # unread batches, each with its offset
        self._held = Unfinished()  # as of the same batch
        self._finished: list[int] = []  # first numbers of transactions; not told to _held yet
        self._transactions: Journaled | None = None  # as of the same; None: there were none
        self._ended: list[int] = []  # places of decisions; not told to it yet
        self._shares: JournaledShares | None = None  # as of the same; None: there were none
        self._replaying = True
        self._from_before = False  # the note was of the format before
        self._note: bytes | None = None  # of _states
        self._frozen: Callable[[], bytes] | None = None  # of all of it
        self._appending = threading.Lock()  # held for a moment: an append never waits for a reading
        self._reading = threading.Lock()  # taken before the other, if both are

    # What the log calls

    def load(self, note: bytes) -> None:
        """As Notes.load. Also raises SchemaTooNew."""
        data = Packed(note, "what is kept of queues beside the journal")
        found = data.byte() if note else FORMAT
        if found not in (FORMAT, WITHOUT_REMOVED):
            raise SchemaTooNew(
                f"what is kept of queues beside the journal has format {found}, known is {FORMAT}: "
                f"open the store with the logstore that wrote it"
            )
        self._from_before = found == WITHOUT_REMOVED
        states: dict[bytes, bytes] = {}
        while data:
            key = data.bytes(data.number())
            if key[:1] == SEEN:
                exchange_of(key)
            elif key[:1] == SESSION:
                session_of(key)
            elif key not in (HELD, TRANSACTIONS, SHARES):
                queue_of(key)
            if key in states:
                raise data.damaged(f"has the key {key!r} twice")
            states[key] = data.bytes(data.number())
        if (kept := states.pop(HELD, None)) is not None:
            self._held = Unfinished.decode(kept)
        if (kept := states.pop(TRANSACTIONS, None)) is not None:
            self._transactions = _journaled().decode(kept)
        if (kept := states.pop(SHARES, None)) is not None:
            self._shares = _journaled_shares().decode(kept)
        for key in [it for it in states if it[:1] == SEEN]:
            self._enter(key, states.pop(key))
        for key in [it for it in states if it[:1] == SESSION]:
            self._hand_over(key, states.pop(key))
        self._states = states

    def _remove_settled(self) -> None:
        """Count all settled messages as removed: it is unknown which of them were purged."""
        for key, kept in self._states.items():
            try:
                state = _decoded(key, kept)
            except LogstoreError:  # the next caller for this queue gets the error
                continue
            for lane in state.lanes.values():
                lane.remove_settled()
            self._states[key] = state.encode()
        self._note = None

    def appended(self, batch: Batch, base_offset: int) -> None:
        """As Notes.appended."""
        with self._appending:
            self._unread.append((base_offset, bytes(batch.data)))
            self._frozen = None

    def freeze(self) -> Callable[[], bytes]:
        """As ``Notes.freeze``. The first call, when the log is opened, reads the replayed records.

        A journal with unknown records is therefore not opened: raises SchemaTooNew, CorruptStore.
        An earlier snapshot returns what was read last, if that is more: it was frozen too, so it is
        synced, and a replay of batches that it includes leads to the same state.
        """
        if self._replaying:
            with self._reading:
                self._read_all()
                if self._from_before:
                    self._remove_settled()
            self._replaying = False
        with self._appending:
            if self._frozen is None:
                upto = self._read + len(self._unread)
                self._frozen = lambda: self._bytes(upto)
            return self._frozen

    # What the queues ask

    def state(self, queue: int) -> QueueState | None:
        """Return what is settled of a queue, by the whole journal; None: nothing ever was.

        Raises SchemaTooNew, CorruptStore.
        """
        key = queue_key(queue)
        with self._reading:
            self._read_all()
            kept = self._states.get(key)
            state = None if kept is None else _decoded(key, kept)
            for lane, offset in self._claimed().get(queue, ()):
                state = QueueState() if state is None else state
                state.lane(lane).claimed.append(offset)
        return state

    def queues(self) -> list[int]:
        """Return the numbers of the known queues. Raises SchemaTooNew, CorruptStore."""
        with self._reading:
            self._read_all()
            return [queue_of(key) for key in self._states]

    # What exchanges ask

    def exchanges(self) -> list[int]:
        """Return the numbers of exchanges with known ids. Raises as ``state``."""
        with self._reading:
            self._read_all()
            return [exchange_of(key) for key in self._seen]

    def seen(self, exchange: int) -> Sequence[tuple[bytes, int]]:
        """Return the ids that the exchange has let pass, each with its expiry time.

        Raises as ``state``.
        """
        with self._reading:
            self._read_all()
            seen = self._seen.get(seen_key(exchange))
            return () if seen is None else seen.items()

    # What sessions ask

    def sessions(self) -> list[int]:
        """Return the numbers of sessions with hand-overs. Raises as ``state``."""
        with self._reading:
            self._read_all()
            return [session_of(key) for key in self._handovers]

    def handovers(self, session: int) -> HandOvers:
        """Return the hand-overs of a session. Raises as ``state``."""
        with self._reading:
            self._read_all()
            known = self._handovers.get(session_key(session))
            return HandOvers() if known is None else known.copy()

    # What held transactions ask

    @property
    def next_number(self) -> int:
        """A number for a body, above all in the journal. Raises as ``state``."""
        with self._reading:
            self._read_all()
            return self._held.next_number

    def unfinished(self) -> list[tuple[int, int]]:
        """Return transactions that may be incomplete: first number, and the record's offset.

        They are in order. Those below the journal's start are finished. Raises as ``state``.
        """
        with self._reading:
            self._read_all()
            return self._held.items()

    def finished(self, first: int) -> None:
        """Note that all of this transaction is synced at its targets, or they are gone."""
        with self._appending:
            self._finished.append(first)

    def needed_from(self, below: int) -> int:
        """Return the offset from which on the journal must keep its records.

        ``below``: the result if nothing below it is needed. Raises as ``state``.
        """
        with self._reading:
            self._read_all()
            below = self._held.lowest(below)
            return below if self._transactions is None else self._transactions.lowest(below)

    # What transactions of topics ask

    def transactions(self) -> "Journaled":
        """Return a copy of the state of transactions. Raises as ``state``."""
        with self._reading:
            self._read_all()
            known, made = self._transactions, _journaled()
            return made() if known is None else made.decode(known.encode())

    def committed(self) -> "list[tuple[int, Committed]]":
        """Return offsets that may not be stored yet, as ``Journaled.committed``. Raises as
        ``state``.
        """
        with self._reading:
            self._read_all()
            return [] if self._transactions is None else self._transactions.committed()

    def ended(self, place: int) -> None:
        """Note that the record at this place is carried out (``Journaled.finish``)."""
        with self._appending:
            self._ended.append(place)

    # What share groups ask

    def shares(self) -> "JournaledShares":
        """Return a copy of the state of share groups. Raises as ``state``."""
        with self._reading:
            self._read_all()
            known, made = self._shares, _journaled_shares()
            return made() if known is None else made.decode(known.encode())

    # Reading batches: with _reading held

    def _bytes(self, upto: int) -> bytes:
        with self._reading:
            self._read_to(upto)
            if self._note is None:
                parts = [bytes((FORMAT,))]
                states = dict(self._states)
                if self._held:
                    states[HELD] = self._held.encode()
                if self._transactions:
                    states[TRANSACTIONS] = self._transactions.encode()
                if self._shares:
                    states[SHARES] = self._shares.encode()
                states |= {key: it.encode() for key, it in self._seen.items()}
                states |= {key: it.encode() for key, it in self._handovers.items()}
                for key, state in states.items():
                    parts += (packed(len(key)), key, packed(len(state)), state)
                self._note = b"".join(parts)
            return self._note

    def _read_all(self) -> None:
        with self._appending:
            upto = self._read + len(self._unread)
        self._read_to(upto)

    def _read_to(self, upto: int) -> None:
        """Read the batches up to the one with this number that are not read yet."""
        with self._appending:
            batches = self._unread[: max(0, upto - self._read)]
            finished, self._finished = self._finished, []
            ended, self._ended = self._ended, []
        self._read_held(finished, ())
        self._end(ended)
        if not batches:
            return
        values: dict[bytes, list[bytes]] = {}  # by key: queues have nothing to do with each other
        brought: list[tuple[int, int, int]] = []
        for offset, key, value in _records(batches):
            if key[:1] == HELD:
                first = held.first_of(key)
                brought.append((first, len(held.decode(value, first)), offset))
            elif key[:1] == SEEN:
                self._let_pass(key, value)
            elif key[:1] == SESSION:
                self._hand_over(key, value)
            elif key[:1] in OF_TRANSACTIONS:
                self._transact(key, value, offset)
            elif key[:1] == SHARES:
                self._share(key, value, offset)
            else:
                values.setdefault(key, []).append(value)
        changed = {key: self._changed(key, told) for key, told in values.items()}
        for key, state in changed.items():
            if state is None:
                self._states.pop(key, None)
            else:
                self._states[key] = state
        self._read_held((), brought)
        self._note = None
        with self._appending:
            del self._unread[: len(batches)]
            self._read += len(batches)

    def _read_held(self, finished: Sequence[int], brought: Sequence[tuple[int, int, int]]) -> None:
        for first in finished:
            self._held.finish(first)
            self._note = None
        for first, count, offset in brought:
            self._held.add(first, count, offset)

    def _transact(self, key: bytes, value: bytes, place: int) -> None:
        if self._transactions is None:
            self._transactions = _journaled()()
        self._transactions.apply(key, value, place)

    def _share(self, key: bytes, value: bytes, place: int) -> None:
        if self._shares is None:
            self._shares = _journaled_shares()()
        self._shares.apply(key, value, place)

    def _end(self, places: Sequence[int]) -> None:
        for place in places:
            if self._transactions is None:
                self._transactions = _journaled()()
            self._transactions.finish(place)
            self._note = None

    def _let_pass(self, key: bytes, value: bytes) -> None:
        exchange_of(key)
        if value:
            seen = self._seen.get(key)
            if seen is None:
                seen = self._enter(key)
            came = seen.apply(value, _named(key))
            if self._deduplication is not None:
                self._deduplication.room.came(came)
        else:
            self._seen.pop(key, None)

    def _enter(self, key: bytes, kept: bytes | None = None) -> "Seen":
        """Return the ids of an exchange, new or as stored, and count their memory."""
        from logstore.broker.queues.seen import Seen  # few exchanges have any

        seen = Seen() if kept is None else Seen.decode(kept, _named(key))
        self._seen[key] = seen
        if self._deduplication is not None:
            self._deduplication.room.enter(seen)
        return seen

    def _claimed(self) -> dict[int, list[tuple[int, int]]]:
        if self._claims is None:
            self._claims = {}
            for handovers in self._handovers.values():
                for it in handovers.sent.values():
                    self._claims.setdefault(it.queue, []).append((it.lane, it.offset))
        return self._claims

    def _hand_over(self, key: bytes, value: bytes) -> None:
        session_of(key)
        self._claims = None
        known = self._handovers.pop(key, None) or HandOvers()
        if known.apply(value, _named(key)) and known:
            self._handovers[key] = known

    def _changed(self, key: bytes, values: list[bytes]) -> bytes | None:
        """Return the state of a queue after these values; None: it is deleted."""
        kept, name = self._states.get(key), _named(key)
        state = QueueState() if kept is None else _decoded(key, kept)
        there = True
        for value in values:
            if not there:
                state = QueueState()
            there = apply(value, state, name)
        return state.encode() if there else None


def settlements_of(log: Log) -> SettlementNotes:
    """Return the notes of the journal's log, in the process that writes it.

    The kind of a log determines its notes: the journal's has these and no others (``store.py``).
    """
    return cast("SettlementNotes", log.notes)


def _journaled() -> "type[Journaled]":
    from logstore.broker.transactions.journaled import Journaled  # few stores have any

    return Journaled


def _journaled_shares() -> "type[JournaledShares]":
    from logstore.broker.queues.share_groups import JournaledShares  # few stores have any

    return JournaledShares


def _records(batches: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, bytes]]:
    for base_offset, data in batches:
        batch = Batch(data)  # perhaps not stamped
        for record in decode(batch, check=False):  # the log has compared the checksum
            offset = base_offset + record.offset - batch.base_offset
            if record.key is None or record.value is None:
                raise CorruptStore(
                    f"the record at offset {offset} of the journal has no key or no value: "
                    f"restore the store from a backup"
                )
            yield offset, record.key, record.value


def _decoded(key: bytes, kept: bytes) -> QueueState:
    return QueueState.decode(kept, f"what is kept of {_named(key)}")


def _named(key: bytes) -> str:
    if key[:1] == SEEN:
        return f"exchange {exchange_of(key)} in the journal"
    if key[:1] == SESSION:
        return f"session {session_of(key)} in the journal"
    return f"queue {queue_of(key)} in the journal"
