"""Redis's keys that the nodes of a cluster share: the databases that this node serves.

Each partition of ``__logstore-keys`` is a database. The group of the nodes assigns partitions to
this node; each is taken over (``cluster/ownership.py``), and its records become a database in
memory. Everything runs in the sessions' thread.
"""

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from logstore.broker.keys.journal import Bounds
from logstore.broker.keys.key_topics import made_of
from logstore.broker.keys.keys import Keys, Surroundings
from logstore.broker.keys.levels import Levels
from logstore.broker.keys.shapes import Loading
from logstore.clock import now_ms
from logstore.cluster.brokers import Use
from logstore.cluster.claims import Claim
from logstore.cluster.client import Client
from logstore.cluster.keys_log import BATCH_BYTES_MAX, Gathered, KeysLog
from logstore.cluster.membership import Membership
from logstore.cluster.own_rules import PREFIX, OwnTopic
from logstore.cluster.ownership import Ownership, Place
from logstore.cluster.standing import Standing
from logstore.cluster.waiters import WaitFor
from logstore.errors import CorruptStore, LogstoreError, NotOwned
from logstore.log import Log
from logstore.names import KEYS_DATABASES
from logstore.neighbours import Neighbours
from logstore.node.asked_keys import Asking, Then
from logstore.protocols.house import Work
from logstore.records.decode import decode
from logstore.turn import Turn

KEYS: Final = OwnTopic(
    f"{PREFIX}keys",
    KEYS_DATABASES,
    {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(BATCH_BYTES_MAX),
    },
)
GROUP: Final = f"{PREFIX}keys-nodes"
BOUNDS: Final = Bounds(8 << 20, row_bytes=128)
NOT_HERE: Final = "another node serves it by now, or none does"

log: Final = logging.getLogger("logstore.cluster")


class NodeSharedKeys:
    """The databases of one node; the ``Logs`` of its keys."""

    def __init__(
        self, turn: Turn, work: Work, client: Client, wait_for: WaitFor, node: str
    ) -> None:
        """``node``: the node's unique name."""
        self._turn = turn
        self._work = work
        self._client = client
        self._wait_for = wait_for
        self._node = node
        self._keys: Keys | None = None
        self.ownership: Ownership | None = None  # None: it serves none
        self._gathered: dict[int, Gathered] = {}
        self._logs: dict[int, KeysLog] = {}
        self._neighbours: Neighbours | None = None
        self._asking = Asking()

    # As Logs

    def is_there(self, database: int) -> bool:
        """As Logs.is_there: none is, before it is owned."""
        return False

    def open(self, database: int) -> Log:
        """As Logs.open. Raises NotOwned."""
        found = self._logs.get(database)
        if found is None:
            raise NotOwned(f"database {database}: {NOT_HERE}")
        return found

    def load(self, log: Log, levels: Levels, now_ms: int) -> Loading | LogstoreError:
        """As Logs.load."""
        assert isinstance(log, KeysLog)
        try:
            return made_of(map(decode, log.take_standing()), levels, now_ms)
        except ValueError as error:
            return CorruptStore(f"{log.name}: {error}")
        except LogstoreError as error:
            return error

    def made(self, around: Surroundings, levels: Levels) -> Keys:
        """The keys, none of which is served here yet."""
        self._keys = Keys(self, now_ms, around, levels, BOUNDS)
        return self._keys

    # What it owns

    def join(self, address: str, neighbours: Neighbours) -> None:
        """Become a node that serves keys, after ``made``.

        ``address``: of this node's links, for other nodes; ``neighbours``: its links to other
        nodes.
        """
        assert self._keys is not None
        self._neighbours = neighbours
        self._keys.ask_owner = self._ask
        self.ownership = Ownership(
            self._client, self._wait_for, KEYS.name, self._node, address, self._membership,
            self._new_state, now_ms, self._changed, self._ending,
        )  # fmt: skip

    def _membership(self, told: Callable[[], object]) -> Membership:
        client = self._client
        return Membership(
            client.brokers, client.around, client.random, GROUP, KEYS.name, told,
            use=Use.GROUP_OF_KEYS,
        )  # fmt: skip

    def _new_state(self, number: int) -> Gathered:
        gathered = self._gathered[number] = Gathered()
        return gathered

    def _changed(self, number: int) -> None:
        """The owner of a partition has changed or may have."""
        ownership, keys = self.ownership, self._keys
        assert keys is not None
        if ownership is None:  # it is being created
            self._turn.soon(partial(self._changed, number))
            return
        takeover = ownership.served(number)
        if takeover is not None:
            if number not in self._logs:
                gathered = self._gathered.pop(number)
                self._logs[number] = KeysLog(takeover, gathered, self._elsewhere)
                standing = Standing(takeover, ownership.group, monotonic, self._turn.soon)
                keys.own(number, standing)
            return
        why = self._why(number, ownership.owner_of(number))
        if ownership.place_of(number) is Place.ENDING:
            keys.elsewhere[number] = why  # changes may still be acknowledged
        elif self._logs.pop(number, None) is not None:
            keys.lose(number, why)
        else:
            keys.elsewhere[number] = why

    def _ask(self, database: int, content: bytes, then: Then) -> Callable[[], object]:
        """As Keys.ask_owner."""
        claim = None if self.ownership is None else self.ownership.owner_of(database)
        owner = None
        if self._neighbours is not None and claim is not None and claim.word.node != self._node:
            owner = self._neighbours.owner(claim.word.node.encode())
        if owner is None:
            then(NotOwned(f"{self._why(database, claim)}, and is not reached now: try again"))
            return lambda: None
        return self._asking.ask(owner, content, then)

    def _elsewhere(self, job: Callable[[], object]) -> object:
        return self._work(job, lambda _: None)

    def _ending(self, number: int) -> None:
        """The partition is about to be given up."""
        assert self._keys is not None
        self._keys.finish(number, f"database {number}: {NOT_HERE}")

    def _why(self, number: int, claim: Claim | None) -> str:
        if claim is None or claim.word.node == self._node:
            return f"database {number}: {NOT_HERE}"
        word = claim.word
        return f"database {number} is served by node {word.node}, whose link is at {word.address}"

    def hurry(self) -> None:
        """Take over at once what another node owned, because it has left."""
        if self.ownership is not None:
            self.ownership.group.hurry()

    def refuse(self, error: LogstoreError) -> None:
        """Serve no keys on this node."""
        if self._keys is not None:
            self._keys.elsewhere = dict.fromkeys(self._keys.elsewhere, str(error))

    # Its end

    def leave(self, then: Callable[[object], None]) -> None:
        """Give everything up; ``then`` is called when that is done or takes too long."""
        if self.ownership is None:
            then(None)
        else:
            self.ownership.stop(lambda: then(None))
