"""``logstore session``: list, describe, end: sessions of MQTT clients, and what waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from .command import Command, Group
from .either import store_or_server
from .ends import put, tell
from .options import HERE, Data, DataDir, Json
from .queueing import yes_or_no
from .show import as_json, counted, facts, table
from .times import iso

if TYPE_CHECKING:
    from logstore.kept.mqtt import KeptMqtt, KeptSession
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True)

Client = Annotated[str, typer.Argument(metavar="CLIENT", show_default=False)]
Row = dict[str, Any]  # as the HTTP API has it


class Sessions(Protocol):
    """Of a store in this process, or of a server of another one."""

    def rows(self) -> list[Row]: ...
    def row(self, client: str) -> Row:
        """The session of a client. Raises NoneOfThatName."""

    def subscriptions(self, client: str) -> list[Row]:
        """The subscriptions of a session. Raises NoneOfThatName."""

    def end(self, client: str) -> None:
        """End a session. Raises NoneOfThatName."""


class _Served:
    def __init__(self, server: "ServerSocket") -> None:
        self._server = server

    def rows(self) -> list[Row]:
        return list(self._server.rows("mqtt", "sessions"))

    def row(self, client: str) -> Row:
        found: Row = self._server.get("mqtt", "sessions", client)
        return found

    def subscriptions(self, client: str) -> list[Row]:
        return list(self._server.rows("mqtt", "sessions", client, "subscriptions"))

    def end(self, client: str) -> None:
        self._server.delete("mqtt", "sessions", client)


class _Local:
    """No server has the store: nobody is connected."""

    def __init__(self, store: "Store") -> None:
        from logstore.storage import mqtt

        groups = store.internals().groups
        assert groups is not None, "a store that is written has a catalogue"
        self._environment = groups.environment
        self._store = store
        self._kept: KeptMqtt = mqtt.load(self._environment)

    def rows(self) -> list[Row]:
        return [self._row(it) for it in sorted(self._kept.sessions, key=lambda it: it.client)]

    def _row(self, it: "KeptSession") -> Row:
        from logstore.kept.mqtt import CONNECTED, NEVER

        queue, ready = self._queue(it), 0
        if queue is not None:
            ready = self._store.queue(queue).counts().ready
        never = it.expiry_s == NEVER
        left_ms = None if it.left_ms == CONNECTED else it.left_ms
        its = [one for one in self._kept.subscriptions if one.session == it.id]
        return {
            "client": it.client, "user": it.user, "connected": False, "left_ms": left_ms,
            "expiry_s": None if never else it.expiry_s,
            "expires_ms": None if never or left_ms is None else left_ms + 1000 * it.expiry_s,
            "subscriptions": len(its), "queue": queue, "ready": ready, "unacked": 0,
        }  # fmt: skip

    def _queue(self, it: "KeptSession") -> str | None:
        from logstore.broker.mqtt.session import queue_name

        name = queue_name(it.client).decode()
        return name if it.queue and name in self._store.queues() else None

    def row(self, client: str) -> Row:
        return self._row(self._named(client))

    def _named(self, client: str) -> "KeptSession":
        from logstore.errors import NoneOfThatName

        found = next((it for it in self._kept.sessions if it.client == client), None)
        if found is None:
            raise NoneOfThatName(f"MQTT client {client[:60]!r} has no session")
        return found

    def subscriptions(self, client: str) -> list[Row]:
        session = self._named(client)
        return [
            {
                "filter": it.filter.decode(errors="replace"), "qos": it.qos,
                "no_local": it.no_local, "retain_as_published": it.retain_as_published,
                "id": it.number or None,
            }
            for it in self._kept.subscriptions if it.session == session.id
        ]  # fmt: skip

    def end(self, client: str) -> None:
        from logstore.storage import mqtt

        session = self._named(client)
        queue = self._queue(session)
        self._environment.transact(mqtt.TABLES, lambda it: mqtt.change(it, (), [session]))
        if queue is not None:
            self._store.queue(queue).delete()


@contextmanager
def _sessions_of(data: DataDir) -> "Iterator[Sessions]":
    """Sessions, in this process or in the server that has the directory open. Raises
    StoreLocked.
    """
    with store_or_server(data) as (store, server):
        yield _Served(server) if store is None else _Local(store)


@app.callback()
def group(data: Data = HERE) -> None:
    """See the sessions of MQTT clients, and what waits for them; end one."""


@app.command("list", cls=Command)
def list_(json_: Json = False, data: Data = HERE) -> None:
    """List the sessions of MQTT clients.

    Shows for each session how many messages are queued, and how many are sent but not acknowledged.

    $ logstore session list
    $ logstore session list --json
    """
    with _sessions_of(data) as sessions:
        rows = sessions.rows()
    if json_:
        put(as_json([_object(it) for it in rows]))
        return
    columns = ("client", "user", "connected", "expires", "subscriptions", "ready", "unacked")
    put(table(columns, [
        (it["client"], it["user"] or None, "yes" if it["connected"] else "no", _expires(it),
         it["subscriptions"], it["ready"], it["unacked"])
        for it in rows
    ]))  # fmt: skip


def _expires(row: Row) -> str | None:
    if row["connected"]:
        return None
    return "never" if row["expiry_s"] is None else _time(row["expires_ms"])


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)


def _object(row: Row) -> dict[str, Any]:
    names = (
        "client",
        "user",
        "connected",
        "expiry_s",
        "subscriptions",
        "queue",
        "ready",
        "unacked",
    )
    return {
        **{name: row[name] for name in names},
        "left": _time(row["left_ms"]), "expires": _time(row["expires_ms"]),
    }  # fmt: skip


@app.command(cls=Command)
def describe(client: Client, json_: Json = False, data: Data = HERE) -> None:
    """Show one session and its subscriptions.

    $ logstore session describe sensor-7
    """
    with _sessions_of(data) as sessions:
        row, its = sessions.row(client), sessions.subscriptions(client)
    if json_:
        put(as_json({**_object(row), "subscriptions": its}))
        return
    put(facts([(name.replace("_", " "), it) for name, it in _object(row).items()]))
    put(table(("filter", "qos", "no-local", "retain-as-published", "id"), [
        (it["filter"], it["qos"], yes_or_no(it["no_local"]), yes_or_no(it["retain_as_published"]),
         it["id"])
        for it in its
    ]))  # fmt: skip


@app.command(cls=Command)
def end(
    clients: Annotated[list[str], typer.Argument(metavar="CLIENT...", show_default=False)],
    data: Data = HERE,
) -> None:
    """End sessions and delete their messages.

    A connected client is disconnected; it can connect again with a new session.

    $ logstore session end sensor-7
    """
    with _sessions_of(data) as sessions:
        for it in clients:
            sessions.end(it)
    tell(f"ended {counted(len(clients), 'session')}")
