"""An overview of the server: health, rates, what is stuck, what is nearly full.

Users who may see everything get everything; others get the objects that they may see, and sums.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from logstore.access.resources import (
    DESCRIBE,
    GROUP,
    QUEUE,
    object_name,
)
from logstore.cluster_seen import ClusterSeen
from logstore.figures.full import Full
from logstore.figures.ring import STEP_S
from logstore.figures.stuck import Stuck, view
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.permits import Permits
from logstore.protocols.http.replies.shown import SAFE_INTEGER

STUCK_MAX: Final = 50  # rows; more are a number
WARNINGS_MAX: Final = 20
OK, WARNING, ERROR = "ok", "warning", "error"

Json = dict[str, Any]


def shown(door: HttpDoor, call: Call) -> None:
    """Reply as of now, with stuck and full objects as of the last ten seconds."""
    call.answer(overview(door, call.rights, history=True))


def overview(door: HttpDoor, rights: Permits, *, history: bool = False) -> Json:
    """``history``: with the history of the last hour."""
    all_ = rights.sees_all
    figures = door.figures
    stuck = [it for it in figures.stuck if all_ or _sees(rights, it)]
    full = sorted(figures.full(), key=lambda it: -it.share) if all_ else []
    facts = door.facts()
    found: Json = {
        "version": facts.get("version", ""),
        "uptime_s": _uptime_s(door, facts),
        "health": health(door, stuck, full),
        "flows": _flows(door),
        "stuck": [_stuck(door, it) for it in stuck[:STUCK_MAX]],
        "stuck_total": figures.stuck_total if all_ else len(stuck),
        "full": [_full(it) for it in full],
        "doors": _doors(door, facts) if all_ else [],
        "jobs": _jobs(door) if all_ else [],
        "counts": _counts(door),
        "slow_clients": sum(figures.slow_within(it) for it in figures.door_names),
    }
    if history:
        found["history"] = {"step_s": STEP_S, **_history(door)}
    return found


def _uptime_s(door: HttpDoor, facts: Mapping[str, Any]) -> int:
    since_ms = facts.get("since_ms") or door.clock()
    return max(0, door.clock() - since_ms) // 1000


def _sees(rights: Permits, it: Stuck) -> bool:
    """Whether the caller may see the object."""
    if it.kind == "queue":
        return rights.may(DESCRIBE, QUEUE, object_name(it.vhost, it.object))
    return it.kind == "group" and rights.may(DESCRIBE, GROUP, it.object)


# Health


def health(door: HttpDoor, stuck: Sequence[Stuck], full: Iterable[Full]) -> Json:
    """Problems that somebody should look at, the worst first."""
    errors = [
        {"what": f"nothing that is published is taken: {why}", "object": name, "view": ""}
        for name, alarm in door.figures.alarms.items() if (why := alarm())
    ]  # fmt: skip
    if failed := door.figures.syncs.failed:
        what = f"{failed} syncs have failed: these logs take nothing before a restart"
        errors.append({"what": what, "object": "", "view": view("server", "doctor")})
    if door.cluster is not None:
        errors += [
            {"what": it, "object": "", "view": view("server", "cluster")}
            for it in _of_cluster(door.cluster())
        ]
    nearly = [it for it in full if it.nearly]
    warnings = [
        {"what": f"{it.what} {it.share:.0%} full", "object": "", "view": it.view} for it in nearly
    ]
    warnings += [
        {"what": f"{it.kind} is stuck: {it.detail}", "object": it.object, "view": it.view}
        for it in stuck[:WARNINGS_MAX]
    ]
    return {
        "state": ERROR if errors else WARNING if warnings else OK,
        "warnings": [*errors, *warnings][:WARNINGS_MAX],
        "warnings_total": len(errors) + len(nearly) + len(stuck),
    }


def _of_cluster(seen: ClusterSeen) -> Iterator[str]:
    if seen.failure is not None:
        yield f"the cluster is not reached: {seen.failure}"
    if seen.facts_failure is not None:
        yield f"what nodes share is not read: {seen.facts_failure}"
    if seen.no_queues is not None:
        yield f"no queues are served: {seen.no_queues}"
    elif lost := seen.count("nobody") + seen.count("unreached"):
        yield f"partitions of the queues' journal whose owner is gone, or not reached: {lost}"
    if seen.no_queues is None and (lost := seen.count_databases("nobody")):
        yield f"databases of keys that no node serves: {lost}"
    if seen.stalled:
        yield f"partitions of the cluster that acknowledge nothing now: {seen.stalled}"


# What flows


def _flows(door: HttpDoor) -> Json:
    flows = door.figures.flows()
    return {
        "in_per_s": _sum(it.messages_in for it in flows.values()),
        "out_per_s": _sum(it.messages_out for it in flows.values()),
        "waiting": _number(door.figures.level("all", "", "waiting") or 0),
        "doors": {
            name: {
                "in_per_s": it.messages_in,
                "out_per_s": it.messages_out,
                "bytes_in_per_s": it.bytes_in,
                "bytes_out_per_s": it.bytes_out,
            }
            for name, it in flows.items()
        },
    }


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum; None if no value is known."""
    known = [it for it in values if it is not None]
    return sum(known) if known else None


def _history(door: HttpDoor) -> Json:
    """The history of all doors together."""
    names = door.figures.door_names
    waiting = {"waiting": door.figures.column("all", "", "waiting")}
    return waiting | {
        way: [
            _sum(values)
            for values in zip(
                *(door.figures.column("door", name, way) for name in names), strict=True
            )
        ]
        for way in ("in", "out")
    }


# The rest


def _stuck(door: HttpDoor, it: Stuck) -> Json:
    return {
        "kind": it.kind,
        "object": it.object,
        "vhost": it.vhost,
        "detail": it.detail,
        "since_ms": door.figures.time_of(it.step),
        "view": it.view,
    }


def _full(it: Full) -> Json:
    return {
        "what": it.what,
        "used": _number(it.used),
        "limit": _number(it.limit),
        "unit": it.unit,
        "share": it.share,
        "full_in_s": it.full_in_s,
        "nearly": it.nearly,
        "view": it.view,
    }


def _number(given: int) -> int | str:
    return given if given <= SAFE_INTEGER else str(given)


def _doors(door: HttpDoor, facts: Mapping[str, Any]) -> list[Json]:
    there = Counter((it.door, it.secure) for it in door.connections.connections())
    found = []
    for entrance, at in facts.get("doors", {}).items():
        name = entrance.removesuffix("-tls")
        tls = entrance != name
        host = f"[{at['host']}]" if ":" in at["host"] else at["host"]
        found.append(
            {
                "name": name,
                "address": f"{host}:{at['port']}",
                "tls": tls,
                "connections": there[name, tls],
            }
        )
    return found


def _jobs(door: HttpDoor) -> list[Json]:
    running: Any = door.jobs().get("running", ())
    return [
        {"name": it.get("name"), "object": it.get("log"), "share": it.get("share")}
        for it in running
    ]


def _counts(door: HttpDoor) -> Json:
    queues = door.queues_of.opened
    vhosts = [] if queues is None else list(queues.vhosts.values())
    return {
        "topics": door.topics.count(),
        "groups": door.figures.count("group"),
        "queues": sum(it.count_queues() for it in vhosts),
        "exchanges": sum(it.topology.count_exchanges() for it in vhosts),
        "channels": len(door.channels.names),
        "connections": len(door.connections.connections()),
    }
