"""Exchanges: list, describe, declare, delete."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.access.resources import DESCRIBE, EXCHANGE
from logstore.amqp import fields
from logstore.broker.policies import Policy
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE, ExchangeFacts
from logstore.broker.routing.exchange_types import matcher_of
from logstore.broker.routing.refusals import NoExchange
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.answers import CREATED, NO_CONTENT, done
from logstore.protocols.http.rabbit.asked import Asked
from logstore.protocols.http.rabbit.lists import Kind, Row
from logstore.protocols.http.rabbit.tables import arguments, arguments_given
from logstore.protocols.http.rabbit.words import not_authorised, not_there
from logstore.protocols.http.within import Within

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost


class Place(NamedTuple):
    """An exchange and its virtual host."""

    within: Within
    facts: ExchangeFacts


def row(place: Place) -> Row:
    facts = place.facts
    policy = _policy(place)
    return {
        "arguments": arguments(facts.arguments),
        "auto_delete": facts.auto_delete,
        "durable": facts.durable,
        "internal": facts.internal,
        "name": fields.text(facts.name),
        **({} if policy is None else {"policy": policy.name}),
        "type": facts.type_name,
        "user_who_performed_action": "",
        "vhost": fields.text(place.within.vhost.name),
    }


def _policy(place: Place) -> Policy | None:
    """The policy that applies to the exchange; none if it was deleted meanwhile."""
    try:
        return place.within.vhost.topology.policy(place.facts.name)
    except NoExchange:
        return None


_KEYS: Final[dict[str, Callable[[Place], Any]]] = {
    "name": lambda it: it.facts.name,
    "vhost": lambda it: it.within.vhost.name,
    "type": lambda it: it.facts.type_name,
    "durable": lambda it: it.facts.durable,
    "auto_delete": lambda it: it.facts.auto_delete,
    "internal": lambda it: it.facts.internal,
}
KIND: Final[Kind[Place]] = Kind(
    row,
    lambda it: fields.text(it.facts.name),
    lambda it: (it.within.vhost.name, it.facts.name),
    _KEYS,
    lambda it: it.within.may(DESCRIBE, EXCHANGE, it.facts.name),
)


def listed(door: HttpDoor, call: Call) -> None:
    """List exchanges by virtual host and name. Raises RabbitFault."""
    rows = [
        Place(within, facts) for within in sight.those(door, call)
        for facts in within.vhost.topology.exchanges()
    ]  # fmt: skip
    lists.answer(door, call, rows, KIND)


def described(door: HttpDoor, call: Call) -> None:
    """Describe an exchange. Raises RabbitFault, Forbidden."""
    within = sight.to_see(door, call)
    facts = _existing(within, sight.exchange_name(call.names["name"]))
    about = row(Place(within, facts)) | {"incoming": [], "outgoing": []}
    call.answer(lists.picked_columns(about, lists.columns_of(call)))


def _existing(within: Within, name: bytes) -> ExchangeFacts:
    """Raises RabbitFault, Forbidden."""
    try:
        return within.exchange(name)
    except NoExchange:
        raise not_there() from None


def _is_there(vhost: "Vhost", name: bytes) -> bool:
    try:
        vhost.topology.exchange(name)
    except NoExchange:
        return False
    return True


def declared(door: HttpDoor, call: Call) -> None:
    """Declare an exchange. Raises RabbitFault, and the model's refusals."""
    within = sight.to_use(door, call)
    name = sight.new_name(sight.exchange_name(call.names["name"]))
    asked = Asked(call.given)
    facts = ExchangeFacts(
        name, asked.text("type", "direct"), asked.flag("durable"), asked.flag("auto_delete"),
        asked.flag("internal"), arguments_given(asked.get("arguments")),
    )  # fmt: skip
    matcher_of(facts.type_name)  # whether there is such a type is looked at first
    if name == DEFAULT_EXCHANGE:
        raise not_authorised()
    status = NO_CONTENT if _is_there(within.vhost, name) else CREATED
    within.declare_exchange(facts, done(call, status))


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete an exchange. Raises RabbitFault, Forbidden, InUse, NotPermitted."""
    within, name = sight.to_use(door, call), sight.exchange_name(call.names["name"])
    try:
        within.delete_exchange(name, done(call), if_unused=call.text("if-unused") == "true")
    except NoExchange:
        raise not_there() from None
