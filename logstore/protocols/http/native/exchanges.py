"""Exchanges: list, describe, declare, delete, publish; list their bindings."""

from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from logstore.access.resources import DELETE, EXCHANGE
from logstore.amqp import fields
from logstore.broker.deduplication.headers import ONCE
from logstore.broker.queues.acts import Routed
from logstore.broker.routing.delayed_exchange import DELAYED
from logstore.broker.routing.exchange import ALTERNATE_EXCHANGE, ExchangeFacts, is_predefined
from logstore.broker.routing.refusals import InUse, NoExchange, NotPermitted
from logstore.errors import LogstoreError
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, Listed, listed, show
from logstore.protocols.http.native.asked import (
    asked,
    message_of,
    name_of,
    new_name,
    table_of,
)
from logstore.protocols.http.native.bindings import AS_MADE
from logstore.protocols.http.native.bounds import Properties
from logstore.protocols.http.replies.contents import TEXT
from logstore.protocols.http.replies.shown import arguments, binding, repeats
from logstore.protocols.http.within import Within, each, within

CREATED: Final = 201


class ExchangeDeclare(Struct, forbid_unknown_fields=True):
    """An exchange to declare. ``alternate``: the exchange for messages that no queue takes."""

    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    alternate: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


class ExchangeDelete(Struct, forbid_unknown_fields=True):
    """``dry_run``: report what would be deleted, and delete nothing."""

    if_unused: bool = False
    dry_run: bool = False


class ExchangePublish(Struct, forbid_unknown_fields=True):
    """One message. ``encoding``: of the body, ``text`` or ``base64``."""

    key: str = ""
    properties: Properties = field(default_factory=dict)
    body: str = ""
    encoding: str = TEXT


class Row(NamedTuple):
    """An exchange and its virtual host."""

    vhost: Within
    facts: ExchangeFacts


COLUMNS: Final = Columns[Row](
    name=lambda it: fields.text(it.facts.name),
    by={
        "name": lambda it: it.facts.name,
        "vhost": lambda it: it.vhost.vhost.name,
        "type": lambda it: it.facts.type_name,
        "bindings": lambda it: _count(it),
    },
    default=lambda it: (it.vhost.vhost.name, it.facts.name),
)


def list_(door: HttpDoor, call: Call) -> None:
    """List exchanges by virtual host and name, unless another column is requested."""
    rows = (
        Row(host, it) for host in each(door, call) for it in list(host.vhost.topology.exchanges())
    )

    def found(page: Listed[Row]) -> None:
        there = [it for it in page.rows if it.vhost.has_exchange(it.facts.name)]
        call.answer(page.paged([_row(it) for it in there]))

    listed(door, call, rows, COLUMNS, found, lambda it: it.vhost.sees_exchange(it.facts))


def described(door: HttpDoor, call: Call) -> None:
    """Describe an exchange. Raises Forbidden, NoVhost, NoExchange."""
    host = within(door, call)
    call.answer(_row(Row(host, host.exchange(_named(call)))))


def bindings(door: HttpDoor, call: Call) -> None:
    """List bindings from or to it, in the order of creation. Raises NoVhost, NoExchange."""
    host = within(door, call)
    name, topology = host.exchange(_named(call)).name, host.vhost.topology
    end = call.text("end") or "source"
    if end not in ("source", "destination"):
        raise Fault(BAD_REQUEST, f"end={end[:20]}: must be source or destination")
    found = (
        topology.bindings_from(name) if end == "source"
        else topology.bindings_to(name, "exchange")
    )  # fmt: skip
    show(door, call, list(found), AS_MADE, binding, host.sees)


def _row(row: Row) -> dict[str, Any]:
    facts = row.facts
    return {
        "vhost": fields.text(row.vhost.vhost.name),
        "name": fields.text(facts.name),
        "type": facts.type_name,
        "durable": facts.durable,
        "auto_delete": facts.auto_delete,
        "internal": facts.internal,
        "arguments": arguments(facts.arguments),
        "bindings": _count(row),
        "policy": _policy(row),
        "waiting": waiting_at(row.vhost, row.facts),
        "repeats": _repeats(row),
    }


def waiting_at(host: Within, facts: ExchangeFacts) -> int | None:
    """The number of delayed messages at the exchange; None: it cannot delay any."""
    if facts.type_name != DELAYED:
        return None
    try:
        return getattr(host.vhost.topology.station(facts.name), "waiting", None)
    except NoExchange:
        return None


def _count(row: Row) -> int:
    """The number of bindings from it; 0 if it was deleted meanwhile."""
    try:
        return row.vhost.vhost.topology.count_bindings_from(row.facts.name)
    except NoExchange:
        return 0


def _repeats(row: Row) -> dict[str, int] | None:
    """The deduplication of an exchange that forwards each message once."""
    try:
        station = row.vhost.vhost.topology.station(row.facts.name)
    except NoExchange:
        return None
    return repeats(station if row.facts.type_name == ONCE else None)


def _policy(row: Row) -> str | None:
    """The name of the policy that applies."""
    try:
        policy = row.vhost.vhost.topology.policy(row.facts.name)
    except NoExchange:
        return None
    return None if policy is None else policy.name


def _named(call: Call) -> bytes:
    """The exchange in the path; the default exchange has an empty name."""
    return name_of(call.names["name"])


# Changing them


def declared(door: HttpDoor, call: Call) -> None:
    """Declare an exchange. Raises Fault, Forbidden, NoVhost, as Topology.declare."""
    host, given = within(door, call), asked(call, ExchangeDeclare)
    name = new_name(call.names["name"])
    wanted = dict(given.arguments)
    if given.alternate is not None:
        wanted[fields.text(ALTERNATE_EXCHANGE)] = given.alternate
    facts = ExchangeFacts(
        name, given.type, given.durable, given.auto_delete, given.internal, table_of(wanted)
    )
    new = not host.has_exchange(name)

    def kept(found: ExchangeFacts | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.attempt(lambda: call.answer(
                _row(Row(host, host.vhost.topology.exchange(name))), CREATED if new else 200
            ))  # fmt: skip

    host.declare_exchange(facts, kept)


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete an exchange and its bindings. Raises Fault, Forbidden, NoVhost, NoExchange,
    NotPermitted, InUse.
    """
    host, given, name = within(door, call), asked(call, ExchangeDelete), _named(call)
    host.require(DELETE, EXCHANGE, name)
    topology = host.vhost.topology
    topology.exchange(name)
    if is_predefined(name):
        raise NotPermitted(name)
    about = {
        "vhost": fields.text(host.vhost.name), "name": fields.text(name),
        "bindings": topology.count_bindings_from(name),
        "bindings_to": sum(1 for _ in topology.bindings_to(name, "exchange")),
        "dry_run": given.dry_run,
    }  # fmt: skip
    if given.if_unused and about["bindings"]:
        raise InUse(name)
    if given.dry_run:
        call.answer(about)
        return

    def gone(found: int | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer(about)

    host.delete_exchange(name, gone, if_unused=given.if_unused)


def published(door: HttpDoor, call: Call) -> None:
    """Publish a message; it is safe when answered. Raises Fault, Forbidden, NoVhost, as
    Vhost.route.
    """
    host, given, name = within(door, call), asked(call, ExchangePublish), _named(call)
    message = message_of(name, given.key, given.properties, given.body, given.encoding)

    def safe(found: Routed | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
            return
        counts = door.figures.amqp
        counts.received += 1
        counts.routed += found.taken
        counts.dropped += not found.taken
        call.answer({"routed": found.taken, "refused": found.refused})

    host.publish(message, safe)
