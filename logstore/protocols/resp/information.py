"""INFO: the server in figures, in sections."""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.protocols.resp.client import Client
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.door import REDIS_VERSION, Door
from logstore.protocols.resp.replies import verbatim

Facts = dict[str, object]
_ALL: Final = frozenset({b"all", b"default", b"everything"})


def _server(door: Door, client: Client) -> Facts:
    seconds = (door.clock() - door.started_ms) // 1000
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "server_name": "logstore",
        "process_id": door.facts.process_id,
        "run_id": door.facts.store_id.replace("-", ""),
        "tcp_port": client.link.address[1],
        "uptime_in_seconds": seconds,
        "uptime_in_days": seconds // 86_400,
    }


def _clients(door: Door, _: Client) -> Facts:
    return {
        "connected_clients": len(door.clients),
        "maxclients": door.limits.crowd.connections_max,
        "blocked_clients": 0,
        "pubsub_clients": sum(it.subscribed for it in door.clients.values()),
    }


def _persistence(_: Door, __: Client) -> Facts:
    return {"loading": 0, "async_loading": 0}  # what clients wait for


def _stats(door: Door, _: Client) -> Facts:
    return {
        "total_connections_received": door.counts.connections,
        "total_commands_processed": door.counts.commands,
        "total_net_input_bytes": door.counts.bytes_in,
        "client_output_buffer_limit_disconnections": door.counts.cut_off,
        "pubsub_channels": len(door.channels.names),
        "pubsub_patterns": len(door.channels.patterns),
        "pubsubshard_channels": len(door.channels.shards),
    }


def _replication(_: Door, __: Client) -> Facts:
    return {"role": "master", "connected_slaves": 0}


def _cluster(_: Door, __: Client) -> Facts:
    return {"cluster_enabled": 0}


def _keyspace(_: Door, __: Client) -> Facts:
    return {}


SECTIONS: Final[dict[bytes, Callable[[Door, Client], Facts]]] = {
    b"server": _server,
    b"clients": _clients,
    b"persistence": _persistence,
    b"stats": _stats,
    b"replication": _replication,
    b"cluster": _cluster,
    b"keyspace": _keyspace,
}


def _info(client: Client, arguments: Sequence[bytes]) -> None:
    asked = {word.lower() for word in arguments[1:]}
    if not asked or asked & _ALL:
        asked = set(SECTIONS)
    parts = []
    for name, section in SECTIONS.items():
        if name in asked:
            facts = section(client.door, client)
            lines = "".join(f"{key}:{value}\r\n" for key, value in facts.items())
            parts.append(f"# {name.decode().capitalize()}\r\n{lines}")
    client.say(verbatim("\r\n".join(parts).encode(), client.version))


COMMANDS: Final = (
    Command("info", -1, _info, "The server in figures.", "1.0.0", "server", ("loading", "stale"),
            ("@slow", "@dangerous"),
            ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")),
)  # fmt: skip
