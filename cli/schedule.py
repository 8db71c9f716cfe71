"""``logstore schedule``: list, cancel: what waits for its time, at exchanges and for topics."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer

from .command import OUTPUT, Command, Group
from .either import store_or_server
from .ends import put, say, tell
from .options import HERE, Data, DataDir, Json
from .queueing import Vhost, shown
from .show import as_json, counted, table, text_or_base64
from .times import iso

if TYPE_CHECKING:
    from logstore.errors import LogstoreError
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

app = typer.Typer(cls=Group, no_args_is_help=True)

PAGE = 500  # entries that are asked for at once
PLACE = re.compile(r"\d{1,19}", re.ASCII)
RECORD_PLACE = re.compile(r"(\d{1,9})/(\d{1,19})", re.ASCII)


class Where(NamedTuple):
    """An exchange or a topic."""

    kind: str
    name: str


class Entry(NamedTuple):
    """One message or record that waits."""

    place: str  # what ``cancel`` takes
    due_ms: int
    key: bytes | None
    size: int | None  # bytes of the body or value; None: it can't be read


class Counted(NamedTuple):
    """An exchange or a topic, with how many wait there."""

    kind: str
    vhost: str | None
    name: str
    waiting: int


class Schedules(Protocol):
    """Of a store in this process, or of a server of another one."""

    def counted(self) -> list[Counted]: ...
    def entries(self, where: Where, most: int) -> Iterator[Entry]:
        """The scheduled entries. Raises NoExchange, UnknownTopic, NotWaiting."""

    def cancel(self, where: Where, place: str) -> None:
        """Cancel an entry. Raises NotWaiting, NoExchange, UnknownTopic, UnknownPartition."""


class _Local:
    def __init__(self, store: "Store", vhost: str) -> None:
        self._store, self._vhost = store, vhost

    def counted(self) -> list[Counted]:
        from logstore.amqp.fields import text
        from logstore.broker.queues.waiting import stations
        from logstore.deliveries import count_waiting

        queues = self._store.internals().queues()
        found = [
            Counted("exchange", vhost, text(name), count)
            for vhost in self._store.vhosts()
            for name, count in stations(queues.within(vhost))
        ]
        topics, groups = self._store.internals().topics, self._store.internals().groups
        assert groups is not None, "a store that is written has a catalogue"
        return found + [
            Counted("topic", None, name, count_waiting(topics, groups.environment, name))
            for name in topics.scheduled()
        ]

    def entries(self, where: Where, most: int) -> Iterator[Entry]:
        if where.kind == "topic":
            yield from self._of_topic(where.name, most)
            return
        exchange, after = self._store.exchange(where.name, vhost=self._vhost), None
        while most > 0:
            found = exchange.scheduled(after=after, most=min(most, PAGE))
            for it in found:
                record = it.record
                size = None if record is None else it.body_bytes
                yield Entry(str(it.offset), it.due_ms, record and record.key, size)
            if len(found) < min(most, PAGE):
                return
            most -= len(found)
            after = found[-1].due_ms, found[-1].offset

    def _of_topic(self, name: str, most: int) -> Iterator[Entry]:
        after: tuple[int, int, int] | None = None
        while most > 0:
            page = min(most, PAGE)
            for it in self._store.scheduled(name, after=after, most=page):
                after, page = (it.due_ms, it.partition, it.offset), page - 1
                record = it.record
                size = None if record is None else len(record.value or b"")
                place = f"{it.partition}/{it.offset}"
                yield Entry(place, it.due_ms, record and record.key, size)
            if page:
                return
            most -= PAGE

    def cancel(self, where: Where, place: str) -> None:
        if where.kind == "topic":
            self._store.cancel(where.name, *_record_place(place))
        else:
            self._store.exchange(where.name, vhost=self._vhost).cancel(int(place))


class _Served:
    def __init__(self, server: "ServerSocket", vhost: str) -> None:
        self._server, self._vhost = server, vhost

    def counted(self) -> list[Counted]:
        return [
            Counted(it["kind"], it["vhost"], it["name"], it["waiting"])
            for it in self._server.rows("schedules")
        ]

    def entries(self, where: Where, most: int) -> Iterator[Entry]:
        topic, after = where.kind == "topic", None
        vhost = {} if topic else {"vhost": self._vhost}
        while most > 0:
            found = self._server.get(
                f"{where.kind}s",
                where.name,
                "schedule",
                after=after,
                limit=min(most, PAGE),
                **vhost,
            )
            for it in found["items"]:
                yield _of_record(it) if topic else _of_message(it)
            most, after = most - len(found["items"]), found["next"]
            if after is None:
                return

    def cancel(self, where: Where, place: str) -> None:
        if where.kind == "topic":
            partition, offset = _record_place(place)
            self._server.delete("topics", where.name, "schedule", str(partition), str(offset))
        else:
            self._server.delete("exchanges", where.name, "schedule", place, vhost=self._vhost)


def _of_message(it: dict[str, Any]) -> Entry:
    from logstore.amqp.fields import data

    return Entry(it["offset"], it["due_ms"], data(it["key"]), it["body_bytes"])


def _of_record(it: dict[str, Any]) -> Entry:
    from base64 import b64decode

    record, key = it["record"] or {}, None
    if (given := record.get("key")) is not None:
        key = b64decode(given["base64"]) if given.get("base64") else given["text"].encode()
    place = f"{it['partition']}/{it['offset']}"
    return Entry(place, it["due_ms"], key, record.get("value_bytes", 0) if record else None)


@contextmanager
def _schedules_of(data: DataDir, vhost: str) -> "Iterator[Schedules]":
    """Schedules, in this process or in the server that has the directory open. Raises
    StoreLocked.
    """
    with store_or_server(data) as (store, server):
        yield _Served(server, vhost) if store is None else _Local(store, vhost)


def _where(text: str) -> Where:
    """Raises BadParameter."""
    kind, colon, name = text.partition(":")
    if kind not in ("exchange", "topic") or not colon or not name:
        raise typer.BadParameter(
            f"{text[:60]!r} is not the name of a schedule: use exchange:NAME or topic:NAME"
        )
    return Where(kind, name)


def _record_place(place: str) -> tuple[int, int]:
    match = RECORD_PLACE.fullmatch(place)
    assert match is not None, "it was looked at before"
    return int(match[1]), int(match[2])


def _check_place(where: Where, place: str) -> None:
    """Raises BadParameter."""
    if where.kind == "topic" and not RECORD_PLACE.fullmatch(place):
        raise typer.BadParameter(
            f"{place[:60]!r} is not a place in a topic: use PARTITION/OFFSET, such as 0/17"
        )
    if where.kind == "exchange" and not PLACE.fullmatch(place):
        raise typer.BadParameter(
            f"{place[:60]!r} is not a place in an exchange: use an offset, such as 17"
        )


@app.callback()
def group(data: Data = HERE) -> None:
    """See what waits for its time at exchanges and for topics, and cancel it."""


@app.command("list", cls=Command)
def list_(
    where: Annotated[
        str | None, typer.Argument(metavar="[exchange:NAME|topic:NAME]", show_default=False)
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", min=1, max=1_000_000, rich_help_panel=OUTPUT,
            help="List at most this many entries.",
        ),
    ] = 100,
    json_: Json = False,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:  # fmt: skip
    """List delayed messages and records.

    Without an argument, lists exchanges of type x-delayed-message and topics with
    delivery.schedule=true, with the number of delayed messages or records of each. With an
    argument, lists the delayed messages or records in the order in which they are due.

    $ logstore schedule list exchange:later --limit 10
    $ logstore schedule list topic:orders --json
    """
    place = None if where is None else _where(where)
    with _schedules_of(data, vhost) as schedules:
        if place is None:
            _show_counted(schedules.counted(), json_)
            return
        entries = list(schedules.entries(place, limit))
    if json_:
        put(as_json([_object(it) for it in entries]))
        return
    rows = [(it.place, iso(it.due_ms), _key(it.key), it.size) for it in entries]
    put(table(("place", "due", "key", "bytes"), rows))


def _show_counted(rows: list[Counted], json_: bool) -> None:
    if json_:
        put(as_json([{name: shown(it) for name, it in row._asdict().items()} for row in rows]))
        return
    put(table(("where", "vhost", "waiting"),
              [(f"{it.kind}:{shown(it.name)}", it.vhost, it.waiting) for it in rows]))  # fmt: skip


def _key(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")


def _object(it: Entry) -> dict[str, object]:
    return {
        "place": it.place, "due": iso(it.due_ms), "due_ms": it.due_ms,
        **text_or_base64("key", it.key), "bytes": it.size,
    }  # fmt: skip


@app.command(cls=Command)
def cancel(
    where: Annotated[str, typer.Argument(metavar="exchange:NAME|topic:NAME", show_default=False)],
    places: Annotated[list[str], typer.Argument(metavar="PLACE...", show_default=False)],
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Cancel delayed messages or records.

    PLACE is written as in the list: an offset, or for a topic a partition and an offset. Exits with
    1 if any of the messages is no longer delayed; the others are cancelled nevertheless.

    $ logstore schedule cancel exchange:later 17
    $ logstore schedule cancel topic:orders 0/17 0/18
    """
    from logstore.errors import NotWaiting

    place = _where(where)
    for it in places:
        _check_place(place, it)
    errors: list[LogstoreError] = []
    with _schedules_of(data, vhost) as schedules:
        for it in places:
            try:
                schedules.cancel(place, it)
            except NotWaiting as error:
                errors.append(error)
    if len(errors) < len(places):
        noun = "message" if place.kind == "exchange" else "record"
        tell(f"cancelled {counted(len(places) - len(errors), noun)}")
    for known in errors[:-1]:
        say(str(known), "error")
    if errors:
        raise errors[-1]
