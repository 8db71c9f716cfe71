"""A member of a group whose coordinator assigns (KIP-848): heartbeats, and what they bring.

The member says what it has, and is told what it should have; it is told of more only after whoever
has it says that it has it no more. A heartbeat that fails is said again, whole; nothing is given up
for that. A coordinator that does not know the member any more has it join anew, and what it then
says counts.
"""

import base64
from collections.abc import Callable, Mapping, Set
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Alarm, Around
from logstore.cluster.coordinators import GroupCoordinator
from logstore.errors import Failed, LogstoreError, NotSpoken
from logstore.kafka.wire import NIL_UUID

ASSIGNOR: Final = "uniform"  # sticky, and even
REBALANCE_MS: Final = 10_000  # to give up what is to be another's, before the group goes on without
ANSWER_S: Final = 3.0
LEAVE_S: Final = 2.0
INTERVAL_S: Final = 1.0  # until the coordinator says another one
INTERVAL_MIN_S: Final = 0.1
INTERVAL_MAX_S: Final = 60.0
SLOWLY_S: Final = 10.0  # at the most, between tries of what somebody has to change at the cluster
LEAVES: Final = -1  # an epoch

LOADING: Final = 14
NO_COORDINATOR: Final = frozenset({15, 16})
JOIN_ANEW: Final = frozenset({25, 110})  # the member, or its epoch, is not known
OTHER_PROTOCOL: Final = frozenset({23, 35, 69})  # of the group, or of the whole cluster
NO_ASSIGNOR: Final = 112


class Told(Protocol):
    """Whoever has a member is told by it, and asked."""

    @property
    def held(self) -> frozenset[int]:
        """Partitions that this node has, or has not given up yet."""

    def heard_of(self, said_at: float, *, anew: bool) -> None:
        """The group has answered what was said then. ``anew``: it did not know the member."""

    def clock(self) -> float:
        """Seconds, also those in which the process is stopped."""

    def assign(self, numbers: Set[int]) -> None:
        """It should have these."""

    def confirm(self) -> None:
        """What it was told last still holds."""

    def refuse(self, why: LogstoreError) -> None:
        """The protocol is not to be had: the member has ended."""


class GroupMember:
    """One life of it. Used in one thread."""

    def __init__(
        self,
        coordinator: GroupCoordinator,
        topic: str,
        rack: str,
        told: Told,
        around: Around,
        random: Random,
    ) -> None:
        self.failure: LogstoreError | None = None
        self._coordinator = coordinator
        self._view = coordinator.brokers.view
        self._topic = topic
        self._rack = rack
        self._told = told
        self._around = around
        self._backoff = Backoff(random)
        self._slowly = Backoff(random, 1.0, SLOWLY_S)
        self._id = base64.urlsafe_b64encode(random.randbytes(16)).rstrip(b"=").decode()
        self._epoch = 0
        self._whole = True  # whether the next heartbeat says everything
        self._said: frozenset[int] = frozenset()
        self._assignor: str | None = ASSIGNOR
        self._interval_s = INTERVAL_S
        self._topic_id = NIL_UUID
        self._assigned: Mapping[bytes, frozenset[int]] | None = None  # not told of yet
        self._said_at = 0.0  # what is not answered yet
        self._asking = self._over = False
        self._alarm: Alarm | None = None
        self._stop = coordinator.brokers.watch(self._tell)
        self._beat_in(0)

    # Heartbeats

    def _beat_in(self, seconds: float) -> None:
        if self._over:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._around.call_at(self._around.now() + seconds, self._beat)

    def _beat(self) -> None:
        if self._over or self._asking:
            return
        self._asking, self._said_at = True, self._told.clock()
        messages = kinds.GROUP_HEARTBEAT.messages()
        request = messages.Request(self._coordinator.group, self._id, self._epoch)
        if self._whole:
            request.rack_id = self._rack or None
            request.rebalance_timeout_ms = REBALANCE_MS
            request.subscribed_topic_names = [self._topic]
            request.server_assignor = self._assignor
        held = self._told.held if self._epoch else frozenset()
        request.topic_partitions = None
        if self._whole or held != self._said:
            request.topic_partitions = (
                [messages.TopicPartitions(self._topic_id, sorted(held))] if held else []
            )
        self._coordinator.ask(
            kinds.GROUP_HEARTBEAT, request, partial(self._answered, held), ANSWER_S
        )

    def changed(self) -> None:
        """The node has given something up: the coordinator waits for that."""
        if self._epoch and not self._asking:
            self._beat_in(0)

    def hurry(self) -> None:
        """The coordinator is about to say something else: hear it now."""
        self.changed()

    def _answered(self, held: frozenset[int], answer: Any) -> None:  # noqa: ANN401
        self._asking = False
        if self._over:
            return
        if isinstance(answer, NotSpoken):
            self._end(answer)
        elif isinstance(answer, LogstoreError):
            self._again(answer)
        elif answer.error_code:
            self._refused(answer.error_code, answer.error_message or "")
        else:
            self._beaten(held, answer)

    def _beaten(self, held: frozenset[int], answer: Any) -> None:  # noqa: ANN401
        self.failure = None
        self._backoff.succeeded()
        self._slowly.succeeded()
        joins = self._epoch == 0  # and what it was told before does not count any more
        self._told.heard_of(self._said_at, anew=joins)
        self._epoch, self._said, self._whole = answer.member_epoch, held, False
        told_s = answer.heartbeat_interval_ms / 1000
        self._interval_s = min(max(told_s, INTERVAL_MIN_S), INTERVAL_MAX_S)
        if answer.assignment is not None:
            self._assigned = {
                it.topic_id: frozenset(it.partitions) for it in answer.assignment.topic_partitions
            }
            self._tell()
        elif self._assigned is None and not joins:
            self._told.confirm()
        self._beat_in(0 if self._told.held != held else self._interval_s)

    def _refused(self, code: int, why: str) -> None:
        group = self._coordinator.group
        error = Failed(f"group {group!r}: no part in it: error {code}{': ' if why else ''}{why}")
        if code in OTHER_PROTOCOL:
            self._end(error)
            return
        if code in NO_COORDINATOR:
            self._coordinator.forget()
        elif code in JOIN_ANEW:
            self._epoch = 0
        elif code == NO_ASSIGNOR:
            self._assignor = None
        elif code != LOADING:
            self._again(error, self._slowly)
            return
        self._again(error)

    def _again(self, why: LogstoreError, backoff: Backoff | None = None) -> None:
        self.failure = why
        self._whole = True
        self._beat_in((backoff or self._backoff).failed())

    # What it is told

    def _tell(self) -> None:
        """What is assigned is handed on, once the topic is known by its id."""
        seen = self._view.topics.get(self._topic)
        if self._over or self._assigned is None or seen is None:
            return
        self._topic_id = seen.id
        assigned = self._assigned
        if assigned.keys() - {seen.id}:
            self._coordinator.brokers.refresh()  # it was made anew, here or there
        else:
            self._assigned = None
        before = self._told.held
        self._told.assign(assigned.get(seen.id, frozenset()))
        if self._told.held != before:
            self.changed()

    # Its end

    def _end(self, why: LogstoreError) -> None:
        self._close()
        self._told.refuse(why)

    def _close(self) -> None:
        self._over = True
        self._stop()
        if self._alarm is not None:
            self._alarm.cancel()

    def leave(self, then: Callable[[], None]) -> None:
        """What it has may go to others at once; ``then``, when that is known or takes too long."""
        was_in = bool(self._epoch or self._asking) and not self._over
        self._close()
        if not was_in:
            then()
            return
        request = kinds.GROUP_HEARTBEAT.messages().Request(
            self._coordinator.group, self._id, LEAVES, topic_partitions=None
        )
        self._coordinator.ask(kinds.GROUP_HEARTBEAT, request, lambda _: then(), LEAVE_S)
