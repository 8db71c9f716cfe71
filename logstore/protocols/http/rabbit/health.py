"""Health checks: whether the node is in order and listens, and whether an alarm is active."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from logstore.http.faults import UNAVAILABLE
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.health import Wrong
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import sight
from logstore.protocols.http.rabbit.words import bad_request

OK: Final = {"status": "ok"}
ALONE: Final = OK | {"reason": "single node cluster"}
PORT_MAX: Final = 65_535
# What RabbitMQ calls the protocols of our doors.
PROTOCOLS: Final = {
    "amqp": "amqp", "amqp-tls": "amqp/ssl", "http": "http", "http-tls": "https",
    "kafka": "kafka", "kafka-tls": "kafka/ssl", "resp": "redis", "resp-tls": "redis/ssl",
    "mqtt": "mqtt", "mqtt-tls": "mqtt/ssl", "stomp": "stomp", "stomp-tls": "stomp/ssl",
    "web-mqtt": "http/web-mqtt", "web-stomp": "http/web-stomp",
}  # fmt: skip
_ALIASES: Final = {
    "amqp091": "amqp", "amqp0.9.1": "amqp", "amqp091s": "amqp/ssl", "amqps": "amqp/ssl",
    "amqp-ssl": "amqp/ssl", "management": "http",
}  # fmt: skip


class Listener(NamedTuple):
    """An address at which a door accepts clients."""

    protocol: str
    host: str
    port: int


def listeners(door: HttpDoor) -> list[Listener]:
    """All listeners."""
    doors = door.facts().get("doors")
    if not isinstance(doors, Mapping):
        return []
    return [
        Listener(PROTOCOLS.get(name, str(name)), str(at["host"]), int(at["port"]))
        for name, at in doors.items()
    ]


def well(door: HttpDoor, call: Call) -> None:
    """Reply that all is well, because the process replies."""
    call.answer(OK)


def alone(door: HttpDoor, call: Call) -> None:
    """Reply that nothing depends on other nodes."""
    call.answer(ALONE)


def alarms(door: HttpDoor, call: Call) -> None:
    """Check whether the disk is so full that messages are not accepted."""
    if door.node.disk_alarm:
        reason = "There are alarms in effect in the cluster"
        _failed(call, reason, alarms=[{"node": NODE, "resource": "disk"}])
    else:
        call.answer(OK)


def listens_at(door: HttpDoor, call: Call) -> None:
    """Check whether a door is open at this port. Raises RabbitFault."""
    text = call.names["port"].decode("ascii", "replace")
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= PORT_MAX):
        raise bad_request("Invalid port")
    port, ports = int(text), [it.port for it in listeners(door)]
    if port in ports:
        call.answer(OK | {"port": port})
    else:
        _failed(call, "No active listener", missing=port, ports=ports)


def speaks(door: HttpDoor, call: Call) -> None:
    """Check whether a door is open for this protocol."""
    asked = call.names["protocol"].decode("utf-8", "replace")
    known = [it.protocol for it in listeners(door)]
    protocol = _ALIASES.get(asked.lower(), asked.lower())
    if protocol in known:
        call.answer(OK | {"protocol": protocol})
    else:
        _failed(call, "No active listener", missing=asked, protocols=known)


def is_alive(door: HttpDoor, call: Call) -> None:
    """Check whether the virtual host exists and accepts messages. Raises RabbitFault."""
    sight.to_see(door, call)
    takes_messages(door, call)


def takes_messages(door: HttpDoor, call: Call) -> None:
    """Check whether published messages can be stored now."""
    if door.node.disk_alarm:
        alarms(door, call)
    else:
        is_well(door, call)


def is_well(door: HttpDoor, call: Call) -> None:
    """Check whether disk and directory are in order, as ``/readyz`` does."""

    def known(wrong: Wrong) -> None:
        if wrong:
            _failed(call, "; ".join(wrong.values()))
        else:
            call.answer(OK)

    door.health.ask(lambda wrong: call.attempt(lambda: known(wrong)))


def _failed(call: Call, reason: str, **more: Any) -> None:  # noqa: ANN401  what JSON holds
    call.answer({"status": "failed", "reason": reason, **more}, UNAVAILABLE)
