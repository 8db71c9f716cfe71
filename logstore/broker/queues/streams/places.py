"""Where a consumer of a stream begins: the meaning of ``x-stream-offset``. Pure.

first                the first record that still exists
last                 the last record
next                 new records only; the default
an integer           this offset; if it was deleted, the first record; if it is not reached yet,
                     new records from it on
a timestamp          the first record with this timestamp or a later one
5m, 7D, ...          as a timestamp, this long ago
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from logstore.broker.queues.ages import age_ms
from logstore.broker.queues.refusals import InvalidConsumerArgument
from logstore.broker.reading import chunks
from logstore.broker.routing.arguments import CLASS_OF_KIND, Field
from logstore.log import Log

ARGUMENT: Final = b"x-stream-offset"
FIRST, LAST, NEXT, OFFSET, TIME = "first", "last", "next", "offset", "time"
OFFSET_MAX: Final = 2**63 - 1
BACK_TIMES: Final = 16  # so much further than before, where no record was found
FAULT: Final = "invalid_stream_offset_arg"


class Begin(NamedTuple):
    """One of these words; with an offset, or a time in ms since 1970, if it needs one."""

    word: str
    number: int = 0

    @property
    def searches(self) -> bool:
        """Whether finding the place may take long."""
        return self.word in (TIME, LAST)


FROM_NOW: Final = Begin(NEXT)
_WORDS: Final = {it.encode(): Begin(it) for it in (FIRST, LAST, NEXT)}


def begin_of(stream: bytes, field: Field | None, now_ms: int) -> Begin:
    """Parse a consumer's offset argument. Raises InvalidConsumerArgument."""
    if field is None:
        return FROM_NOW
    read = _BY_CLASS.get(CLASS_OF_KIND[field.kind])
    found = None if read is None else read(field, now_ms)
    if found is None:
        raise InvalidConsumerArgument(stream, ARGUMENT, field, FAULT)
    return found


def _of_number(field: Field, _: int) -> Begin | None:
    return Begin(OFFSET, field.value) if 0 <= field.value <= OFFSET_MAX else None


def _of_time(field: Field, _: int) -> Begin | None:
    seconds = field.value
    return Begin(TIME, min(seconds * 1000, OFFSET_MAX)) if seconds >= 0 else None


def _of_text(field: Field, now_ms: int) -> Begin | None:
    known = _WORDS.get(field.value)
    if known is not None:
        return known
    age = age_ms(field.value.decode("ascii", "replace"))
    return None if age is None else Begin(TIME, max(0, now_ms - age))


_BY_CLASS: Final[dict[str, Callable[[Field, int], Begin | None]]] = {
    "integer": _of_number,
    "timestamp": _of_time,
    "text": _of_text,
}


def offset_of(log: Log, begin: Begin, upto: int) -> int:
    """Return the present offset of the place, perhaps above the end. May take long for a time or
    LAST.

    ``upto``: the end of the safe records when it was asked for; later records do not count as last.
    A damaged batch is returned if it may hold the time. Raises LogstoreError.
    """
    if begin.word == FIRST:
        return log.start
    if begin.word == LAST:
        return _last(log, upto)
    if begin.word == OFFSET:
        return max(log.start, begin.number)
    if begin.word == TIME:
        return log.find(begin.number, damaged=True)
    return upto


def _last(log: Log, upto: int) -> int:
    """Return the offset of the last record below ``upto``; the last offsets may have none.

    It searches backward in growing steps.
    """
    back = 1
    while True:
        begin = max(log.start, upto - back)
        last = upto
        for offset in _offsets(log, begin, upto):
            if offset < upto:
                last = offset
        if last < upto or begin <= log.start:
            return last
        back *= BACK_TIMES


def _offsets(log: Log, at: int, upto: int) -> Iterator[int]:
    name, _, number = log.name.rpartition("-")
    while at < upto:
        before = at
        for chunk in chunks(log, (name, int(number)), at, lambda damage: None, wait=True):
            yield from (it.offset for it in chunk.records)
            at = chunk.end
        if at == before:
            return
