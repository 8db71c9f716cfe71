"""``logstore transaction``: list, describe, abort: transactions of Kafka clients of a server."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import Command, Group
from .ends import put, tell
from .options import HERE, Data, DataDir, Json
from .show import as_json, counted, facts, table
from .times import iso

if TYPE_CHECKING:
    from logstore.server_socket import ServerSocket

app = typer.Typer(cls=Group, no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="TRANSACTIONAL_ID", show_default=False)]
Row = dict[str, Any]  # as the HTTP API has it


def _server(data: DataDir) -> "ServerSocket":
    from logstore.server_socket import ServerSocket

    return ServerSocket(str(data.path))


@app.callback()
def transaction(data: Data = HERE) -> None:
    """See the transactions of Kafka clients at a running server; abort one."""


@app.command("list", cls=Command)
def list_(
    open_: Annotated[
        bool, typer.Option("--open", help="List only ids that have an open transaction.")
    ] = False,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """List transactional ids and their states.

    $ logstore transaction list
    $ logstore transaction list --open
    """
    query = {"open": "true"} if open_ else {}
    rows = list(_server(data).rows("transactions", **query))
    if json_:
        put(as_json(rows))
        return
    columns = ("transactional id", "state", "producer", "epoch", "partitions", "began", "timeout")
    put(table(columns, [
        (it["id"], it["state"], it["producer_id"], it["epoch"], it["partitions"],
         _time(it["began_ms"]), f"{it['timeout_ms'] / 1000:g} s")
        for it in rows
    ]))  # fmt: skip


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)


@app.command(cls=Command)
def describe(id_: Id, json_: Json = False, data: Data = HERE) -> None:
    """Show a transaction and the readers it blocks.

    Readers of committed records wait for the earliest open transaction of a partition.

    $ logstore transaction describe copier-0
    """
    row = _server(data).get("transactions", id_)
    if json_:
        put(as_json(row))
        return
    put(facts((
        ("transactional id", row["id"]),
        ("state", row["state"]),
        ("producer", f"{row['producer_id']}, epoch {row['epoch']}"),
        ("began", _time(row["began_ms"])),
        ("changed", _time(row["since_ms"])),
        ("timeout", f"{row['timeout_ms'] / 1000:g} s"),
        ("partitions", row["partitions"]),
        ("commits for", ", ".join(row["groups"]) or None),
    )))  # fmt: skip
    if row["parts"]:
        put(table(("topic", "partition", "from", "holds readers back"), [
            (it["topic"], it["partition"], it["first_offset"], "yes" if it["holds_back"] else "no")
            for it in row["parts"]
        ]))  # fmt: skip


@app.command(cls=Command)
def abort(
    ids: Annotated[list[str], typer.Argument(metavar="TRANSACTIONAL_ID...", show_default=False)],
    data: Data = HERE,
) -> None:
    """Abort open transactions.

    Each transaction is aborted as a whole, in all its partitions. Its producer is fenced and
    receives an error for its next request.

    $ logstore transaction abort copier-0
    """
    server = _server(data)
    for it in ids:
        server.post("transactions", it, "abort", value=None)
    tell(f"aborted {counted(len(ids), 'transaction')}")
