"""Virtual hosts: list, describe, add, delete."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from logstore.access.administration import new_permission
from logstore.access.audit import VHOST
from logstore.amqp import fields
from logstore.kept.queues import DEFAULT_VHOST
from logstore.kept.users import KeptPermission
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.vhosts import delete
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.answers import CREATED, NO_CONTENT
from logstore.protocols.http.rabbit.asked import Asked
from logstore.protocols.http.rabbit.counted import Counts, count, counting

if TYPE_CHECKING:
    from logstore.broker.queues.pending import Pending
    from logstore.broker.queues.vhost import Vhost

ALL: Final = ".*"
NO_TYPE: Final = "undefined"


def row(vhost: "Vhost", counts: Counts) -> lists.Row:
    name = fields.text(vhost.name)
    description = "Default virtual host" if name == DEFAULT_VHOST else ""
    return {
        "cluster_state": {NODE: "running"},
        "default_queue_type": NO_TYPE,
        "description": description,
        **counts.row(),
        "metadata": {"description": description, "tags": []},
        "name": name,
        "tags": [],
        "tracing": False,
    }


def listed(door: HttpDoor, call: Call) -> None:
    """List the virtual hosts that the caller may enter. Raises RabbitFault."""
    those = sight.those(door, call)

    def counted(counts: Mapping[bytes, Counts]) -> None:
        kind: lists.Kind[Vhost] = lists.Kind(
            lambda it: row(it, counts[it.name]), lambda it: fields.text(it.name),
            lambda it: it.name, {"name": lambda it: it.name},
        )  # fmt: skip
        lists.answer(door, call, [it.vhost for it in those], kind)

    count(door, call, counting(those), counted)


def described(door: HttpDoor, call: Call) -> None:
    """Describe a virtual host. Raises RabbitFault."""
    within = sight.to_see(door, call)

    def counted(counts: Mapping[bytes, Counts]) -> None:
        found = row(within.vhost, counts[within.vhost.name])
        call.answer(lists.picked_columns(found, lists.columns_of(call)))

    count(door, call, counting([within]), counted)


def made(door: HttpDoor, call: Call) -> None:
    """Add a virtual host, in which the caller gets all permissions. Raises RabbitFault,
    InvalidName.

    Descriptions, tags and default queue types are not stored.
    """
    Asked(call.given)
    name = sight.vhost_name(call)
    pending = call.queues.add_vhost(name)
    if pending is None:
        call.done(NO_CONTENT)
        return

    def kept(pending: "Pending") -> None:
        if pending.error is not None:
            raise pending.error
        door.audit.tell(VHOST, call.who, f"made {fields.text(name)}")
        _permit(door, call, fields.text(name))

    pending.then(lambda it: call.attempt(lambda: kept(it)))


def _permit(door: HttpDoor, call: Call, vhost: str) -> None:
    if call.who.user not in door.access.users:
        call.done(CREATED)
        return
    permission = KeptPermission(call.who.user, vhost, ALL, ALL, ALL)
    change = new_permission(door.access, permission)
    kept = door.access.change(*change, by=call.who)
    call.when_kept(kept, lambda: call.done(CREATED))


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a virtual host with its contents and permissions. Raises NoVhost, DefaultVhost."""
    delete(door, call, sight.vhost_name(call), lambda: call.done(NO_CONTENT))
