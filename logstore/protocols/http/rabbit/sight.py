"""The virtual host that a request names, if the caller may see or use it.

As in RabbitMQ, users see the virtual hosts that they may enter, and with the tag ``monitoring`` all
of them. Without the right, the reply is the same whether the host exists or not.
"""

from typing import TYPE_CHECKING, Final

from logstore.access.entrance import may_enter
from logstore.access.resources import DEFAULT_EXCHANGE
from logstore.amqp import fields
from logstore.broker.queues.given import name_of
from logstore.kept.queues import DEFAULT_VHOST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit.words import not_authorised, not_there
from logstore.protocols.http.within import Within, not_entered

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost

NO_VHOST: Final = "User not authorised to access virtual host"
_DEFAULT: Final = fields.data(DEFAULT_EXCHANGE)


def within(door: HttpDoor, call: Call, vhost: "Vhost") -> Within:
    return Within(vhost, call.rights, door.audit, call.rights.tags, door.refusals)


def may_see(door: HttpDoor, call: Call, vhost: bytes) -> bool:
    return call.rights.sees_all or may_enter(door.access, call.who, fields.text(vhost))


def those(door: HttpDoor, call: Call) -> list[Within]:
    """The virtual host in the path, or all that the caller may see, by name. Raises RabbitFault."""
    if "vhost" in call.names:
        return [to_see(door, call)]
    found = sorted(call.queues.vhosts.values(), key=lambda it: it.name)
    return [within(door, call, it) for it in found if may_see(door, call, it.name)]


def to_see(door: HttpDoor, call: Call) -> Within:
    """The virtual host in the path, to be read. Raises RabbitFault."""
    name = vhost_name(call)
    if not may_see(door, call, name):
        not_entered(door, call, name)
        raise not_authorised(NO_VHOST)
    return _of(door, call, name)


def to_use(door: HttpDoor, call: Call) -> Within:
    """The virtual host in the path, to be changed. Raises RabbitFault."""
    name = vhost_name(call)
    if not may_enter(door.access, call.who, fields.text(name)):
        not_entered(door, call, name)
        raise not_authorised(NO_VHOST)
    return _of(door, call, name)


def vhost_name(call: Call) -> bytes:
    """The name; an empty one means the default, because Flower requests "/" that way."""
    return call.names["vhost"] or fields.data(DEFAULT_VHOST)


def _of(door: HttpDoor, call: Call, name: bytes) -> Within:
    found = call.queues.vhosts.get(name)
    if found is None:
        raise not_there()
    return within(door, call, found)


def exchange_name(given: bytes) -> bytes:
    """The name; in paths, the default exchange has another name than the empty one."""
    return b"" if given == _DEFAULT else given


def new_name(given: bytes) -> bytes:
    """The name of a new object, without line ends. Raises InvalidName."""
    return name_of(fields.text(given.translate(None, b"\r\n")))
