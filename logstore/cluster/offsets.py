"""Requests about offsets: where a partition starts and ends, the offset for a time, a new start.

If the leader is lost, or says that it does not lead, it is looked up again until the time limit.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Brokers, Use
from logstore.cluster.kinds import Kind
from logstore.errors import ClusterUnreachable, Failed, LogstoreError

WITHIN_S: Final = 30.0
DELETE_MS: Final = 10_000
EARLIEST: Final = -2
LATEST: Final = -1
LARGEST_TIME: Final = -3  # the record with the largest timestamp (KIP-734)
COMMITTED: Final = 1

AGAIN: Final = frozenset({3, 5, 6, 7, 9, 13, 14, 56, 74, 75, 76, 78})

Place = tuple[str, int]
Then = Callable[[Any], None]  # gets what was asked for, or a LogstoreError


class Offsets:
    """Requests about the offsets of one cluster. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        now: Callable[[], float],
        call_at: Callable[[float, Callable[[], object]], object],
        random: Random,
    ) -> None:
        self._brokers = brokers
        self._now = now
        self._call_at = call_at
        self._random = random

    def at_time(self, place: Place, timestamp_ms: int, then: Then) -> None:
        """The first record with at least this time: (offset, its timestamp); offset -1: none.

        Only committed records count; ``timestamp_ms``: also one of the constants.
        """
        messages = kinds.LIST_OFFSETS.messages()
        topic, number = place

        def asked() -> Any:  # noqa: ANN401  a message
            epoch = self._brokers.view.epoch(topic, number)
            partition = messages.Partition(number, epoch, timestamp_ms)
            return messages.Request(-1, COMMITTED, [messages.Topic(topic, [partition])])

        def told(answer: Any) -> Any:  # noqa: ANN401
            it = answer.topics[0].partitions[0]
            return it.error_code, (it.offset, it.timestamp)

        self._ask(place, kinds.LIST_OFFSETS, asked, told, then, Use.LOOK)

    def delete_below(self, place: Place, offset: int, then: Then) -> None:
        """Delete records below an offset; ``then`` gets the new start of the partition."""
        messages = kinds.DELETE_RECORDS.messages()
        topic, number = place

        def asked() -> Any:  # noqa: ANN401  a message
            partition = messages.Partition(number, offset)
            return messages.Request([messages.Topic(topic, [partition])], DELETE_MS)

        def told(answer: Any) -> Any:  # noqa: ANN401
            it = answer.topics[0].partitions[0]
            return it.error_code, it.low_watermark

        self._ask(place, kinds.DELETE_RECORDS, asked, told, then, Use.SLOW)

    def _ask(
        self,
        place: Place,
        kind: Kind,
        asked: Callable[[], Any],
        told: Callable[[Any], tuple[int, Any]],
        then: Then,
        use: Use,
    ) -> None:
        until, backoff = self._now() + WITHIN_S, Backoff(self._random)

        def attempt() -> None:
            node = self._brokers.view.leader(*place)
            if node is None:
                again(ClusterUnreachable(f"{place[0]}-{place[1]}: no broker leads it"))
            else:
                self._brokers.ask(node, kind, asked(), answered, use)

        def answered(answer: Any) -> None:  # noqa: ANN401
            if isinstance(answer, LogstoreError):
                again(answer)
                return
            try:
                code, found = told(answer)
            except IndexError:
                again(ClusterUnreachable(f"{place[0]}-{place[1]}: a broker answers nothing"))
                return
            if code == 0:
                then(found)
            elif code in AGAIN:
                again(ClusterUnreachable(f"{place[0]}-{place[1]}: {kind.name}: error {code}"))
            else:
                then(Failed(f"{place[0]}-{place[1]}: {kind.name}: error {code}"))

        def again(error: LogstoreError) -> None:
            self._brokers.refresh()
            at = self._now() + backoff.failed()
            if at > until:
                then(error)
            else:
                self._call_at(at, attempt)

        self._brokers.want(place[0])  # once: its topic may be deleted meanwhile
        attempt()
