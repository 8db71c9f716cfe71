"""Bindings of a virtual host: list, add, remove.

A binding is identified by its ends, its key and its arguments. Arguments that differ only in the
type of a number look the same in JSON; then ``id`` tells them apart.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct, field

from logstore.amqp import fields
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE
from logstore.broker.routing.refusals import NoExchange
from logstore.errors import LogstoreError, NoneOfThatName, Refused
from logstore.http.bodies import encode
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.asked import asked, name_in, table_of
from logstore.protocols.http.replies.shown import arguments, binding, binding_id
from logstore.protocols.http.within import Within, each, within
from logstore.slices import Steps

CREATED: Final = 201
IDS_TOLD: Final = 5


class BindingMake(Struct, forbid_unknown_fields=True):
    """``kind``: the type of the destination, queue or exchange."""

    source: str
    destination: str
    kind: Literal["queue", "exchange"] = "queue"
    key: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


class BindingRemove(BindingMake, forbid_unknown_fields=True):
    """``dry_run``: report what would be removed, and remove nothing."""

    id: str = ""
    dry_run: bool = False


class Row(NamedTuple):
    """A binding and its virtual host."""

    vhost: Within
    binding: Binding


def _words(given: Binding) -> str:
    """The texts that a filter is compared with."""
    return " ".join(map(fields.text, (given.source, given.key, given.destination)))


# Of one exchange or queue: in the order in which they were made.
AS_MADE: Final = Columns[Binding](
    name=_words,
    by={
        "source": lambda it: it.source,
        "destination": lambda it: it.destination,
        "key": lambda it: it.key,
        "kind": lambda it: it.kind,
    },
    default=lambda _: 0,
)

COLUMNS: Final = Columns[Row](
    name=lambda it: _words(it.binding),
    by={
        "source": lambda it: it.binding.source,
        "destination": lambda it: it.binding.destination,
        "key": lambda it: it.binding.key,
        "kind": lambda it: it.binding.kind,
        "vhost": lambda it: it.vhost.vhost.name,
    },
    default=lambda it: (it.vhost.vhost.name, it.binding.source, it.binding.destination),
)


def list_(door: HttpDoor, call: Call) -> None:
    """List all bindings except those of the default exchange, to which each queue is bound by its
    name.
    """
    show(door, call, _all(each(door, call)), COLUMNS, _row, lambda it: it.vhost.sees(it.binding))


def _all(hosts: list[Within]) -> Iterator[Row]:
    for host in hosts:
        for facts in list(host.vhost.topology.exchanges()):
            if facts.name != DEFAULT_EXCHANGE:
                try:
                    there = list(host.vhost.topology.bindings_from(facts.name))
                except NoExchange:  # deleted meanwhile
                    continue
                for found in there:
                    yield Row(host, found)


def _row(row: Row) -> dict[str, Any]:
    return {"vhost": fields.text(row.vhost.vhost.name), **binding(row.binding)}


def made(door: HttpDoor, call: Call) -> None:
    """Add a binding. Raises Fault, Forbidden, NoVhost, as Vhost.bind."""
    host, given = within(door, call), asked(call, BindingMake)
    wanted = Binding(
        name_in(given.source), name_in(given.destination), name_in(given.key),
        table_of(given.arguments), given.kind,
    )  # fmt: skip

    def kept(found: Binding | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer(_row(Row(host, found)), CREATED)

    host.bind(wanted, kept)


def removed(door: HttpDoor, call: Call) -> None:
    """Remove a binding. Raises Fault, Forbidden, NoVhost, NoneOfThatName, NotPermitted."""
    host, given = within(door, call), asked(call, BindingRemove)
    ends = Binding(
        name_in(given.source), name_in(given.destination), name_in(given.key), kind=given.kind
    )
    host.require_binding(ends)  # before it is said whether it is there

    def meant(found: Binding | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.attempt(lambda: _remove(host, call, found, dry_run=given.dry_run))

    door.slices.begin(_meant(host, ends, given), meant)


def _remove(host: Within, call: Call, binding: Binding, *, dry_run: bool) -> None:
    about = {**_row(Row(host, binding)), "dry_run": dry_run}
    if dry_run:
        call.answer(about)
        return

    def kept(found: Binding | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer(about)

    host.unbind(binding, kept)


def _meant(host: Within, ends: Binding, given: BindingRemove) -> Steps:
    """The binding with exactly these arguments, or otherwise one that looks equal.

    Raises NoneOfThatName; Refused if several look equal.
    """
    topology = host.vhost.topology
    wanted = ends._replace(arguments=table_of(given.arguments))
    if not given.id and topology.has_binding(wanted):
        return wanted
    looks = encode(arguments(wanted.arguments))
    same = []
    for it in list(topology.bindings_to(ends.destination, ends.kind)):
        yield 1
        if (it.source, it.key) != (ends.source, ends.key):
            continue
        if binding_id(it) == given.id if given.id else encode(arguments(it.arguments)) == looks:
            same.append(it)
    if not same:
        raise NoneOfThatName(
            f"no binding with key {given.key!r} and these arguments from exchange"
            f" {given.source!r} to {given.kind} {given.destination!r}; list the bindings"
        )
    if len(same) > 1:
        raise Refused(
            f"{len(same)} bindings look like this one: say the id of one,"
            f" {' or '.join(binding_id(it) for it in same[:IDS_TOLD])}"
        )
    return same[0]
