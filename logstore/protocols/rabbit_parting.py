"""Ends consumers together with their connection or channel: a bounded number in each turn."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from logstore.broker.queues.named import Named
from logstore.broker.queues.subscription import Subscription
from logstore.slices import Slices, Steps

CONSUMER_UNITS: Final = 3  # of work in slices: its queue may go with it
AT_ONCE: Final = 300  # units that are done in the turn in which they end


class Consumer(Subscription, Protocol):
    """A consumer of one door."""

    queue: Named


def part(consumers: Sequence[Consumer], slices: Slices, then: Callable[[], object]) -> None:
    """End them, and queues that go with their last one; ``then`` is called when all have ended.

    So it is when this returns, unless there are hundreds of them. Their channel has no room for
    messages any more.
    """

    def done(_: object) -> None:
        then()

    slices.begin(_parting(consumers), done, AT_ONCE)


def _parting(consumers: Sequence[Consumer]) -> Steps:
    for it in consumers:
        it.queue.unsubscribe(it)
        yield CONSUMER_UNITS
