"""The identity of an appending process: producer id, epoch and next sequence number.

A leader remembers the last five batches of each producer. So with at most five in flight, a batch
that is sent twice is stored once, and a batch out of order is refused (KIP-98).

With a name (a transactional id, used for batches outside of transactions), the next process that
requests the name gets the next epoch, and its first batch makes the leader refuse all earlier
epochs: a fence. The processes need to agree on nothing but the name.
"""

from collections.abc import Callable
from typing import Any, Final

from logstore.cluster import kinds
from logstore.cluster.brokers import Brokers, Use
from logstore.cluster.coordinators import TRANSACTION, find
from logstore.errors import ClusterUnreachable, FencedProducer, LogstoreError
from logstore.records.batch import Batch, with_producer

SEQUENCE_MAX: Final = 2**31 - 1
TIMEOUT_MS: Final = 60_000  # of transactions, of which there are none
ANYBODY_S: Final = 5.0  # any broker gives one, so another is asked soon
FENCED: Final = frozenset({47, 90})
TRIES: Final = 3

Then = Callable[["Identity | LogstoreError"], None]


class Identity:
    """One producer of one partition."""

    __slots__ = ("epoch", "pid", "sequence")

    def __init__(self, pid: int, epoch: int) -> None:
        self.pid = pid
        self.epoch = epoch
        self.sequence = 0  # of the next record

    def stamp(self, batch: Batch) -> Batch:
        """A copy of the batch with the next sequence numbers."""
        stamped = with_producer(batch, (self.pid, self.epoch, self.sequence))
        self.sequence = (self.sequence + batch.last_offset_delta + 1) & SEQUENCE_MAX
        return stamped


class Identities:
    """Requests identities from the cluster. Used in one thread."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    def anybody(self, then: Then) -> None:
        """An identity that no producer had before."""
        request = kinds.INIT_PRODUCER_ID.messages().Request(None, TIMEOUT_MS)

        def answered(answer: Any) -> None:  # noqa: ANN401
            then(_given(answer, "a producer"))

        self._brokers.ask_any(kinds.INIT_PRODUCER_ID, request, answered, Use.SLOW, ANYBODY_S)

    def named(
        self,
        name: str,
        then: Then,
        before: "Identity | None" = None,
        tries: int = TRIES,
    ) -> None:
        """The next identity of this name; with ``before``, only if that was the last one (KIP-360).

        Otherwise ``then`` gets FencedProducer. After a lost connection it tries again, because a
        broker may end a connection that is older than another one for the same name.
        """

        def found(node: int | LogstoreError) -> None:
            if isinstance(node, LogstoreError):
                then(node)
            else:
                self._init(node, name, answered, before)

        def answered(given: "Identity | LogstoreError") -> None:
            if isinstance(given, ClusterUnreachable) and tries > 1:
                self.named(name, then, before, tries - 1)
            else:
                then(given)

        find(self._brokers, name, TRANSACTION, found)

    def _init(self, node: int, name: str, then: Then, before: "Identity | None") -> None:
        request = kinds.INIT_PRODUCER_ID.messages().Request(name, TIMEOUT_MS)
        if before is not None:
            request.producer_id, request.producer_epoch = before.pid, before.epoch

        def answered(answer: Any) -> None:  # noqa: ANN401
            then(_given(answer, repr(name)))

        self._brokers.ask(node, kinds.INIT_PRODUCER_ID, request, answered, Use.SLOW)


def _given(answer: Any, what: str) -> "Identity | LogstoreError":  # noqa: ANN401
    if isinstance(answer, LogstoreError):
        return answer
    if answer.error_code in FENCED:
        return FencedProducer(f"{what}: another process has taken it over")
    if answer.error_code:
        return ClusterUnreachable(f"the cluster gives no id for {what}: error {answer.error_code}")
    return Identity(answer.producer_id, answer.producer_epoch)
