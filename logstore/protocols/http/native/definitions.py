"""Definitions in RabbitMQ's own JSON: export and import everything except messages."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from logstore.amqp import fields
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.definitions import given, taken
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.definitions.exporting import Exported
    from logstore.definitions.planning import Plan


def described(door: HttpDoor, call: Call) -> None:
    """Export all definitions, or those of one virtual host. Raises Fault, NoVhost."""

    def shape(it: "Exported") -> dict[str, Any]:
        return {"definitions": it.definitions, "notes": it.notes}

    vhost = call.queues.vhost(call.query["vhost"]) if "vhost" in call.query else None
    taken(door, call, vhost, shape)


def imported(door: HttpDoor, call: Call) -> None:
    """Import definitions, or report the changes. Raises Fault, NoVhost, InvalidDefinitions."""
    said = call.text("dry_run") or "false"
    if said not in ("true", "false"):
        raise Fault(BAD_REQUEST, f"dry_run={said[:20]}: must be true or false")
    dry_run, vhost = said == "true", None
    if "vhost" in call.query:
        vhost = fields.text(call.queues.vhost(call.query["vhost"]).name)

    def done(plan: "Plan") -> None:
        counts = {kind: asdict(it) for kind, it in plan.counts.items()}
        call.answer({"dry_run": dry_run, "counts": counts, "notes": plan.notes})

    given(door, call, call.given, vhost, done, dry_run=dry_run)
