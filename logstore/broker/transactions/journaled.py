"""The journal's state of transactions after one of its records, built from its records alone.

It contains: the ids with their producers, but not whether a transaction is open, which the logs or
``staged`` know; the pending offsets; the decisions that may not have reached all partitions yet, of
which only the places in the journal are stored, because the journal keeps their records; and
committed offsets until they are stored with those of groups.

A replay may begin too early, because records that are already known have no effect. As bytes, after
a byte with the format::

    count | ((name) | state u8 | as T of ``operations.py``)*
    count | (place, less the one before)*                            decisions
    count | (place, less the one before | count | ((group) | count | offset*)*)*    committed
    as ``staged.py``

Pure, and not locked.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from logstore.broker.packed import Packed, packed
from logstore.broker.transactions.operations import (
    DECIDED,
    DROPPED,
    KNOWN,
    OVERTAKEN,
    STAGED,
    Decision,
    Offset,
    Place,
    decode_decision,
    decode_dropped,
    decode_known,
    decode_offsets,
    decode_staged,
    encode_known,
    encode_offsets,
    name_of,
    pid_of,
    read_known,
    read_offset,
    read_text,
    unknown,
)
from logstore.broker.transactions.staged import Committed, Staged
from logstore.broker.transactions.state import COMPLETE, IDLE, State
from logstore.broker.transactions.transactional_id import NO_PID, TV2, TransactionalId
from logstore.errors import CorruptStore, SchemaTooNew

FORMAT: Final = 1


class Journaled:
    """The state of one journal."""

    def __init__(self) -> None:
        self.staged = Staged()
        self._ids: dict[str, TransactionalId] = {}
        self._names: dict[int, str] = {}  # by producer id
        self._decisions: set[int] = set()
        self._committed: dict[int, list[Committed]] = {}  # by place
        # Drops with their places, which remove earlier committed offsets.
        self._drops: list[tuple[str, Sequence[Place], int]] = []
        self._early: set[int] = set()  # finished before they were read here
        self._next = 0  # the place after the last that was read

    def __bool__(self) -> bool:
        """Whether there is any state."""
        return bool(self._ids or self._decisions or self._committed or self.staged.producers())

    def ids(self) -> list[TransactionalId]:
        """Return all known ids."""
        return list(self._ids.values())

    # Decisions

    def unfinished(self) -> list[int]:
        """Return the places of decisions that may be missing in some partition, in order."""
        return sorted(self._decisions)

    def committed(self) -> list[tuple[int, Committed]]:
        """Return offsets that may not be stored yet, in order, each with its record's place.

        Offsets that the group has stored from a later place stay. Offsets that were dropped later
        are left out, since the group may have stored and then lost them.
        """
        self._leave_out()
        return [(place, it) for place, those in sorted(self._committed.items()) for it in those]

    def newest(self) -> list[tuple[int, Committed]]:
        """Return offsets that may not be stored yet, without those committed again later."""
        found, known = list[tuple[int, Committed]](), set[tuple[str, bytes, int]]()
        for place, (group, offsets) in reversed(self.committed()):
            new = {(group, it.topic_id, it.partition): it for it in offsets}
            left = tuple(it for key, it in new.items() if key not in known)
            known.update(new)
            if left:
                found.append((place, Committed(group, left)))
        return found[::-1]

    def finish(self, place: int) -> None:
        """Note that the record is carried out. It may not be read yet.

        A decision is synced in all of its partitions, or they are deleted; the offsets that it has
        committed, or that were committed outside (O), are durable in their groups.
        """
        if place >= self._next:
            self._early.add(place)
        self._decisions.discard(place)
        self._committed.pop(place, None)

    def lowest(self, below: int) -> int:
        """Return the lowest place of a needed record, or ``below`` if none is lower."""
        return min([below, *self._decisions])

    # Records

    def apply(self, key: bytes, value: bytes, place: int) -> list[Committed]:
        """Apply the record at this place; return the offsets that it commits.

        ``finish`` must be called once decisions with partitions and commits of offsets are carried
        out. Raises CorruptStore, SchemaTooNew; the state must not be used after that.
        """
        step = _STEPS.get(key[:1])
        if step is None:
            raise unknown(key)
        self._next = place + 1
        committed = step(self, key, value, place)
        if place in self._early:
            self._early.discard(place)
            self._decisions.discard(place)
        elif committed:
            self._committed.setdefault(place, committed)  # what a note has is all of it
        return committed

    def _known(self, key: bytes, value: bytes, place: int) -> list[Committed]:
        name = name_of(key)
        it = decode_known(value, name, f"the transactional id {name!r} in the journal")
        self._forget(name)
        if it is not None:
            self._put(it)
        return []

    def _staged(self, key: bytes, value: bytes, place: int) -> list[Committed]:
        pid = pid_of(key)
        staged = decode_staged(value, f"what producer {pid} has committed in the journal")
        self.staged.stage(pid, staged, place)
        return []

    def _overtaken(self, key: bytes, value: bytes, place: int) -> list[Committed]:
        group = name_of(key)
        offsets = decode_offsets(value, f"what group {group!r} has committed in the journal")
        self.staged.overtake(group, [(it.topic_id, it.partition) for it in offsets], place)
        return [Committed(group, offsets)]

    def _dropped(self, key: bytes, value: bytes, place: int) -> list[Committed]:
        group = name_of(key)
        places = decode_dropped(value, f"what group {group!r} has lost in the journal")
        if not group and not places:
            raise CorruptStore(
                "the journal drops all offsets of all groups: restore the store from a backup"
            )
        self.staged.drop(group, places, place)
        if self._committed:
            self._drops.append((group, places, place))
        return []

    def _leave_out(self) -> None:
        """Remove committed offsets that were dropped later."""
        drops, self._drops = self._drops, []
        dropped: dict[tuple[str, bytes | None, int | None], int] = {}  # the last place of each
        for group, places, place in drops:
            for it in places:
                dropped[group, it.topic_id, it.partition] = place
            if not places:
                dropped[group, None, None] = place
        for place, those in list(self._committed.items()) if dropped else ():
            left = []
            for group, offsets in those:
                stay = tuple(it for it in offsets if _dropped_at(dropped, group, it) < place)
                if stay:
                    left.append(Committed(group, stay))
            if left:
                self._committed[place] = left
            else:
                del self._committed[place]

    def _decided(self, key: bytes, value: bytes, place: int) -> list[Committed]:
        pid = pid_of(key)
        it = decode_decision(value, pid, f"what is decided for producer {pid} in the journal")
        if it.parts:
            self._decisions.add(place)
        name = self._names.get(pid)
        if name is not None:
            self._decide(self._ids[name], it)
        return self.staged.end(it, place)

    def _decide(self, it: TransactionalId, decision: Decision) -> None:
        raised = decision.version == TV2
        if decision.epoch > it.epoch + raised:
            raise CorruptStore(
                f"the journal decides for epoch {decision.epoch} of transactional id {it.name!r}, "
                f"which has {it.epoch}: restore the store from a backup"
            )
        if decision.epoch < it.epoch:  # of a producer that was fenced; or known already
            return
        rotates = decision.next_pid != it.pid
        self._forget(it.name)
        self._put(
            it._replace(
                pid=decision.next_pid,
                epoch=decision.next_epoch,
                last_epoch=decision.epoch - 1 if raised else it.last_epoch,
                previous_pid=it.pid if rotates else NO_PID,
                version=decision.version,
                state=COMPLETE[decision.outcome],
                since_ms=decision.at_ms,
            )
        )

    def _put(self, it: TransactionalId) -> None:
        if it.pid in self._names:
            raise CorruptStore(
                f"the journal has producer {it.pid} for transactional ids {it.name[:60]!r} and "
                f"{self._names[it.pid][:60]!r}: restore the store from a backup"
            )
        self._ids[it.name] = it
        self._names[it.pid] = it.name

    def _forget(self, name: str) -> None:
        known = self._ids.pop(name, None)
        if known is not None:
            del self._names[known.pid]

    # As bytes

    def encode(self) -> bytes:
        """As bytes."""
        self._leave_out()
        parts = [bytes((FORMAT,)), packed(len(self._ids))]
        for name, it in sorted(self._ids.items()):
            raw = name.encode()
            parts += (packed(len(raw)), raw, bytes((it.state,)), encode_known(it))
        parts += _rising(self.unfinished())
        parts += _committed(self._committed)
        parts.append(self.staged.encode())
        return b"".join(parts)

    @classmethod
    def decode(cls, kept: bytes) -> "Journaled":
        """Decode what ``encode`` returned. Raises CorruptStore, SchemaTooNew."""
        data = Packed(kept, "what is kept of transactions beside the journal")
        found = data.byte()
        if found != FORMAT:
            raise SchemaTooNew(
                f"what is kept of transactions beside the journal has format {found}, known is "
                f"{FORMAT}: open the store with the logstore that wrote it"
            )
        new, last = cls(), ""
        for _ in range(data.number()):
            name, state = read_text(data), data.byte()
            it = read_known(data, name)
            if name <= last or state not in IDLE:
                raise data.damaged(f"has the transactional id {name[:60]!r} out of order")
            new._put(it._replace(state=State(state)))
            last = name
        place = -1
        for _ in range(data.number()):
            place += 1 + data.number()
            new._decisions.add(place)
        place = -1
        for _ in range(data.number()):
            place += 1 + data.number()
            new._committed[place] = [
                Committed(read_text(data), tuple([read_offset(data) for _ in range(data.number())]))
                for _ in range(data.number())
            ]
        new.staged = Staged.read(data)
        if data:
            raise data.damaged("is too long")
        return new


def _dropped_at(
    dropped: Mapping[tuple[str, bytes | None, int | None], int], group: str, it: Offset
) -> int:
    """Return the place where the offset was last dropped; -1: never."""
    topic_id, partition = it.topic_id, it.partition
    whole = dropped.get((group, None, None), -1)
    return max(
        whole, *(
            dropped.get((name, topic_id, number), -1)
            for name in (group, "") for number in (partition, None)
        ),
    )  # fmt: skip


def _rising(places: Iterable[int]) -> list[bytes]:
    parts, last = [], -1
    for it in places:
        parts.append(packed(it - last - 1))
        last = it
    return [packed(len(parts)), *parts]


def _committed(by_place: Mapping[int, Sequence[Committed]]) -> list[bytes]:
    parts, last = [packed(len(by_place))], -1
    for place, those in sorted(by_place.items()):
        parts += (packed(place - last - 1), packed(len(those)))
        for group, offsets in those:
            name = group.encode()
            parts += (packed(len(name)), name, packed(len(offsets)), encode_offsets(offsets))
        last = place
    return parts


_STEPS: Final = {
    KNOWN: Journaled._known,
    STAGED: Journaled._staged,
    OVERTAKEN: Journaled._overtaken,
    DROPPED: Journaled._dropped,
    DECIDED: Journaled._decided,
}
