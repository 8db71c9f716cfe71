"""``logstore doctor``: whether directory and machine are fit, and what to change."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import COMMON
from .ends import CommandFailed, put
from .options import HERE, Data, Json
from .show import as_json, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logstore.config import Config

    from .options import DataDir

Measure = Annotated[
    bool,
    typer.Option(
        "--measure",
        rich_help_panel=COMMON,
        help="Measure the duration of a sync by writing a small file beside the store.",
    ),
]


def doctor(measure: Measure = False, json_: Json = False, data: Data = HERE) -> None:
    """Find problems, and say what to change.

    Checks the data directory, its file system, limits, memory, clock, addresses and certificate. If
    a server has the directory open, the server's limits, memory and addresses are checked. Exits
    with 1 if there is an error.

    $ logstore doctor
    $ logstore doctor --measure --json
    """
    found = _served(data) if data.is_served() else _here(data, measure=measure)
    if json_:
        put(as_json(found))
    else:
        put("".join(_lines(it) for it in found["checks"]))
    errors = sum(it["state"] == "error" for it in found["checks"])
    if errors:
        raise CommandFailed(f"{data}: {counted(errors, 'error')}: see above")


def _served(data: "DataDir") -> Any:  # noqa: ANN401  JSON
    from logstore.server_socket import ServerSocket

    return ServerSocket(str(data.path)).get("doctor")


def _here(data: "DataDir", *, measure: bool) -> "Mapping[str, Any]":
    from logstore.config import Config
    from logstore.doctor import checks, look
    from logstore.errors import LogstoreError

    config, trouble = Config(), ""
    try:
        config = data.config()
    except LogstoreError as error:
        trouble = str(error)
    path = str(data.path)
    syncs: list[int] = []
    if measure:
        there = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
        try:
            syncs = look.syncs(there)
        except OSError as error:
            raise CommandFailed(
                f"{there}: the time of a sync can't be measured: {error.strerror}"
            ) from None
    return checks.shown(look.facts_at(path, config, _addresses(config), trouble, syncs))


def _addresses(config: "Config") -> dict[str, str]:
    """The addresses on which a server would listen."""
    from logstore.doors import ENTRANCES
    from logstore.settings import STORE_SETTINGS

    ports = {
        it.name: getattr(config.store, STORE_SETTINGS[it.port_setting].name)
        for it in ENTRANCES
        if not it.tls or config.store.tls_cert
    }
    return {name: f"{config.store.listen_host}:{port}" for name, port in ports.items() if port >= 0}


def _lines(check: "Mapping[str, str]") -> str:
    from logstore.printable import printable

    found = f"{check['state']:<9}{check['name']:<13}{check['found']}"
    advice = [f"{'':22}{check['advice']}"] if check["advice"] else []
    return "".join(printable(it) + "\n" for it in (found, *advice))
