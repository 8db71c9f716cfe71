"""Virtual hosts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from logstore.amqp import fields
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call, vhost_named
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost


def asked_for(call: Call) -> "Sequence[Vhost]":
    """The virtual host that the query names; without one all. Raises Fault."""
    name = call.query.get("vhost")
    return list(call.queues.vhosts.values()) if name is None else [vhost_named(call.queues, name)]


def listed(door: HttpDoor, call: Call) -> None:
    """By name."""
    rows = sorted(call.queues.vhosts.values(), key=lambda it: it.name)
    call.answer(paging.shown(rows, call.page(), _row))


def _row(vhost: "Vhost") -> dict[str, object]:
    return {
        "name": fields.text(vhost.name),
        "exchanges": sum(1 for _ in vhost.topology.exchanges()),
        "queues": vhost.count_queues(),
    }
