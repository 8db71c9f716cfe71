"""``logstore topic route``, ``unroute`` and ``routes``: topics that feed exchanges."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import typer

from .command import INPUT
from .either import store_or_server
from .ends import put, tell
from .options import HERE, TIMES, Data, DataDir, Json, place_option
from .queueing import Vhost, shown
from .show import as_json, table
from .times import EPOCH, MILLISECOND

if TYPE_CHECKING:
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

    from .place import Start

PREFIX = "exchange:"

Topic = Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="TARGET",
        rich_help_panel=INPUT,
        help="The exchange as exchange:NAME; the default exchange is exchange: alone.",
    ),
]


class RouteRow(NamedTuple):
    """A topic that feeds an exchange."""

    topic: str
    exchange: str
    key: str
    fallback: str | None
    group: str
    lag: int | None
    sent: int
    unrouted: int
    skipped: int
    waits: str | None


class Wanted(NamedTuple):
    """A route that is to be made."""

    topic: str
    exchange: str
    key: str
    fallback: str | None
    start: "Start"


class Routes(Protocol):
    """Those of one virtual host: of a store in this process, or of a server of another one."""

    def rows(self) -> list[RouteRow]: ...
    def add(self, wanted: Wanted) -> None:
        """Add a route. Raises Refused, NoneOfThatName."""

    def remove(self, topic: str, exchange: str) -> None:
        """Remove a route. Raises NoneOfThatName."""


class _Local:
    def __init__(self, store: "Store", vhost: str) -> None:
        self._store, self._vhost = store, vhost

    def rows(self) -> list[RouteRow]:
        return [
            RouteRow(
                it.topic, it.exchange, it.key, it.fallback, it.group, it.lag, it.sent, it.unrouted,
                it.skipped, it.waits,
            )
            for it in self._store.topic_routes(vhost=self._vhost)
        ]  # fmt: skip

    def add(self, wanted: Wanted) -> None:
        self._store.route_topic(
            wanted.topic, wanted.exchange, key=wanted.key, fallback=wanted.fallback,
            start=wanted.start, vhost=self._vhost,
        )  # fmt: skip

    def remove(self, topic: str, exchange: str) -> None:
        self._store.unroute_topic(topic, exchange, vhost=self._vhost)


class _Served:
    def __init__(self, server: "ServerSocket", vhost: str) -> None:
        self._server, self._vhost = server, vhost

    def rows(self) -> list[RouteRow]:
        found = self._server.rows("topic-routes", vhost=self._vhost)
        return [RouteRow(*(it[name] for name in RouteRow._fields)) for it in found]

    def add(self, wanted: Wanted) -> None:
        asked: dict[str, object] = {
            "exchange": wanted.exchange, "key": wanted.key, "fallback": wanted.fallback,
        }  # fmt: skip
        if isinstance(wanted.start, datetime):
            asked["start_ms"] = (wanted.start - EPOCH) // MILLISECOND
        else:
            asked["start"] = wanted.start
        query = {"vhost": self._vhost}
        self._server.ask("POST", ("topics", wanted.topic, "routes"), query, asked)

    def remove(self, topic: str, exchange: str) -> None:
        asked = {"exchange": exchange}
        self._server.delete("topics", topic, "routes", value=asked, vhost=self._vhost)


@contextmanager
def _routes_of(data: DataDir, vhost: str) -> "Iterator[Routes]":
    """Routes, in this process or in the server that has the directory open. Raises StoreLocked."""
    with store_or_server(data) as (store, server):
        yield _Served(server, vhost) if store is None else _Local(store, vhost)


def _exchange(to: str) -> str:
    if not to.startswith(PREFIX):
        raise typer.BadParameter(f"{to!r} is not an exchange: use exchange:NAME", param_hint="--to")
    return to.removeprefix(PREFIX)


def route(
    topic: Topic,
    to: To,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="TEMPLATE",
            rich_help_panel=INPUT,
            help="The template of routing keys, of {key}, {topic}, {partition}, {header:NAME}"
            " and {header:NAME|TEXT}, where TEXT stands in for a missing header.",
        ),
    ] = "{key}",
    fallback: Annotated[
        str | None,
        typer.Option(
            "--fallback",
            metavar="KEY",
            rich_help_panel=INPUT,
            help="The routing key of a record that lacks a part of the template.",
        ),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            rich_help_panel=INPUT,
            help=f"The place to begin at: earliest, latest, an offset or a time. {TIMES}",
        ),
    ] = "earliest",
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Publish a topic's records to an exchange.

    The server of the data directory publishes each record as one message, once and in order.
    `logstore topic routes` shows the lag.

    $ logstore topic route flights --to exchange:events --key '{header:carrier}.{key}'
    """
    exchange, place = _exchange(to), place_option(start, "--from")
    with _routes_of(data, vhost) as routes:
        routes.add(Wanted(topic, exchange, key, fallback, place))
    tell(f"topic {topic} is published to {to}")


def unroute(topic: Topic, to: To, vhost: Vhost = "/", data: Data = HERE) -> None:
    """Stop publishing a topic to an exchange.

    The route's progress is deleted.

    $ logstore topic unroute flights --to exchange:events
    """
    exchange = _exchange(to)
    with _routes_of(data, vhost) as routes:
        routes.remove(topic, exchange)
    tell(f"topic {topic} is no longer published to {to}")


def routes(json_: Json = False, vhost: Vhost = "/", data: Data = HERE) -> None:
    """List topics that are published to exchanges.

    $ logstore topic routes
    """
    with _routes_of(data, vhost) as found:
        rows = found.rows()
    if json_:
        names = ({"exchange": shown(it.exchange), "key": shown(it.key)} for it in rows)
        put(as_json([it._asdict() | more for it, more in zip(rows, names, strict=True)]))
        return
    heads = ("topic", "exchange", "key", "lag", "waits for")
    lines = [
        (it.topic, _named(it.exchange), str(shown(it.key)), it.lag, it.waits or "") for it in rows
    ]
    put(table(heads, lines))


def _named(exchange: str) -> str:
    return str(shown(exchange)) or "(default)"
