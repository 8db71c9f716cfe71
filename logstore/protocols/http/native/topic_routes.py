"""Topics that are published to exchanges: list, add, remove."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from logstore.amqp import fields
from logstore.broker.queues.crossing.about import RouteAbout, about
from logstore.broker.queues.crossing.key_template import PLAIN
from logstore.broker.start import Start
from logstore.errors import LogstoreError, Refused
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.asked import asked, name_in
from logstore.protocols.http.within import Within, each, within

if TYPE_CHECKING:  # the model, which whoever asks for queues has opened first
    from logstore.broker.queues.crossing.topic_route import TopicRoute

CREATED: Final = 201

_ENDS: Final[dict[str, Start]] = {"earliest": "earliest", "latest": "latest"}
_OFFSET: Final = re.compile(r"\d{1,18}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TopicRouteMake(Struct, forbid_unknown_fields=True):
    """Records go to ``exchange`` with routing keys that ``key`` makes: {key}, {topic},
    {partition}, {header:NAME}. ``fallback``: the routing key where something of that is missing.
    ``start``: earliest, latest or an offset; ``start_ms``: a time instead, in ms since 1970.
    ``dry_run``: say whether it could be, and do nothing.
    """

    exchange: str
    key: str = PLAIN
    fallback: str | None = None
    start: str | int = "earliest"
    start_ms: int | None = None
    dry_run: bool = False


class TopicRouteRemove(Struct, forbid_unknown_fields=True):
    """``dry_run``: report what would be removed, and remove nothing."""

    exchange: str
    dry_run: bool = False


class Row(NamedTuple):
    """A topic route and its virtual host."""

    vhost: Within
    route: RouteAbout


COLUMNS: Final = Columns[Row](
    name=lambda it: f"{it.route.topic} {it.route.exchange}",
    by={
        "topic": lambda it: it.route.topic,
        "exchange": lambda it: it.route.exchange,
        "vhost": lambda it: it.vhost.vhost.name,
        "lag": lambda it: -1 if it.route.lag is None else it.route.lag,
    },
    default=lambda it: (it.route.topic, it.vhost.vhost.name, it.route.exchange),
)


def list_(door: HttpDoor, call: Call) -> None:
    """List routes whose ends the caller may see. Raises Forbidden, NoVhost."""
    _show(door, call, None)


def of_topic(door: HttpDoor, call: Call) -> None:
    """List the routes of one topic. Raises Forbidden, NoVhost."""
    _show(door, call, _topic(call))


def _show(door: HttpDoor, call: Call, topic: str | None) -> None:
    routes = call.queues.topic_routes()
    rows = [
        Row(host, about(it)) for host in each(door, call) for it in host.topic_routes(routes)
        if topic is None or it.topic == topic
    ]  # fmt: skip
    show(door, call, rows, COLUMNS, _row)


def made(door: HttpDoor, call: Call) -> None:
    """Add a route; stored when answered. Raises Fault, Forbidden, NoVhost, as TopicRoutes.check."""
    host, given, topic = within(door, call), asked(call, TopicRouteMake), _topic(call)
    exchange, routes = name_in(given.exchange), call.queues.topic_routes()
    host.check_topic_route(routes, topic, exchange, given.key, given.fallback)
    start = _start(given)
    if given.dry_run:
        wanted = RouteAbout(
            topic, given.exchange, given.key, given.fallback, "", None, 0, 0, 0, None
        )
        call.answer(_row(Row(host, wanted)) | {"dry_run": True})
        return

    def kept(found: "TopicRoute | LogstoreError") -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer(_row(Row(host, about(found))), CREATED)

    host.add_topic_route(routes, topic, exchange, kept, given.key, given.fallback, start)


def _start(given: TopicRouteMake) -> Start:
    """Raises Refused."""
    if given.start_ms is None:
        word = str(given.start)
        if _OFFSET.fullmatch(word):
            return int(word)
        if word in _ENDS:
            return _ENDS[word]
        raise Refused(f"start {word[:40]!r}: must be earliest, latest or an offset")
    return _EPOCH + timedelta(milliseconds=min(max(given.start_ms, 0), 1 << 47))


def removed(door: HttpDoor, call: Call) -> None:
    """Remove a route. Raises Fault, Forbidden, NoVhost, NoRoute."""
    host, given, topic = within(door, call), asked(call, TopicRouteRemove), _topic(call)
    exchange, routes = name_in(given.exchange), call.queues.topic_routes()
    row = _row(Row(host, about(host.topic_route(routes, topic, exchange)))) | {
        "dry_run": given.dry_run
    }
    if given.dry_run:
        call.answer(row)
        return

    def kept(found: str | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer(row)

    host.remove_topic_route(routes, topic, exchange, kept)


def _topic(call: Call) -> str:
    return fields.text(call.names["name"])


def _row(row: Row) -> dict[str, Any]:
    return {"vhost": fields.text(row.vhost.vhost.name), **row.route._asdict()}
