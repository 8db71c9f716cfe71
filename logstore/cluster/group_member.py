"""A group member whose coordinator assigns partitions (KIP-848): heartbeats and their replies.

The member reports the partitions that it holds, and is told which it should hold. A partition is
assigned to it only after the previous owner has reported giving it up. A failed heartbeat is sent
again with its full content, and no partition is given up because of it. If the coordinator no
longer knows the member, the member joins again and follows the new assignment.
"""

import base64
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, Final

from logstore.cluster import kinds
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
from logstore.errors import Failed, LogstoreError
from logstore.kafka.wire import NIL_UUID

ASSIGNOR: Final = "uniform"  # sticky, and even
INTERVAL_MIN_S: Final = 0.1
INTERVAL_MAX_S: Final = 60.0
LEAVES: Final = -1  # an epoch

JOIN_ANEW: Final = frozenset({25, 110})  # the member, or its epoch, is not known
NO_ASSIGNOR: Final = 112


class GroupMember:
    """One membership, from join to leave. Used in one thread."""

    def __init__(
        self,
        coordinator: GroupCoordinator,
        topic: str,
        rack: str,
        told: Told,
        around: Around,
        random: Random,
    ) -> None:
        self._coordinator = coordinator
        self._view = coordinator.brokers.view
        self._topic = topic
        self._rack = rack
        self._told = told
        self._id = base64.urlsafe_b64encode(random.randbytes(16)).rstrip(b"=").decode()
        self._epoch = 0
        self._whole = True  # whether the next heartbeat says everything
        self._said: frozenset[int] = frozenset()
        self._assignor: str | None = ASSIGNOR
        self._interval_s = INTERVAL_S
        self._topic_id = NIL_UUID
        self._assigned: Mapping[bytes, frozenset[int]] | None = None  # not told of yet
        self._steps = Steps(coordinator, told, around, random, self._beat, self._tell)

    @property
    def failure(self) -> LogstoreError | None:
        """Why this node is not in the group now."""
        return self._steps.failure

    # Heartbeats

    def _beat(self) -> None:
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
        self._whole = True  # until this one is answered
        self._steps.ask(kinds.GROUP_HEARTBEAT, request, partial(self._beaten, held), self._refused)

    def changed(self) -> None:
        """The node has given up partitions, for which the coordinator waits."""
        if self._epoch and not self._steps.asking:
            self._steps.due_in(0)

    def hurry(self) -> None:
        """The coordinator is about to change the assignment: ask now."""
        self.changed()

    def _beaten(self, held: frozenset[int], answer: Any) -> None:  # noqa: ANN401
        joins = self._epoch == 0  # and what it was told before does not count any more
        self._told.heard_of(self._steps.said_at, anew=joins)
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
        self._steps.due_in(0 if self._told.held != held else self._interval_s)

    def _refused(self, answer: Any) -> None:  # noqa: ANN401
        code, why = answer.error_code, answer.error_message or ""
        group = self._coordinator.group
        error = Failed(f"group {group!r}: no part in it: error {code}{': ' if why else ''}{why}")
        if code in OTHER_PROTOCOL:
            self._steps.end(error)
            return
        if code in NO_COORDINATOR:
            self._coordinator.forget()
        elif code in JOIN_ANEW:
            self._epoch = 0
        elif code == NO_ASSIGNOR:
            self._assignor = None
        elif code != LOADING:
            self._steps.again(error, slowly=True)
            return
        self._steps.again(error)

    # What it is told

    def _tell(self) -> None:
        """Pass the assignment on, once the topic's id is known."""
        seen = self._view.topics.get(self._topic)
        if self._steps.over or self._assigned is None or seen is None:
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

    def leave(self, then: Callable[[], None]) -> None:
        """Release its partitions immediately; ``then`` is called when that is known, or takes too
        long.
        """
        request = None
        if (self._epoch or self._steps.asking) and not self._steps.over:
            request = kinds.GROUP_HEARTBEAT.messages().Request(
                self._coordinator.group, self._id, LEAVES, topic_partitions=None
            )
        self._steps.leave(kinds.GROUP_HEARTBEAT, request, then)
