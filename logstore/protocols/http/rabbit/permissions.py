"""RabbitMQ's permissions: in a virtual host, and for the routing keys of an exchange."""

from typing import Final

from logstore.access import administration
from logstore.amqp import fields
from logstore.kept.users import KeptPermission, KeptTopicPermission
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.permissions import row, topic_row
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.answers import CREATED, NO_CONTENT
from logstore.protocols.http.rabbit.asked import Asked
from logstore.protocols.http.rabbit.users import existing
from logstore.protocols.http.rabbit.words import bad_request, not_there

Permission = KeptPermission | KeptTopicPermission
KIND: Final[lists.Kind[KeptPermission]] = lists.Kind(
    row, lambda it: it.user, lambda it: (it.user, it.vhost)
)
TOPIC_KIND: Final[lists.Kind[KeptTopicPermission]] = lists.Kind(
    topic_row, lambda it: it.user, lambda it: (it.user, it.vhost, it.exchange)
)


def _vhost(call: Call) -> str:
    """The virtual host in the path. Raises RabbitFault if it does not exist."""
    name = sight.vhost_name(call)
    if name not in call.queues.vhosts:
        raise not_there()
    return fields.text(name)


def listed(door: HttpDoor, call: Call) -> None:
    """List permissions by user and virtual host. Raises RabbitFault."""
    lists.answer(door, call, list(door.access.permissions.values()), KIND)


def of_vhost(door: HttpDoor, call: Call) -> None:
    """List the permissions in a virtual host by user. Raises RabbitFault."""
    vhost = _vhost(call)
    rows = (it for it in door.access.permissions.values() if it.vhost == vhost)
    lists.answer(door, call, list(rows), KIND)


def of_user(door: HttpDoor, call: Call) -> None:
    """List the permissions of a user by virtual host. Raises RabbitFault."""
    user = existing(door, call.word("user")).name
    rows = (it for it in door.access.permissions.values() if it.user == user)
    lists.answer(door, call, list(rows), KIND)


def described(door: HttpDoor, call: Call) -> None:
    """Describe a permission. Raises RabbitFault."""
    found = door.access.permissions.get((call.word("user"), _vhost(call)))
    if found is None:
        raise not_there()
    call.answer(row(found))


def given(door: HttpDoor, call: Call) -> None:
    """Set a user's permission, replacing an existing one. Raises RabbitFault, Refused."""
    asked = Asked(call.given)
    asked.need("configure", "write", "read")
    user, vhost = _those(door, call)
    patterns = (asked.text(it) for it in ("configure", "write", "read"))
    there = (user, vhost) in door.access.permissions
    _keep(door, call, KeptPermission(user, vhost, *patterns), there=there)


def topic_given(door: HttpDoor, call: Call) -> None:
    """Set a user's topic permission at an exchange. Raises RabbitFault, Refused."""
    asked = Asked(call.given)
    asked.need("exchange", "write", "read")
    user, vhost = _those(door, call)
    exchange, *patterns = (asked.text(it) for it in ("exchange", "write", "read"))
    there = (user, vhost, exchange) in door.access.topic_permissions
    _keep(door, call, KeptTopicPermission(user, vhost, exchange, *patterns), there=there)


def _those(door: HttpDoor, call: Call) -> tuple[str, str]:
    """The user and the virtual host. Raises RabbitFault if one does not exist."""
    user, name = call.word("user"), sight.vhost_name(call)
    if user not in door.access.users or name not in call.queues.vhosts:
        raise bad_request("vhost_or_user_not_found")
    return user, fields.text(name)


def _keep(door: HttpDoor, call: Call, permission: Permission, *, there: bool) -> None:
    change = administration.new_permission(door.access, permission)
    status = NO_CONTENT if there else CREATED
    call.when_kept(door.access.change(*change, by=call.who), lambda: call.done(status))


def taken(door: HttpDoor, call: Call) -> None:
    """Remove a permission. Raises UnknownUser, NoneOfThatName."""
    user, vhost = call.word("user"), fields.text(sight.vhost_name(call))
    change = administration.without_permission(door.access, user, vhost)
    kept = door.access.change(*change, by=call.who)
    call.when_kept(kept, lambda: call.done(NO_CONTENT))


# At exchanges


def topics_listed(door: HttpDoor, call: Call) -> None:
    """List topic permissions. Raises RabbitFault."""
    lists.answer(door, call, list(door.access.topic_permissions.values()), TOPIC_KIND)


def topics_of_vhost(door: HttpDoor, call: Call) -> None:
    """List the topic permissions in a virtual host. Raises RabbitFault."""
    vhost = _vhost(call)
    rows = (it for it in door.access.topic_permissions.values() if it.vhost == vhost)
    lists.answer(door, call, list(rows), TOPIC_KIND)


def topics_of_user(door: HttpDoor, call: Call) -> None:
    """List the topic permissions of a user. Raises RabbitFault."""
    user = existing(door, call.word("user")).name
    rows = (it for it in door.access.topic_permissions.values() if it.user == user)
    lists.answer(door, call, list(rows), TOPIC_KIND)


def topics_described(door: HttpDoor, call: Call) -> None:
    """List the topic permissions of a user in a virtual host. Raises RabbitFault."""
    rows = _of_one(door, call)
    if not rows:
        raise not_there()
    lists.answer(door, call, rows, TOPIC_KIND)


def topics_taken(door: HttpDoor, call: Call) -> None:
    """Remove all topic permissions of a user in a virtual host. Raises RabbitFault."""
    rows = _of_one(door, call)
    if not rows:
        raise not_there()
    kept = door.access.change((), rows, by=call.who)
    call.when_kept(kept, lambda: call.done(NO_CONTENT))


def _of_one(door: HttpDoor, call: Call) -> list[KeptTopicPermission]:
    user, vhost = call.word("user"), fields.text(sight.vhost_name(call))
    found = door.access.topic_permissions.values()
    return [it for it in found if it.user == user and it.vhost == vhost]
