"""A member of a group that assigns itself, for clusters without KIP-848: join, sync, heartbeats.

One member leads: it learns what each member holds, and decides what each should hold
(``assignor``). Members keep their partitions while they join again, so a rebalance interrupts only
partitions that move. A partition that moves is given up first; its old owner then makes all members
join again. The session is as short as the cluster allows.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from logstore.cluster import assignor, kinds
from logstore.cluster.brokers import Around
from logstore.cluster.coordinators import GroupCoordinator
from logstore.cluster.group_steps import (
    INTERVAL_S,
    LOADING,
    NO_COORDINATOR,
    OTHER_PROTOCOL,
    REBALANCE_MS,
    Steps,
    Told,
)
from logstore.cluster.view import PARTITIONS_MAX
from logstore.errors import CorruptStore, Failed, LogstoreError

PROTOCOL_TYPE: Final = "logstore"
PROTOCOL: Final = "logstore-1"  # of what stands in metadata and assignments
SESSION_MS: Final = 6000
SESSION_MAX_MS: Final = 300_000
JOIN_S: Final = REBALANCE_MS / 1000 + 5  # others have so long to join
NOBODY: Final = ""
NO_GENERATION: Final = -1

ILLEGAL_GENERATION: Final = 22
UNKNOWN_MEMBER: Final = 25
INVALID_SESSION: Final = 26
REBALANCING: Final = 27
ID_REQUIRED: Final = 79


class Held(msgspec.Struct, frozen=True):
    """The partitions that a member says it holds when it joins."""

    partitions: list[int]
    generation: int  # in which it was told so


class Assigned(msgspec.Struct, frozen=True):
    """The partitions that the leader assigns to a member."""

    partitions: list[int]


class ClassicMember:
    """One membership, from join to leave. Used in one thread."""

    def __init__(
        self,
        coordinator: GroupCoordinator,
        topic: str,
        told: Told,
        around: Around,
        random: Random,
    ) -> None:
        self._coordinator = coordinator
        self._topic = topic
        self._told = told
        self._session_ms = SESSION_MS
        self._id = NOBODY
        self._generation = NO_GENERATION
        self._told_in = NO_GENERATION  # what it has
        self._counted: int | None = None  # partitions, as a leader has assigned them
        self._most = 0  # partitions that were ever seen
        self._said: frozenset[int] = frozenset()  # to have, when it has joined
        self._wanted: frozenset[int] | None = None  # once no more is held, all are to join again
        self._joined = False  # whether it beats; else it joins
        self._anew = True  # whether the group does not know what it has
        self._steps = Steps(coordinator, told, around, random, self._step, self._count)

    @property
    def failure(self) -> LogstoreError | None:
        """Why this node is not in the group now."""
        return self._steps.failure

    @property
    def _group(self) -> str:
        return self._coordinator.group

    def _step(self) -> None:
        if self._joined:
            self._beat()
        else:
            self._join()

    # Joining

    def _join(self) -> None:
        messages = kinds.JOIN_GROUP.messages()
        self._said = self._told.held
        said = msgspec.json.encode(Held(sorted(self._said), self._told_in))
        request = messages.Request(
            self._group, self._session_ms, REBALANCE_MS, self._id, None, PROTOCOL_TYPE,
            [messages.Protocol(PROTOCOL, said)],
        )  # fmt: skip
        self._steps.ask(kinds.JOIN_GROUP, request, self._sync, self._refused, JOIN_S)

    def _sync(self, joined: Any) -> None:  # noqa: ANN401
        self._id, self._generation = joined.member_id, joined.generation_id
        messages = kinds.SYNC_GROUP.messages()
        leads = joined.leader == joined.member_id
        self._counted = self._partitions() if leads else None
        assignments = [
            messages.Assignment(name, msgspec.json.encode(it))
            for name, it in (self._decide(joined.members) if leads else {}).items()
        ]
        request = messages.Request(
            self._group, self._generation, self._id, None, PROTOCOL_TYPE, PROTOCOL, assignments
        )
        self._steps.ask(kinds.SYNC_GROUP, request, self._synced, self._refused, JOIN_S)

    def _partitions(self) -> int:
        """As many as were ever seen: a broker may not know the topic for a moment."""
        seen = self._coordinator.brokers.view.topics.get(self._topic)
        self._most = max(self._most, 0 if seen is None else len(seen.partitions))
        return self._most

    def _decide(self, members: Any) -> dict[str, Assigned]:  # noqa: ANN401
        """As the leader, for all."""
        assert self._counted is not None
        holdings = {it.member_id: _holding(it.metadata) for it in members}
        # Where the topic is not known here yet, nobody is to lose what it has.
        held = (number for it in holdings.values() for number in it.partitions)
        count = self._counted or 1 + max((it for it in held if it < PARTITIONS_MAX), default=-1)
        return {
            name: Assigned(sorted(numbers))
            for name, numbers in assignor.given(holdings, count).items()
        }

    def _synced(self, answer: Any) -> None:  # noqa: ANN401
        try:
            said = msgspec.json.decode(answer.assignment, type=Assigned)
        except (ValueError, RecursionError) as error:
            self._steps.again(
                CorruptStore(
                    f"group {self._group!r}: its leader sent an invalid assignment: {error}: "
                    f"only nodes of logstore may be in it"
                ),
                slowly=True,
            )
            return
        self._joined = True
        self._told_in = self._generation
        self._told.heard_of(self._steps.said_at, anew=self._anew)
        self._anew = False
        assigned = frozenset(said.partitions)
        self._wanted = assigned if self._said - assigned else None
        self._told.assign(assigned)
        self._steps.due_in(INTERVAL_S)
        self.changed()
        self._count()

    def changed(self) -> None:
        """The node has given up partitions, which others must get."""
        if self._joined and self._wanted is not None and self._told.held == self._wanted:
            self._join_again()

    def hurry(self) -> None:
        """The others are about to change the assignment: ask now."""
        if self._joined and not self._steps.asking:
            self._steps.due_in(0)

    def _count(self) -> None:
        """The view has changed: a leader must assign all existing partitions."""
        if self._joined and self._counted not in (None, self._partitions()):
            self._join_again()

    def _join_again(self) -> None:
        self._joined = False
        self._wanted = None
        if not self._steps.asking:
            self._steps.due_in(0)

    # Heartbeats

    def _beat(self) -> None:
        request = kinds.HEARTBEAT.messages().Request(self._group, self._generation, self._id)
        self._steps.ask(kinds.HEARTBEAT, request, self._beaten, self._refused)

    def _beaten(self, answer: Any) -> None:  # noqa: ANN401
        self._told.heard_of(self._steps.said_at, anew=False)
        self._told.confirm()
        self._steps.due_in(INTERVAL_S if self._joined else 0)

    # Refusals

    def _refused(self, answer: Any) -> None:  # noqa: ANN401
        code = answer.error_code
        error = Failed(f"group {self._group!r}: no part in it: error {code}")
        if code in OTHER_PROTOCOL:
            self._steps.end(error)
        elif code == ID_REQUIRED and not self._joined:
            self._id = answer.member_id
            self._steps.due_in(0)
        elif code == REBALANCING:
            self._joined = False
            self._steps.due_in(0)
        elif code == INVALID_SESSION and self._session_ms < SESSION_MAX_MS:
            self._session_ms = min(2 * self._session_ms, SESSION_MAX_MS)
            self._steps.due_in(0)
        elif code in (UNKNOWN_MEMBER, ILLEGAL_GENERATION):
            self._id = NOBODY if code == UNKNOWN_MEMBER else self._id
            self._joined, self._anew = False, True
            self._steps.again(error)
        elif code in NO_COORDINATOR:
            self._coordinator.forget()
            self._steps.again(error)
        else:
            self._steps.again(error, slowly=code != LOADING)

    # Its end

    def leave(self, then: Callable[[], None]) -> None:
        """Release its partitions immediately; ``then`` is called when that is known, or takes too
        long.
        """
        request = None
        if self._id and not self._steps.over:
            messages = kinds.LEAVE_GROUP.messages()
            request = messages.Request(self._group, [messages.MemberIdentity(self._id)], self._id)
        self._steps.leave(kinds.LEAVE_GROUP, request, then)


def _holding(metadata: bytes) -> assignor.Holding:
    """The partitions in a member's metadata; foreign metadata holds none."""
    try:
        it = msgspec.json.decode(metadata, type=Held)
    except (ValueError, RecursionError):
        return assignor.Holding(frozenset(), NO_GENERATION)
    return assignor.Holding(frozenset(it.partitions), it.generation)
