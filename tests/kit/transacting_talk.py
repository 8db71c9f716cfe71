"""A Kafka session with transactions: what clients of them say, over logs in memory."""

import itertools
import uuid

from door_kit import MemoryTopics, Talk, a_batch
from transacting_kit import Node

from logstore.broker.transactions.transactional_id import Producer
from logstore.errors import CoordinatorLoading, LogstoreError
from logstore.kafka import produce_codec
from logstore.kafka.messages import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    end_txn,
    init_producer_id,
)

NAME = "copier"
TV1, TV2 = 4, 5  # versions of EndTxn
LIBRDKAFKA, JAVA_3, JAVA_4 = 10, 11, 12  # versions of Produce


class NodeTopics(MemoryTopics):
    """Of a node's logs. A topic that is made anew is another one."""

    def __init__(self, node, clock, before=None):
        super().__init__(clock)
        self._node = node
        self._made = itertools.count() if before is None else before._made
        for name, topic in ({} if before is None else before._topics).items():
            logs = [node.log((topic.uuid, it)) for it in range(len(topic.partitions))]
            self.put(name, logs, before.given(name), topic.id)

    def log(self, name, number):
        return self._node.log((uuid.UUID(self._id).bytes, number))

    def create(self, name, partitions, settings):
        self._id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name} {next(self._made)}"))
        return super().create(name, partitions, settings)

    def put(self, name, logs, settings=(), topic_id=None):
        topic = super().put(name, logs, settings)
        topic.id = topic_id or self._id
        for number in range(len(logs)):
            topic.partition(number)
        return topic

    def delete(self, name):
        topic = self.get(name)
        super().delete(name)
        for number in range(len(topic.partitions)):
            its = self._node.logs[topic.uuid, number]
            its.gone = True
            its.sync()


class Transactions:
    """``TransactionsOf`` a node."""

    def __init__(self, node):
        self._node = node
        self.error = None  # why there are none
        self.waiting = []

    @property
    def opened(self):
        return self._node.coordinator

    def coordinator(self):
        if self.error is not None:
            raise self.error
        if not self._node.started:
            raise CoordinatorLoading("not yet")
        return self._node.coordinator

    def when_open(self, then):
        try:
            then(self.coordinator())
        except CoordinatorLoading:
            self.waiting.append(then)
        except LogstoreError as error:
            then(error)

    def read(self, error=None):
        """End the loading, with or without an error."""
        self.error = error
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then(self.error or self._node.coordinator)


class TransactingTalk(Talk):
    """``before``: the same after a kill; ``beside``: another connection."""

    SHARED = (*Talk.SHARED, "node", "transactions")

    def __init__(self, beside=None, before=None, **facts):
        if beside is not None:
            super().__init__(beside=beside)
            return
        self.node = Node(before and before.node)
        self.node.settle()
        self.transactions = Transactions(self.node)
        super().__init__(
            topics=NodeTopics(self.node, lambda: self.clock_ms, before and before.topics),
            transactions=self.transactions, **facts,
        )  # fmt: skip

    def told(self, key, version, request, response_kind):
        """The answer, once all is synced; None if the connection has ended instead."""
        self.say(key, version, request)
        return self.answer(key, version, response_kind)

    def answer(self, key, version, response_kind):
        self.node.settle()
        replies = self.replies()
        if not replies:
            assert self.session.closed is not None
            return None
        [(_, body)] = replies
        return self.read(key, version, response_kind, body)

    def initialize(self, name=NAME, version=4, producer=(-1, -1), timeout_ms=60_000):
        request = init_producer_id.Request(name, timeout_ms, *producer)
        return self.told(22, version, request, init_producer_id.Response)

    def producer(self, name=NAME):
        it = self.initialize(name)
        assert it.error_code == 0
        return Producer(it.producer_id, it.producer_epoch)

    def add(self, producer, places=(("t", (0,)),), version=3, name=NAME):
        """The codes by topic and partition."""
        m = add_partitions_to_txn
        topics = [m.RequestTopic(topic, list(numbers)) for topic, numbers in places]
        request = m.Request((), name, *producer, v3_and_below_topics=topics)
        answer = self.told(24, version, request, m.Response)
        if answer is None:
            return None
        return {
            (topic.name, it.partition_index): it.partition_error_code
            for topic in answer.results_by_topic_v3_and_below
            for it in topic.results_by_partition
        }

    def add_group(self, producer, version=3, name=NAME, group="g"):
        request = add_offsets_to_txn.Request(name, *producer, group)
        answer = self.told(25, version, request, add_offsets_to_txn.Response)
        return answer and answer.error_code

    def end(self, producer, committed, version=TV2, name=NAME):
        """(error code, producer id, epoch)"""
        request = end_txn.Request(name, *producer, committed)
        answer = self.told(26, version, request, end_txn.Response)
        return answer and (answer.error_code, answer.producer_id, answer.producer_epoch)

    def produce(self, *batches, version=JAVA_4, name=NAME):
        """The codes of Produce; ``batches``: topics, partitions and records."""
        self.say_produce(*batches, version=version, name=name)
        return self.produced(version)

    def say_produce(self, *batches, version=JAVA_4, name=NAME, acks=-1):
        topics = [
            (self._asked(version, topic), [produce_codec.Part(partition, memoryview(records))])
            for topic, partition, records in batches
        ]
        request = produce_codec.ProduceRequest(name, acks, 1000, topics)
        return self.send(0, version, b"".join(produce_codec.write_request(version, request)))

    def _asked(self, version, topic):
        by_id = version >= produce_codec.WITH_TOPIC_IDS
        return self.topics.get(topic).uuid if by_id else topic

    def produced(self, version=JAVA_4):
        self.node.settle()
        [(_, body)] = self.replies()
        body = body[1:] if version >= produce_codec.FLEXIBLE else body
        answer = produce_codec.read_response(version, memoryview(body), 0)
        return [part.error_code for _, parts in answer.topics for part in parts]

    def log(self, topic="t", partition=0):
        return self.topics.get(topic).partitions[partition]

    def open_in(self, topic="t", partition=0):
        """Producers that have a transaction open in the partition."""
        return list(self.log(topic, partition).notes.open)

    def state(self, name=NAME):
        it = self.node.table.get(name)
        return it and it.state


def batch(producer, sequence=0, value=b"x", *, transactional=True, records=1):
    pid, epoch = producer
    return a_batch(
        *[value] * records, producer_id=pid, producer_epoch=epoch, base_sequence=sequence,
        transactional=transactional,
    )  # fmt: skip


def markers(log):
    """Outcomes of the markers in a log."""
    from logstore.records.control import outcome_of

    return [outcome_of(it) for it in log.read(0, 1 << 30) if it.is_control]
