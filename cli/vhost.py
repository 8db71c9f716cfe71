"""``logstore vhost``: add, list, delete."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import typer

from .command import Command, Group
from .either import store_or_server
from .ends import put, tell
from .options import HERE, Data, DataDir, Json
from .queueing import Yes, confirm, shown
from .show import as_json, counted, table

if TYPE_CHECKING:
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


class VhostRow(NamedTuple):
    """A virtual host, and how much it has."""

    vhost: str
    exchanges: int
    queues: int


class Vhosts(Protocol):
    """The virtual hosts of a store in this process, or of a server of another one."""

    def rows(self) -> list[VhostRow]: ...
    def add(self, name: str) -> None:
        """Add a virtual host. Raises InvalidName."""

    def delete(self, name: str) -> None:
        """Delete a virtual host. Raises NoneOfThatName, Refused for the default one."""


class _Local:
    def __init__(self, store: "Store") -> None:
        self._store = store

    def rows(self) -> list[VhostRow]:
        store = self._store
        return [
            VhostRow(it, len(store.exchanges(vhost=it)), len(store.queues(vhost=it)))
            for it in store.vhosts()
        ]

    def add(self, name: str) -> None:
        self._store.add_vhost(name)

    def delete(self, name: str) -> None:
        self._store.delete_vhost(name)


class _Served:
    def __init__(self, server: "ServerSocket") -> None:
        self._server = server

    def rows(self) -> list[VhostRow]:
        rows = self._server.rows("vhosts")
        return [VhostRow(it["name"], it["exchanges"], it["queues"]) for it in rows]

    def add(self, name: str) -> None:
        self._server.put("vhosts", name)

    def delete(self, name: str) -> None:
        self._server.delete("vhosts", name)


@contextmanager
def vhosts_of(data: DataDir, *, create: bool = False) -> "Iterator[Vhosts]":
    """Virtual hosts, in this process or in the server that has the directory open. Raises
    StoreLocked.
    """
    with store_or_server(data, create=create) as (store, server):
        yield _Served(server) if store is None else _Local(store)


@app.callback()
def group(data: Data = HERE) -> None:
    """Make virtual hosts: each has exchanges and queues of its own."""


@app.command(cls=Command)
def add(name: Name, data: Data = HERE) -> None:
    """Create a virtual host, unless it exists.

    Creates the data directory, too, if it does not exist.

    $ logstore vhost add shop
    """
    with vhosts_of(data, create=True) as vhosts:
        vhosts.add(name)
    tell(f"added virtual host {name}")


@app.command("list", cls=Command)
def list_(json_: Json = False, data: Data = HERE) -> None:
    """List virtual hosts and their sizes.

    $ logstore vhost list
    """
    with vhosts_of(data) as vhosts:
        rows = [it._replace(vhost=str(shown(it.vhost))) for it in vhosts.rows()]
    if json_:
        put(as_json([row._asdict() for row in rows]))
    else:
        put(table(VhostRow._fields, rows))


@app.command(cls=Command)
def delete(name: Name, yes: Yes = False, data: Data = HERE) -> None:
    """Delete a virtual host and its contents.

    Its exchanges, queues and messages are deleted, and its connections are closed.

    $ logstore vhost delete shop
    """
    with vhosts_of(data) as vhosts:
        found = {it.vhost: it for it in vhosts.rows()}
        if name in found and not yes:
            queues = counted(found[name].queues, "queue")
            confirm(f"delete virtual host {name} and its {queues}")
        vhosts.delete(name)
    tell(f"deleted virtual host {name}")
