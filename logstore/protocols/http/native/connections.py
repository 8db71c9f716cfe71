"""Connections of all doors: list, describe, close."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from msgspec import Struct

from logstore.access import audit
from logstore.http.faults import BAD_REQUEST, NOT_FOUND, Fault
from logstore.printable import printable
from logstore.protocols.house import Connection
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.asked import asked
from logstore.protocols.session import About

NAMES: Final = {"redis": "resp", "rabbitmq": "amqp"}  # what else people call doors
REASON_SHOWN: Final = 200  # characters
NUMBER_CHARS: Final = 15


class Close(Struct, forbid_unknown_fields=True):
    """``reason``: for the log, and for the client if its protocol can transmit it."""

    reason: str = ""


class Row:
    """A connection; facts about its client are looked up only when needed."""

    __slots__ = ("_about", "it")

    def __init__(self, it: Connection) -> None:
        self.it = it
        self._about: About | None = None

    @property
    def about(self) -> About:
        if self._about is None:
            self._about = About() if self.it.gone else self.it.about()
        return self._about


COLUMNS: Final = Columns[Row](
    name=lambda row: f"{row.it.peer} {row.about.user} {row.about.client} {row.about.software}",
    by={
        "id": lambda row: row.it.id,
        "door": lambda row: row.it.door,
        "peer": lambda row: row.it.peer_address,
        "user": lambda row: row.about.user,
        "client": lambda row: row.about.client,
        "tls": lambda row: row.it.secure,
        "since_ms": lambda row: row.it.opened_at,
        "bytes_in": lambda row: row.it.bytes_in,
        "bytes_out": lambda row: row.it.bytes_out,
        "unsent": lambda row: row.it.unsent,
        "state": lambda row: row.about.state,
    },
    default=lambda row: row.it.id,
)


def list_(door: HttpDoor, call: Call) -> None:
    """List connections in the order of arrival; without the right to see all, the user's own.
    Raises Fault.
    """
    wanted = call.text("door")
    wanted = NAMES.get(wanted, wanted)
    if wanted and wanted not in door.figures.door_names:
        raise Fault(BAD_REQUEST, f"door={wanted[:20]}: no door of this name")
    show(door, call, _rows(door, call, wanted), COLUMNS, partial(_shown, door))


def _rows(door: HttpDoor, call: Call, wanted: str) -> Iterator[Row]:
    user = None if call.rights.sees_all else call.rights.who.user
    for it in door.connections.connections():
        if it.gone or (wanted and it.door != wanted):
            continue
        row = Row(it)
        if user is None or row.about.user == user:
            yield row


def one(door: HttpDoor, call: Call) -> None:
    """Describe a connection. Raises Fault."""
    found = _found(door, call)
    row = Row(found)
    if not call.rights.sees_all and row.about.user != call.rights.who.user:
        raise _unknown(found.id)
    call.answer(_shown(door, row))


def closed(door: HttpDoor, call: Call) -> None:
    """Close a connection, even with unsent output. Raises Fault."""
    found, reason = _found(door, call), asked(call, Close).reason
    who = call.rights.who
    by = "through the HTTP API" if not who.user else f"by user '{printable(who.user)}'"
    said = f": {printable(reason[:REASON_SHOWN])}" if reason else ""
    row = _shown(door, Row(found))
    door.audit.tell(audit.CONNECTION, who, f"{found.door} {found.peer}{said}")
    call.answer(row)
    # At the end of the turn: it may be the one that has asked, which has its answer by then.
    door.soon(partial(door.connections.close, found.id, f"ended {by}{said}"))


def _found(door: HttpDoor, call: Call) -> Connection:
    text = call.word("id")
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_CHARS):
        raise Fault(BAD_REQUEST, f"{text[:20]!r} is not the number of a connection")
    found = door.connections.connection(int(text))
    if found is None or found.gone:
        raise _unknown(int(text))
    return found


def _unknown(number: int) -> Fault:
    return Fault(NOT_FOUND, f"no connection {number}: it has ended, or never was")


def _shown(door: HttpDoor, row: Row) -> dict[str, Any]:
    it, about = row.it, row.about
    rates = door.figures.rates("connection", it.id)
    host, port = it.address
    return {
        "id": it.id,
        "door": it.door,
        "peer": it.peer,
        "address": f"{host}:{port}" if host else "",
        "user": printable(about.user),
        "client": printable(about.client),
        "software": printable(about.software),
        "tls": it.secure,
        "since_ms": door.clock() - int((door.stopwatch() - it.opened_at) * 1000),
        "bytes_in": str(it.bytes_in),
        "bytes_out": str(it.bytes_out),
        "in_per_s": rates["bytes_in"],
        "out_per_s": rates["bytes_out"],
        "unsent": it.unsent,
        "unread_max": about.unread_max,
        "state": about.state,
        "about": dict(about.facts),
    }
