"""The one node, and its use of the machine's resources."""

from typing import Any, Final

from logstore.broker.routing.exchange_types import BUILT_IN
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.node import NODE, used
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists
from logstore.protocols.http.rabbit.words import not_there
from logstore.version import VERSION

PLUGINS: Final = ["rabbitmq_management", "rabbitmq_prometheus"]  # what they bring is here
_UNSIGNED_32: Final = (1 << 32) - 1  # some tools read no larger number
# Of the memory of an Erlang process we have nothing to tell.
_NO_MEMORY: Final = (
    "connection_readers", "connection_writers", "connection_channels", "connection_other",
    "queue_procs", "queue_slave_procs", "quorum_queue_procs", "quorum_queue_dlx_procs",
    "stream_queue_procs", "stream_queue_replica_reader_procs", "stream_queue_coordinator_procs",
    "plugins", "metadata_store", "other_proc", "metrics", "mgmt_db", "mnesia", "quorum_ets",
    "metadata_store_ets", "other_ets", "binary", "msg_index", "code", "atom", "allocated_unused",
    "reserved_unallocated",
)  # fmt: skip


def exchange_types() -> list[dict[str, Any]]:
    return [
        {"name": name, "description": f"{name} exchange", "enabled": True}
        for name in sorted(BUILT_IN)
    ]


def uptime_ms(door: HttpDoor) -> int:
    since = door.facts().get("since_ms")
    return max(0, door.node.clock() - since) if isinstance(since, int) else 0


def row(door: HttpDoor) -> lists.Row:
    now, node, free = used(), door.node, door.node.free_bytes()
    facts = door.facts()
    return {
        "applications": [{"name": "logstore", "description": "logstore", "version": VERSION}],
        "auth_mechanisms": [
            {"name": it, "description": f"SASL {it}", "enabled": True}
            for it in ("AMQPLAIN", "PLAIN")
        ],
        "being_drained": False,
        "cluster_links": [],
        "config_files": [],
        "contexts": [],
        "db_dir": node.path,
        "disk_free": max(free, 0),
        "disk_free_alarm": node.disk_alarm,
        "disk_free_limit": node.free_bytes_min,
        "enabled_plugins": PLUGINS,
        "exchange_types": exchange_types(),
        "fd_total": min(now.files_max, _UNSIGNED_32),
        "fd_used": now.files,
        "log_files": [],
        "mem_alarm": False,
        "mem_calculation_strategy": "rss",
        "mem_limit": now.memory_bytes_max,
        "mem_used": now.memory_bytes,
        "name": NODE,
        "net_ticktime": 60,
        "os_pid": str(facts.get("process_id", 0)),
        "partitions": [],
        "proc_total": min(now.files_max, _UNSIGNED_32),
        "proc_used": now.threads,
        "processors": now.processors,
        "rates_mode": "basic",
        "run_queue": 0,
        "running": True,
        "sockets_total": min(node.connections_max, _UNSIGNED_32),
        "sockets_used": len(door.amqp_clients.sessions()),
        "type": "disc",
        "uptime": min(uptime_ms(door), _UNSIGNED_32),
    }


def listed(door: HttpDoor, call: Call) -> None:
    """List the one node. Raises RabbitFault."""
    kind: lists.Kind[HttpDoor] = lists.Kind(row, lambda _: NODE, lambda _: NODE)
    lists.answer(door, call, [door], kind)


def described(door: HttpDoor, call: Call) -> None:
    """Describe the node. Raises RabbitFault."""
    check(call)
    call.answer(lists.picked_columns(row(door), lists.columns_of(call)))


def check(call: Call) -> None:
    """Check that the path names this node. Raises RabbitFault."""
    if call.names["node"] != NODE.encode():
        raise not_there()


def memory(door: HttpDoor, call: Call) -> None:
    """Describe the node's memory. Raises RabbitFault."""
    check(call)
    resident = used().memory_bytes
    total = {"rss": resident, "allocated": resident, "erlang": 0}
    about: dict[str, Any] = dict.fromkeys(_NO_MEMORY, 0)
    about |= {"other_system": resident, "strategy": "rss", "total": total}
    call.answer({"memory": about})
