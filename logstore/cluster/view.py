"""What is known about a cluster: its nodes, its topics, and the leader of each partition. Pure.

Nodes are asked in turn, and one may know less than another: information with an older leader epoch
than the known one is ignored (KIP-320), unless the topic has another id.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from logstore.kafka.wire import NIL_UUID

NO_NODE: Final = -1
NO_EPOCH: Final = -1
PARTITIONS_MAX: Final = 100_000  # of one topic: what is said beyond is not believed
NOT_THERE: Final = frozenset({3, 17, 29, 100})  # unknown; a name that is none; not allowed to know


class Node(NamedTuple):
    """A broker."""

    id: int
    host: str
    port: int
    rack: str

    @property
    def name(self) -> str:
        """The node's name for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.id} ({host}:{self.port})"


class Led(NamedTuple):
    """A partition."""

    leader: int  # -1: nobody, for now
    epoch: int


class TopicSeen(NamedTuple):
    """A topic."""

    name: str
    id: bytes  # 16 bytes; all 0: the cluster gives topics none
    partitions: tuple[Led, ...]


class View:
    """What is known about one cluster."""

    def __init__(self) -> None:
        self.cluster_id = ""
        self.controller = NO_NODE
        self.nodes: dict[int, Node] = {}
        self.topics: dict[str, TopicSeen] = {}
        self.missing: set[str] = set()  # topics that were asked for, and are not there

    def leader(self, topic: str, partition: int) -> int | None:
        """The node that leads it; None: unknown, or there is none."""
        seen = self.topics.get(topic)
        if seen is None or not 0 <= partition < len(seen.partitions):
            return None
        leader = seen.partitions[partition].leader
        return leader if leader in self.nodes else None

    def epoch(self, topic: str, partition: int) -> int:
        """The epoch of its leader; -1: unknown."""
        seen = self.topics.get(topic)
        known = seen is not None and 0 <= partition < len(seen.partitions)
        return seen.partitions[partition].epoch if seen is not None and known else NO_EPOCH

    def id_of(self, topic: str) -> bytes:
        """The topic's id, 16 bytes; all 0: it has none, or it is unknown."""
        seen = self.topics.get(topic)
        return NIL_UUID if seen is None else seen.id

    def take(self, answer: Any, asked: Iterable[str] | None) -> bool:  # noqa: ANN401
        """Apply a node's reply to Metadata; ``asked``: the requested topics, None: all.

        Returns whether anything has changed.
        """
        nodes = {
            it.node_id: Node(it.node_id, it.host, it.port, it.rack or "") for it in answer.brokers
        }
        found: dict[str, TopicSeen] = {}
        failing: set[str] = set()
        for it in answer.topics:
            if it.error_code == 0 and it.name is not None:
                found[it.name] = self._seen(it)
            elif it.error_code not in NOT_THERE:
                failing.add(it.name or "")
        topics, missing = self.topics, self.missing
        if asked is None:
            kept = {name: seen for name, seen in topics.items() if name in failing}
            self.topics, self.missing = kept | found, missing - found.keys()
        else:
            gone = set(asked) - found.keys() - failing
            self.topics = {it: seen for it, seen in topics.items() if it not in gone} | found
            self.missing = (missing | gone) - found.keys()
        before = self.nodes, topics, missing, self.controller
        self.nodes, self.controller = nodes, answer.controller_id
        self.cluster_id = answer.cluster_id or self.cluster_id
        return before != (self.nodes, self.topics, self.missing, self.controller)

    def forget(self, topic: str) -> None:
        """Know nothing of this topic any more: nobody asks for it."""
        self.topics.pop(topic, None)
        self.missing.discard(topic)

    def _seen(self, it: Any) -> TopicSeen:  # noqa: ANN401
        known = self.topics.get(it.name)
        id_ = it.topic_id or NIL_UUID
        if known is not None and known.id != id_:
            known = None
        partitions = [Led(NO_NODE, NO_EPOCH)] * partitions_of(it)
        for one in it.partitions:
            led = Led(one.leader_id, one.leader_epoch)
            number = one.partition_index
            if not 0 <= number < len(partitions):
                continue
            if known is not None and number < len(known.partitions):
                before = known.partitions[number]
                led = before if before.epoch > led.epoch >= 0 else led
            partitions[number] = led
        return TopicSeen(it.name, id_, tuple(partitions))


def partitions_of(topic: Any) -> int:  # noqa: ANN401
    """The number of partitions by a node's description; impossible numbers are ignored."""
    numbers = (it.partition_index for it in topic.partitions)
    return 1 + max((it for it in numbers if 0 <= it < PARTITIONS_MAX), default=-1)
