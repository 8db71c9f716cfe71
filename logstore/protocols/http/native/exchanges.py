"""Exchanges and what is bound to them."""

from typing import TYPE_CHECKING, Any

from logstore.amqp import fields
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.vhosts import asked_for
from logstore.protocols.http.shown import arguments, binding

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost


def listed(door: HttpDoor, call: Call) -> None:
    """By virtual host and name."""
    wanted = call.query.get("filter", b"")
    rows = sorted(
        ((vhost, facts) for vhost in asked_for(call) for facts in vhost.topology.exchanges()
         if wanted in facts.name),
        key=lambda row: (row[0].name, row[1].name),
    )  # fmt: skip
    call.answer(paging.shown(rows, call.page(), lambda row: _row(*row)))


def described(door: HttpDoor, call: Call) -> None:
    """One; raises NoVhost, NoExchange."""
    vhost = call.vhost()
    call.answer(_row(vhost, vhost.topology.exchange(call.names["name"])))


def bindings(door: HttpDoor, call: Call) -> None:
    """From it, or to it, in the order in which they were made. Raises NoVhost, NoExchange."""
    topology, name = call.vhost().topology, call.names["name"]
    end = call.text("end") or "source"
    if end not in ("source", "destination"):
        raise Fault(BAD_REQUEST, f"end={end[:20]}: takes source or destination")
    found = (
        topology.bindings_from(name) if end == "source"
        else topology.bindings_to(name, "exchange")
    )  # fmt: skip
    call.answer(paging.shown(list(found), call.page(), binding))


def _row(vhost: "Vhost", facts: ExchangeFacts) -> dict[str, Any]:
    return {
        "vhost": fields.text(vhost.name),
        "name": fields.text(facts.name),
        "type": facts.type_name,
        "durable": facts.durable,
        "auto_delete": facts.auto_delete,
        "internal": facts.internal,
        "arguments": arguments(facts.arguments),
        "bindings": vhost.topology.count_bindings_from(facts.name),
    }
