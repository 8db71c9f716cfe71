"""What all routes of this API have in common: errors in RabbitMQ's form."""

from functools import partial

from logstore.amqp import fields
from logstore.errors import LogstoreError
from logstore.http.faults import Fault
from logstore.kept.queues import DEFAULT_VHOST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.opened import Handler, opened_first
from logstore.protocols.http.rabbit.words import worded


def plain(handler: Handler) -> Handler:
    """A handler whose errors are sent in RabbitMQ's form."""

    def begin(door: HttpDoor, call: Call) -> None:
        call.words = partial(_fault, call)
        handler(door, call)

    return begin


def of_queues(handler: Handler) -> Handler:
    """The same for a handler that uses queues."""
    return plain(opened_first(handler))


def _fault(call: Call, error: LogstoreError) -> Fault:
    vhost = fields.text(call.names.get("vhost", b"")) or DEFAULT_VHOST
    status, said = worded(error, vhost)
    fault = Fault(status, str(error), headers=error.headers if isinstance(error, Fault) else ())
    fault.said = said
    return fault
