"""Totals of virtual hosts over the objects that the caller may see, counted a slice a turn."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from logstore.access.resources import DESCRIBE, EXCHANGE, QUEUE
from logstore.errors import LogstoreError
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.within import Within
from logstore.slices import parts

AT_ONCE: Final = 10  # of which each is some 3 us

_T = TypeVar("_T")


@dataclass(slots=True)
class Counts:
    """Totals over open queues; the others are opened gradually after a start."""

    exchanges: int = 0
    queues: int = 0
    consumers: int = 0
    ready: int = 0
    unacked: int = 0

    def add(self, other: "Counts") -> None:
        self.exchanges += other.exchanges
        self.queues += other.queues
        self.consumers += other.consumers
        self.ready += other.ready
        self.unacked += other.unacked

    def row(self) -> dict[str, Any]:
        """The numbers of messages, as in rows of virtual hosts and in the overview."""
        return {
            "messages": self.ready + self.unacked,
            "messages_ready": self.ready,
            "messages_unacknowledged": self.unacked,
        }


Counted = Mapping[bytes, Counts]  # by the names of virtual hosts


def counting(those: Sequence[Within]) -> Generator[int, Any, Counted]:
    """Count each virtual host."""
    found = {}
    for within in those:
        its = found[within.vhost.name] = Counts()
        for part in parts(list(within.vhost.queues()), AT_ONCE):
            for queue in part:
                if within.may(DESCRIBE, QUEUE, queue.facts.name):
                    its.queues += 1
                    its.consumers += len(queue.subscriptions)
                    its.ready += queue.ready
                    its.unacked += queue.out
            yield len(part)
        for exchanges in parts(list(within.vhost.topology.exchanges()), AT_ONCE):
            its.exchanges += sum(within.may(DESCRIBE, EXCHANGE, it.name) for it in exchanges)
            yield len(exchanges)
    return found


def count(
    door: HttpDoor, call: Call, steps: Generator[int, Any, _T], then: Callable[[_T], None]
) -> None:
    """Run the steps; ``then`` gets their result, now or in a later turn."""

    def known(found: _T | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            raise found
        then(found)

    door.slices.begin(steps, lambda found: call.attempt(lambda: known(found)))
