"""Bindings: list, describe, add, remove.

Several bindings between the same two ends are told apart by their *properties key*: the quoted
routing key, and a digest of the arguments.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from logstore.access.resources import DESCRIBE, EXCHANGE, QUEUE
from logstore.amqp import fields
from logstore.broker.queues.given import name_of
from logstore.broker.queues.tables import table_of
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding, Kind
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE
from logstore.broker.routing.refusals import NoExchange, NoQueue
from logstore.errors import LogstoreError
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.answers import CREATED, done
from logstore.protocols.http.rabbit.asked import Asked
from logstore.protocols.http.rabbit.tables import arguments, arguments_given
from logstore.protocols.http.rabbit.words import not_authorised, not_there
from logstore.protocols.http.within import Within
from logstore.slices import Steps, parts

LOOKED_AT_ONCE: Final = 50  # at some 5 us each, where there are arguments
DIGEST_BYTES: Final = 6  # few bindings have the same ends and key
_KINDS: Final[dict[bytes, Kind]] = {b"q": "queue", b"e": "exchange"}


class Place(NamedTuple):
    """A binding and its virtual host."""

    within: Within
    binding: Binding


def row(place: Place) -> lists.Row:
    binding = place.binding
    return {
        "source": fields.text(binding.source),
        "vhost": fields.text(place.within.vhost.name),
        "destination": fields.text(binding.destination),
        "destination_type": binding.kind,
        "routing_key": fields.text(binding.key),
        "arguments": arguments(binding.arguments),
        "properties_key": properties_key(binding),
    }


_KEYS: Final[dict[str, Callable[[Place], Any]]] = {
    "vhost": lambda it: it.within.vhost.name,
    "source": lambda it: it.binding.source,
    "destination": lambda it: it.binding.destination,
    "destination_type": lambda it: it.binding.kind,
    "routing_key": lambda it: it.binding.key,
}
KIND: Final[lists.Kind[Place]] = lists.Kind(
    row,
    lambda it: fields.text(it.binding.source),
    lambda it: (it.within.vhost.name, it.binding.source),  # then as they were made
    _KEYS,
    lambda it: it.within.sees(it.binding),
)


def properties_key(binding: Binding) -> str:
    """``~`` separates the routing key and the digest, and stands alone for neither."""
    key = _quoted(binding.key)
    if binding.arguments.fields:
        return f"{key}~{_digest(binding.arguments)}"
    return key or "~"


def _quoted(text: bytes) -> str:
    return quote_from_bytes(text, safe=" ").replace("~", "%7E").replace(" ", "+")


def _digest(given: Arguments) -> str:
    """A digest of the arguments with their types, because bindings may differ only in these."""
    digest = sha256(fields.table(table_of(given))).digest()
    return urlsafe_b64encode(digest[:DIGEST_BYTES]).decode()


def is_called(binding: Binding, given: bytes) -> bool:
    """Whether this is the binding's properties key, as written in a path."""
    key, _, digest = given.partition(b"~")
    if unquote_to_bytes(key.replace(b"+", b" ")) != binding.key:
        return False
    its = _digest(binding.arguments) if binding.arguments.fields else ""
    return digest.decode("ascii", "replace") == its


# Lists


def listed(door: HttpDoor, call: Call) -> None:
    """List the bindings of all virtual hosts, or of one. Raises RabbitFault."""
    lists.answer(door, call, _all(sight.those(door, call)), KIND)


def _all(those: Sequence[Within]) -> Iterator[Place]:
    """All bindings; exchanges may be deleted and created meanwhile."""
    for within in those:
        topology = within.vhost.topology
        for facts in list(topology.exchanges()):
            try:
                found = list(topology.bindings_from(facts.name))
            except NoExchange:
                continue
            yield from (Place(within, it) for it in found)


def of_queue(door: HttpDoor, call: Call) -> None:
    """List the bindings to a queue. Raises RabbitFault, Forbidden."""
    within, name = sight.to_see(door, call), call.names["name"]
    within.require(DESCRIBE, QUEUE, name)
    _answer(door, call, within, _to(within, "queue", name))


def of_source(door: HttpDoor, call: Call) -> None:
    """List the bindings from an exchange. Raises RabbitFault, Forbidden."""
    within, name = _exchange_asked_for(door, call)
    try:
        found = within.vhost.topology.bindings_from(name)
    except NoExchange:
        raise not_there() from None
    _answer(door, call, within, found)


def of_destination(door: HttpDoor, call: Call) -> None:
    """List the bindings to an exchange. Raises RabbitFault, Forbidden."""
    within, name = _exchange_asked_for(door, call)
    _answer(door, call, within, _to(within, "exchange", name))


def _exchange_asked_for(door: HttpDoor, call: Call) -> tuple[Within, bytes]:
    within, name = sight.to_see(door, call), sight.exchange_name(call.names["name"])
    within.require(DESCRIBE, EXCHANGE, name)
    return within, name


def _to(within: Within, kind: Kind, name: bytes) -> Iterator[Binding]:
    """Raises RabbitFault if the object does not exist."""
    try:
        return within.vhost.topology.bindings_to(name, kind)
    except (NoQueue, NoExchange):
        raise not_there() from None


def _answer(
    door: HttpDoor,
    call: Call,
    within: Within,
    found: Iterable[Binding],
    kind: lists.Kind[Place] = KIND,
) -> None:
    """List those whose two ends the caller may see."""
    found = list(found)  # as they are now: they are gone through in slices
    lists.answer(door, call, (Place(within, it) for it in found), kind)


# Between two ends


class Ends(NamedTuple):
    """The two ends of a binding that a path names."""

    source: bytes
    kind: Kind
    destination: bytes


def _ends(call: Call) -> Ends:
    """Raises RabbitFault."""
    kind = _KINDS.get(call.names["kind"])
    if kind is None:
        raise not_there()
    return Ends(sight.exchange_name(call.names["source"]), kind, call.names["destination"])


def between(door: HttpDoor, call: Call) -> None:
    """List the bindings from an exchange to one destination. Raises RabbitFault, Forbidden."""
    within, ends = _to_see(door, call)
    kind = KIND._replace(
        sees=lambda it: it.binding.source == ends.source and within.sees(it.binding)
    )
    _answer(door, call, within, _at_end(within, ends), kind)


def described(door: HttpDoor, call: Call) -> None:
    """Describe one of these bindings. Raises RabbitFault, Forbidden."""
    within, ends = _to_see(door, call)
    _once_found(door, call, within, ends, lambda it: call.answer(row(Place(within, it))))


def _to_see(door: HttpDoor, call: Call) -> tuple[Within, Ends]:
    within, ends = sight.to_see(door, call), _ends(call)
    within.require(DESCRIBE, ends.kind, ends.destination)
    within.require(DESCRIBE, EXCHANGE, ends.source)
    return within, ends


def _at_end(within: Within, ends: Ends) -> Iterable[Binding]:
    """All bindings to that destination, from any exchange."""
    try:
        return within.vhost.topology.bindings_to(ends.destination, ends.kind)
    except (NoQueue, NoExchange):
        return ()


def _once_found(
    door: HttpDoor, call: Call, within: Within, ends: Ends, go_on: Callable[[Binding], object]
) -> None:
    """Continue with the binding that the path names; there may be ten thousand similar ones."""

    def found(one: Binding | LogstoreError) -> None:
        if isinstance(one, LogstoreError):
            call.fail(one)
        elif not call.over:
            call.attempt(lambda: go_on(one))

    door.slices.begin(_one(list(_at_end(within, ends)), ends, call.names["properties"]), found)


def _one(there: Sequence[Binding], ends: Ends, called: bytes) -> Steps:
    """Raises RabbitFault."""
    for part in parts(there, LOOKED_AT_ONCE):
        for binding in part:
            if binding.source == ends.source and is_called(binding, called):
                return binding
        yield len(part)
    raise not_there()


def made(door: HttpDoor, call: Call) -> None:
    """Create a binding; the reply names its path. Raises RabbitFault, and the model's refusals."""
    within, ends, asked = sight.to_use(door, call), _ends(call), Asked(call.given)
    key = name_of(asked.text("routing_key"), "routing key")
    given = arguments_given(asked.get("arguments"))
    binding = Binding(ends.source, ends.destination, key, given, ends.kind)
    if binding.source == DEFAULT_EXCHANGE:
        raise not_authorised()
    ends_at = (ends.destination, properties_key(binding).encode())
    where = "/".join(quote_from_bytes(it, safe="") for it in ends_at)
    within.bind(binding, done(call, CREATED, [("location", where)]))


def removed(door: HttpDoor, call: Call) -> None:
    """Remove a binding. Raises RabbitFault, and the model's refusals."""
    within, ends = _to_see(door, call)
    sight.to_use(door, call)

    def remove(binding: Binding) -> None:
        if binding.source == DEFAULT_EXCHANGE:
            raise not_authorised()
        within.unbind(binding, done(call))

    _once_found(door, call, within, ends, remove)
