"""Clients by librdkafka: what they do is written down as operations of a history."""

import logging
import math
import time
from collections import defaultdict

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.histories.history import Commit, Outcome, Poll, Send
from tests.histories.recorder import Client, Lost

TRANSACTION_MS = 2000  # then the server aborts it
PATIENCE_S = 30  # for one call
PADDING_MOST = 400  # bytes: values are of many sizes
# A server that is paused or killed is not waited for long.
COMMON = {
    "socket.timeout.ms": 1000, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
    "topic.metadata.refresh.fast.interval.ms": 50, "retry.backoff.ms": 20,
    # Else librdkafka 2.16 at times waits for ever for a broker that it gave up as it began anew.
    "metadata.recovery.strategy": "none",
}  # fmt: skip


QUIET = logging.getLogger("tests.histories")  # that a client is fenced is no news
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def padded(value, choose):
    return f"{value}|".encode() + bytes(choose.randrange(PADDING_MOST))


def unpadded(data):
    return data.split(b"|")[0].decode()


def read(messages):
    """Polls of what a consumer gave; raises what is no disturbance of the connection."""
    by_place = defaultdict(list)
    for message in messages:
        error = message.error()
        if error is None:
            place = (message.topic(), message.partition())
            by_place[place].append((message.offset(), unpadded(message.value())))
        elif error.code() not in DISTURBANCES:
            raise KafkaException(error)
    return [Poll(place, tuple(them)) for place, them in by_place.items()]


DISTURBANCES = {
    KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError._MAX_POLL_EXCEEDED,
}  # fmt: skip


class Sender(Client):
    """Transactions of sends; some are aborted, some last longer than they may."""

    def __init__(self, name, recorder, choose, address, places, transactional_id=None, slow=0.003):
        super().__init__(name, recorder, choose)
        self.address, self.places, self.slow = address, places, slow
        self.transactional_id = transactional_id or name

    def live(self):
        producer = Producer({
            **COMMON, "bootstrap.servers": self.address, "linger.ms": 2,
            "transactional.id": self.transactional_id, "transaction.timeout.ms": TRANSACTION_MS,
            "message.timeout.ms": TRANSACTION_MS,
        }, logger=QUIET)  # fmt: skip
        try:
            self.ready(producer)
            while not self.stopping.is_set():
                self.turn(producer)
        except Lost:
            pass
        finally:
            producer.purge()

    def ready(self, producer):
        while not self.stopping.is_set():
            try:
                return producer.init_transactions(PATIENCE_S)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise Lost from error
        raise Lost

    def turn(self, producer):
        self.transact(producer)

    def transact(self, producer, polls=(), consumer=None):
        """Whether it took place, as far as the client was told."""
        operation, sent, asked = self.recorder.begin(self.name), [], math.inf
        commits = self.commits(polls)
        outcome = Outcome.FAIL
        try:
            producer.begin_transaction()
            for place in self.choose.choices(self.places, k=self.choose.randrange(1, 6)):
                self.send(producer, place, sent)
            if commits:
                self.send_offsets(producer, consumer, commits)
            if self.choose.random() < self.slow:
                time.sleep(1.5 * TRANSACTION_MS / 1000)  # one that has lost its way for a while
            if self.choose.random() < 0.1:
                producer.flush(TRANSACTION_MS / 1000)
                self.abort(producer)
            else:
                asked, outcome = self.recorder.ask(), Outcome.INFO
                outcome = self.commit(producer)
        except KafkaException as error:
            if outcome is Outcome.INFO or not error.args[0].txn_requires_abort():
                raise Lost from error
            self.abort(producer)
        except SystemError as error:  # confluent-kafka: fenced while it called one of ours
            raise Lost from error
        finally:
            sends = [Send(place, value, told.offset) for place, value, told in sent]
            self.recorder.end(operation, [*polls, *sends, *commits], outcome, asked)
        return outcome

    def commits(self, polls):
        return []

    def send(self, producer, place, sent):
        value, told = self.recorder.value(self.name), Told()
        topic, partition = place
        producer.produce(topic, padded(value, self.choose), partition=partition, on_delivery=told)
        sent.append((place, value, told))

    def send_offsets(self, producer, consumer, commits):
        wanted = [TopicPartition(*it.place, it.offset) for it in commits]
        again(
            lambda: producer.send_offsets_to_transaction(
                wanted, consumer.consumer_group_metadata(), PATIENCE_S
            )
        )

    def commit(self, producer):
        try:
            again(lambda: producer.commit_transaction(PATIENCE_S))
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            again(lambda: producer.abort_transaction(PATIENCE_S))
            return Outcome.FAIL
        return Outcome.OK

    def abort(self, producer):
        try:
            again(lambda: producer.abort_transaction(PATIENCE_S))
        except KafkaException as error:
            raise Lost from error


class Told:
    """What a producer's report says of one record."""

    offset = None

    def __call__(self, error, message):
        if error is None:
            self.offset = message.offset()


def again(call):
    """Until it is done, or is not to be tried again."""
    while True:
        try:
            return call()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


class Worker(Sender):
    """Consumes, transforms and produces, in a group of several."""

    def __init__(self, name, recorder, choose, address, places, group, topic):
        super().__init__(name, recorder, choose, address, places)
        self.group, self.topic = group, topic

    def live(self):
        self.consumer = Consumer({
            **COMMON, "bootstrap.servers": self.address, "group.id": self.group,
            "isolation.level": "read_committed", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200, "fetch.wait.max.ms": 50,
        }, logger=QUIET)  # fmt: skip
        self.consumer.subscribe([self.topic])
        try:
            super().live()
        finally:
            self.consumer.close()

    def turn(self, producer):
        taken = self.consumer.consume(self.choose.randrange(1, 20), 0.1)
        polls = read(taken)
        if polls and self.transact(producer, polls, self.consumer) is not Outcome.OK:
            self.go_back()
        if self.choose.random() < 0.01:
            raise Lost  # others get its partitions for a while

    def commits(self, polls):
        return [Commit(self.group, it.place, it.read[-1][0] + 1) for it in polls]

    def go_back(self):
        """To where the group stands: what was consumed since is to be worked on anew."""
        try:
            for it in self.consumer.committed(self.consumer.assignment(), PATIENCE_S):
                if it.error is not None:
                    raise Lost
                it.offset = max(it.offset, 0)
                self.consumer.seek(it)
        except KafkaException as error:  # it has others by now, or none
            raise Lost from error


class Reader(Client):
    """Reads logs on and on."""

    def __init__(self, name, recorder, choose, address, places, committed):
        super().__init__(name, recorder, choose)
        self.address, self.places, self.committed = address, places, committed

    def live(self):
        consumer = reading(self.address, self.name, self.committed)
        consumer.assign([TopicPartition(*place, 0) for place in self.places])
        while not self.stopping.is_set():
            operation = self.recorder.begin(self.name, committed=self.committed, assigned=True)
            polls = read(consumer.consume(500, 0.1))
            if polls:
                self.recorder.end(operation, polls)
        consumer.close()


def reading(address, group, committed, **more):
    return Consumer({
        **COMMON, "bootstrap.servers": address, "group.id": group, "enable.auto.commit": False,
        "isolation.level": "read_committed" if committed else "read_uncommitted",
        "auto.offset.reset": "error", "fetch.wait.max.ms": 50, **more,
    }, logger=QUIET)  # fmt: skip


def ends(address, places, committed):
    consumer = reading(address, "ends", committed)
    found = {}
    for place in places:
        found[place] = again(
            lambda place=place: consumer.get_watermark_offsets(
                TopicPartition(*place), timeout=PATIENCE_S
            )
        )[1]
    consumer.close()
    return found


def all_committed(address, place):
    """(offset, value) of all that a reader of committed records gets, to the end."""
    consumer, found = reading(address, "last", True, **{"enable.partition.eof": True}), []
    consumer.assign([TopicPartition(*place, 0)])
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        message = consumer.poll(PATIENCE_S)
        if message is not None and message.error() is None:
            found.append((message.offset(), unpadded(message.value())))
        elif message is not None and message.error().code() == KafkaError._PARTITION_EOF:
            consumer.close()
            return tuple(found)
    raise AssertionError(f"{place} is not read to its end")


def stands(address, group, places):
    """Where a group stands; waits for transactions that are open."""
    consumer = reading(address, group, True)
    asked = [TopicPartition(*place) for place in places]
    found = again(lambda: consumer.committed(asked, PATIENCE_S))
    consumer.close()
    assert all(it.error is None for it in found), found
    return {(it.topic, it.partition): max(it.offset, 0) for it in found}
