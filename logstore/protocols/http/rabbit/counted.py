"""What all queues of virtual hosts have together, counted a slice a turn: there may be many."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from logstore.errors import LogstoreError
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost

QUEUES_OF_A_STEP: Final = 10  # at some 3 us each


@dataclass(slots=True)
class Counts:
    """Of those that are open: the others are opened after a start by and by."""

    queues: int = 0
    consumers: int = 0
    ready: int = 0
    unacked: int = 0

    def add(self, other: "Counts") -> None:
        self.queues += other.queues
        self.consumers += other.consumers
        self.ready += other.ready
        self.unacked += other.unacked

    def row(self) -> dict[str, Any]:
        """Messages, as rows of virtual hosts and the overview have them."""
        return {
            "messages": self.ready + self.unacked,
            "messages_ready": self.ready,
            "messages_unacknowledged": self.unacked,
        }


Counted = Mapping[bytes, Counts]  # by the names of virtual hosts


def count(
    door: HttpDoor, call: Call, vhosts: "Sequence[Vhost]", then: Callable[[Counted], None]
) -> None:
    """``then`` gets them, now or in a later turn."""

    def steps() -> Generator[int, Any, Counted]:
        found = {}
        for vhost in vhosts:
            its = found[vhost.name] = Counts()
            for number, queue in enumerate(list(vhost.queues())):
                its.queues += 1
                its.consumers += len(queue.subscriptions)
                its.ready += queue.ready
                its.unacked += queue.out
                if not number % QUEUES_OF_A_STEP:
                    yield 1
        return found

    def known(found: Counted | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            raise found
        then(found)

    door.slices.begin(steps(), lambda found: call.attempt(lambda: known(found)))
