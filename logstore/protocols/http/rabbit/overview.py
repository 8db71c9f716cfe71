"""The overview of the server, and single facts of it."""

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from logstore.protocols.http.call import Call
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists, sight, stats
from logstore.protocols.http.rabbit.answers import NO_CONTENT
from logstore.protocols.http.rabbit.connections import is_seen
from logstore.protocols.http.rabbit.counted import AT_ONCE, Counts, count, counting
from logstore.protocols.http.rabbit.health import Listener, listeners
from logstore.protocols.http.rabbit.nodes import exchange_types
from logstore.protocols.http.within import Within
from logstore.slices import parts
from logstore.version import VERSION

NO_ERLANG: Final = "none"  # tools want to show one


class _Totals(NamedTuple):
    """Totals over the objects that the caller may see."""

    counts: Counts
    connections: int
    channels: int


def _counting(door: HttpDoor, call: Call, those: Sequence[Within]) -> Generator[int, Any, _Totals]:
    found = yield from counting(those)
    counts, connections, channels = Counts(), 0, 0
    for each in found.values():
        counts.add(each)
    for part in parts(door.amqp_clients.sessions(), AT_ONCE):
        for session in part:
            client = session.seen()
            if client is not None and is_seen(call, client):
                connections += 1
                channels += client.channels
        yield len(part)
    return _Totals(counts, connections, channels)


def _listener(it: Listener) -> dict[str, Any]:
    return {
        "node": NODE, "protocol": it.protocol, "ip_address": it.host, "port": it.port,
        "socket_opts": {},
    }  # fmt: skip


def described(door: HttpDoor, call: Call) -> None:
    """Describe the virtual hosts that the caller may enter; and the process, if the caller may see
    all.
    """

    def counted(found: _Totals) -> None:
        about = _about(door, found)
        if call.rights.sees_all:
            about["listeners"] = [_listener(it) for it in listeners(door)]
            about["message_stats"] = stats.of_messages(door)
            about["churn_rates"] = stats.of_churn(door)
        call.answer(lists.picked_columns(about, lists.columns_of(call)))

    count(door, call, _counting(door, call, sight.those(door, call)), counted)


def _about(door: HttpDoor, found: _Totals) -> dict[str, Any]:
    version, counts = door.node.version, found.counts
    return {
        "churn_rates": {},
        "cluster_name": door.node.cluster_name,
        "cluster_tags": {},
        "contexts": [],
        "disable_stats": False,
        "enable_queue_totals": False,
        "erlang_full_version": NO_ERLANG,
        "erlang_version": NO_ERLANG,
        "exchange_types": exchange_types(),
        "management_version": version,
        "message_stats": {},
        "node": NODE,
        "node_tags": {},
        "object_totals": {
            "channels": found.channels,
            "connections": found.connections,
            "consumers": counts.consumers,
            "exchanges": counts.exchanges,
            "queues": counts.queues,
        },
        "product_name": "logstore",
        "product_version": VERSION,
        "queue_totals": counts.row(),
        "rabbitmq_version": version,
        "rates_mode": "basic",
        "release_series_support_status": "supported",
        "sample_retention_policies": {
            "basic": [600, 3600],
            "detailed": [600],
            "global": [600, 3600],
        },
        "statistics_db_event_queue": 0,
    }


def cluster_name(door: HttpDoor, call: Call) -> None:
    """Reply with the cluster's name, which is the store's and cannot be changed."""
    call.answer({"name": door.node.cluster_name})


def global_parameters(door: HttpDoor, call: Call) -> None:
    """List the one global parameter. Raises RabbitFault."""
    kind: lists.Kind[HttpDoor] = lists.Kind(_global, lambda _: "cluster_name", lambda _: 0)
    lists.answer(door, call, [door], kind)


def global_parameter(door: HttpDoor, call: Call) -> None:
    """Describe the one global parameter."""
    call.answer(_global(door))


def _global(door: HttpDoor) -> lists.Row:
    return {"name": "cluster_name", "value": door.node.cluster_name}


def nothing(door: HttpDoor, call: Call) -> None:
    """Reply with an empty list: there are no such objects here."""
    call.answer([])


def balanced(door: HttpDoor, call: Call) -> None:
    """Reply that queues are balanced."""
    call.done(NO_CONTENT)
