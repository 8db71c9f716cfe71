"""Gathers what a node knows about its cluster. Used in the sessions' thread."""

from typing import Final, Protocol

from logstore.cluster.client import Client
from logstore.cluster.facts_keeper import FactsKeeper
from logstore.cluster.membership import Membership
from logstore.cluster.ownership import Ownership, Place
from logstore.cluster.writer import STALL_S
from logstore.cluster_seen import BehindSeen, BrokerSeen, ClusterSeen, Held, PartitionSeen
from logstore.errors import LogstoreError
from logstore.neighbours import Neighbours

BEHIND_MAX: Final = 20  # rows; more are sums
_ON_THE_WAY: Final = frozenset({Place.WAITING, Place.TAKING})


class Owning(Protocol):
    """A topic whose partitions have owners, as this node sees it."""

    @property
    def ownership(self) -> Ownership | None:
        """None: it owns nothing, and takes nothing."""


class OwningQueues(Owning, Protocol):
    """The same for the journal of queues."""

    @property
    def membership(self) -> Membership | None: ...
    @property
    def neighbours(self) -> Neighbours: ...


class ClusterStatus:
    """The facts of one node."""

    def __init__(
        self, client: Client, cluster: str, node: str, keeper: FactsKeeper,
        partitions: tuple[int, int], owning: OwningQueues, keys: Owning,
        no_queues: LogstoreError | None,
    ) -> None:  # fmt: skip
        """``cluster``: as people know it; ``partitions``: of the queues' journal, of keys."""
        self._client = client
        self._cluster = cluster
        self._node = node
        self._keeper = keeper
        self._partitions, self._databases = partitions
        self._owning = owning
        self._keys = keys
        self._no_queues = no_queues

    def seen(self) -> ClusterSeen:
        """As of now."""
        brokers, writer, membership = (
            self._client.brokers, self._client.writer, self._owning.membership,
        )  # fmt: skip
        behind = sorted(writer.unacknowledged(), key=lambda it: -it.waits_s)
        protocol = None if membership is None else membership.protocol
        return ClusterSeen(
            cluster=self._cluster,
            cluster_id=brokers.view.cluster_id,
            failure=_text(brokers.failure),
            node=self._node,
            no_queues=_text(self._no_queues),
            assigned_by=None if protocol is None else protocol.value,
            group_failure=_text(None if membership is None else membership.failure),
            brokers=self._brokers(),
            partitions=[
                self._partition(it, self._owning, self._owning.neighbours)
                for it in range(self._partitions)
            ],
            databases=[self._partition(it, self._keys, None) for it in range(self._databases)],
            bytes=writer.bytes,
            appends=sum(it.appends for it in behind),
            behind=[BehindSeen(*it) for it in behind[:BEHIND_MAX]],
            stalled=sum(it.waits_s > STALL_S for it in behind),
            stalls=writer.stalls,
            stalled_s=writer.stalled_s,
            facts_unread=self._keeper.unread,
            facts_failure=_text(self._keeper.failure),
        )

    def _brokers(self) -> list[BrokerSeen]:
        view = self._client.brokers.view
        return [
            BrokerSeen(
                it.id, f"{f'[{it.host}]' if ':' in it.host else it.host}:{it.port}", it.rack,
                it.id == view.controller,
            )
            for it in view.nodes.values()
        ]  # fmt: skip

    def _partition(
        self, number: int, owning: Owning, neighbours: Neighbours | None
    ) -> PartitionSeen:
        """``neighbours``: of which its owner is asked; None: it is not."""
        ownership = owning.ownership
        if ownership is None:
            why = _text(self._no_queues)
            return PartitionSeen(number, "nobody", None, None, None, None, why)
        state, error = self._held(ownership, number, neighbours)
        claim = ownership.owner_of(number)
        if claim is None:
            return PartitionSeen(number, state, None, None, None, None, _text(error))
        word = claim.word
        return PartitionSeen(
            number, state, word.node, word.address, word.since_ms or word.at_ms, claim.epoch,
            _text(error),
        )  # fmt: skip

    def _held(
        self, ownership: Ownership, number: int, neighbours: Neighbours | None
    ) -> tuple[Held, LogstoreError | None]:
        """By whom, as this node has it, and why that does not help its clients."""
        failure, claim = ownership.failure_of(number), ownership.owner_of(number)
        if ownership.served(number) is not None:
            return "here", None
        if ownership.place_of(number) in _ON_THE_WAY:
            return "taking", failure
        if claim is None or claim.word.node == self._node:
            return "nobody", failure
        node = claim.word.node.encode()
        if neighbours is None or neighbours.owner(node) is not None:
            return "elsewhere", None
        return "unreached", neighbours.failure(node)


def _text(error: LogstoreError | None) -> str | None:
    return None if error is None else str(error)
