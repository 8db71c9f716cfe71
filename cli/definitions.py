"""``logstore definitions``: export, import: all there is but messages, in RabbitMQ's own JSON."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .command import INPUT, OUTPUT, Command, Group
from .either import store_or_server
from .ends import CommandFailed, put, say, tell
from .options import HERE, Data, Json
from .show import as_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logstore.server_socket import ServerSocket
    from logstore.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True)

OneVhost = Annotated[
    str | None,
    typer.Option(
        "--vhost",
        metavar="VHOST",
        rich_help_panel=INPUT,
        help="The virtual host whose policies, exchanges, queues and bindings are taken;"
        " defaults to all definitions.",
    ),
]


class Imported(NamedTuple):
    """What was done, or would be."""

    counts: "Mapping[str, Mapping[str, int]]"
    notes: "Sequence[str]"


@app.callback()
def group(data: Data = HERE) -> None:
    """Take over what a RabbitMQ has, and give it away."""


@app.command(cls=Command)
def export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Write to this file, readable by its owner only, instead of to standard output.",
        ),
    ] = None,
    vhost: OneVhost = None,
    data: Data = HERE,
) -> None:
    """Print all definitions, but no messages.

    Prints users, virtual hosts, permissions, policies, exchanges, queues and bindings as JSON that
    RabbitMQ can import, with hashes of passwords. Standard error names definitions that RabbitMQ
    does not know.

    $ logstore definitions export
    $ logstore definitions export --vhost shop --output shop.json
    """
    with store_or_server(data) as (store, server):
        if store is not None:
            found, notes = store.export_definitions(vhost=vhost)
        else:
            answer = server.get("definitions", vhost=vhost)
            found, notes = answer["definitions"], answer["notes"]
    text = as_json(found)
    if output is None:
        put(text)
    else:
        _write(output, text)
        tell(f"wrote definitions to {output}")
    for line in notes:
        say(line, "warning")


def _write(path: Path, text: str) -> None:
    """Raises OSError."""
    import os
    import stat

    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(fd).st_mode):  # otherwise it is a pipe or a device of others
        os.fchmod(fd, 0o600)  # an existing file may have been readable by others
    with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


@app.command("import", cls=Command)
def import_(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", show_default=False, help="The file to import; - is standard input."
        ),
    ],
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=INPUT, help="Print the planned changes without making any."
        ),
    ] = False,
    json_: Json = False,
    vhost: OneVhost = None,
    data: Data = HERE,
) -> None:
    """Import definitions of a RabbitMQ server.

    FILE was written by `rabbitmqctl export_definitions`, `rabbitmqadmin export` or `logstore
    definitions export`. Users and policies of the same names are replaced; everything else that
    already exists is left alone. If a definition contradicts an existing one, the import is refused
    before anything is changed. Standard error names definitions that have no effect here. Creates
    the data directory, too, if it does not exist.

    $ logstore definitions import rabbit.json --dry-run
    $ logstore definitions import rabbit.json
    """
    given = _read(file)
    with store_or_server(data, create=not dry_run) as (store, server):
        if store is not None:
            found = _local(store, given, vhost, dry_run=dry_run)
        else:
            found = _served(server, given, vhost, dry_run=dry_run)
    _show(found, dry_run=dry_run, json_=json_)


def _read(file: str) -> bytes:
    """Read a file of up to the maximum size. Raises OSError, CommandFailed."""
    from logstore.definitions.refusals import BYTES_MAX

    if file == "-" and sys.stdin is None:
        raise CommandFailed("standard input is closed: name a FILE")
    with open(0 if file == "-" else file, "rb", closefd=file != "-") as given:
        return given.read(BYTES_MAX + 1)


def _local(store: "Store", given: bytes, vhost: str | None, *, dry_run: bool) -> Imported:
    from dataclasses import asdict

    plan = store.import_definitions(given, vhost=vhost, dry_run=dry_run)
    return Imported({kind: asdict(it) for kind, it in plan.counts.items()}, plan.notes)


def _served(server: "ServerSocket", given: bytes, vhost: str | None, *, dry_run: bool) -> Imported:
    from logstore.definitions.refusals import BYTES_MAX, InvalidDefinitions
    from logstore.http.bodies import decode

    if len(given) > BYTES_MAX:
        raise InvalidDefinitions(f"the file is too large: the maximum is {BYTES_MAX} bytes")
    try:
        value = decode(given) if given.strip() else {}
    except ValueError:
        raise InvalidDefinitions("not a JSON object") from None
    query: dict[str, Any] = {"vhost": vhost, "dry_run": "true" if dry_run else None}
    found = server.ask("POST", ("definitions",), query, value)
    return Imported(found["counts"], found["notes"])


def _show(found: Imported, *, dry_run: bool, json_: bool) -> None:
    if json_:
        put(as_json({"dry_run": dry_run, **found._asdict()}))
        return
    rows = [
        (kind.replace("_", " "), it["added"], it["changed"], it["there"])
        for kind, it in found.counts.items()
        if any(it.values())
    ]
    put(table(("definitions", "added", "changed", "there"), rows))
    for line in found.notes:
        say(line, "warning")
    if dry_run:
        tell("nothing was changed: this was a dry run")
