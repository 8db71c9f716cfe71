"""Policies of virtual hosts, which apply to queues and exchanges with matching names."""

from typing import Any, Final, NamedTuple

from msgspec import Struct

from logstore.amqp import fields
from logstore.broker.policies import ALL, WITHOUT_EFFECT, Policy
from logstore.errors import LogstoreError
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.asked import asked
from logstore.protocols.http.within import Within, each, within
from logstore.slices import Steps, parts

CREATED: Final = 201
AT_ONCE: Final = 500  # queues and exchanges that are looked at


class PolicySet(Struct, forbid_unknown_fields=True):
    """A policy. ``pattern``: a regular expression that is searched for in names. ``definition``:
    the values to set, such as max-length. Of several matching policies, the one with the highest
    ``priority`` applies. ``apply_to``: all, queues, exchanges, classic_queues, quorum_queues or
    streams.
    """

    pattern: str
    definition: dict[str, Any]
    priority: int | float = 0
    apply_to: str = ALL


class PolicyDelete(Struct, forbid_unknown_fields=True):
    """``dry_run``: report what would be deleted, and delete nothing."""

    dry_run: bool = False


class Row(NamedTuple):
    """A policy and its virtual host."""

    vhost: Within
    policy: Policy


COLUMNS: Final = Columns[Row](
    name=lambda it: it.policy.name,
    by={
        "name": lambda it: it.policy.name,
        "vhost": lambda it: it.vhost.vhost.name,
        "priority": lambda it: it.policy.priority,
        "pattern": lambda it: it.policy.pattern,
    },
    default=lambda it: (it.vhost.vhost.name, -it.policy.priority, it.policy.name),
)


def list_(door: HttpDoor, call: Call) -> None:
    """List policies by virtual host, in the order in which they are tried."""
    rows = [Row(host, it) for host in each(door, call) for it in host.vhost.policies]
    show(door, call, rows, COLUMNS, _row)


def described(door: HttpDoor, call: Call) -> None:
    """Describe a policy, with the number of its queues and exchanges. Raises Forbidden, NoVhost,
    NoPolicy.
    """
    row = _named(door, call)

    def counted(found: tuple[int, int] | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.answer(_row(row) | {"queues": found[0], "exchanges": found[1]})

    door.slices.begin(_counted(row), counted)


def _counted(row: Row) -> Steps:
    vhost, queues, exchanges = row.vhost.vhost, 0, 0
    for some in parts(list(vhost.queues()), AT_ONCE):
        queues += sum(1 for it in some if it.policy == row.policy)
        yield len(some)
    topology = vhost.topology
    for names in parts([it.name for it in topology.exchanges()], AT_ONCE):
        there = [it for it in names if topology.has_exchange(it)]
        exchanges += sum(1 for it in there if topology.policy(it) == row.policy)
        yield len(names)
    return queues, exchanges


def given(door: HttpDoor, call: Call) -> None:
    """Set a policy, replacing one of the same name. Raises Forbidden, NoVhost, InvalidPolicy."""
    host, body = within(door, call), asked(call, PolicySet)
    policy = Policy(_name(call), body.pattern, body.definition, body.priority, body.apply_to)

    def told(new: bool | LogstoreError) -> None:
        if isinstance(new, LogstoreError):
            call.fail(new)
        else:
            call.answer(_row(Row(host, policy)), CREATED if new else 200)

    host.set_policy(policy, told)


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a policy. Raises Forbidden, NoVhost, NoPolicy."""
    row, body = _named(door, call), asked(call, PolicyDelete)
    about = _row(row) | {"dry_run": body.dry_run}
    if body.dry_run:
        call.answer(about)
        return

    def told(gone: Policy | LogstoreError) -> None:
        if isinstance(gone, LogstoreError):
            call.fail(gone)
        else:
            call.answer(about)

    row.vhost.delete_policy(row.policy.name, told)


def _named(door: HttpDoor, call: Call) -> Row:
    host = within(door, call)
    return Row(host, host.policy(_name(call)))


def _name(call: Call) -> str:
    return fields.text(call.names["name"])


def _row(row: Row) -> dict[str, Any]:
    policy = row.policy
    idle = [it for it in policy.definition if it in WITHOUT_EFFECT]
    return {
        "vhost": fields.text(row.vhost.vhost.name),
        "name": policy.name,
        "pattern": policy.pattern,
        "apply_to": policy.apply_to,
        "priority": policy.priority,
        "definition": dict(policy.definition),
        "without_effect": {it: WITHOUT_EFFECT[it] for it in idle},
    }
