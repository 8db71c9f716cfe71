"""Delayed messages and records of exchanges and topics: count, list, cancel.

A list continues after a position that the previous reply names; the server keeps no state.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from logstore.access.audit import EXCHANGE as EXCHANGE_EVENT
from logstore.access.audit import RECORDS as RECORDS_EVENT
from logstore.access.resources import DELETE, DESCRIBE, EXCHANGE, READ, object_name
from logstore.amqp import fields
from logstore.broker.routing.delayed_exchange import DELAYED
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.topics import Scheduled
from logstore.errors import LogstoreError
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native import record_rows
from logstore.protocols.http.native.messages import message_contents
from logstore.protocols.http.native.objects import may_topic, offset_given, topic_of
from logstore.protocols.http.native.partitions import partition_number
from logstore.protocols.http.replies.contents import PREVIEW_BYTES
from logstore.protocols.http.within import Within, each, within

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.queues.delayed import DelayedStation
    from logstore.broker.queues.waiting import WaitingMessage

PAGE: Final = 20
PAGE_MAX: Final = 500
PLACE_QUERY: Final = ("after", "limit")

_PLACE: Final = re.compile(r"\d{1,19}(-\d{1,19}){1,2}", re.ASCII)


class Row(NamedTuple):
    """An exchange or a topic that may have delayed messages."""

    kind: str
    vhost: Within | None
    name: str
    waiting: int


COLUMNS: Final = Columns[Row](
    name=lambda it: it.name,
    by={
        "name": lambda it: it.name,
        "kind": lambda it: it.kind,
        "waiting": lambda it: it.waiting,
    },
    default=lambda it: (it.kind, "" if it.vhost is None else it.vhost.vhost.name, it.name),
)


def shown(door: HttpDoor, call: Call) -> None:
    """List exchanges and topics with the number of delayed messages or records."""
    rows = [
        Row("exchange", host, fields.text(it.name), _station(host, it).waiting)
        for host in each(door, call)
        for it in list(host.vhost.topology.exchanges())
        if it.type_name == DELAYED and host.sees_exchange(it)
    ]
    if not call.text("vhost"):
        rows += [
            Row("topic", None, name, count)
            for name, count in door.topics.schedules.waiting().items()
            if may_topic(door, call, DESCRIBE, name)
        ]
    show(door, call, rows, COLUMNS, _row)


def _row(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "vhost": None if row.vhost is None else fields.text(row.vhost.vhost.name),
        "name": row.name,
        "waiting": row.waiting,
    }


def _station(host: Within, facts: ExchangeFacts) -> "DelayedStation":
    return cast("DelayedStation", host.vhost.topology.station(facts.name))


# At an exchange


def of_exchange(door: HttpDoor, call: Call) -> None:
    """List delayed messages in the order in which they are due. Raises Fault, Forbidden, NoVhost,
    NoExchange.
    """
    from logstore.broker.queues.waiting import listed

    station = _named(door, call, READ)
    after, most = _after(call, 2), call.number("limit", PAGE, PAGE_MAX)

    def told(found: "Sequence[WaitingMessage] | LogstoreError") -> None:
        if call.over:
            return
        if isinstance(found, LogstoreError):
            call.fail(found)
            return
        last = found[-1] if len(found) == most else None
        call.answer(
            {
                "items": [_message(call, it) for it in found],
                "next": None if last is None else f"{last.due_ms}-{last.offset}",
            }
        )

    listed(station, None if after is None else (after[0], after[1]), most, told)


def _message(call: Call, it: "WaitingMessage") -> dict[str, Any]:
    shown = call.queues.showing.shown(() if it.record is None else it.record.headers)
    body = b"" if it.record is None else it.record.value or b""
    return {
        "offset": str(it.offset),
        "due_ms": it.due_ms,
        "time_ms": None if it.record is None else it.record.timestamp_ms,
        "exchange": fields.text(shown.exchange),
        "key": fields.text(b"" if it.record is None else it.record.key or b""),
        **message_contents(shown.deliver, body, PREVIEW_BYTES),
        "body_bytes": it.body_bytes,
        "truncated": it.body_bytes > PREVIEW_BYTES,
    }


def cancelled_at_exchange(door: HttpDoor, call: Call) -> None:
    """Cancel a delayed message. Raises Fault, Forbidden, NoVhost, NoExchange, NotWaiting."""
    from logstore.broker.queues.waiting import cancel

    station, offset = _named(door, call, DELETE), offset_given(call.word("offset"))
    name = object_name(fields.text(call.vhost().name), fields.text(station.name))

    def told(error: LogstoreError | None) -> None:
        if error is not None:
            call.fail(error)
            return
        door.audit.tell(EXCHANGE_EVENT, call.who, f"cancelled message {offset} of {name}")
        if not call.over:
            call.answer({"offset": str(offset)})

    cancel(station, offset, told)


def _named(door: HttpDoor, call: Call, operation: str) -> "DelayedStation":
    from logstore.broker.queues.waiting import station_of

    host = within(door, call)
    name = call.names["name"]
    host.require(operation, EXCHANGE, name)
    return station_of(host.vhost, name)


# For a topic


def of_topic(door: HttpDoor, call: Call) -> None:
    """List delayed records in the order in which they are due. Raises Fault, UnknownTopic."""
    name = topic_of(door, call.word("name")).name
    after, most = _after(call, 3), call.number("limit", PAGE, PAGE_MAX)
    place = None if after is None else (after[0], after[1], after[2])

    def look() -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        last = ""
        for it in door.topics.schedules.listed(name, place, most):
            items.append(_record(it))  # its value may be long: one at a time
            last = f"{it.due_ms}-{it.partition}-{it.offset}"
        return {"items": items, "next": last if len(items) == most else None}

    elsewhere(door, call, look, call.answer)


def _record(it: Scheduled) -> dict[str, Any]:
    found = None if it.record is None else record_rows.row(it.record)
    return {
        "partition": it.partition,
        "offset": str(it.offset),
        "due_ms": it.due_ms,
        "record": None if found is None else found | {"partition": it.partition},
    }


def cancelled_for_topic(door: HttpDoor, call: Call) -> None:
    """Cancel a delayed record. Raises Fault, UnknownTopic, UnknownPartition, NotWaiting."""
    name, number = topic_of(door, call.word("name")).name, partition_number(call)
    offset = offset_given(call.word("offset"))

    def cancel() -> None:
        door.topics.schedules.cancel(name, number, offset)

    def done(_: None) -> None:
        door.audit.tell(RECORDS_EVENT, call.who, f"cancelled {name}-{number} at {offset}")
        call.answer({"partition": number, "offset": str(offset)})

    elsewhere(door, call, cancel, done, always=True)


def _after(call: Call, count: int) -> Sequence[int] | None:
    """The position after which a list continues. Raises Fault."""
    text = call.text("after")
    if not text:
        return None
    if not _PLACE.fullmatch(text) or len(found := [int(it) for it in text.split("-")]) != count:
        raise Fault(
            BAD_REQUEST, f"after={text[:60]}: must be the value of `next` in an earlier reply"
        )
    return found
