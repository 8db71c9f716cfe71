"""A partition that this process owns, as the log of a database of keys.

Its records are read at the takeover, and the model that opens the log builds the database from
them. Obsolete records are deleted only up to a beat (``claims.py``): from time to time, the whole
database is appended again after a beat (``broker/keys/rewriting.py``).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from logstore.cluster.claims import KEY
from logstore.cluster.taken_log import TakenLog
from logstore.cluster.takeover import Takeover
from logstore.errors import LogstoreError, RecordTooLarge
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import encode

# Of a batch, as the topic takes it. What is appended and not acknowledged is twice as much at the
# most (``writer.py``).
BATCH_BYTES_MAX: Final = 9 << 20

log: Final = logging.getLogger("logstore.cluster")


class Gathered:
    """The ``State`` of a takeover that keeps all valid batches, as stored."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.bytes = 0

    def apply(self, batch: Batch) -> None:
        """As State.apply."""
        self.batches.append(batch)
        self.bytes += batch.size


class KeysLog(TakenLog):
    """A ``Log`` and a ``Beating``. Used in the loop's thread."""

    def __init__(
        self,
        takeover: Takeover,
        gathered: Gathered,
        elsewhere: Callable[[Callable[[], object]], object],
    ) -> None:
        """``elsewhere``: runs something in a thread that may wait."""
        super().__init__(takeover)
        self.standing_bytes = gathered.bytes
        self._gathered = gathered
        self._elsewhere = elsewhere

    def take_standing(self) -> Sequence[Batch]:
        """The records at the takeover, returned once."""
        batches, self._gathered.batches = self._gathered.batches, []
        return batches

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises RecordTooLarge, too."""
        if batch.size > BATCH_BYTES_MAX:
            raise RecordTooLarge(
                f"{self.name}: a batch of {batch.size} bytes exceeds the cluster's maximum of"
                f" {BATCH_BYTES_MAX}"
            )
        return super().append(_not_a_word(batch))

    def beat(self) -> int:
        """As Beating.beat."""
        return self._takeover.say_beat()

    def give_up(self) -> None:
        """The stored records differ from the owner's state: take over and read again."""
        self._takeover.leave()

    def check_failure(self) -> None:
        """A failure here loses the partition, which is reported to its owner."""

    def trim(self, before: int) -> None:
        """As Log.trim; without effect: what stands first has to be a word of the owner."""

    def trim_to_beat(self, mark: int) -> None:
        """As Beating.trim_to_beat."""
        before = self.offset_of(mark)
        self._elsewhere(lambda: self._trim(before))

    def _trim(self, before: int) -> None:
        try:
            self._log.trim(before)
        except LogstoreError as error:
            log.warning("%s: what was written again takes room still: %s", self.name, error)


def _not_a_word(batch: Batch) -> Batch:
    """A batch that is not mistaken for a claim or beat: a lone record with their key is stored
    twice.
    """
    if batch.record_count == 1:
        [record] = decode(batch)
        if record.key == KEY:
            row = record.value, record.key, record.headers, record.timestamp_ms
            return encode([row, row])
    return batch
