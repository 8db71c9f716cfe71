"""Queues over a real directory, with turns that a test ends itself and a clock that it moves."""

import threading
from dataclasses import replace

from clock import NOW_MS
from storage_kit import Opened
from turns_by_hand import Turns

from logstore.amqp import properties
from logstore.broker.channel import Channels
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.ledger import Ledger
from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.lane_notes import LaneNotes
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.unacked import Unacked
from logstore.broker.routing.arguments import NO_ARGUMENTS
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts, is_predefined
from logstore.errors import LogstoreError
from logstore.open_queues import OpenQueues
from logstore.open_topics import OpenTopics
from logstore.records.decode import decode
from logstore.storage.committer import Committer, GroupCommitter, QueueCommitter
from logstore.storage.kinds import JOURNAL, KINDS, LANE, TOPIC

DEADLINE_S = 30
MANY = 1 << 30
KINDS_WITH_NOTES = {
    **KINDS,
    LANE.name: replace(LANE, notes=lambda: LaneNotes(Deduplication())),
    JOURNAL.name: replace(JOURNAL, notes=SettlementNotes),
    TOPIC.name: replace(TOPIC, notes=lambda: Ledger(lambda: NOW_MS, 86_400_000)),
}


def props(headers=None, **given):
    """Property flags and list, as in a content header."""
    return properties.write(properties.Properties(headers=headers, **given))


def spoil(path, at=70):
    """Change two bytes of a file: with ``at`` as it is, of its first batch."""
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\xff\xff")


class Channel:
    """An AMQP channel as queues see it."""

    def __init__(self, prefetch=0):
        self.unacked = Unacked()
        self.prefetch = prefetch

    def room(self):
        return self.prefetch - len(self.unacked) if self.prefetch else MANY

    def ack(self, tag, *, multiple=False):
        self._each(tag, multiple, lambda it: it.queue.settle(it))

    def requeue(self, tag, *, multiple=False):
        self._each(tag, multiple, lambda it: it.queue.release(it))

    def reject(self, tag, *, multiple=False):
        self._each(tag, multiple, lambda it: it.queue.reject(it))

    def _each(self, tag, multiple, call):
        found = self.unacked.ack_upto(tag) if multiple else [self.unacked.ack(tag)]
        assert found is not None
        for it in found:
            call(it)

    def end(self):
        for it in self.unacked.drain():
            it.queue.release(it)


class Consumer:
    """One that keeps what it is sent."""

    def __init__(
        self, channel=None, prefetch=0, *, no_ack=False, exclusive=False, priority=0,
        timeout_ms=None, tag=b"c", arguments=NO_ARGUMENTS,
    ):  # fmt: skip
        self.channel = Channel() if channel is None else channel
        self.prefetch, self.no_ack, self.exclusive = prefetch, no_ack, exclusive
        self.priority, self.timeout_ms, self.tag = priority, timeout_ms, tag
        self.arguments = arguments
        self.takes = MANY
        self.had = []  # tag and delivery
        self.is_cancelled = False

    def can_take(self):
        return self.takes

    def push(self, tag, deliveries):
        self.had += enumerate(deliveries, tag)

    def cancelled(self):
        self.is_cancelled = True

    @property
    def bodies(self):
        return [it.body for _, it in self.had]

    def forget(self):
        had, self.had = self.had, []
        return had


class Node:
    """Queues in one process's life; ``run`` ends turns until nothing is left to do."""

    def __init__(self, directory, clock):
        self.clock = clock
        self.directory = directory
        self.turns = Turns()
        self.news = threading.Condition()
        self.calls = []  # left by other threads
        self.busy = 0  # works that run
        self.workers = []  # threads that do them
        self.alarms = []
        self.here = threading.get_ident()
        environment = directory._catalog.environment
        self.committer = Committer(environment, self.deliver, self.soon)
        self.logs = OpenQueues(directory, QueueCommitter(self.committer, environment))
        self.topics = OpenTopics(directory, clock, others_write=False)
        self.channels = Channels()
        self.channels.attach(self.soon)
        self.queues = Queues(
            self.logs, self.clock, self.soon, self.work, self.alarms.append,
            surroundings=self.surroundings(),
        )  # fmt: skip
        self.vhost = self.queues.vhosts[b"/"]

    def surroundings(self):
        positions = GroupCommitter(self.committer, self.directory.groups)
        return Surroundings(
            self.topics, self.channels, self.work, positions=positions, tell=self.topics.tell
        )

    def soon(self, call):
        if threading.get_ident() == self.here:
            self.turns.soon(call)
        else:
            self.deliver(lambda: self.turns.soon(call))

    def deliver(self, call):
        with self.news:
            self.calls.append(call)
            self.news.notify()

    def work(self, first, second):
        self.busy += 1

        def run():
            found = first()
            self.deliver(lambda: done(found))

        def done(found):
            self.busy -= 1
            second(found)

        worker = threading.Thread(target=run, daemon=True)
        self.workers = [it for it in self.workers if it.is_alive()] + [worker]
        worker.start()

    def turn(self):
        """Run calls from other threads, and end a turn."""
        with self.news:
            calls, self.calls = self.calls, []
        for call in calls:
            call()
        self.turns.over()

    def run(self, until=None):
        """Run turns until nothing is left or unsafe, and ``until()`` is true."""
        for _ in range(100_000):
            self.turn()
            if self.turns.left or self.calls:
                continue
            if (unsafe := self._unsafe()) is not None:
                unsafe.wait(unsafe.end)
                continue
            if not self.busy and not self._keeping() and (until is None or until()):
                return
            with self.news:
                if not self.calls:
                    assert self.news.wait(DEADLINE_S), "nothing comes"
        raise AssertionError("there is no end of it")

    def _keeping(self):
        return any(
            queue.kept is not None
            for vhost in self.queues.vhosts.values()
            for queue in vhost.queues()
        )

    def _unsafe(self):
        lanes = [
            log
            for vhost in self.queues.vhosts.values()
            for queue in vhost.queues()
            for log in queue.logs()
        ]
        topics = [log for topic in self.topics.used() for _, log in topic.opened]
        logs = [*lanes, self.queues._journaling.log, *filter(_is_well, topics)]
        return next((log for log in logs if log.safe < log.end), None)

    def later(self, ms):
        """Let time pass."""
        self.clock.now_ms += ms
        self.queues.tick(self.clock.now_ms)
        self.run()

    # What tests do

    def add_vhost(self, name):
        pending = self.queues.add_vhost(name)
        self.run(until=lambda: pending is None or pending.done)
        assert pending is None or pending.error is None

    def delete_vhost(self, name):
        pending = self.queues.delete_vhost(name)
        self.run(until=lambda: pending.done)
        return pending.error

    def within(self, name):
        """Use this virtual host from now on."""
        self.vhost = self.queues.vhost(name)
        return self

    def declare(
        self, name, owner=None, *, durable=True, exclusive=False, auto_delete=False, **given
    ):
        args = {f"x-{it.replace('_', '-')}": value for it, value in given.items()}
        arguments = arguments_of(args)
        facts = QueueFacts(name, durable, exclusive, auto_delete, arguments)
        queue, pending = self.vhost.declare_queue(facts, owner)
        self.run(until=lambda: pending is None or pending.done)
        assert pending is None or pending.error is None
        return queue

    def exchange(self, name, kind="direct", *, durable=True, **given):
        arguments = arguments_of({it.replace("_", "-"): value for it, value in given.items()})
        facts = ExchangeFacts(name, kind, durable, arguments=arguments)
        pending = self.vhost.declare_exchange(facts)
        self.run(until=lambda: pending is None or pending.done)

    def topic(self, name, partitions=1, **settings):
        return self.topics.create(name, partitions, settings)

    def records(self, name):
        """All records of the topic, by partition."""
        topic = self.topics.topic(name)
        return [
            [record for batch in log.read(log.start, 1 << 30) for record in decode(batch)]
            for log in topic.partitions
        ]

    def bind(self, exchange, queue, key=b""):
        pending = self.vhost.bind(Binding(exchange, queue, key))
        self.run(until=lambda: pending is None or pending.done)

    def message(self, key, body, *, exchange=b"", data=None, **given):
        return Message(exchange, key, props(**given) if data is None else data, body)

    def publish_soon(self, key, *bodies, **given):
        messages = [self.message(key, body, **given) for body in bodies]
        return self.vhost.publish([(self.vhost.route(it), it) for it in messages])

    def publish(self, key, *bodies, **given):
        """Publish, and wait for the confirm."""
        return self._confirmed(self.publish_soon(key, *bodies, **given))

    def publish_each(self, messages, **given):
        """As ``publish``, with a key for each body: ``[(key, body)]``."""
        run = [self.message(key, body, **given) for key, body in messages]
        return self._confirmed(self.vhost.publish([(self.vhost.route(it), it) for it in run]))

    def _confirmed(self, published):
        published.waiting.watch(lambda: self.deliver(lambda: None))
        self.run(until=published.waiting.settled)
        assert published.waiting.failed is None
        return published

    def get(self, name, channel=None, *, no_ack=True):
        found = []
        channel = Channel() if channel is None else channel
        self.vhost.queue(name).get(channel, no_ack, found.append)
        self.run(until=lambda: found)
        return found[0]

    def bodies(self, name):
        """The bodies of all ready messages, which are consumed."""
        found = []
        while (got := self.get(name)) is not None:
            found.append(got.delivery.body)
        return found

    def ready(self, name):
        queue = self.vhost.queue(name)
        known = []
        queue.when_open(lambda: known.append(queue.ready))
        self.run(until=lambda: known)
        return known[0]

    def delete(self, name, **given):
        total, pending = self.vhost.delete_queue(self.vhost.queue(name), **given)
        self.run(until=lambda: pending is None or pending.done)
        return total

    def empty(self):
        """Delete all queues and declared exchanges, for the next test."""
        self.vhost = self.queues.vhosts[b"/"]
        if len(self.vhost.policies):
            gone = self.vhost.set_policies((), list(self.vhost.policies.by_name))
            self.run(until=lambda: gone.done)
        for queue in list(self.vhost.queues()):
            self.vhost.delete_queue(queue)
        for facts in list(self.vhost.topology.exchanges()):
            if not is_predefined(facts.name):
                self.vhost.delete_exchange(facts.name)
        self.run()

    # The end

    def close(self):
        self.run()
        self.queues.close()
        self.committer.close()


def _is_well(log):
    try:
        log.check_failure()
    except LogstoreError:
        return False
    return True


class Commit:
    """A held transaction, put together step by step."""

    def __init__(self, node):
        self.node = node
        self.held = Transaction()
        self.answers = []

    def publish(self, key, *bodies, exchange=b"", **given):
        messages = [Message(exchange, key, props(**given), body) for body in bodies]
        run = [(self.node.vhost.route(it), it) for it in messages]
        return self.node.vhost.publish(run, self.held)

    def ack(self, channel, tag, *, multiple=False):
        unacked = channel.unacked
        for group in unacked.ack_upto(tag) if multiple else [unacked.ack(tag)]:
            self.held.settle(group.queue, group.lane, group.first, group.bits)

    def begin(self):
        self.node.vhost.commit(self.held, self.answers.append)

    def end(self):
        """Commit, and wait for the answer, which is returned."""
        self.begin()
        self.node.run(until=lambda: self.answers)
        (answer,) = self.answers
        return answer


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now_ms = NOW_MS

    def __call__(self):
        return self.now_ms


class Lives:
    """One data directory in one life after the other."""

    node_type = Node

    def __init__(self, path):
        self._opened = Opened(path / "data")
        self.clock = Time()
        self.node = None

    def open(self, disk=None):
        self.node = self.node_type(self._opened.writer(disk, kinds=KINDS_WITH_NOTES), self.clock)
        return self.node

    def close(self):
        self.node.close()
        self._opened.close()

    def again(self):
        self.close()
        return self.open()

    def crash(self):
        """Leave the files as kill -9 would."""
        for worker in self.node.workers:  # a kill ends threads, which nothing here can
            worker.join(DEADLINE_S)
            assert not worker.is_alive()
        self.node.committer.close()
        self._opened.crash()

    def kill(self):
        self.crash()
        return self.open()

    def end(self):
        self.node.committer.close()
        self._opened.close_all()
