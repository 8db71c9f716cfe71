"""Virtual hosts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from logstore.access.administration import without_vhost
from logstore.access.audit import VHOST
from logstore.amqp import fields
from logstore.broker.queues.refusals import DefaultVhost
from logstore.kept.queues import DEFAULT_VHOST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.asked import asked
from logstore.protocols.http.within import Within, each

if TYPE_CHECKING:
    from logstore.broker.queues.pending import Pending
    from logstore.broker.queues.vhost import Vhost

CREATED: Final = 201

COLUMNS: Final = Columns[Within](
    name=lambda it: fields.text(it.vhost.name),
    by={
        "name": lambda it: it.vhost.name,
        "queues": lambda it: it.vhost.count_queues(),
        "exchanges": lambda it: _exchanges(it.vhost),
    },
    default=lambda it: it.vhost.name,
)


class VhostDelete(Struct, forbid_unknown_fields=True):
    """``dry_run``: say what would go, and do nothing."""

    dry_run: bool = False


def list_(door: HttpDoor, call: Call) -> None:
    """List virtual hosts by name."""
    show(door, call, each(door, call), COLUMNS, lambda it: _row(it.vhost))


def added(door: HttpDoor, call: Call) -> None:
    """Add a virtual host, unless it exists. Raises InvalidName."""
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
    """Delete a virtual host with its contents and permissions. Raises NoVhost, DefaultVhost."""
    name, given = call.names["name"], asked(call, VhostDelete)
    row = _row(call.queues.vhost(name)) | {"dry_run": given.dry_run}
    if given.dry_run:
        if name == fields.data(DEFAULT_VHOST):
            raise DefaultVhost
        call.answer(row)
        return
    delete(door, call, name, lambda: call.answer(row))


def delete(door: HttpDoor, call: Call, name: bytes, then: Callable[[], object]) -> None:
    """As ``deleted``, for a virtual host of any name. Raises NoVhost, DefaultVhost."""
    call.queues.vhost(name)
    shown = fields.text(name)

    def forget_permitted(go_on: Callable[[], object]) -> None:
        change = without_vhost(door.access, shown)
        if change.forget and name != fields.data(DEFAULT_VHOST):
            call.when_kept(door.access.change(*change, by=call.who), go_on)
        else:
            go_on()

    def forgotten(pending: "Pending") -> None:
        if pending.error is not None:
            raise pending.error
        door.audit.tell(VHOST, call.who, f"deleted {shown}")
        forget_permitted(then)  # what was permitted meanwhile

    def begin() -> None:
        pending = call.queues.delete_vhost(name)
        pending.then(lambda it: call.attempt(lambda: forgotten(it)))

    # First, since another one of that name is to begin with nothing, whatever happens in between.
    forget_permitted(begin)


def _row(vhost: "Vhost") -> dict[str, object]:
    return {
        "name": fields.text(vhost.name),
        "exchanges": _exchanges(vhost),
        "queues": vhost.count_queues(),
    }


def _exchanges(vhost: "Vhost") -> int:
    return sum(1 for _ in vhost.topology.exchanges())
