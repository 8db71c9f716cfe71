"""``logstore status --cluster``: the cluster of a node, as the node knows it."""

from typing import TYPE_CHECKING, Any

from .ends import put
from .show import as_json, counted, facts, number, size, table
from .times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import DataDir

Row = dict[str, Any]  # as the HTTP API has it


def show(data: "DataDir", *, json_: bool) -> None:
    """Print the cluster's state. Raises Failed without a server, NoneOfThatName without a
    cluster.
    """
    from logstore.server_socket import ServerSocket

    found = ServerSocket(str(data.path)).get("cluster")
    if json_:
        put(as_json(found))
        return
    put(facts(tuple(_facts(found))))
    put(_owned("queues", found["partitions"]))
    put(_owned("database", found["databases"]))
    if found["behind"]:
        put(
            table(
                ("not acknowledged", "bytes", "appends", "waits"),
                [
                    (it["log"], it["bytes"], it["appends"], f"{it['waits_s']:.1f} s")
                    for it in found["behind"]
                ],
            )
        )


def _owned(what: str, rows: "list[Row]") -> str:
    return table(
        (what, "state", "node", "links at", "since", "epoch", "why"),
        [
            (
                it["partition"], it["state"], it["node"], it["address"],
                None if it["since_ms"] is None else iso(it["since_ms"]), it["epoch"], it["why"],
            )
            for it in rows
        ],
    )  # fmt: skip


def _facts(it: Row) -> "Iterable[tuple[str, str | None]]":
    yield "cluster", f"{it['cluster']} ({it['cluster_id'] or 'without an id'})"
    yield "reached", "yes" if it["failure"] is None else f"no: {it['failure']}"
    yield "brokers", ", ".join(_broker(one) for one in it["brokers"]) or None
    yield "this node", it["node"]
    if it["no_queues"] is not None:
        yield "queues", f"none: {it['no_queues']}"
    yield "assigned by", ASSIGNED.get(it["assigned_by"])
    if it["group_failure"] is not None:
        yield "the group", it["group_failure"]
    yield "behind", f"{size(it['bytes'])} in {counted(it['appends'], 'append')}"
    yield "stalls", f"{it['stalled']} now; {it['stalls']} before, {it['stalled_s']:.1f} s in all"
    yield "unread facts", number(it["facts_unread"])
    if it["facts_failure"] is not None:
        yield "facts", it["facts_failure"]


ASSIGNED = {"group": "the cluster (KIP-848)", "classic": "the nodes (the classic protocol)"}


def _broker(it: Row) -> str:
    words = [it["address"], *([f"rack {it['rack']}"] if it["rack"] else ())]
    return f"{it['id']} ({', '.join([*words, *(['controller'] if it['controller'] else ())])})"
