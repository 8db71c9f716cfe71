"""``logstore status`` and ``config show``: a store and its settings at one glance."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from .command import OUTPUT, Command, Group
from .ends import put
from .options import HERE, Data, Json
from .show import as_json, counted, facts, number, size, table
from .times import iso

if TYPE_CHECKING:
    from logstore.storage.ran import Ran
    from logstore.storage.status import Status

    from .options import DataDir

WAITING_MAX = 20  # partitions that are shown

config_app = typer.Typer(cls=Group, no_args_is_help=True)


@config_app.callback()
def config(data: Data = HERE) -> None:
    """Show settings and where they come from."""


@config_app.command("show", cls=Command)
def config_show(
    topic: Annotated[
        str | None,
        typer.Option("--topic", metavar="TOPIC", help="Show the settings of this topic."),
    ] = None,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Show every setting and where it was set.

    The source is the default, the file, the environment or the topic.

    $ logstore config show --topic flights
    """
    from logstore.config import text_of

    if topic is None:
        settings = data.config().describe()
    else:
        with data.open("read") as store:
            settings = store.describe_topic(topic)
    if json_:
        names = ("name", "value", "source", "default", "reason")
        found = [{name: getattr(setting, name) for name in names} for setting in settings]
        put(as_json(found))
        return
    rows = [
        (setting.name, text_of(setting.value), setting.source, setting.reason)
        for setting in settings
    ]
    put(table(("setting", "value", "source", "what it does"), rows))


Ready = Annotated[
    bool,
    typer.Option(
        "--ready",
        help="Ask the server of the directory whether the server can acknowledge records now;"
        " exit with 0 for yes, 1 for no.",
    ),
]


OfCluster = Annotated[
    bool,
    typer.Option(
        "--cluster",
        help="Show the cluster of which the directory's server is a node: the owner of each"
        " part, and the lag.",
        rich_help_panel=OUTPUT,
    ),
]


def status(
    json_: Json = False, ready: Ready = False, cluster: OfCluster = False, data: Data = HERE
) -> None:
    """Show a store's contents and its writer.

    Checks both ends of each log for damage; `logstore verify` checks everything.

    $ logstore status
    $ logstore status --cluster
    """
    if cluster:
        from .cluster_status import show

        show(data, json_=json_)
        return
    if ready:
        _ready(data, json_=json_)
        return
    with data.open("read") as store:
        found = store.status()
    writer = found.writer
    if json_:
        owner = writer and {
            "pid": writer.pid,
            "command": writer.command,
            "since_ms": writer.since_ms,
            "pid_namespace": writer.pid_namespace,
        }
        shown = {name: getattr(found, name) for name in found.__slots__}
        lists: dict[str, object] = {
            "damaged": list(found.damaged), "leftovers": list(found.leftovers),
            "undecided": _open_transactions(data, found),
        }  # fmt: skip
        ran = found.upkeep and {
            it: getattr(found.upkeep, it) for it in found.upkeep.__struct_fields__
        }
        put(as_json({**shown, "writer": owner, "upkeep": ran, **lists}))
        return
    put(
        facts(
            (
                ("store", found.path),
                ("id", found.store_id or None),
                ("schema", found.schema),
                ("writer", f"{writer} since {iso(writer.since_ms)}" if writer else "no one"),
                *_of_cluster(found),
                ("topics", number(found.topics)),
                ("partitions", number(found.partitions)),
                ("offsets", number(found.offsets)),
                ("size", size(found.bytes)),
                ("groups", number(found.groups)),
                *_users(found),
                *_queues(found),
                *_waiting(data, found),
                *_upkeep(found.upkeep),
                ("damaged", _damage(found.damaged)),
                *_reader(found.oldest_reader),
                *(("leftover", it) for it in found.leftovers),
            )
        )
    )


def _of_cluster(found: "Status") -> list[tuple[str, str]]:
    """The row that names the cluster; the other counts are then the node's own."""
    if found.writer is None or not found.writer.cluster:
        return []
    which = f"{found.writer.cluster}, which has topics and queues: see logstore status --cluster"
    return [("cluster", which)]


def _ready(data: "DataDir", *, json_: bool) -> None:
    """Print readiness. Raises Failed if the server is not ready, or does not run."""
    from logstore.server_socket import ServerSocket

    found = ServerSocket(str(data.path)).get("ready")
    put(as_json(found) if json_ else "ready\n")


def _users(found: "Status") -> list[tuple[str, str]]:
    return [("users", number(found.users))] if found.users else []


def _queues(found: "Status") -> list[tuple[str, str]]:
    if not found.queues:
        return []
    return [("queues", f"{number(found.queues)}, with {counted(found.messages, 'message')}")]


def _open_transactions(data: "DataDir", found: "Status") -> list[dict[str, object]]:
    """Where readers of committed records wait, and for which transaction if a server knows it."""
    from logstore.errors import LogstoreError
    from logstore.server_socket import ServerSocket

    names: dict[str, str] = {}
    if found.undecided and found.writer:
        with suppress(LogstoreError):  # it is no server, or one that does not know
            rows = ServerSocket(str(data.path)).rows("transactions", open="true")
            names = {it["producer_id"]: it["id"] for it in rows}
    return [
        {
            "topic": it.topic, "partition": it.partition, "offset": it.offset,
            "producer_id": str(it.producer_id), "since_ms": it.since_ms,
            "transactional_id": names.get(str(it.producer_id)),
        }
        for it in found.undecided
    ]  # fmt: skip


def _waiting(data: "DataDir", found: "Status") -> list[tuple[str, str]]:
    rows = _open_transactions(data, found)
    shown = [
        (
            "open transaction",
            f"{it['topic']}-{it['partition']} from {it['offset']} on, since "
            f"{iso(int(str(it['since_ms'])))}, of "
            f"{it['transactional_id'] or 'producer ' + str(it['producer_id'])}: "
            f"readers of committed records wait for it",
        )
        for it in rows[:WAITING_MAX]
    ]
    if len(rows) > WAITING_MAX:
        shown.append(("", f"and in {counted(len(rows) - WAITING_MAX, 'other partition')}"))
    return shown


def _upkeep(ran: "Ran | None") -> list[tuple[str, str]]:
    """When the last upkeep ran, what it did, and what failed."""
    if ran is None:
        return []
    did = [
        (ran.segments_dropped, f"dropped {counted(ran.segments_dropped, 'segment')}"),
        (ran.logs_compacted, f"compacted {counted(ran.logs_compacted, 'log')}"),
        (ran.records_removed, f"removed {counted(ran.records_removed, 'record')}"),
        (ran.logs_recompressed, f"recompressed {counted(ran.logs_recompressed, 'log')}"),
        (ran.groups_expired, f"expired {counted(ran.groups_expired, 'group')}"),
    ]
    told = ", ".join(text for number, text in did if number) or "nothing to do"
    rows = [("upkeep", f"{iso(ran.ended_ms)}: {told}")]
    rows += [("upkeep failed", failure) for failure in ran.failures]
    if ran.failed > len(ran.failures):
        rows.append(("upkeep failed", f"{counted(ran.failed - len(ran.failures), 'more log')}"))
    return rows


def _reader(oldest: tuple[int, int] | None) -> list[tuple[str, str]]:
    if oldest is None:
        return []
    return [("oldest reader", f"pid {oldest[0]}, {counted(oldest[1], 'commit')} behind")]


def _damage(found: tuple[str, ...]) -> str:
    if not found:
        return "nothing at either end of a log (verify reads all)"
    more = f"; and {counted(len(found) - 1, 'other log')}" if len(found) > 1 else ""
    return found[0] + more
