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
    │   ├── Fenced                  a consumer that was away too long: others have its partitions
    │   ├── FellBehind              a listener that left too much unread, and was cut off
    │   ├── OffsetOutOfRange
    │   │   ├── OffsetBelowStart    those records were trimmed away
    │   │   └── OffsetAboveEnd      no record has that offset yet
    │   ├── InvalidRecord           a record that its topic does not take
    │   │   ├── RecordTooLarge          over max.message.bytes
    │   │   └── InvalidTimestamp        outside message.timestamp.before/after.max.ms
    │   ├── NotWaiting              it was delivered before, or cancelled
    │   ├── OutOfSequence           an idempotent producer's batch is not its next one
    │   ├── OfEndedTransaction      a batch has the sequence of one of a transaction that has ended
    │   ├── FencedProducer          a newer epoch of the producer has written
    │   │   └── Superseded              a newer connection speaks for its transactional id
    │   ├── UnknownProducer         the store has not given the producer its id
    │   ├── InvalidTransactionState what was asked does not fit the state of the transaction
    │   │   └── TransactionAbortable    the same, but it can be aborted, and begun anew
    │   ├── ConcurrentTransactions  the one before is not finished: try again
    │   ├── TransactionTooLarge     it holds more than one may
    │   ├── InvalidTransactionTimeout   outside 1 ms to transaction.max.timeout.ms
    │   ├── CoordinatorLoading      what is known of transactions is being read: ask again
    │   ├── NotOwned                no node of a cluster, or another one, has what is asked for
    │   ├── InvalidRecordState      a record of a share group that the member does not have
    │   ├── ShareSessionNotFound    a share session that is no more
    │   ├── InvalidShareSessionEpoch    its request is not the one that comes next
    │   ├── TooManyShareSessions    there are as many as there may be
    │   ├── UnknownSetting          no setting has that name
    │   ├── InvalidSetting          a value that the setting does not take
    │   ├── NotAStore               the directory holds no store
    │   ├── StoreLocked             another process writes this store
    │   ├── SchemaTooNew            written by a newer logstore
    │   ├── ReadOnly                opened for reading, or the file system is
    │   └── Closed                  used after close()
    │       └── Forked                  used in a fork of the process that opened it
    ├── BrokenProtocol          the peer sent what its protocol does not allow
    ├── Damaged                 what is on disk is not what was written
    │   ├── CorruptBatch            a record batch fails its own checks
    │   │   └── OpensTooLarge           it holds more, decompressed, than is opened
    │   └── CorruptStore            the catalogue or a directory is not as it should be
    └── Failed                  the machine could not do it
        ├── StorageFull             no space left; nothing was written
        │   └── ClusterBehind           a cluster takes no more for now
        ├── LogFailed               a write or sync failed for good: the log takes no more appends
        └── ClusterUnreachable      a broker of a cluster does not answer
            └── NotSpoken               it does not know what is asked, in no version known here

A message is one line: what happened, to what (name, offset, file), what to do.
TypeError and ValueError say that the calling code is wrong. Any other exception is a bug.
"""

from collections.abc import Sequence

from logstore.owner import Owner
from logstore.printable import printable


class LogstoreError(Exception):
    """The root: catch it to catch all that logstore raises on purpose."""

    def __str__(self) -> str:
        # Paths, commands and values come from outside; none may break the line or the terminal.
        return printable(super().__str__())


class Refused(LogstoreError):
    """The caller asked for something that cannot be. Nothing was changed."""


class InvalidName(Refused):
    """A topic, group or header name that is not allowed."""


class Forbidden(Refused):
    """The user that one has logged in as may not do this."""


class NoneOfThatName(Refused):
    """Nothing has the name that was looked for."""

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
    """Another node of the cluster has it now, or none has; ask again."""


class GroupBusy(Refused):
    """The group has members, or members of another kind; the message says who they are."""


class Fenced(Refused):
    """A consumer was away longer than its session, and its partitions went to others.

    What it had not committed comes again, to whoever has them.
    """


class FellBehind(Refused):
    """A listener of channels left too much unread, and was cut off; the rest is lost to it."""


class OffsetOutOfRange(Refused):
    """The offset is outside what the log holds."""


class OffsetBelowStart(OffsetOutOfRange):
    """The records at this offset were trimmed away."""


class OffsetAboveEnd(OffsetOutOfRange):
    """No record has this offset yet."""


class NotWaiting(Refused):
    """A record or message that was to be cancelled does not wait, any more."""


class InvalidRecord(Refused):
    """A record that its topic does not take; of many, ``index`` says which.

    ``faults``: of a batch, the places of the records that are at fault, each with a reason; None
    where there are so many that only the first are given one. Empty: it is the batch itself.
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
    """An idempotent producer's batch is not the one that comes next."""


class OfEndedTransaction(Refused):
    """A batch has the sequence of one that its producer has sent in a transaction before.

    It may be another one: a producer that was not told of the first may number anew after an abort.
    """


class TransactionTooLarge(Refused):
    """A transaction of the library holds more than one may: nothing of it has happened."""


class FencedProducer(Refused):
    """A newer epoch of the same producer has written."""


class Superseded(FencedProducer):
    """The request came by an older connection than the newest one for its transactional id.

    It was sent before what the newer one has asked for, so it is not done, and is to end.
    """


class UnknownProducer(Refused):
    """The store has not given the producer its id, or not for this transactional id."""


class InvalidTransactionState(Refused):
    """What was asked of a transaction does not fit the state that it has."""


class TransactionAbortable(InvalidTransactionState):
    """The same, but the producer may abort the transaction and begin anew (KIP-890)."""


class ConcurrentTransactions(Refused):
    """The transaction before is not finished, or too many are open: the same may be asked again."""


class CoordinatorLoading(Refused):
    """What the store knows of transactions is still being read: the same may be asked again."""


class InvalidTransactionTimeout(Refused):
    """A time for transactions that is not positive, or above transaction.max.timeout.ms."""


class InvalidRecordState(Refused):
    """A member of a share group acknowledges a record that it does not have, any more."""


class ShareSessionNotFound(Refused):
    """A member of a share group goes on with a session that it has not, any more."""


class InvalidShareSessionEpoch(Refused):
    """A request of a share session is not the one that comes next in it."""


class TooManyShareSessions(Refused):
    """Members of share groups have as many sessions as there may be."""


class UnknownSetting(Refused):
    """No setting has that name; the message names the nearest."""


class InvalidSetting(Refused):
    """A value that the setting does not take; the message says what it takes."""


class NotAStore(Refused):
    """The directory holds no store."""


class StoreLocked(Refused):
    """Another process writes this store; the message gives its pid and command.

    ``owner``: that process; None where it had gone again.
    """

    def __init__(self, message: str = "", owner: Owner | None = None) -> None:
        super().__init__(message)
        self.owner = owner


class SchemaTooNew(Refused):
    """The store was written by a newer logstore."""


class ReadOnly(Refused):
    """A write was asked of a store that can only be read."""


class Closed(Refused):
    """The store, producer or consumer was closed before."""


class Forked(Closed):
    """Used in a fork of the process that opened it. There it goes on as before."""


class BrokenProtocol(LogstoreError):
    """The peer sent what its protocol does not allow; its connection ends."""


class Damaged(LogstoreError):
    """What is on disk is not what was written."""


class CorruptBatch(Damaged):
    """A record batch fails its own checks: magic, length, count, CRC or compression."""


class OpensTooLarge(CorruptBatch):
    """A batch, or a record in it, that is larger, decompressed, than whoever reads it opens."""


class CorruptStore(Damaged):
    """The catalogue or a directory is not as it should be."""


class Failed(LogstoreError):
    """The machine could not do it."""


class ClusterUnreachable(Failed):
    """A broker of the cluster does not answer, or not in a way that is understood here."""


class NotSpoken(ClusterUnreachable):
    """It does not know what it is asked for, or in no version that is known here."""


class StorageFull(Failed):
    """No space is left; nothing of the append was kept."""


class ClusterBehind(StorageFull):
    """The cluster has not acknowledged what was appended before, and no more is held here."""


class LogFailed(Failed):
    """A write or sync failed for good: this log takes no more appends until it is opened anew."""
