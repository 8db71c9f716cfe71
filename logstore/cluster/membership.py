"""Which partitions of a topic this node should own, according to the group of all nodes.

The group only assigns; the fence keeps two nodes from appending at the same time (``takeover.py``).
So this node gives up a partition only when the coordinator says so, never because it does not
reply; and the group assigns it to another node only after this node has given it up.

A dead node must be detected within seconds, so the group gets a short session timeout. If the
cluster refuses that, or does not support assigning coordinators (KIP-848), the members assign
themselves, and choose their own session timeout. Nodes of one group that start with different
protocols end up with the same one, because a group uses one protocol and refuses the other.
"""

from collections.abc import Callable, Mapping, Set
from enum import Enum
from functools import partial
from math import inf
from random import Random
from time import monotonic
from typing import Any, Final

from logstore.cluster import kinds
from logstore.cluster.admin import SET
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Around, Brokers, Use
from logstore.cluster.classic_member import ClassicMember
from logstore.cluster.coordinators import GroupCoordinator
from logstore.cluster.group_member import GroupMember
from logstore.errors import Failed, LogstoreError, NotSpoken

SESSION: Final = "consumer.session.timeout.ms"
HEARTBEAT: Final = "consumer.heartbeat.interval.ms"
WANTED_MS: Final = {SESSION: 6000, HEARTBEAT: 1000}
GROUP_RESOURCE: Final = 32
ANSWER_S: Final = 10.0
FOR_NOW: Final = frozenset({7, 13, 14, 15, 41})  # what is said of a change that may be asked again


class Protocol(Enum):
    """Who assigns the partitions: the coordinator or the members."""

    GROUP = "group"  # the coordinator (KIP-848)
    CLASSIC = "classic"  # the members


class Membership:
    """The membership of one node. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        around: Around,
        random: Random,
        group: str,
        topic: str,
        changed: Callable[[], object],
        rack: str = "",
        clock: Callable[[], float] = monotonic,
        use: Use = Use.GROUP,
    ) -> None:
        """``changed``: called for each assignment, perhaps an equal one. Begins immediately.

        ``clock``: seconds of a clock that also runs while the process is stopped. ``use``: as in
        ``GroupCoordinator``.
        """
        self.clock = clock
        self.heard_at = -inf  # when that was said, by ``clock``, which was answered last
        self.joined_at = -inf  # when it has joined, as one that the group did not know
        self.assigned: frozenset[int] = frozenset()
        self.heard = 0  # how often the group has said what it is
        self.protocol: Protocol | None = None  # None: that is not known yet
        self.why_classic: LogstoreError | None = None
        self._giving: set[int] = set()
        self._brokers = brokers
        self._around = around
        self._random = random
        self._group = group
        self._topic = topic
        self._changed = changed
        self._rack = rack
        self._coordinator = GroupCoordinator(brokers, group, use)
        self._backoff = Backoff(random)
        self._member: GroupMember | ClassicMember | None = None
        self._failure: LogstoreError | None = None
        self._over = False
        brokers.want(topic, always=True)
        self._look()

    @property
    def failure(self) -> LogstoreError | None:
        """Why this node is not in the group now."""
        return self._failure if self._member is None else self._member.failure

    # Its session

    def _look(self) -> None:
        """Check the group's settings, and correct them if necessary."""
        messages = kinds.DESCRIBE_CONFIGS.messages()
        request = messages.Request(
            [messages.Resource(GROUP_RESOURCE, self._group, sorted(WANTED_MS))]
        )
        self._brokers.ask_any(
            kinds.DESCRIBE_CONFIGS, request, self._looked, Use.SLOW, seconds=ANSWER_S
        )

    def _looked(self, answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, LogstoreError) and not isinstance(answer, NotSpoken):
            self._again(self._look, answer)
            return
        results = () if isinstance(answer, LogstoreError) else answer.results
        if _is_short({it.name: it.value for result in results for it in result.configs}):
            self._begin(Protocol.GROUP)
        else:
            self._shorten()

    def _shorten(self) -> None:
        messages = kinds.ALTER_CONFIGS.messages()
        configs = [
            messages.AlterableConfig(name, SET, str(value)) for name, value in WANTED_MS.items()
        ]
        request = messages.Request(
            [messages.AlterConfigsResource(GROUP_RESOURCE, self._group, configs)]
        )
        self._brokers.ask_any(
            kinds.ALTER_CONFIGS, request, self._shortened, Use.SLOW, seconds=ANSWER_S
        )

    def _shortened(self, answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, NotSpoken):
            self._classic(answer)
            return
        if isinstance(answer, LogstoreError):
            self._again(self._shorten, answer)
            return
        code, text = next(((it.error_code, it.error_message) for it in answer.responses), (0, ""))
        if code == 0:
            self._begin(Protocol.GROUP)
            return
        why = Failed(
            f"group {self._group!r}: the cluster refuses {SESSION}={WANTED_MS[SESSION]}: "
            f"{text or f'error {code}'}: lower group.consumer.min.session.timeout.ms and "
            f"group.consumer.min.heartbeat.interval.ms of its brokers"
        )
        if code in FOR_NOW:
            self._again(self._shorten, why)
        else:
            self._classic(why)

    def _classic(self, why: LogstoreError) -> None:
        self.why_classic = why
        self._begin(Protocol.CLASSIC)

    def _again(self, call: Callable[[], None], why: LogstoreError) -> None:
        self._failure = why
        self._in(call)

    def _in(self, call: Callable[[], None]) -> None:
        """After a while."""

        def due() -> None:
            if not self._over:
                call()

        self._around.call_at(self._around.now() + self._backoff.failed(), due)

    # Its member

    def _begin(self, protocol: Protocol) -> None:
        if self._over:
            return
        self.protocol = protocol
        around, random = self._around, self._random
        if protocol is Protocol.GROUP:
            self._member = GroupMember(
                self._coordinator, self._topic, self._rack, self, around, random
            )
        else:
            self._member = ClassicMember(self._coordinator, self._topic, self, around, random)

    def refuse(self, why: LogstoreError) -> None:
        """As Told.refuse: the others of the group, or the cluster, know the other way only."""
        self._member, self._failure = None, why
        other = Protocol.GROUP if self.protocol is Protocol.CLASSIC else Protocol.CLASSIC
        self.why_classic = why if other is Protocol.CLASSIC else None
        self._in(partial(self._begin, other))

    # What it is told

    @property
    def held(self) -> frozenset[int]:
        """As Told.held."""
        return self.assigned | self._giving

    def assign(self, numbers: Set[int]) -> None:
        """As Told.assign."""
        self._backoff.succeeded()
        self._giving |= self.assigned - numbers
        self.assigned = frozenset(numbers)
        self.confirm()

    def heard_of(self, said_at: float, *, anew: bool) -> None:
        """As Told.heard_of."""
        self.heard_at = said_at
        if anew:
            self.joined_at = said_at

    def confirm(self) -> None:
        """As Told.confirm."""
        self.heard += 1
        self._changed()

    def gave_up(self, number: int) -> None:
        """Report given-up partitions, to which this node appends nothing more."""
        if number in self._giving:
            self._giving.discard(number)
            if self._member is not None:
                self._member.changed()

    def hurry(self) -> None:
        """The group is about to change the assignment: another node has left."""
        if self._member is not None:
            self._member.hurry()

    def leave(self, then: Callable[[], None]) -> None:
        """A clean end: all partitions of this node become free immediately."""
        self._over = True
        member, self._member = self._member, None
        if member is None:
            then()
        else:
            member.leave(then)


def _is_short(settings: Mapping[str, str | None]) -> bool:
    """Whether the session detects a dead node soon without mistaking a living one for dead."""
    session, heartbeat = (settings.get(it) or "" for it in (SESSION, HEARTBEAT))
    if not (session.isdecimal() and heartbeat.isdecimal()):
        return False
    return 3 * int(heartbeat) <= int(session) <= WANTED_MS[SESSION]
