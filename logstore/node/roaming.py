"""Queues that the nodes of a cluster share: those that this node owns, and links to the other
nodes.

The group of the nodes assigns partitions of the journal to this node; each is taken over
(``cluster/ownership.py``), and its queues are then served here. Queues of other nodes are served
over a link to the node with the latest claim. Everything runs in the sessions' thread.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from logstore.broker.queues.away.owner import Owner
from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.message import Showing
from logstore.broker.queues.named import Named
from logstore.broker.queues.queue import Home, Queue
from logstore.broker.queues.roaming.outlets import BATCH_BYTES_MAX
from logstore.broker.queues.roaming.partition import Around
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.roaming.roamers import Roamers
from logstore.broker.queues.roaming.seat import Seat
from logstore.broker.queues.volatile.nodes import VolatileNodes
from logstore.clock import now_ms
from logstore.cluster import peer
from logstore.cluster.brokers import Address
from logstore.cluster.claims import Claim
from logstore.cluster.client import Client
from logstore.cluster.membership import Membership
from logstore.cluster.own_rules import PREFIX, OwnTopic
from logstore.cluster.ownership import Ownership
from logstore.cluster.peer import Identity
from logstore.cluster.standing import Standing
from logstore.cluster.state_log import Replayed, StateLog
from logstore.cluster.takeover import Takeover
from logstore.cluster.waiters import WaitFor
from logstore.cluster_queues import ClusterQueues, queue_of
from logstore.counts.queues import QueueTotals
from logstore.errors import LogstoreError, NotOwned
from logstore.neighbours import Neighbours
from logstore.node.asked_keys import AskedKeys
from logstore.protocols.house import House, Work
from logstore.protocols.relay import doorway
from logstore.protocols.relay.door import Asked, RelayDoor
from logstore.protocols.session import Doorway
from logstore.turn import Turn

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost

# Its partitions limit the number of nodes that own queues; more take longer to take over.
JOURNAL: Final = OwnTopic(
    f"{PREFIX}queues",
    12,
    {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(BATCH_BYTES_MAX),  # a turn's settlements are one batch
        # Leaders forget producers by the time of their batches: no clock of a node may end a fence.
        "message.timestamp.type": "LogAppendTime",
    },
)
GROUP: Final = f"{PREFIX}nodes"

log: Final = logging.getLogger("logstore.cluster")


class NodeRoaming:
    """The shared queues of one node; the ``Elsewhere`` of its roamers."""

    def __init__(
        self,
        turn: Turn,
        work: Work,
        client: Client,
        wait_for: WaitFor,
        logs: ClusterQueues,
        node: str,
        secret: bytes,
        around_links: peer.Around,
        read_on: Callable[[Callable[[LogstoreError | None], object]], object],
    ) -> None:
        """``node``: the node's unique name. ``around_links``: for the links that it makes.

        ``read_on``: reads the facts of all existing queues.
        """
        self._turn = turn
        self._work = work
        self._client = client
        self._wait_for = wait_for
        self._node = node
        self._secret = secret
        self._read_on = read_on
        self._queues: Queues | None = None
        around = Around(now_ms, turn.soon, self._alarm, work, logs)
        self.roamers = Roamers(around, logs, self, JOURNAL.partitions, QueueTotals())
        self.ownership: Ownership | None = None  # None: it owns nothing, and takes nothing
        self.membership: Membership | None = None  # in the group of owners
        self._replayed: dict[int, Replayed] = {}
        self._taking: dict[int, Takeover] = {}  # owned; not served before all queues are known
        self._logs: dict[int, StateLog] = {}
        self._standings: dict[int, Standing] = {}
        self._claims: dict[int, Claim | None] = {}  # as the roamers were told
        self._there: Mapping[bytes, str] = {}  # other nodes, and where they are reached
        self._door: RelayDoor | None = None
        me, random = Identity(node.encode(), secret), client.random
        self.volatile = VolatileNodes(self, _Around(turn, self.roamers))
        self.neighbours = Neighbours(
            me, around_links, turn.soon, random, Showing(), self._neighbour_changed
        )

    def _alarm(self, it: Any, at_ms: int) -> None:  # noqa: ANN401  what waits for a time
        assert self._queues is not None
        self._queues.alarm(it, at_ms)

    # Its links

    def door(self, house: House, keys: AskedKeys) -> Doorway:
        """The door for other nodes. ``keys``: answers their questions about keys."""
        asked: dict[int, Asked] = {**self.volatile.asked, **keys.asked}
        self._door = doorway.made(
            house, self._node.encode(), self._secret, self._find, asked, self._vouch
        )
        self._door.gone.append(keys.gone)
        return doorway.open(self._door)

    def _vouch(self, then: Callable[[], None]) -> bool:
        """As RelayDoor.vouch."""
        unsure = [it for it in self._standings.values() if not it.sure]
        for it in unsure:
            it.ask(then)
        return not unsure

    def _find(self, vhost: bytes, name: bytes, number: int) -> Named:
        """As RelayDoor.find."""
        assert self._queues is not None
        there = self._queues.vhosts.get(vhost)
        queue = None if there is None else there.topology.queue(name)
        if isinstance(queue, RoamingQueue) and queue.id == number and isinstance(queue.seat, Queue):
            return queue
        if isinstance(queue, Queue):
            return self.volatile.find(vhost, name, number)
        # The queue was just created or taken over: the asking node tries again.
        raise NotOwned(f"queue {name!r} is not served by node {self._node} now; try again")

    def seat(self, queue: RoamingQueue, partition: int, home: Home) -> Seat | None:
        """As Elsewhere.seat."""
        claim = self._claims.get(partition)
        if claim is None or claim.word.node == self._node:
            return None
        node = claim.word.node.encode()
        return self.seat_with(queue, cast("Vhost", home).name, node)

    def owner(self, node: bytes) -> Owner | None:
        """As Reached.owner."""
        return self.neighbours.owner(node)

    def seat_with(self, queue: RoamingQueue, vhost: bytes, node: bytes) -> Seat | None:
        """As Reached.seat_with."""
        return self.neighbours.seat(queue, vhost, node, now_ms)

    def _neighbour_changed(self, node: bytes) -> None:
        """The node has begun or stopped to serve its queues."""
        for partition, claim in self._claims.items():
            if claim is not None and claim.word.node.encode() == node:
                self.roamers.moved(partition)
        self.volatile.moved(node)
        self._forget_others()

    # What it owns

    def join(self, queues: "Queues", address: str) -> None:
        """Become an owner of queues. ``address``: of this node's links, for other nodes."""
        self._queues = queues
        self.volatile.join(queues)
        self.ownership = Ownership(
            self._client, self._wait_for, JOURNAL.name, self._node, address, self._membership,
            self._new_state, now_ms, self._changed, self._ending,
        )  # fmt: skip

    def _membership(self, told: Callable[[], object]) -> Membership:
        client = self._client
        self.membership = Membership(
            client.brokers, client.around, client.random, GROUP, JOURNAL.name, told
        )
        return self.membership

    def _new_state(self, number: int) -> Replayed:
        replayed = self._replayed[number] = Replayed(SettlementNotes)
        return replayed

    def _changed(self, number: int) -> None:
        """The owner of a partition has changed or may have."""
        ownership = self.ownership
        if ownership is None:  # it is being created
            self._turn.soon(partial(self._changed, number))
            return
        takeover = ownership.served(number)
        if takeover is None:
            self._let_go(number, told=False)
        elif number not in self._logs and self._taking.get(number) is not takeover:
            self._taking[number] = takeover
            self._read_on(partial(self._replay, number, takeover))
        claim = ownership.owner_of(number)
        if claim != self._claims.get(number):
            self._claims[number] = claim
            if claim is not None and claim.word.node != self._node:
                self.neighbours.know(claim.word.node.encode(), _address(claim.word.address))
            self.roamers.moved(number)
            self._forget_others()

    def _replay(self, number: int, takeover: Takeover, error: LogstoreError | None) -> None:
        """Replay the partition's journal in another thread, because long queues take long."""
        replayed = self._replayed.get(number)

        def replay() -> LogstoreError | None:
            if replayed is not None:
                try:
                    replayed.notes.freeze()
                except LogstoreError as wrong:
                    return wrong
            return error

        self._work(replay, partial(self._own, number, takeover))

    def _own(self, number: int, takeover: Takeover, error: LogstoreError | None) -> None:
        """Own the partition: all its queues of the takeover are known.

        The journal is told of queues that no longer exist.
        """
        ownership = self.ownership
        if self._taking.get(number) is takeover:
            del self._taking[number]
        if ownership is None or ownership.served(number) is not takeover:
            return
        try:
            if error is not None:
                raise error
            log_ = StateLog(takeover, self._replayed.pop(number), now_ms, self._work)
            self._logs[number] = log_
            standing = Standing(takeover, ownership.group, monotonic, self._turn.soon)
            self._standings[number] = standing
            self.roamers.own(number, log_, standing)
        except LogstoreError as why:
            log.error("partition %d of the queues can't be served: %s", number, why)  # noqa: TRY400
            self._let_go(number, told=False)
            takeover.leave()

    def _ending(self, number: int) -> None:
        """The partition is about to be given up; settlements can still be written."""
        self._let_go(number, told=True)

    def _let_go(self, number: int, *, told: bool) -> None:
        its = self._logs.pop(number, None)
        if its is not None:
            self._standings.pop(number).close()
            assert self._door is not None
            self.roamers.leave(number)
            self._door.leave(partial(self.roamers.is_of, number))
            self.roamers.lose(number, told=told)
            its.close()

    def who(self, there: Mapping[bytes, str]) -> None:
        """Update the nodes that are present, with their addresses."""
        self._there = there
        owning = self._owning()
        for node, address in there.items():
            if node not in owning:  # otherwise its claim has the address
                self.neighbours.know(node, _address(address))
        self._forget_others()

    def _owning(self) -> set[bytes]:
        return {it.word.node.encode() for it in self._claims.values() if it is not None}

    def _forget_others(self) -> None:
        """Forget nodes that own nothing, are not present, and are not linked."""
        known = self._owning() | self._there.keys()
        for node in [it for it in self.neighbours.nodes if it not in known]:
            if self.neighbours.owner(node) is None:  # presence may be late, as the cluster is
                self.neighbours.forget(node)
                self.volatile.forget(node)

    def lanes_came(self, topic: str) -> None:
        """A topic that may be a queue's was created or extended."""
        number = queue_of(topic)
        if number is not None:
            self.roamers.lanes_came({number})

    def hurry(self) -> None:
        """Take over at once what another node owned, because it has left."""
        if self.ownership is not None:
            self.ownership.group.hurry()

    # Its end

    def leave(self, then: Callable[[object], None]) -> None:
        """Give everything up; ``then`` is called when that is done or takes too long."""
        if self.ownership is None:
            then(None)
        else:
            self.ownership.stop(lambda: then(None))

    def close(self) -> None:
        """Stop making links."""
        self.neighbours.close()


class _Around:
    """The surroundings, as in ``others.Around``."""

    def __init__(self, turn: Turn, roamers: Roamers) -> None:
        self.soon, self.parked = turn.soon, roamers.parked
        self.clock = now_ms
        self._turn = turn

    def after(self, seconds: float, call: Callable[[], object]) -> object:
        """Call this after some seconds."""
        return self._turn.call_at(self._turn.now() + seconds, call)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isdecimal() else 0
