"""RabbitMQ's policies: list, describe, set, delete; also in the form of its parameters."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from logstore.amqp import fields
from logstore.broker.policies import Policy, policy_given, policy_row
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.rabbit import lists, sight
from logstore.protocols.http.rabbit.answers import CREATED, NO_CONTENT, done
from logstore.protocols.http.rabbit.asked import Asked
from logstore.protocols.http.rabbit.lists import Kind, Row
from logstore.protocols.http.rabbit.words import bad_request, no_vhost, not_there
from logstore.protocols.http.within import Within

COMPONENT: Final = "policy"  # of RabbitMQ's parameters
NO_OPERATORS: Final = "there are no operator policies here: set a policy instead"


class Place(NamedTuple):
    """A policy and its virtual host."""

    within: Within
    policy: Policy


def row(place: Place) -> Row:
    return {"vhost": fields.text(place.within.vhost.name), **policy_row(place.policy)}


def _parameter(place: Place) -> Row:
    found = row(place)
    name, vhost = found.pop("name"), found.pop("vhost")
    return {"value": found, "vhost": vhost, "component": COMPONENT, "name": name}


def _kind(show: Callable[[Place], Row], order: Callable[[Place], Any]) -> Kind[Place]:
    return Kind(
        show, lambda it: it.policy.name, order,
        {"name": lambda it: it.policy.name, "priority": lambda it: it.policy.priority},
        is_there=lambda it: it.policy.name in it.within.vhost.policies.by_name,
    )  # fmt: skip


_BY_PRIORITY: Final = _kind(row, lambda it: (it.policy.priority, it.policy.name))
_BY_NAME: Final = _kind(_parameter, lambda it: it.policy.name)


def _those(door: HttpDoor, call: Call) -> list[Place]:
    return [Place(it, policy) for it in sight.those(door, call) for policy in it.vhost.policies]


def listed(door: HttpDoor, call: Call) -> None:
    """List policies by priority, lowest first, as in RabbitMQ. Raises RabbitFault."""
    lists.answer(door, call, _those(door, call), _BY_PRIORITY)


def described(door: HttpDoor, call: Call) -> None:
    """Describe a policy. Raises RabbitFault, NoPolicy."""
    within = sight.to_use(door, call)
    call.answer(row(Place(within, within.policy(_name(call)))))


def given(door: HttpDoor, call: Call) -> None:
    """Set a policy, replacing one of the same name. Raises RabbitFault, InvalidPolicy."""
    if sight.vhost_name(call) not in call.queues.vhosts:
        raise no_vhost()
    within, asked = sight.to_use(door, call), Asked(call.given)
    asked.need("pattern", "definition")
    policy = policy_given(_name(call), asked.members)

    def told(found: object) -> None:
        done(call, CREATED if found is True else NO_CONTENT)(found)

    within.set_policy(policy, told)


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a policy. Raises RabbitFault, NoPolicy."""
    sight.to_use(door, call).delete_policy(_name(call), done(call))


def _name(call: Call) -> str:
    return fields.text(call.names["name"])


# Parameters


def parameters(door: HttpDoor, call: Call) -> None:
    """List the parameters of one component; only policies are parameters. Raises RabbitFault."""
    wanted = call.names["component"] == COMPONENT.encode()
    lists.answer(door, call, _those(door, call) if wanted else [], _BY_NAME)


def parameter(door: HttpDoor, call: Call) -> None:
    """Describe a parameter. Raises RabbitFault, NoPolicy."""
    within = sight.to_use(door, call)
    if call.names["component"] != COMPONENT.encode():
        raise not_there()
    call.answer(_parameter(Place(within, within.policy(_name(call)))))


def parameter_given(door: HttpDoor, call: Call) -> None:
    """Refuse: no component has parameters that this route can set. Raises RabbitFault."""
    sight.to_use(door, call)
    component = fields.text(call.names["component"])[:60]
    raise bad_request(f"Validation failed\n\ncomponent {component} not found\n")


def operator_given(door: HttpDoor, call: Call) -> None:
    """Refuse: there are no operator policies. Raises RabbitFault."""
    sight.to_use(door, call)
    raise bad_request(NO_OPERATORS)


def operator_described(door: HttpDoor, call: Call) -> None:
    """Refuse: there are no operator policies. Raises RabbitFault."""
    sight.to_use(door, call)
    raise not_there()
