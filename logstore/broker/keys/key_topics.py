"""The topics of keys: one for each database, created and written by the server only."""

from collections.abc import Iterable, Iterator
from typing import Final

from logstore.broker.keys.levels import Level, Levels
from logstore.broker.keys.shapes import Loading
from logstore.broker.reading import fetched, located
from logstore.broker.topics import Topics
from logstore.errors import CorruptBatch, LogstoreError, Refused, TopicExists
from logstore.log import Log
from logstore.names import KEYS_TOPICS
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.record import Record

READ_BYTES: Final = 4 << 20  # of the log at a time
SYNC_MS: Final = 1000  # the latest sync of writes that no one waits for
# Of a new topic. Small segments, since only sealed ones can be compacted.
TOPIC_SETTINGS: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 << 20),
    "min.cleanable.dirty.ratio": "0.5",
    "delete.retention.ms": str(3_600_000),
    "flush.messages": "1",
    "flush.ms": str(SYNC_MS),
    "compression.type": "producer",
}


class KeyTopics:
    """The topics of one store. From any thread."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def is_there(self, database: int) -> bool:
        """Whether the database has ever been written to."""
        return self._topics.get(KEYS_TOPICS[database]) is not None

    def open(self, database: int) -> Log:
        """Open the log of the database, created if missing. May take long. Raises LogstoreError."""
        name = KEYS_TOPICS[database]
        topic = self._topics.get(name)
        if topic is None:
            try:
                topic = self._topics.create(name, 1, TOPIC_SETTINGS)
            except TopicExists:
                topic = self._topics.get(name)
                assert topic is not None
        if "compact" not in topic.settings.cleanup_policy or len(topic.partitions) != 1:
            raise Refused(
                f"topic {name!r} cannot store keys: it must be compacted and have one"
                " partition; copy its records elsewhere, then delete it"
            )
        return topic.partition(0)

    def load(self, log: Log, levels: Levels, now_ms: int) -> Loading | LogstoreError:
        """As Logs.load."""
        return load(log, levels, now_ms)


def _records(log: Log, batch: Batch, at: int) -> list[Record]:
    """Return the records of the batch from offset ``at`` on. Raises CorruptBatch."""
    try:
        records = decode(batch)
    except CorruptBatch as error:
        raise located(log, batch, error) from None
    return records if batch.base_offset >= at else [it for it in records if it.offset >= at]


def made_of(records: Iterable[list[Record]], levels: Levels, now_ms: int) -> Loading:
    """Load these records in order. Raises ValueError, and the errors of the iterator."""
    loading = Loading(now_ms)
    for some in records:
        loading.add(some)
    loading.finish()
    if levels.any_volatile:  # they were kept under other settings
        for key in [key for key in loading.values if levels.of(key) is Level.NONE]:
            del loading.values[key]
            loading.deadlines.pop(key, None)
    return loading


def load(log: Log, levels: Levels, now_ms: int) -> Loading | LogstoreError:
    """As Logs.load."""
    at = log.start

    def standing() -> Iterator[list[Record]]:
        nonlocal at
        while at < log.safe:
            for batch in fetched(log, at, READ_BYTES):
                yield _records(log, batch, at)
                at = batch.next_offset

    try:
        return made_of(standing(), levels, now_ms)
    except ValueError as error:
        return CorruptBatch(f"{log.name}: from offset {at} on: {error}; run `logstore verify`")
    except LogstoreError as error:
        return error
