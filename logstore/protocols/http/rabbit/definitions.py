"""RabbitMQ's definitions: export and import."""

from logstore.amqp import fields
from logstore.protocols.http.call import Call
from logstore.protocols.http.definitions import given, taken
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import sight
from logstore.protocols.http.rabbit.answers import NO_CONTENT
from logstore.protocols.http.rabbit.words import bad_request, no_vhost


def described(door: HttpDoor, call: Call) -> None:
    """Export all definitions, or those of the virtual host in the path. Raises RabbitFault."""
    vhost = None
    if "vhost" in call.names:
        vhost = call.queues.vhosts.get(sight.vhost_name(call))
        if vhost is None:
            raise bad_request("vhost_not_found")
    taken(door, call, vhost)


def imported(door: HttpDoor, call: Call) -> None:
    """Import definitions. Raises RabbitFault, InvalidDefinitions."""
    vhost = None
    if "vhost" in call.names:
        name = sight.vhost_name(call)
        if name not in call.queues.vhosts:
            raise no_vhost()
        vhost = fields.text(name)
    given(door, call, call.given, vhost, lambda _: call.done(NO_CONTENT))
