"""Whether messages of a topic could return to it through topic routes, bindings and exchanges.

Pure. Keys are ignored: a circle that no present key passes may be passed by the next message.
Circles of exchanges without a topic are permitted, because a message visits each exchange only
once.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Ways = Callable[["Node"], Iterable["Node"]]  # where messages go on from there


class Node(NamedTuple):
    """A topic, or an exchange or queue of a virtual host."""

    kind: str  # topic, exchange, queue
    name: bytes
    vhost: bytes = b""  # of an exchange or queue

    def __str__(self) -> str:
        name = self.name.decode(errors="backslashreplace")
        if self.kind == "topic":
            return f"topic {name}"
        vhost = self.vhost.decode(errors="backslashreplace")
        return f"{self.kind} {name!r}" + (f" in vhost {vhost!r}" if vhost != "/" else "")


def circle(begin: Node, end: Node, ways: Ways) -> Sequence[Node] | None:
    """Return the way from ``begin`` to ``end`` through some topic, or None; both may be one node.

    With a way from ``end`` to ``begin`` it is a circle.
    """
    first = begin, begin.kind == "topic"
    before: dict[tuple[Node, bool], tuple[Node, bool] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        at = waiting.popleft()
        node, by_topic = at
        if node == end and by_topic:
            return _way(at, before)
        for following in ways(node):
            state = following, by_topic or following.kind == "topic"
            if state not in before:
                before[state] = at
                waiting.append(state)
    return None


def _way(
    at: tuple[Node, bool] | None,
    before: dict[tuple[Node, bool], tuple[Node, bool] | None],
) -> Sequence[Node]:
    way: list[Node] = []
    while at is not None:
        way.append(at[0])
        at = before[at]
    return way[::-1]
