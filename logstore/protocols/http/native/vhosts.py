"""Virtual hosts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from logstore.access.administration import without_vhost
from logstore.access.audit import VHOST
from logstore.amqp import fields
from logstore.kept_queues import DEFAULT_VHOST
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.broker.queues.pending import Pending
    from logstore.broker.queues.vhost import Vhost


CREATED: Final = 201


def asked_for(call: Call) -> "Sequence[Vhost]":
    """The virtual host that the query names; without one all. Raises NoVhost."""
    name = call.query.get("vhost")
    return list(call.queues.vhosts.values()) if name is None else [call.queues.vhost(name)]


def listed(door: HttpDoor, call: Call) -> None:
    """By name."""
    rows = sorted(call.queues.vhosts.values(), key=lambda it: it.name)
    call.answer(paging.shown(rows, call.page(), _row))


def added(door: HttpDoor, call: Call) -> None:
    """There is one of that name then; raises InvalidName."""
    name = call.names["name"]
    pending = call.queues.add_vhost(name)
    if pending is None:
        call.answer(_row(call.queues.vhost(name)))
        return

    def kept(pending: "Pending") -> None:
        if pending.error is not None:
            raise pending.error
        row = _row(call.queues.vhost(name))
        door.audit.tell(VHOST, call.who, f"made {row['name']}")
        call.answer(row, CREATED)

    pending.then(lambda it: call.attempt(lambda: kept(it)))


def deleted(door: HttpDoor, call: Call) -> None:
    """With all it has, and what is permitted there; raises NoVhost, DefaultVhost."""
    name = call.names["name"]
    row = _row(call.queues.vhost(name))

    def forget_permitted(go_on: Callable[[], object]) -> None:
        change = without_vhost(door.access, fields.text(name))
        if change.forget and name != fields.data(DEFAULT_VHOST):
            call.when_kept(door.access.change(*change, by=call.who), go_on)
        else:
            go_on()

    def forgotten(pending: "Pending") -> None:
        if pending.error is not None:
            raise pending.error
        door.audit.tell(VHOST, call.who, f"deleted {row['name']}")
        forget_permitted(lambda: call.answer(row))  # what was permitted meanwhile

    def delete() -> None:
        pending = call.queues.delete_vhost(name)
        pending.then(lambda it: call.attempt(lambda: forgotten(it)))

    # First, since another one of that name is to begin with nothing, whatever happens in between.
    forget_permitted(delete)


def _row(vhost: "Vhost") -> dict[str, object]:
    return {
        "name": fields.text(vhost.name),
        "exchanges": sum(1 for _ in vhost.topology.exchanges()),
        "queues": vhost.count_queues(),
    }
