"""Connections of the RabbitMQ and STOMP doors, and their channels: list, describe, close.

Users see their own connections; with the tag ``monitoring``, all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Final, NamedTuple

from logstore.access import audit
from logstore.amqp import fields
from logstore.printable import printable
from logstore.protocols.amqp_clients import Client, ClientChannel, Connected
from logstore.protocols.house import Connection
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import consumers, lists, sight
from logstore.protocols.http.rabbit.answers import NO_CONTENT
from logstore.protocols.http.rabbit.tables import table
from logstore.protocols.http.rabbit.words import not_authorised, not_there
from logstore.protocols.http.within import Within

DOORS: Final = frozenset({"amqp", "stomp"})
REASON_CHARACTERS_MAX: Final = 100
BY_HAND: Final = "Closed via management plugin"


class Sockets:
    """The sockets of listed connections, with their byte counts."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door

    @cached_property
    def _found(self) -> dict[tuple[tuple[str, int], tuple[str, int]], Connection]:
        there = self._door.connections.connections()
        return {(it.address, it.peer_address): it for it in there if it.door in DOORS}

    def of(self, client: Client) -> Connection | None:
        """The client's connection; None if it is being closed."""
        return self._found.get((client.address, client.peer_address))


class Place(NamedTuple):
    """A connection and its client."""

    session: Connected
    client: Client
    sockets: Sockets


class ChannelPlace(NamedTuple):
    """A channel and its connection."""

    client: Client
    channel: ClientChannel


def row(door: HttpDoor, place: Place) -> lists.Row:
    it = place.client
    host, port = it.address
    peer_host, peer_port = it.peer_address
    said = it.properties.get("connection_name")
    found = {
        "auth_mechanism": it.mechanism,
        "channel_max": it.channel_max,
        "channels": it.channels,
        "client_properties": table(it.properties),
        "frame_max": it.frame_max,
        "host": host,
        "name": it.name,
        "node": NODE,
        "peer_cert_issuer": None,
        "peer_cert_subject": None,
        "peer_cert_validity": None,
        "peer_host": peer_host,
        "peer_port": peer_port,
        "port": port,
        "protocol": it.protocol,
        "send_pend": it.unsent,
        "ssl": it.secure,
        "ssl_cipher": None,
        "ssl_hash": None,
        "ssl_key_exchange": None,
        "ssl_protocol": None,
        "state": it.state,
        "timeout": it.heartbeat_s,
        "type": "network",
        "user": it.user,
        "user_who_performed_action": it.user,
        "vhost": it.vhost,
    }
    if isinstance(said, str):
        found["user_provided_name"] = said
    socket = place.sockets.of(it)
    return found if socket is None else found | _moved(door, socket)


def _moved(door: HttpDoor, socket: Connection) -> lists.Row:
    """When the connection was opened, and how many bytes it has transferred."""
    since_s = door.stopwatch() - socket.opened_at
    rates = door.figures.rates("connection", socket.id)
    return {
        "connected_at": door.clock() - int(since_s * 1000),
        "recv_oct": socket.bytes_in,
        "recv_oct_details": {"rate": rates["bytes_in"] or 0.0},
        "send_oct": socket.bytes_out,
        "send_oct_details": {"rate": rates["bytes_out"] or 0.0},
    }


def channel_row(place: ChannelPlace) -> lists.Row:
    client, it = place
    peer_host, peer_port = client.peer_address
    return {
        "acks_uncommitted": it.acks_uncommitted,
        "confirm": it.confirms,
        "connection_details": {
            "name": client.name, "peer_host": peer_host, "peer_port": peer_port,
        },
        "consumer_count": it.consumers,
        "global_prefetch_count": it.prefetch_all,
        "messages_unacknowledged": it.unacked,
        "messages_uncommitted": it.uncommitted,
        "messages_unconfirmed": it.unconfirmed,
        "name": it.name,
        "node": NODE,
        "number": it.number,
        "pending_raft_commands": 0,
        "prefetch_count": it.prefetch,
        "state": it.state,
        "transactional": it.transactional,
        "user": client.user,
        "user_who_performed_action": client.user,
        "vhost": client.vhost,
    }  # fmt: skip


_KEYS: Final[dict[str, Callable[[Place], Any]]] = {
    "name": lambda it: it.client.name,
    "user": lambda it: it.client.user,
    "vhost": lambda it: it.client.vhost,
    "channels": lambda it: it.client.channels,
    "state": lambda it: it.client.state,
    "peer_host": lambda it: it.client.peer_address,
}
_CHANNEL_KEYS: Final[dict[str, Callable[[ChannelPlace], Any]]] = {
    "name": lambda it: (it.client.name, it.channel.number),
    "number": lambda it: it.channel.number,
    "user": lambda it: it.client.user,
    "vhost": lambda it: it.client.vhost,
    "consumer_count": lambda it: it.channel.consumers,
    "messages_unacknowledged": lambda it: it.channel.unacked,
    "prefetch_count": lambda it: it.channel.prefetch,
}


Wanted = Callable[[Client], bool]


def _kind(door: HttpDoor, call: Call, wanted: Wanted = lambda _: True) -> lists.Kind[Place]:
    return lists.Kind(
        partial(row, door), lambda it: it.client.name, lambda it: it.client.name, _KEYS,
        lambda it: wanted(it.client) and is_seen(call, it.client),
    )  # fmt: skip


def _channels_kind(call: Call, wanted: Wanted = lambda _: True) -> lists.Kind[ChannelPlace]:
    return lists.Kind(
        channel_row, lambda it: it.channel.name, lambda it: (it.client.name, it.channel.number),
        _CHANNEL_KEYS, lambda it: wanted(it.client) and is_seen(call, it.client),
    )  # fmt: skip


def is_seen(call: Call, client: Client) -> bool:
    return call.rights.sees_all or client.user == call.who.user


def _all(door: HttpDoor) -> Iterator[Place]:
    """All connections, one by one."""
    sockets = Sockets(door)
    for session in door.amqp_clients.sessions():
        client = session.seen()
        if client is not None:
            yield Place(session, client, sockets)


def _channels(places: Iterable[Place]) -> Iterator[ChannelPlace]:
    for session, client, _ in places:
        for channel in session.seen_channels():
            yield ChannelPlace(client, channel)


# Lists


def listed(door: HttpDoor, call: Call) -> None:
    """List connections by name. Raises RabbitFault."""
    lists.answer(door, call, _all(door), _kind(door, call))


def of_vhost(door: HttpDoor, call: Call) -> None:
    """List the connections to a virtual host. Raises RabbitFault."""
    lists.answer(door, call, _all(door), _kind(door, call, _to_vhost(door, call)))


def _to_vhost(door: HttpDoor, call: Call) -> Wanted:
    """Raises RabbitFault."""
    name = fields.text(sight.to_see(door, call).vhost.name)
    return lambda it: it.vhost == name


def of_user(door: HttpDoor, call: Call) -> None:
    """List the names of a user's connections. Raises RabbitFault."""
    user = call.word("user")
    kind = _kind(door, call, lambda it: it.user == user)
    lists.answer(door, call, _all(door), kind._replace(show=_short))


def _short(place: Place) -> lists.Row:
    it = place.client
    return {"name": it.name, "node": NODE, "user": it.user, "vhost": it.vhost}


def channels_listed(door: HttpDoor, call: Call) -> None:
    """List channels by connection and number. Raises RabbitFault."""
    lists.answer(door, call, _channels(_all(door)), _channels_kind(call))


def channels_of_vhost(door: HttpDoor, call: Call) -> None:
    """List the channels to a virtual host. Raises RabbitFault."""
    wanted = _to_vhost(door, call)
    lists.answer(door, call, _channels(_all(door)), _channels_kind(call, wanted))


def channels_of(door: HttpDoor, call: Call) -> None:
    """List the channels of one connection. Raises RabbitFault."""
    place = _existing(door, call, call.names["name"])
    lists.answer(door, call, _channels([place]), _channels_kind(call))


# One


def _existing(door: HttpDoor, call: Call, name: bytes) -> Place:
    """The connection. Raises RabbitFault if it does not exist, or the caller may not see it."""
    for session in door.amqp_clients.sessions():
        if fields.data(session.name) == name:
            client = session.seen()
            if client is not None and is_seen(call, client):
                return Place(session, client, Sockets(door))
    raise not_there()


def described(door: HttpDoor, call: Call) -> None:
    """Describe a connection. Raises RabbitFault."""
    found = row(door, _existing(door, call, call.names["name"]))
    call.answer(lists.picked_columns(found, lists.columns_of(call)))


def channel_described(door: HttpDoor, call: Call) -> None:
    """Describe a channel with its consumers. Raises RabbitFault."""
    connection, _, _ = call.names["name"].rpartition(b" (")
    place = _existing(door, call, connection)
    for it in place.session.seen_channels():
        if fields.data(it.name) == call.names["name"]:
            break
    else:
        raise not_there()
    vhost = call.queues.vhost(fields.data(place.client.vhost))
    found = channel_row(ChannelPlace(place.client, it))
    found["consumer_details"] = _consumers(sight.within(door, call, vhost), it.name)
    found |= {"deliveries": [], "publishes": []}
    call.answer(lists.picked_columns(found, lists.columns_of(call)))


def _consumers(within: Within, channel: str) -> list[lists.Row]:
    """The consumers of this channel whose queues the caller may see."""
    return [
        consumers.row(consumers.Place(within, queue, it))
        for queue in within.vhost.queues() for it in queue.subscriptions
        if it.channel.name == channel and within.sees_queue(queue)
    ]  # fmt: skip


def closed(door: HttpDoor, call: Call) -> None:
    """Close a connection; the header X-Reason gives the reason. Raises RabbitFault."""
    _close(door, call, [_existing(door, call, call.names["name"])])


def closed_of_user(door: HttpDoor, call: Call) -> None:
    """Close all connections of a user. Raises RabbitFault."""
    user = call.word("user")
    _require_own(door, call, user)
    _close(door, call, [it for it in _all(door) if it.client.user == user])


def _require_own(door: HttpDoor, call: Call, user: str) -> None:
    """Check that the user closes own connections, or is an administrator. Raises RabbitFault."""
    if not call.rights.all and user != call.who.user:
        why = "it needs the tag administrator"
        door.refusals.tell(call.who, "close", "connections of", user, why)
        raise not_authorised()


def _close(door: HttpDoor, call: Call, places: Sequence[Place]) -> None:
    """Raises RabbitFault."""
    for place in places:
        _require_own(door, call, place.client.user)
    reason = printable(call.headers.get("x-reason", "")[:REASON_CHARACTERS_MAX]) or BY_HAND
    for place in places:
        door.audit.tell(
            audit.CONNECTION, call.who, f"{place.client.door} {place.client.name}: {reason}"
        )
        place.session.end_by(reason)
    call.done(NO_CONTENT)
