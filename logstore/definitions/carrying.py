"""Carry out a plan, in the order in which its steps depend on each other.

Each step is on disk before the steps that need it begin. If a step fails, the steps before it stay,
and the same definitions can be imported again: objects that already exist are left alone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.amqp.fields import data
from logstore.broker.policies import Policy
from logstore.broker.queues.pending import Pending
from logstore.definitions.planning import Plan
from logstore.kept.users import Kept
from logstore.slices import Steps, Wait, parts

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost

_T = TypeVar("_T")

ROWS_AT_ONCE: Final = 500  # of users and their permissions, at some 5 us each
AT_ONCE: Final = 20  # declarations that are made between yields, at some 60 us each
UNITS: Final = 20  # of work in slices that one is
WAITED_FOR: Final = 200  # that are made, and then waited for


def carry_out(plan: Plan, queues: "Queues", access: Access, by: Identity) -> Steps:
    """Returns the plan. Raises what can't be done, or kept."""
    for users in parts(plan.users, ROWS_AT_ONCE):
        yield _kept(access, users, by)
    yield from _each(plan.vhosts, queues.add_vhost)
    for permissions in parts(plan.permissions, ROWS_AT_ONCE):
        yield _kept(access, permissions, by)
    by_vhost: dict[str, list[Policy]] = {}
    for it in plan.policies:
        by_vhost.setdefault(it.vhost, []).append(it.policy)
    for name, policies in by_vhost.items():
        yield from _all([queues.vhost(data(name)).set_policies(policies)])

    def vhost(name: str) -> "Vhost":
        return queues.vhost(data(name))

    yield from _each(plan.exchanges, lambda it: vhost(it.vhost).declare_exchange(it.facts))
    yield from _each(plan.queues, lambda it: vhost(it.vhost).declare_queue(it.facts)[1])
    yield from _each(plan.bindings, lambda it: vhost(it.vhost).bind(it.binding))
    return plan


def _each(rows: Iterable[_T], make: Callable[[_T], Pending | None]) -> Steps:
    """Make them, and go on once all are kept."""
    made: list[Pending | None] = []
    for number, row in enumerate(rows, 1):
        made.append(make(row))
        if number % AT_ONCE == 0:
            yield UNITS * AT_ONCE
        if len(made) >= WAITED_FOR:
            yield from _all(made)
            made = []
    yield from _all(made)


def _kept(access: Access, rows: Sequence[Kept], by: Identity) -> Wait:
    return lambda go_on: access.change(rows, by=by).then(lambda it: go_on(it.error))


def _all(pendings: Sequence[Pending | None]) -> Steps:
    """Goes on once all of these are kept. Raises what one was not kept for."""
    for pending in pendings:
        if pending is not None and not pending.done:
            yield _until(pending)
        if pending is not None and pending.error is not None:
            raise pending.error


def _until(pending: Pending) -> Wait:
    return lambda go_on: pending.then(lambda it: go_on(it.error))
