"""RabbitMQ's permissions: in a virtual host, and for the routing keys of an exchange."""

import msgspec

from logstore.access import administration
from logstore.amqp import fields
from logstore.kept.users import KeptPermission, KeptTopicPermission
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor


class NewPermission(msgspec.Struct, forbid_unknown_fields=True):
    """Regular expressions; an empty one matches nothing."""

    configure: str
    write: str
    read: str


class NewTopicPermission(msgspec.Struct, forbid_unknown_fields=True):
    exchange: str
    write: str
    read: str


def listed(door: HttpDoor, call: Call) -> None:
    """List permissions by virtual host and user, filtered by the query."""
    rows = [it for it in door.access.permissions.values() if _is_asked_for(it, call)]
    rows.sort(key=lambda it: (it.vhost, it.user))
    call.answer(paging.shown(rows, call.page(), row))


def topics_listed(door: HttpDoor, call: Call) -> None:
    """List topic permissions likewise."""
    rows = [it for it in door.access.topic_permissions.values() if _is_asked_for(it, call)]
    rows.sort(key=lambda it: (it.vhost, it.user, it.exchange))
    call.answer(paging.shown(rows, call.page(), topic_row))


def _is_asked_for(it: KeptPermission | KeptTopicPermission, call: Call) -> bool:
    return all(
        getattr(it, name) == call.word(name) for name in ("user", "vhost") if name in call.query
    )


def given(door: HttpDoor, call: Call) -> None:
    """Set a user's permission, replacing an existing one. Raises UnknownUser, NoVhost, Refused."""
    asked = call.json(NewPermission)
    permission = KeptPermission(
        call.word("user"), _vhost(call), asked.configure, asked.write, asked.read
    )
    change = administration.new_permission(door.access, permission)
    call.answer_when(door.access.change(*change, by=call.who), row(permission))


def topic_given(door: HttpDoor, call: Call) -> None:
    """Set a user's topic permission, replacing an existing one. Raises UnknownUser, NoVhost,
    Refused.
    """
    asked = call.json(NewTopicPermission)
    permission = KeptTopicPermission(
        call.word("user"), _vhost(call), asked.exchange, asked.write, asked.read
    )
    change = administration.new_permission(door.access, permission)
    call.answer_when(door.access.change(*change, by=call.who), topic_row(permission))


def _vhost(call: Call) -> str:
    """Raises NoVhost."""
    return fields.text(call.queues.vhost(call.names["vhost"]).name)


def taken(door: HttpDoor, call: Call) -> None:
    """Remove a permission. Raises UnknownUser, NoneOfThatName."""
    user, vhost = call.word("user"), fields.text(call.names["vhost"])
    change = administration.without_permission(door.access, user, vhost)
    call.answer_when(door.access.change(*change, by=call.who), {})


def topic_taken(door: HttpDoor, call: Call) -> None:
    """Remove a topic permission. Raises UnknownUser, NoneOfThatName."""
    user, vhost = call.word("user"), fields.text(call.names["vhost"])
    exchange = call.word("exchange")
    change = administration.without_permission(door.access, user, vhost, exchange)
    call.answer_when(door.access.change(*change, by=call.who), {})


def row(permission: KeptPermission) -> dict[str, object]:
    return {
        "vhost": permission.vhost,
        "user": permission.user,
        "configure": permission.configure,
        "write": permission.write,
        "read": permission.read,
    }


def topic_row(permission: KeptTopicPermission) -> dict[str, object]:
    return {
        "vhost": permission.vhost,
        "user": permission.user,
        "exchange": permission.exchange,
        "write": permission.write,
        "read": permission.read,
    }
