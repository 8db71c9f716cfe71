"""INFO: figures of the server, in the sections and fields of Redis 7.2.

Figures of features that do not exist here (replicas, scripts) are zero, and so are figures that are
not counted here.
"""

import os
import struct
from collections.abc import Callable, Sequence
from typing import Final

from logstore import platforms
from logstore.access.redis_grants import COMMAND
from logstore.access.resources import CHANNEL, KEY
from logstore.protocols.resp.acl_log import AUTH
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.door import REDIS_VERSION, RespDoor
from logstore.protocols.resp.replies import verbatim

Facts = dict[str, object]
NO_ID: Final = "0" * 40
HZ: Final = 10  # Redis's default: background runs per second


def _zeros(names: str) -> Facts:
    return dict.fromkeys(names.split(), 0)


def _human(count: int) -> str:
    """A count of bytes such as ``1.50M``."""
    if count < 1 << 10:
        return f"{count}B"
    for power, unit in enumerate("KMGT", 1):
        if count < 1 << 10 * (power + 1) or unit == "T":
            return f"{count / (1 << 10 * power):.2f}{unit}"
    raise AssertionError("the last unit takes all")


def _id(door: RespDoor) -> str:
    """An id of 40 characters, the length of Redis's ids."""
    return door.facts.store_id.replace("-", "").ljust(40, "0")


def _server(door: RespDoor, client: RespClient) -> Facts:
    now_ms = door.clock()
    seconds = (now_ms - door.started_ms) // 1000
    system = os.uname()
    host, port = client.link.address
    return {
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": "standalone",
        "server_name": "logstore",
        "os": f"{system.sysname} {system.release} {system.machine}",
        "arch_bits": 8 * struct.calcsize("P"),
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": platforms.MULTIPLEXING,
        "atomicvar_api": "none",
        "gcc_version": "0.0.0",
        "process_id": door.facts.process_id,
        "process_supervised": "no",
        "run_id": _id(door),
        "tcp_port": port,
        "server_time_usec": now_ms * 1000,
        "uptime_in_seconds": seconds,
        "uptime_in_days": seconds // 86_400,
        "hz": HZ,
        "configured_hz": HZ,
        "lru_clock": now_ms // 1000 & 0xFFFFFF,
        "executable": "",
        "config_file": "",
        "io_threads_active": 0,
        "listener0": f"name=tcp,bind={host},port={port}",
    }


def _clients(door: RespDoor, client: RespClient) -> Facts:
    clients = client.everyone.values()
    return {
        "connected_clients": len(clients),
        "cluster_connections": 0,
        "maxclients": door.limits.crowd.connections_max,
        "client_recent_max_input_buffer": 0,
        "client_recent_max_output_buffer": max(it.link.unsent for it in clients),
        "blocked_clients": len(door.onlookers.waiting),
        "tracking_clients": sum(it.tracking is not None for it in clients),
        "pubsub_clients": sum(it.subscribed for it in clients),
        "clients_in_timeout_table": sum(it.rest_until is not None for it in clients),
        "total_blocking_keys": door.onlookers.waiting.places_count,
        "total_blocking_keys_on_nokey": 0,
    }


def _memory(door: RespDoor, client: RespClient) -> Facts:
    """Memory of the process as the system reports it; the part in use is unknown."""
    usage = door.facts.usage()
    held = sum(it.contents.bytes for it in door.keys.databases)
    used, most, unsent = (
        usage.resident_bytes,
        usage.resident_bytes_max,
        sum(it.link.unsent for it in client.everyone.values()),
    )
    return {
        "used_memory": used,
        "used_memory_human": _human(used),
        "used_memory_rss": used,
        "used_memory_rss_human": _human(used),
        "used_memory_peak": most,
        "used_memory_peak_human": _human(most),
        "used_memory_peak_perc": f"{100 * used / most:.2f}%",
        "used_memory_overhead": used,
        "used_memory_startup": 0,
        "used_memory_dataset": held,
        "used_memory_dataset_perc": f"{100 * held / used:.2f}%",
        "allocator_allocated": used,
        "allocator_active": used,
        "allocator_resident": used,
        "total_system_memory": usage.machine_bytes,
        "total_system_memory_human": _human(usage.machine_bytes),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": "0B",
        **_zeros(
            "used_memory_scripts_eval number_of_cached_scripts number_of_functions "
            "number_of_libraries used_memory_vm_functions used_memory_vm_total"
        ),
        "used_memory_vm_total_human": "0B",
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": "0B",
        "maxmemory": door.keys.eviction.bytes_max,
        "maxmemory_human": _human(door.keys.eviction.bytes_max),
        "maxmemory_policy": door.keys.eviction.policy,
        # Ours: memory of all doors, and its limit.
        "mem_clients_held": door.budget.total_bytes,
        "mem_clients_max": door.budget.bytes_max,
        "allocator_frag_ratio": "1.00",
        "allocator_frag_bytes": 0,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": "1.00",
        **_zeros(
            "mem_fragmentation_bytes mem_not_counted_for_evict mem_replication_backlog "
            "mem_total_replication_buffers mem_clients_slaves"
        ),
        "mem_clients_normal": unsent,
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": "libc",
        **_zeros("active_defrag_running lazyfree_pending_objects lazyfreed_objects"),
    }


def _persistence(door: RespDoor, _: RespClient) -> Facts:
    """Facts about keys. A channel's history is synced before its publisher is answered."""
    keys = door.keys
    return {
        "loading": int(keys.loading),
        **_zeros("async_loading current_cow_peak current_cow_size current_cow_size_age"),
        "current_fork_perc": "0.00",
        **_zeros(
            "current_save_keys_processed current_save_keys_total rdb_changes_since_last_save "
            "rdb_bgsave_in_progress"
        ),
        "rdb_last_save_time": keys.saved_ms // 1000,
        "rdb_last_bgsave_status": "ok",
        "rdb_last_bgsave_time_sec": -1,
        "rdb_current_bgsave_time_sec": -1,
        **_zeros(
            "rdb_saves rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded"
        ),
        "aof_enabled": 1,
        **_zeros("aof_rewrite_in_progress aof_rewrite_scheduled"),
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": "ok" if keys.failing is None else "err",
        **_zeros("aof_last_cow_size module_fork_in_progress module_fork_last_cow_size"),
    }


def _stats(door: RespDoor, client: RespClient) -> Facts:
    counts, turns, flow = door.counts, door.facts.turns, door.flow()
    databases, before = door.keys.databases, counts.keys_before
    bytes_out = flow.bytes_out - counts.before.bytes_out
    commands, into, out, cycles, busy_s = door.lately.rates(
        door.clock(),
        (counts.commands, counts.bytes_in, bytes_out, turns.count, turns.total_s),
    )
    trackers = [it.tracking for it in client.everyone.values() if it.tracking is not None]
    return {
        "total_connections_received": counts.connections,
        "total_commands_processed": counts.commands,
        "instantaneous_ops_per_sec": round(commands),  # since INFO was asked for before
        "total_net_input_bytes": counts.bytes_in,
        "total_net_output_bytes": bytes_out,
        **_zeros("total_net_repl_input_bytes total_net_repl_output_bytes"),
        "instantaneous_input_kbps": f"{into / 1024:.2f}",
        "instantaneous_output_kbps": f"{out / 1024:.2f}",
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": flow.refused - counts.before.refused,
        **_zeros("sync_full sync_partial_ok sync_partial_err"),
        "expired_keys": sum(it.expired for it in databases) - before.expired,
        "expired_stale_perc": "0.00",
        **_zeros("expired_time_cap_reached_count expire_cycle_cpu_milliseconds"),
        "evicted_keys": sum(it.evicted for it in databases) - before.evicted,
        "evicted_clients": door.budget.lost,
        "evicted_requests": door.budget.refused,  # ours: they were refused instead
        **_zeros("total_eviction_exceeded_time current_eviction_exceeded_time"),
        "keyspace_hits": sum(it.hits for it in databases) - before.hits,
        "keyspace_misses": sum(it.misses for it in databases) - before.misses,
        "client_output_buffer_limit_disconnections": counts.cut_off,
        "pubsub_channels": len(door.channels.names),
        "pubsub_patterns": len(door.channels.patterns),
        "pubsubshard_channels": len(door.channels.apart),
        **_zeros(
            "latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys "
            "active_defrag_hits active_defrag_misses active_defrag_key_hits "
            "active_defrag_key_misses total_active_defrag_time current_active_defrag_time "
        ),
        "tracking_total_keys": door.onlookers.tracked.keys_count,
        "tracking_total_items": door.onlookers.tracked.items_count,
        "tracking_total_prefixes": len({prefix for it in trackers for prefix in it.prefixes}),
        "unexpected_error_replies": 0,
        "total_error_replies": sum(counts.errors.values()),
        **_zeros(
            "dump_payload_sanitizations total_reads_processed total_writes_processed "
            "io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks "
            "reply_buffer_expands"
        ),
        "eventloop_cycles": turns.count,
        "eventloop_duration_sum": int(turns.total_s * 1_000_000),
        "eventloop_duration_cmd_sum": 0,
        "instantaneous_eventloop_cycles_per_sec": round(cycles),
        "instantaneous_eventloop_duration_usec": round(busy_s * 1e6 / cycles) if cycles else 0,
        # Ours: how long turns held up all clients, and how long the loop stood still.
        "eventloop_duration_max": int(turns.longest_s * 1_000_000),
        "eventloop_duration_histogram": turns.histogram(),
        "eventloop_gaps": turns.gaps,
        "eventloop_gap_milliseconds": int(turns.gap_s * 1000),
        "acl_access_denied_auth": counts.denied.get(AUTH, 0),
        "acl_access_denied_cmd": counts.denied.get(COMMAND, 0),
        "acl_access_denied_key": counts.denied.get(KEY, 0),
        "acl_access_denied_channel": counts.denied.get(CHANNEL, 0),
    }


def _replication(door: RespDoor, _: RespClient) -> Facts:
    return {
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": _id(door),
        "master_replid2": NO_ID,
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        **_zeros(
            "repl_backlog_active repl_backlog_size repl_backlog_first_byte_offset "
            "repl_backlog_histlen"
        ),
    }


def _cpu(door: RespDoor, _: RespClient) -> Facts:
    usage = door.facts.usage()
    kinds = {"": usage.process, "_children": usage.children, "_main_thread": usage.thread}
    return {
        f"used_cpu_{name}{kind}": f"{getattr(used, which):.6f}"
        for kind, used in kinds.items()
        for name, which in (("sys", "system"), ("user", "user"))
    }


def _commands(door: RespDoor, _: RespClient) -> Facts:
    counts = door.counts
    calls = {**counts.calls, "publish": counts.calls.get("publish", 0) + counts.published}
    return {
        f"cmdstat_{name}": (
            f"calls={count},usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0"
        )
        for name, count in sorted(calls.items())
        if count
    }


def _errors(door: RespDoor, _: RespClient) -> Facts:
    return {
        f"errorstat_{code}": f"count={count}" for code, count in sorted(door.counts.errors.items())
    }


def _cluster(_: RespDoor, __: RespClient) -> Facts:
    return {"cluster_enabled": 0}


def _keyspace(door: RespDoor, _: RespClient) -> Facts:
    return {
        f"db{it.number}": f"keys={len(it)},expires={len(it.deadlines)},avg_ttl={it.average_ttl()}"
        for it in door.keys.databases
        if len(it)
    }


def _nothing(_: RespDoor, __: RespClient) -> Facts:
    return {}


def _debug(door: RespDoor, _: RespClient) -> Facts:
    return {
        **_zeros("eventloop_duration_aof_sum eventloop_duration_cron_sum"),
        "eventloop_duration_max": int(door.facts.turns.longest_s * 1_000_000),
        "eventloop_cmd_per_cycle_max": 0,
    }


SECTIONS: Final[dict[bytes, Callable[[RespDoor, RespClient], Facts]]] = {
    b"server": _server,
    b"clients": _clients,
    b"memory": _memory,
    b"persistence": _persistence,
    b"stats": _stats,
    b"replication": _replication,
    b"cpu": _cpu,
    b"modules": _nothing,
    b"commandstats": _commands,
    b"errorstats": _errors,
    b"latencystats": _nothing,
    b"cluster": _cluster,
    b"keyspace": _keyspace,
    b"debug": _debug,
}
_ALL: Final = frozenset(SECTIONS) - {b"debug"}
# What one word stands for; "module_list" is Redis's name for modules without what they say.
_GROUPS: Final = {
    b"default": _ALL - {b"commandstats", b"latencystats"},
    b"all": _ALL,
    b"everything": _ALL,
    b"module_list": frozenset({b"modules"}),
}
_TITLES: Final = {b"cpu": "CPU"}


def _info(client: RespClient, arguments: Sequence[bytes]) -> None:
    asked: set[bytes] = set()
    for word in [it.lower() for it in arguments[1:]] or [b"default"]:
        asked |= _GROUPS.get(word, {word})
    parts = []
    for name, section in SECTIONS.items():
        if name in asked:
            facts = section(client.door, client)
            lines = "".join(f"{key}:{value}\r\n" for key, value in facts.items())
            parts.append(f"# {_TITLES.get(name) or name.decode().capitalize()}\r\n{lines}")
    client.say(verbatim("\r\n".join(parts).encode(), client.version))


COMMANDS: Final = (
    Command("info", -1, _info, "The server in figures.", "1.0.0", "server", ("loading", "stale"),
            ("@slow", "@dangerous"),
            ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")),
)  # fmt: skip
