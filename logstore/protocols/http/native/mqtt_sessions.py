"""Sessions of MQTT clients: list with their queued messages, describe, end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from logstore.access import audit
from logstore.errors import LogstoreError
from logstore.http.faults import NOT_FOUND, Fault
from logstore.kept.mqtt import NEVER
from logstore.printable import printable
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show

if TYPE_CHECKING:  # the model, which a server that has no client does without
    from logstore.broker.mqtt.member import Grant
    from logstore.broker.mqtt.session import Session
    from logstore.broker.mqtt.sessions import Sessions

VERSIONS: Final = {4: "3.1.1", 5: "5.0"}
SHOWN: Final = 60  # characters of an id in a message

COLUMNS: "Final[Columns[Session]]" = Columns(
    name=lambda it: it.client,
    by={
        "client": lambda it: it.client,
        "user": lambda it: it.user,
        "connected": lambda it: it.connected,
        "left_ms": lambda it: it.left_ms,
        "expires_ms": lambda it: _expires_ms(it) or NEVER << 20,
        "subscriptions": lambda it: len(it.grants),
        "ready": lambda it: _ready(it) or 0,
        "unacked": lambda it: len(it.out.unacked),
        "memory_bytes": lambda it: it.held_bytes,
    },
    default=lambda it: it.client,
)

SUBSCRIPTIONS: "Final[Columns[tuple[bytes, Grant]]]" = Columns(
    name=lambda it: _text(it[0]),
    by={"filter": lambda it: it[0], "qos": lambda it: it[1].qos, "id": lambda it: it[1].id},
    default=lambda it: it[0],
)


def list_(door: HttpDoor, call: Call) -> None:
    """List sessions by client id; without the right to see all, the user's own. Raises Fault."""
    sessions = _model(door)
    show(door, call, [] if sessions is None else _rows(sessions, call), COLUMNS, _shown)


def _rows(sessions: "Sessions", call: Call) -> "Iterator[Session]":
    return (it for it in list(sessions.there()) if _sees(call, it))


def _sees(call: Call, session: "Session") -> bool:
    return call.rights.sees_all or session.user == call.rights.who.user


def one(door: HttpDoor, call: Call) -> None:
    """Describe a session. Raises Fault."""
    call.answer(_shown(_found(door, call)))


def subscriptions(door: HttpDoor, call: Call) -> None:
    """List the subscriptions of a session. Raises Fault."""
    session = _found(door, call)
    show(door, call, list(session.grants), SUBSCRIPTIONS, _subscription)


def ended(door: HttpDoor, call: Call) -> None:
    """End a session and delete its messages; its client is disconnected. Raises Fault."""
    session = _found(door, call)
    sessions = _model(door)
    assert sessions is not None
    shown = _shown(session)
    who = call.rights.who
    by = "through the HTTP API" if not who.user else f"by user '{printable(who.user)}'"
    pending = sessions.end(session, f"its session was ended {by}")
    door.audit.tell(audit.SESSION, who, f"ended: client {session.client}")
    if pending is None:
        call.answer(shown)
        return

    def done(error: LogstoreError | None) -> None:
        if call.over:
            return
        if error is not None:
            call.fail(error)
        else:
            call.answer(shown)

    pending.then(lambda it: done(it.error))


def _model(door: HttpDoor) -> "Sessions | None":
    """The model; None if no client has come and nothing was stored."""
    mqtt = door.mqtt_of.opened
    found: Sessions | None = None if mqtt is None else mqtt.sessions
    return found


def _found(door: HttpDoor, call: Call) -> "Session":
    """Raises Fault."""
    sessions, client = _model(door), call.word("client")
    session = None if sessions is None else sessions.of(client)
    if session is None or not _sees(call, session):
        raise Fault(NOT_FOUND, f"MQTT client {client[:SHOWN]!r} has no session")
    return session


def _shown(it: "Session") -> dict[str, Any]:
    queue, whose = it.queue, it.out.whose
    return {
        "client": it.client,
        "user": it.user,
        "connected": it.connected,
        "peer": None if whose is None else f"{whose.host}:{whose.port}",
        "version": VERSIONS.get(it.version, str(it.version)),
        "expiry_s": None if it.expiry_s == NEVER else it.expiry_s,
        "left_ms": None if it.connected else it.left_ms,
        "expires_ms": _expires_ms(it),
        "subscriptions": len(it.grants),
        "queue": None if queue is None else _text(queue.facts.name),
        "ready": _ready(it),
        "unacked": len(it.out.unacked),
        "window": it.out.window if it.connected else None,
        "memory_bytes": it.held_bytes,
    }


def _ready(it: "Session") -> int | None:
    """The number of waiting messages; None: the session's queue is not open yet."""
    queue = it.queue
    if queue is None:
        return 0
    return queue.ready if queue.opened else None


def _expires_ms(it: "Session") -> int | None:
    return None if it.connected else it.deadline_ms


def _subscription(row: "tuple[bytes, Grant]") -> dict[str, Any]:
    name, grant = row
    return {
        "filter": _text(name),
        "qos": grant.qos,
        "no_local": grant.no_local,
        "retain_as_published": grant.retain_as_published,
        "id": grant.id or None,
    }


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
