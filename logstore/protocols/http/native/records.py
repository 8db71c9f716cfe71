"""Records of a topic: show one, download its value, append new ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from logstore.broker.reading import fetched, of_batches
from logstore.broker.search import RECORD_BYTES_MAX
from logstore.broker.topic import Put
from logstore.broker.unsafe import Unsafe
from logstore.errors import OffsetOutOfRange
from logstore.http.bodies import encode
from logstore.http.faults import BAD_REQUEST, NOT_FOUND, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.native import record_rows
from logstore.protocols.http.native.objects import offset_given, topic_of
from logstore.protocols.http.native.partitions import partition_number
from logstore.protocols.http.native.vhosts import CREATED
from logstore.protocols.http.replies import contents
from logstore.protocols.http.replies.contents import WHOLE_BYTES_MAX
from logstore.records.record import Headers, Record

BINARY: Final = "application/octet-stream"


class RecordAppend(msgspec.Struct, forbid_unknown_fields=True):
    """``value`` null: a tombstone. Without ``partition``, the key decides."""

    key: str | None = None
    value: str | None = None
    headers: list[tuple[str, str | None]] = []
    partition: int | None = None
    time_ms: int | None = None
    encoding: str = contents.TEXT  # of key, value, and the values of headers


# One


def described(door: HttpDoor, call: Call) -> None:
    """Describe one record. Raises UnknownTopic, UnknownPartition; Fault if no record has the
    offset.
    """
    _one(door, call, lambda it: encode(record_rows.whole(it)), _answer_as_it_is(call))


def _answer_as_it_is(call: Call) -> Callable[[bytes], object]:
    return lambda body: call.answer(msgspec.Raw(body))


def downloaded(door: HttpDoor, call: Call) -> None:
    """Send the value of one record. Raises as ``described``; Fault if it is null."""
    name, number, offset = _place(call)

    def answer(value: bytes | None) -> None:
        if value is None:
            raise Fault(NOT_FOUND, f"the value of {name}-{number} offset {offset} is null")
        # It is somebody else's: no browser is to make a page of it.
        file = f'attachment; filename="{name}-{number}-{offset}.bin"'
        headers = [("content-disposition", file)]
        if len(value) <= WHOLE_BYTES_MAX:
            call.content(200, value, BINARY, headers)
        else:
            door.downloads.begin(len(value), call.at_end)
            call.stream(BINARY, contents.pieces(value), headers)

    _one(door, call, lambda it: it.value, answer)


def _place(call: Call) -> tuple[str, int, int]:
    """Raises Fault."""
    return call.word("name"), partition_number(call), offset_given(call.word("offset"))


def _one(
    door: HttpDoor, call: Call, show: Callable[[Record], Any], answer: Callable[[Any], object]
) -> None:
    name, number, offset = _place(call)
    topic_of(door, name)
    elsewhere(door, call, lambda: show(record_at(door, name, number, offset)), answer)


def record_at(door: HttpDoor, name: str, number: int, offset: int) -> Record:
    """The record. In a thread that may wait. Raises Fault, UnknownTopic, UnknownPartition,
    CorruptBatch.
    """
    log = topic_of(door, name).partition(number)
    try:
        batches = fetched(log, offset, 1)
    except OffsetOutOfRange as error:
        raise Fault(NOT_FOUND, str(error)) from None
    for chunk in of_batches(log, (name, number), batches[:1], offset, None, RECORD_BYTES_MAX):
        for record in chunk.records:
            if record.offset == offset:
                return record
            break
    where = f"{name}-{number} has no record of offset {offset}"
    if offset >= log.safe:
        raise Fault(NOT_FOUND, f"{where}: it ends at {log.safe}")
    raise Fault(NOT_FOUND, f"{where}: it was compacted away, or is a marker of a transaction")


# New ones


def produced(door: HttpDoor, call: Call) -> None:
    """Append a record, synced when answered. Raises UnknownTopic, InvalidRecord."""
    name, asked = topic_of(door, call.word("name")).name, call.json(RecordAppend)
    given = _given(asked.encoding)
    key, value = given(asked.key, "key"), given(asked.value, "value")
    headers: Headers = tuple(
        (_header_name(it), given(text, "value of a header")) for it, text in asked.headers
    )

    def put() -> Put:
        return topic_of(door, name).put(value, key, headers, asked.time_ms, asked.partition)

    elsewhere(door, call, put, partial(_when_safe, door, call))


def _given(encoding: str) -> Callable[[str | None, str], bytes | None]:
    def given(text: str | None, what: str) -> bytes | None:
        return None if text is None else contents.given(text, encoding, what)

    return given


def _header_name(name: str) -> str:
    """Raises Fault for a name that has no bytes: half a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Fault(BAD_REQUEST, "the name of a header is not text") from None
    return name


def _when_safe(door: HttpDoor, call: Call, put: Put) -> None:
    unsafe = Unsafe()
    unsafe.add(put.log, put.mark + 1)
    call.at_end(unsafe.close)

    def look() -> None:
        if not call.over:
            call.attempt(answer_if_safe)

    def wake() -> None:
        door.soon(look)

    def answer_if_safe() -> None:
        if unsafe.settled():
            at = put.position
            about = {"partition": at.partition, "offset": str(at.offset)}
            call.answer(about | {"time_ms": at.timestamp_ms}, CREATED)

    unsafe.watch(wake)
