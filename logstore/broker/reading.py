"""Reading on in a log: batches to records, some at a time; damage is named, or passed over.

A reader gets the records before a damaged batch first. The amount that is decompressed at once is
bounded, whatever the batches hold: a part of one batch, or several whole ones, of CHUNK_BYTES.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from logstore.errors import CorruptBatch, Refused
from logstore.log import Log, TopicPartition
from logstore.records.batch import COMPRESSION_MASK, CONTROL, Batch
from logstore.records.compression import DECOMPRESSED_BYTES_MAX, STEP_BYTES
from logstore.records.decode import decode
from logstore.records.parts import PART_BYTES, parts
from logstore.records.record import Record

READ_BYTES: Final = 1 << 18  # of one partition at a time; more records at once leave the CPU cache
CHUNK_BYTES: Final = 1 << 20  # of records, decompressed: then they are handed out
# The same where others have their turn between chunks; whichever is reached first. To decode a
# record takes some 2 us.
TURN_RECORDS: Final = 500
TURN_BYTES: Final = 65_536
TURN_PART_BYTES: Final = 16_384  # decoded at once: 2,000 records, as small as they may be

# The sizes of a part and a chunk in bytes, and the largest number of decoded records.
_ALONE: Final = PART_BYTES, CHUNK_BYTES, 1 << 62
_TURN: Final = TURN_PART_BYTES, TURN_BYTES, TURN_RECORDS

_NOT_PLAIN: Final = COMPRESSION_MASK | CONTROL
OnDamage = Literal["stop", "skip"] | Callable[[CorruptBatch], object]
Skip = Callable[[CorruptBatch], object]

_log = logging.getLogger("logstore.reading")


class Chunk(NamedTuple):
    """Consecutive records of a log; control records may lie between them.

    A chunk between turns may be empty and end where it begins: the decoded records lie before it.
    """

    records: list[Record]
    begin: int  # offsets
    end: int
    more: bool  # of what was read with it
    held: int = 0  # bytes of that, about: of whole batches, and of what is decompressed


def skip_of(on_damage: OnDamage) -> Skip | None:
    """Return the call for damaged batches, after which reading continues; None: reading stops.

    ``"skip"`` logs a line (logger ``logstore.reading``). Raises Refused for another word.
    """
    if on_damage == "stop":
        return None
    if on_damage == "skip":
        return _say
    if not callable(on_damage):
        raise Refused(f"on_damage {on_damage!r}: must be stop, skip or a function")
    return on_damage


def _say(damage: CorruptBatch) -> None:
    _log.warning("skipped: %s", damage)


def chunks(
    log: Log,
    place: TopicPartition,
    at: int,
    skip: Skip | None,
    *,
    bytes_max: int | None = None,
    record_bytes_max: int = DECOMPRESSED_BYTES_MAX,
    wait: bool = False,
    in_turns: bool = False,
) -> Iterator[Chunk]:
    """The result of one read from ``at`` (at most READ_BYTES).

    ``in_turns``: chunks are smaller, and other clients are served after each. Yields nothing at the
    end; also if records must first be fetched, unless this thread may ``wait`` for them. Raises
    OffsetBelowStart, OffsetAboveEnd; CorruptBatch, which names the log, the offset and the file,
    unless it is skipped.
    """
    try:
        size = READ_BYTES if bytes_max is None else bytes_max
        batches = fetched(log, at, size) if wait else log.read(at, size)
    except CorruptBatch as error:  # no batch can be read at all
        following = log.following(at)
        if skip is None or following is None:
            raise
        skip(CorruptBatch(f"{error}; offsets {at} to {following - 1} are skipped"))
        yield Chunk([], at, following, more=False)
        return
    if batches:
        yield from of_batches(log, place, batches, at, skip, record_bytes_max, in_turns=in_turns)


def fetched(log: Log, at: int, bytes_max: int) -> Sequence[Batch]:
    """As ``Log.read``, in a thread that may block: empty only at the end of the log.

    Raises LogFailed, too: nothing is fetched any more then.
    """
    batches = log.read(at, bytes_max)
    if batches or at >= log.safe:
        return batches
    news = threading.Event()
    stop = log.watch(news.set)  # before the next look, or what arrives in between would be missed
    try:
        while not (batches := log.read(at, bytes_max)) and at < log.safe:
            log.check_failure()
            news.wait()
            news.clear()
        return batches
    finally:
        stop()


def of_batches(
    log: Log,
    place: TopicPartition,
    batches: Sequence[Batch],
    at: int,
    skip: Skip | None = None,
    record_bytes_max: int = DECOMPRESSED_BYTES_MAX,
    *,
    in_turns: bool = False,
) -> Iterator[Chunk]:
    """The records of these batches from ``at`` on, in chunks.

    Control records (transaction markers) are left out. Raises CorruptBatch as ``chunks`` does.
    """
    topic, partition = place
    part_bytes, bytes_max, records_max = _TURN if in_turns else _ALONE
    held = _held(batches) if in_turns else 0
    records: list[Record] = []
    size, count, begin, end = 0, 0, at, at
    for batch in batches:
        try:
            if batch.attributes & _NOT_PLAIN or len(batch.data) > part_bytes:
                for found, opened in _opened(batch, place, record_bytes_max, part_bytes):
                    records += found if not found or found[0].offset >= at else _from(found, at)
                    size += opened
                    count += len(found)
                    enough = size >= bytes_max and (records or in_turns)
                    if enough or count >= records_max:
                        end = records[-1].offset + 1 if records else end
                        yield Chunk(records, begin, end, True, held)
                        records, size, count, begin = [], 0, 0, end
            else:
                found = decode(batch, topic, partition)
                records += found if batch.base_offset >= at else _from(found, at)
                count += len(found)
        except CorruptBatch as error:
            if records:
                end = max(batch.base_offset, records[-1].offset + 1)
                yield Chunk(records, begin, end, True, held)
                records, size, count, begin = [], 0, 0, end
            damage = located(log, batch, error)
            if skip is None:
                raise damage from None
            skip(damage)
        end = batch.base_offset + batch.last_offset_delta + 1
        if count >= records_max:
            yield Chunk(records, begin, end, True, held)
            records, size, count, begin = [], 0, 0, end
    yield Chunk(records, begin, end, more=False)


def _held(batches: Sequence[Batch]) -> int:
    """The memory that the batches need while they are decoded."""
    opened = STEP_BYTES if any(it.compression for it in batches) else 0
    return sum(len(it.data) for it in batches) + opened


def records_of(log: Log, place: TopicPartition, batches: Sequence[Batch], at: int) -> list[Record]:
    """Return all records of these batches from ``at`` on. Raises CorruptBatch as
    ``chunks`` does.
    """
    return [record for chunk in of_batches(log, place, batches, at) for record in chunk.records]


def _opened(
    batch: Batch, place: TopicPartition, record_bytes_max: int, part_bytes: int
) -> Iterator[tuple[list[Record], int]]:
    """The records of a batch with more than a few plain ones, in parts."""
    if batch.is_control:
        return iter(())
    if batch.compression:
        return parts(batch, *place, record_bytes_max=record_bytes_max, part_bytes=part_bytes)
    return parts(batch, *place, part_bytes=part_bytes)


def _from(records: list[Record], at: int) -> list[Record]:
    return [record for record in records if record.offset >= at]


def located(log: Log, batch: Batch, error: CorruptBatch) -> CorruptBatch:
    """The error with the log and the file of the batch."""
    where = log.where(batch.base_offset)
    return type(error)(f"{log.name}: {error} (in {where}); run `logstore verify`")
