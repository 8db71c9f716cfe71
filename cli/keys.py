"""``logstore keys``: stats, list, get, delete: Redis's keys of a running server."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .command import Command, Group
from .ends import put, say, tell
from .options import HERE, Data, DataDir, Json
from .show import as_json, as_line, counted, facts, size, table
from .times import iso

if TYPE_CHECKING:
    from logstore.server_socket import ServerSocket

SHOWN_CHARS = 60  # of a value in a table

app = typer.Typer(cls=Group, no_args_is_help=True)

Database = Annotated[
    int,
    typer.Option(
        "--database", "-n", min=0, max=15, metavar="N", help="The number of the database."
    ),
]
Kind = Literal["string", "list", "hash", "set", "zset"]
Row = dict[str, Any]  # as the HTTP API has it


def _server(data: DataDir) -> "ServerSocket":
    from logstore.server_socket import ServerSocket

    return ServerSocket(str(data.path))


@app.callback()
def keys(data: Data = HERE) -> None:
    """See the keys that Redis clients have set at a running server; delete some."""


@app.command(cls=Command)
def stats(json_: Json = False, data: Data = HERE) -> None:
    """Show the number of keys in each database.

    $ logstore keys stats
    """
    found = _server(data).get("keys")
    if json_:
        put(as_json(found))
        return
    for what in ("damage", "failing"):
        if found[what] is not None:
            say(found[what])
    columns = (
        "database", "topic", "keys", "expiring", "bytes", "hits", "misses", "expired", "evicted",
    )  # fmt: skip
    put(table(columns, [
        [size(it[name]) if name == "bytes" else it[name] for name in columns]
        for it in found["databases"]
    ]))  # fmt: skip


@app.command("list", cls=Command)
def list_(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN")] = "*",
    kind: Annotated[
        Kind | None, typer.Option("--type", help="List only keys of this type.")
    ] = None,
    max_: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after this many keys.")
    ] = None,
    database: Database = 0,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """List keys that match a Redis pattern.

    With --json, each key is printed as one line as soon as it is found.

    $ logstore keys list 'user:*' --max 20
    """
    rows = _rows(_server(data), database, pattern, kind, max_)
    if json_:
        for it in rows:
            put(as_line(it))
        return
    now_ms = time.time_ns() // 1_000_000
    put(table(("key", "type", "expires", "elements", "size", "value"), [
        (it["key"], it["type"], _left(it, now_ms), it["elements"], size(it["bytes"]), _shown(it))
        for it in rows
    ]))  # fmt: skip


def _rows(
    server: "ServerSocket", database: int, pattern: str, kind: Kind | None, most: int | None
) -> Iterator[Row]:
    """Rows in parts, until there are no more or enough."""
    cursor, left = "0", most
    while cursor is not None and left != 0:
        query = {"pattern": pattern, "type": kind or "", "cursor": cursor}
        found = server.get("keys", str(database), **query)
        some = found["items"][:left]
        left = None if left is None else left - len(some)
        cursor = found["cursor"]
        yield from some


def _left(row: Row, now_ms: int) -> str | None:
    deadline = row["expires_ms"]
    return None if deadline is None else f"in {max(0, deadline - now_ms) // 1000} s"


def _shown(row: Row) -> str:
    value = row["value"]
    if not isinstance(value, list):
        return _text(value)[:SHOWN_CHARS]
    return ", ".join(": ".join(map(_text, it)) for it in value)[:SHOWN_CHARS]


def _text(content: Row) -> str:
    """The text, or base64 for bytes that are not UTF-8."""
    return str(content["text"] if "text" in content else content["base64"])


@app.command(cls=Command)
def get(
    key: Annotated[str, typer.Argument(metavar="KEY", show_default=False)],
    database: Database = 0,
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Show a key and the beginning of its value.

    For a collection, the first hundred elements are shown.

    $ logstore keys get user:1
    """
    row = _server(data).get("keys", str(database), key)
    if json_:
        put(as_json(row))
        return
    expires = None if row["expires_ms"] is None else iso(row["expires_ms"])
    put(facts([
        ("key", row["key"]), ("type", row["type"]), ("expires", expires),
        ("elements", row["elements"]), ("size", size(row["bytes"])),
    ]))  # fmt: skip
    if row["elements"] is None:
        put(_text(row["value"]) + "\n")
        return
    heads = {"hash": ("field", "value"), "zset": ("member", "score"), "list": ("element",)}
    columns = heads.get(row["type"], ("member",))
    put(table(columns, [[_text(it) for it in element] for element in row["value"]]))


@app.command(cls=Command)
def delete(
    names: Annotated[list[str], typer.Argument(metavar="KEY...", show_default=False)],
    database: Database = 0,
    data: Data = HERE,
) -> None:
    """Delete keys.

    The deletion is on disk before this command exits.

    $ logstore keys delete user:1 user:2
    """
    server = _server(data)
    for it in names:
        server.delete("keys", str(database), it)
    tell(f"deleted {counted(len(names), 'key')}")
