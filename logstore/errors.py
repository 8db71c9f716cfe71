"""Every error that logstore raises on purpose.

    LogstoreError
    ├── Refused                 the caller asked for something that cannot be
    │   ├── InvalidName             a topic, group or header name that is not allowed
    │   ├── Forbidden               the user may not do this
    │   ├── NoneOfThatName          nothing has the name that was looked for
    │   │   ├── UnknownTopic            no such topic
    │   │   ├── UnknownGroup            no such consumer group
    │   │   └── UnknownUser             no such user
    │   ├── TopicExists             a topic of that name already exists
    │   ├── UserExists              a user of that name already exists
    │   ├── TooManyPartitions       more than partitions.max in all
    │   ├── UnknownPartition        the topic has fewer partitions
    │   ├── GroupBusy               the group has members, so that can't be done
    │   ├── Fenced                  a consumer was silent too long: others have its partitions
    │   ├── FellBehind              a listener left too much unread, and was cut off
    │   ├── OffsetOutOfRange
    │   │   ├── OffsetBelowStart    these records were trimmed
    │   │   └── OffsetAboveEnd      no record has that offset yet
    │   ├── InvalidRecord           a record that its topic does not accept
    │   │   ├── RecordTooLarge          over max.message.bytes
    │   │   └── InvalidTimestamp        outside message.timestamp.before/after.max.ms
    │   ├── NotWaiting              already delivered, or cancelled
    │   ├── OutOfSequence           an idempotent producer's batch is not its next one
    │   ├── OfEndedTransaction      a batch has the sequence of one of a transaction that has ended
    │   ├── FencedProducer          a newer epoch of the producer has written
    │   │   └── Superseded              a newer connection speaks for its transactional id
    │   ├── UnknownProducer         the store has not given the producer its id
    │   ├── InvalidTransactionState the request does not fit the transaction's state
    │   │   └── TransactionAbortable    as above, but it can be aborted and started again
    │   ├── ConcurrentTransactions  the previous one is not finished: try again
    │   ├── TransactionTooLarge     it exceeds the maximum size
    │   ├── InvalidTransactionTimeout   outside 1 ms to transaction.max.timeout.ms
    │   ├── CoordinatorLoading      transactions are being read: try again
    │   ├── NotOwned                another node of the cluster, or none, owns the object
    │   ├── InvalidRecordState      a record that the member of a share group does not hold
    │   ├── ShareSessionNotFound    a share session that no longer exists
    │   ├── InvalidShareSessionEpoch    a request is not the next of its session
    │   ├── TooManyShareSessions    the maximum is open
    │   ├── UnknownSetting          no setting has that name
    │   ├── InvalidSetting          a value that the setting does not accept
    │   ├── NotAStore               the directory holds no store
    │   ├── StoreLocked             another process writes this store
    │   ├── SchemaTooNew            written by a newer logstore
    │   ├── ReadOnly                opened for reading, or the file system is
    │   └── Closed                  used after close()
    │       └── Forked                  used in a fork of the process that opened it
    ├── BrokenProtocol          the peer sent what its protocol does not allow
    ├── Damaged                 what is on disk is not what was written
    │   ├── CorruptBatch            a record batch fails its own checks
    │   │   └── OpensTooLarge           it exceeds the reader's maximum
    │   └── CorruptStore            the catalogue or a directory is not as it should be
    └── Failed                  the machine could not do it
        ├── StorageFull             no space left; nothing was written
        │   └── ClusterBehind           a cluster accepts no more for now
        ├── LogFailed               a write or sync failed for good: the log accepts no more appends
        └── ClusterUnreachable      a broker of a cluster does not reply
            └── NotSpoken               it does not support the request

A message is one line: what happened, to what (name, offset, file), what to do.
TypeError and ValueError say that the calling code is wrong. Any other exception is a bug.
"""

from collections.abc import Sequence

from logstore.owner import Owner
from logstore.printable import printable


class LogstoreError(Exception):
    """The root of all errors that logstore raises on purpose."""

    def __str__(self) -> str:
        # Paths, commands and values come from outside; none may break the line or the terminal.
        return printable(super().__str__())


class Refused(LogstoreError):
    """The caller asked for something that cannot be. Nothing was changed."""


class InvalidName(Refused):
    """A topic, group or header name that is not allowed."""


class Forbidden(Refused):
    """The user that is logged in may not do this."""


class NoneOfThatName(Refused):
    """No object has the name that was looked for."""

    def __init__(self, message: str, name: str = "") -> None:
        """``name``: what was looked for; "" where the message alone says it."""
        super().__init__(message)
        self.name = name


class UnknownTopic(NoneOfThatName):
    """No topic has that name."""


class TopicExists(Refused):
    """A topic of that name already exists."""


class TooManyPartitions(Refused):
    """The store would have more partitions than partitions.max."""


class UnknownPartition(Refused):
    """The topic has no partition of that number."""


class UnknownGroup(NoneOfThatName):
    """No consumer group has that name."""


class UnknownUser(NoneOfThatName):
    """No user has that name."""


class UserExists(Refused):
    """A user of that name already exists."""


class NotOwned(Refused):
    """Another node of the cluster, or none, owns the object now; ask again."""


class GroupBusy(Refused):
    """The group has members, or members of another kind; the message names them."""


class Fenced(Refused):
    """A consumer was silent longer than its session, so its partitions were assigned to others.

    Records without a committed offset are delivered again, to the new owners of the partitions.
    """


class FellBehind(Refused):
    """A listener of channels left too much unread and was cut off; it misses later messages."""


class OffsetOutOfRange(Refused):
    """The offset is outside what the log holds."""


class OffsetBelowStart(OffsetOutOfRange):
    """The records at this offset were trimmed away."""


class OffsetAboveEnd(OffsetOutOfRange):
    """No record has this offset yet."""


class NotWaiting(Refused):
    """A record or message that was to be cancelled is no longer delayed."""


class InvalidRecord(Refused):
    """A record that its topic does not accept; ``index`` is its place among several.

    ``faults``: the places of the faulty records of a batch, each with a reason, or None beyond the
    first few. Empty: the batch itself is faulty.
    """

    def __init__(
        self, message: str, index: int = 0, faults: Sequence[tuple[int, str | None]] = ()
    ) -> None:
        super().__init__(message)
        self.index = index
        self.faults = faults


class RecordTooLarge(InvalidRecord):
    """A record or batch over the topic's max.message.bytes."""


class InvalidTimestamp(InvalidRecord):
    """A timestamp outside message.timestamp.before.max.ms / message.timestamp.after.max.ms."""


class OutOfSequence(Refused):
    """An idempotent producer's batch is not the next one in its sequence."""


class OfEndedTransaction(Refused):
    """A batch has the sequence number of one that its producer sent in an earlier transaction.

    It may be a different batch: after an abort, a producer that never saw the reply to the first
    one may use its number again.
    """


class TransactionTooLarge(Refused):
    """A transaction of the library exceeds the maximum size; nothing of it took effect."""


class FencedProducer(Refused):
    """A newer epoch of the same producer has written."""


class Superseded(FencedProducer):
    """The request came over an older connection than the newest one for its transactional id.

    It was sent before the requests of the newer connection, so it is not executed and the
    connection ends.
    """


class UnknownProducer(Refused):
    """The store has not given the producer its id, or not for this transactional id."""


class InvalidTransactionState(Refused):
    """The request does not fit the state of the transaction."""


class TransactionAbortable(InvalidTransactionState):
    """The request does not fit, but the transaction can be aborted and begun again (KIP-890)."""


class ConcurrentTransactions(Refused):
    """The previous transaction is not finished, or too many are open; try again."""


class CoordinatorLoading(Refused):
    """The store is still reading its transactions; the request may be repeated."""


class InvalidTransactionTimeout(Refused):
    """A transaction timeout that is not positive, or above transaction.max.timeout.ms."""


class InvalidRecordState(Refused):
    """A member of a share group acknowledges a record that it does not hold, or no longer holds."""


class ShareSessionNotFound(Refused):
    """A member of a share group continues a session that no longer exists."""


class InvalidShareSessionEpoch(Refused):
    """A request is not the next one of its share session."""


class TooManyShareSessions(Refused):
    """The maximum number of share sessions is open."""


class UnknownSetting(Refused):
    """No setting has that name; the message names the nearest."""


class InvalidSetting(Refused):
    """A value that the setting does not accept; the message says which it accepts."""


class NotAStore(Refused):
    """The directory holds no store."""


class StoreLocked(Refused):
    """Another process writes this store; the message gives its pid and command.

    ``owner``: that process; None if it has ended meanwhile.
    """

    def __init__(self, message: str = "", owner: Owner | None = None) -> None:
        super().__init__(message)
        self.owner = owner


class SchemaTooNew(Refused):
    """The store was written by a newer logstore."""


class ReadOnly(Refused):
    """A write to a store that can only be read."""


class Closed(Refused):
    """The store, producer or consumer is already closed."""


class Forked(Closed):
    """Used in a fork of the process that opened it; it still works in that process."""


class BrokenProtocol(LogstoreError):
    """The peer sent what its protocol does not allow; its connection ends."""


class Damaged(LogstoreError):
    """What is on disk is not what was written."""


class CorruptBatch(Damaged):
    """A record batch fails its own checks: magic, length, count, CRC or compression."""


class OpensTooLarge(CorruptBatch):
    """A batch, or a record in it, that exceeds the reader's maximum when decompressed."""


class CorruptStore(Damaged):
    """The catalogue or a directory is not as it should be."""


class Failed(LogstoreError):
    """The machine could not do it."""


class ClusterUnreachable(Failed):
    """A broker of the cluster does not reply, or sends a reply that is not understood."""


class NotSpoken(ClusterUnreachable):
    """A broker does not support the request, or in no version that is known here."""


class StorageFull(Failed):
    """No space is left; nothing of the append was stored."""


class ClusterBehind(StorageFull):
    """The cluster has not acknowledged earlier appends, and no more are held in memory."""


class LogFailed(Failed):
    """A write or sync failed for good: this log accepts no appends until it is opened again."""
