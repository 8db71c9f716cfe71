"""A plan, carried out: in the order in which one thing needs another.

Each step is kept before those that need it begin. Where one can't be kept, what was done until then
stays, and the same definitions can be taken again: what is there already is left as it is.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.amqp.fields import data
from logstore.broker.queues.pending import Pending
from logstore.definitions.planning import Plan
from logstore.errors import LogstoreError
from logstore.kept import Keeping
from logstore.kept_users import Kept
from logstore.slices import GoOn, Steps, Wait, parts

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost

AT_ONCE: Final = 100  # declarations that are made, and then waited for, at some 30 us each


def carry_out(plan: Plan, queues: "Queues", access: Access, by: Identity) -> Steps:
    """Returns the plan. Raises what can't be done, or kept."""
    if plan.users:
        yield _kept(access, plan.users, by)
    for some in parts(plan.vhosts, AT_ONCE):
        yield from _all([queues.add_vhost(it) for it in some])
    if plan.permissions:
        yield _kept(access, plan.permissions, by)
    by_vhost: dict[str, list[int]] = {}
    for number, policy in enumerate(plan.policies):
        by_vhost.setdefault(policy.vhost, []).append(number)
    for name, numbers in by_vhost.items():
        put = [plan.policies[it].policy for it in numbers]
        yield from _all([queues.vhost(data(name)).set_policies(put)])

    def vhost(name: str) -> "Vhost":
        return queues.vhost(data(name))

    for exchanges in parts(plan.exchanges, AT_ONCE):
        yield from _all([vhost(it.vhost).declare_exchange(it.facts) for it in exchanges])
    for those in parts(plan.queues, AT_ONCE):
        yield from _all([vhost(it.vhost).declare_queue(it.facts)[1] for it in those])
    for bindings in parts(plan.bindings, AT_ONCE):
        yield from _all([vhost(it.vhost).bind(it.binding) for it in bindings])
    return plan


def _kept(access: Access, rows: Sequence[Kept], by: Identity) -> Wait:
    def wait(go_on: GoOn) -> None:
        _then(access.change(rows, by=by), go_on)

    return wait


def _all(pendings: Sequence[Pending | None]) -> Steps:
    """Goes on once all of these are kept. Raises what one was not kept for."""
    yield len(pendings)
    for pending in pendings:
        if pending is not None and not pending.done:
            yield _until(pending)
        if pending is not None and pending.error is not None:
            raise pending.error


def _until(pending: Pending) -> Wait:
    return lambda go_on: pending.then(lambda it: go_on(it.error))


def _then(keeping: Keeping, go_on: Callable[[LogstoreError | None], None]) -> None:
    keeping.then(lambda it: go_on(it.error))
