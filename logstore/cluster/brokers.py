"""The connections to a cluster's brokers: one for each node and use, made when needed.

A broker processes the requests of one connection one after another, so long requests have
connections of their own (``Use``). A lost connection is made again when it is next needed, after a
delay that grows. The callers of its unanswered requests are told of the loss: only they know
whether to ask again.

Also owns the knowledge of the cluster (``view``). It is refreshed periodically, when a caller finds
it wrong, and when a broker is silent: that broker may be frozen or cut off, and others know the new
leaders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.kinds import Kind
from logstore.cluster.link import ANSWER_S, Answer, Link
from logstore.cluster.login import Credentials
from logstore.cluster.spoken import Spoken
from logstore.cluster.view import View
from logstore.errors import ClusterUnreachable, LogstoreError

REFRESH_S: Final = 30.0
AGAIN_S: Final = 0.1  # at the least, between two looks at the cluster
METADATA_S: Final = 3.0  # and longer, where nobody has answered
METADATA_MOST_S: Final = 12.0
SILENT_S: Final = 2.0  # others are asked rather than one that has said nothing for so long

Address = tuple[str, int]


class Use(Enum):
    """The purpose of a connection."""

    LOOK = auto()  # what is answered at once
    DATA = auto()  # what is appended, in its order: it waits for other brokers
    FETCH = auto()  # what waits for news
    SLOW = auto()  # what changes something, and takes long
    GROUP = auto()  # what a group's coordinator is asked, some of which waits for other members
    GROUP_OF_KEYS = auto()  # of another group, whose heartbeats are not to wait for that


SOON: Final = (Use.LOOK, Use.DATA, Use.FETCH)  # whose answers do not take long, but in trouble


class Alarm(Protocol):
    """A scheduled call."""

    def cancel(self) -> None: ...


class Around(Protocol):
    """The surroundings: a clock, timers and sockets."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def call_at(self, at: float, call: Callable[[], object]) -> Alarm:
        """Make the call at that time."""

    def connect(self, address: Address, link: Spoken) -> Callable[[], None]:
        """Make a connection for the link; returns a function to call when there is output.

        If the connection fails or ends, the link is lost; if the link is lost, the connection ends.
        """


@dataclass(slots=True)
class _Line:
    backoff: Backoff
    link: Link | None = None
    not_before: float = 0.0


class Brokers:
    """The connections to one cluster. Used in one thread."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        around: Around,
        random: Random,
        credentials: Credentials | None = None,
        client_id: str = "logstore",
    ) -> None:
        self.view = View()
        self.failure: LogstoreError | None = None  # why the cluster was not to be asked last
        self._bootstrap = list(bootstrap)
        self._around = around
        self._random = random
        self._credentials = credentials
        self._client_id = client_id
        self._lines: dict[tuple[Address, Use], _Line] = {}
        self._wanted: set[str] = set()
        self._always: set[str] = set()  # of these
        self._told: dict[object, Callable[[], object]] = {}
        self._asking = self._again = False
        self._looked_at = float("-inf")
        self._alarm: Alarm | None = None
        self._patience_s = METADATA_S
        self._backoff = Backoff(random, AGAIN_S)
        self._soon = Backoff(random, AGAIN_S)  # of looks that have not shown what was looked for
        self._turn = 0
        self._over = False

    # Asking

    def ask(
        self,
        node: int,
        kind: Kind,
        request: Any,  # noqa: ANN401
        then: Answer,
        use: Use = Use.LOOK,
        seconds: float = ANSWER_S,
    ) -> None:
        """Send a request to a node. ``then`` gets the reply or the error."""
        known = self.view.nodes.get(node)
        if known is None:
            self.refresh()
            then(ClusterUnreachable(f"the cluster has no broker {node} now"))
            return
        self._link((known.host, known.port), known.name, use).ask(kind, request, then, seconds)

    def ask_any(
        self,
        kind: Kind,
        request: Any,  # noqa: ANN401
        then: Answer,
        use: Use = Use.LOOK,
        seconds: float = ANSWER_S,
    ) -> None:
        """Send a request to any node, preferably one that is connected and not silent."""
        addresses = [(it.host, it.port) for it in self.view.nodes.values()]
        if self.failure is not None or not addresses:  # they may all be other ones by now
            addresses += self._bootstrap
        addresses = [it for it in addresses if not self._is_silent(it)] or addresses
        there = [it for it in addresses if self._is_ready(it, use)] or addresses
        self._turn += 1
        address = there[self._turn % len(there)]
        name = f"{address[0]}:{address[1]}"
        self._link(address, name, use).ask(kind, request, then, seconds)

    def ask_controller(self, kind: Kind, request: Any, then: Answer, seconds: float) -> None:  # noqa: ANN401
        """Send a request to the controller, which creates and changes topics."""
        if self.view.controller in self.view.nodes:
            self.ask(self.view.controller, kind, request, then, Use.SLOW, seconds)
        else:
            self.ask_any(kind, request, then, Use.SLOW, seconds)

    def _is_ready(self, address: Address, use: Use) -> bool:
        line = self._lines.get((address, use))
        return line is not None and line.link is not None and line.link.ready

    def _is_silent(self, address: Address) -> bool:
        """Whether it says nothing, or was lost and is not known to be back."""
        lines = [self._lines.get((address, use)) for use in SOON]
        links = [it.link for it in lines if it is not None and it.link is not None]
        if any(it.silent_s > SILENT_S for it in links):
            return True
        is_back = any(it.ready for it in links)
        return not is_back and any(it.failure is not None for it in links)

    def _link(self, address: Address, name: str, use: Use) -> Link:
        line = self._lines.get((address, use))
        if line is None:
            line = self._lines[address, use] = _Line(Backoff(self._random))
        if line.link is None or line.link.failure is not None:
            line.link = self._new_link(address, name, line)
        return line.link

    def _new_link(self, address: Address, name: str, line: _Line) -> Link:
        flush: Callable[[], None] | None = None

        def wake() -> None:
            if flush is not None:
                flush()

        around = self._around
        link = Link(name, around.now, wake, self._client_id, self._credentials, around.call_at)

        def connect() -> None:
            nonlocal flush
            if link.failure is None:
                flush = self._around.connect(address, link)

        def lost() -> None:
            line.not_before = self._around.now() + line.backoff.failed()

        link.when_ready = line.backoff.succeeded
        link.when_lost = lost
        if self._over:
            link.lose(ClusterUnreachable("this process is stopping"))
        elif line.not_before > self._around.now():
            self._around.call_at(line.not_before, connect)
        else:
            connect()
        return link

    def look(self) -> None:
        """Called periodically: gives up on brokers that do not reply."""
        silent = False
        for (_, use), line in list(self._lines.items()):
            if line.link is not None:
                silent |= use in SOON and line.link.silent_s > SILENT_S
                line.link.look()
        if silent:
            self.refresh()

    # What is known

    def watch(self, call: Callable[[], object]) -> Callable[[], None]:
        """Call this whenever something in the view has changed. Returns "stop that"."""
        key = object()
        self._told[key] = call

        def stop() -> None:
            self._told.pop(key, None)

        return stop

    def want(self, topic: str, *, always: bool = False) -> None:
        """Include this topic in refreshes from now on; ``always``: whatever other users do."""
        if always:
            self._always.add(topic)
        if topic not in self._wanted:
            self._wanted.add(topic)
            self.refresh()

    def unwant(self, topic: str) -> None:
        """Exclude this topic from refreshes, and forget it: what is known would become outdated."""
        if topic not in self._always:
            self._wanted.discard(topic)
            self.view.forget(topic)

    def refresh(self) -> None:
        """Refresh the view soon, because a caller has found it wrong."""
        if self._asking:
            self._again = True
            return
        self._look_at(max(self._around.now(), self._looked_at + AGAIN_S))

    def _look_at(self, at: float) -> None:
        if self._over:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._around.call_at(at, self._look)

    def _look(self) -> None:
        self._alarm = None
        if self._over or self._asking:
            return
        self._asking, self._again = True, False
        self._looked_at = self._around.now()
        messages = kinds.METADATA.messages()
        asked = sorted(self._wanted)
        request = messages.Request(
            [messages.Topic(name=it) for it in asked], allow_auto_topic_creation=False
        )
        then = partial(self._looked, asked)
        self.ask_any(kinds.METADATA, request, then, seconds=self._patience_s)

    def _looked(self, asked: Sequence[str], answer: Any) -> None:  # noqa: ANN401
        self._asking = False
        now = self._around.now()
        if isinstance(answer, LogstoreError):
            self.failure = answer
            self._patience_s = min(2 * self._patience_s, METADATA_MOST_S)
            self._look_at(now + self._backoff.failed())
            return
        self.failure = None
        self._patience_s = METADATA_S
        self._backoff.succeeded()
        changed = self.view.take(answer, asked)
        for topic in asked:
            if topic not in self._wanted:  # not since it was asked for
                self.view.forget(topic)
        if self._again or not all(map(self._is_led, asked)):
            self._look_at(now + self._soon.failed())
        else:
            self._soon.succeeded()
            self._look_at(now + REFRESH_S)
        if changed:
            for call in list(self._told.values()):
                call()

    def _is_led(self, topic: str) -> bool:
        """Whether the topic exists and each of its partitions has a leader."""
        seen = self.view.topics.get(topic)
        return seen is not None and all(it.leader in self.view.nodes for it in seen.partitions)

    def close(self) -> None:
        """End all connections, and report that to waiting callers."""
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
        for line in list(self._lines.values()):  # whoever is told may ask another one, in vain
            if line.link is not None:
                line.link.lose(ClusterUnreachable("this process is stopping"))
