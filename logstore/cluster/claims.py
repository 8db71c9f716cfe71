"""Who owns a partition that one process at a time appends to: claims among its records. Pure.

A process that takes over a partition gets the next epoch of the partition's name (``identity.py``)
and appends a *claim*: its first batch with that epoch. From then on, the leader refuses the
previous owner. Everything that the previous owner appended lies below the claim, where the new
owner reads it.

A *beat* says that the owner is still alive. Leaders forget producers that send nothing, and do not
refuse the old epochs of a forgotten producer, so the partition always contains a record of the
owner. The first record of the partition is a claim or a beat of the owner: records are deleted only
up to one of these, so a reader that begins there knows the owner of the records that follow.

The cluster forgets a name that was not used for a week, and gives it another producer id, so that
nothing refuses the producer with the previous id. A *fence*, a batch with the next epoch of the
previous id, has that producer refused; the claim follows the fence.

Claims and beats are records with the key ``__owner`` and a value in JSON. Readers also check the
producer and epoch in the header of each batch: they ignore a batch after a claim with an older
epoch, which a leader without knowledge of the claim may have accepted.
"""

from collections import deque
from typing import Final, NamedTuple

import msgspec

from logstore.errors import CorruptStore
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import encode

KEY: Final = b"__owner"
CLAIM: Final = "claim"
BEAT: Final = "beat"
FENCE: Final = "fence"
FORMAT: Final = 1
WORDS_KEPT: Final = 1024


class Word(msgspec.Struct, frozen=True):
    """The content of a claim or a beat."""

    kind: str
    node: str  # who owns it, by the name that nodes call each other by
    address: str  # where other nodes reach it
    at_ms: int
    since_ms: int = 0  # when it was claimed
    snapshot: int = -1  # offset of the last record that has the whole state; -1: there is none
    format: int = FORMAT


class Claim(NamedTuple):
    """A claim in the partition."""

    offset: int
    pid: int
    epoch: int
    word: Word


def batch_of(word: Word) -> Batch:
    """The batch with this content, without its producer."""
    return encode([(msgspec.json.encode(word), KEY, (), word.at_ms)])


def word_of(batch: Batch) -> Word | None:
    """The claim or beat in a batch; None: other records. Raises CorruptStore, CorruptBatch."""
    if batch.record_count != 1:
        return None
    [record] = decode(batch)
    if record.key != KEY:
        return None
    try:
        word = msgspec.json.decode(record.value or b"", type=Word)
    except (ValueError, RecursionError) as error:
        raise CorruptStore(f"offset {record.offset} names no owner: {error}") from None
    if word.format > FORMAT:
        raise CorruptStore(
            f"offset {record.offset} names an owner in format {word.format}, known is {FORMAT}: "
            f"update this node"
        )
    return word


class Claims:
    """The claims of a partition, as a reader meets them from its start."""

    def __init__(self) -> None:
        self.owner: Claim | None = None  # the last that has claimed it
        self.words: deque[int] = deque(maxlen=WORDS_KEPT)  # where that one's words stand
        self.snapshot = -1  # as the owner has said last
        self.seen_ms = 0  # when the owner has said something last, by its own clock
        self._before: set[int] = set()  # producers that owned it, and never will again

    def admits(self, batch: Batch) -> bool:
        """Whether readers see the next batch; claims and beats are not shown.

        Raises CorruptStore, CorruptBatch.
        """
        if batch.is_control or not batch.record_count:
            return False
        word = word_of(batch)
        if word is None:
            return self._is_owners(batch)
        if self._claims(word, batch):
            if self.owner is not None and self.owner.pid != batch.producer_id:
                self._before.add(self.owner.pid)
            self.owner = Claim(batch.base_offset, batch.producer_id, batch.producer_epoch, word)
            self.words.clear()
        if self._is_owners(batch):
            self.words.append(batch.base_offset)
            self.snapshot = max(self.snapshot, word.snapshot)
            self.seen_ms = max(self.seen_ms, word.at_ms)
        return False

    def _is_owners(self, batch: Batch) -> bool:
        owner = self.owner
        return owner is not None and (batch.producer_id, batch.producer_epoch) == (
            owner.pid, owner.epoch,
        )  # fmt: skip

    def _claims(self, word: Word, batch: Batch) -> bool:
        """A name whose epochs are used up, or that was forgotten, gets another producer id."""
        owner = self.owner
        if owner is None:
            return word.kind in (CLAIM, BEAT)
        if word.kind != CLAIM or batch.producer_id in self._before:
            return False
        return batch.producer_id != owner.pid or batch.producer_epoch > owner.epoch
