"""Which policy applies to each queue and exchange of a virtual host, as policies change.

A policy applies once it is stored. Then all objects are updated, some in each turn, because
thousands of queues may have to check their messages; the caller that changed the policy is answered
when all are done.
"""

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from logstore.broker.policies import POLICIES_MAX, Policies, Policy, TooManyPolicies, check
from logstore.broker.queues.pending import Pending

if TYPE_CHECKING:
    from logstore.broker.queues.named import Named

# In one turn, in policies that are tried, of half a microsecond each: some 4 ms.
STEP_COST: Final = 4000
OBJECT_COST: Final = 20
LOOK_COST: Final = 400  # that a queue which has messages may take to look at them
STEP_S: Final = 0.004  # the same by the clock: a pattern may take ms for one name

Keep = Callable[[Sequence[Policy], Sequence[str]], Pending]


class Governing:
    """The policies of one virtual host."""

    def __init__(
        self,
        policies: Policies,
        keep: Keep,
        queues: "Callable[[], Iterable[Named]]",
        exchanges: Callable[[], Iterable[bytes]],
        apply: "Callable[[Named | bytes], None]",
        soon: Callable[[Callable[[], object]], None],
        there: Callable[[str], Policy | None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``keep``: stores some policies and forgets others, by name.

        ``apply``: lets a queue, or an exchange of this name, look up its policy. ``there``: returns
        the policy of this name that is stored, or about to be.
        """
        self._policies = policies
        self._keep = keep
        self._queues, self._exchanges = queues, exchanges
        self._apply = apply
        self._soon = soon
        self._clock = clock
        self._there = there
        self._left: list[Named | bytes] = []  # to be gone through, from the end on
        self._told: list[Pending] = []  # when it is
        self._next: list[Pending] = []  # that came meanwhile: all is gone through again
        self._counting: dict[str, Policy | None] = {}  # the new values of changes not stored yet

    def change(self, put: Sequence[Policy] = (), removed: Sequence[str] = ()) -> Pending:
        """Set these policies, replacing those with the same names, and remove others by name.

        All changes or none are made. Finishes once they are stored and applied everywhere. Raises
        InvalidPolicy, TooManyPolicies.
        """
        for policy in put:
            check(policy)
        self._check_room(put, removed)
        changes: dict[str, Policy | None] = dict.fromkeys(removed)
        changes |= {it.name: it for it in put}
        self._counting |= changes
        done = Pending()
        self._keep(put, removed).then(lambda kept: self._kept(changes, kept, done))
        return done

    def follow(self, put: Sequence[Policy] = (), removed: Sequence[str] = ()) -> None:
        """As ``change``, for policies that are already stored."""
        changes: dict[str, Policy | None] = dict.fromkeys(removed)
        self._follow(changes | {it.name: it for it in put})
        self._go_through(Pending())

    def _check_room(self, put: Sequence[Policy], removed: Sequence[str]) -> None:
        names = {*self._policies.by_name, *(it.name for it in put)}
        names |= {name for name, it in self._counting.items() if it is not None}
        if put and len(names.difference(removed)) > POLICIES_MAX:
            raise TooManyPolicies

    def _kept(self, changes: dict[str, Policy | None], kept: Pending, done: Pending) -> None:
        for name, policy in changes.items():
            if self._counting.get(name) == policy:
                self._counting.pop(name, None)
        # A policy with several pending changes is shown as stored once all of them are done.
        known = changes if kept.error is None else {}
        counts = {
            name: known.get(name) if name in self._counting else self._there(name)
            for name in changes
            if name in known or name not in self._counting
        }
        self._follow(counts)
        if kept.error is not None:
            self._go_through(Pending())
            done.finish(kept.error)
        else:
            self._go_through(done)

    def _follow(self, counts: dict[str, Policy | None]) -> None:
        for name, policy in counts.items():
            if policy is None and name in self._policies.by_name:
                self._policies.remove(name)
        self._policies.put(*(it for it in counts.values() if it is not None))

    def _go_through(self, done: Pending) -> None:
        self._next.append(done)
        if not self._left:
            self._begin()

    def _begin(self) -> None:
        """Begin to apply the policies to all queues and exchanges."""
        self._told, self._next = self._next, []
        self._left = [*self._exchanges(), *self._queues()]
        self._step()

    def _step(self) -> None:
        room, until_s = STEP_COST, self._clock() + STEP_S
        each = OBJECT_COST + len(self._policies)
        while self._left and room > 0 and self._clock() < until_s:
            it = self._left.pop()
            room -= each + (0 if isinstance(it, bytes) or not it.lanes else LOOK_COST)
            self._apply(it)
        if self._left:
            self._soon(self._step)
            return
        told, self._told = self._told, []
        if self._next:
            self._soon(self._begin)
        for pending in told:
            pending.finish(None)
