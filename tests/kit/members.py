"""One member of a consumer group, whichever client it is made with; also as a process of its own.

``python members.py CLIENT ADDRESS TOPIC GROUP`` tells what it is assigned, each time in a line of
JSON.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

SESSION_MS, HEARTBEAT_MS = 3000, 300
# Server settings with which dead members are noticed soon.
SETTINGS = {
    "group_min_session_timeout_ms": 100,
    "group_consumer_session_timeout_ms": SESSION_MS,
    "group_consumer_heartbeat_interval_ms": HEARTBEAT_MS,
}
DEADLINE_S = 30


class Confluent:
    """librdkafka."""

    conf = (("session.timeout.ms", SESSION_MS), ("heartbeat.interval.ms", HEARTBEAT_MS))

    def __init__(self, address, topic, group, instance=None):
        from confluent_kafka import Consumer

        conf = {
            "bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "log_level": 0, "reconnect.backoff.max.ms": 200,
            "fetch.wait.max.ms": 100, **dict(self.conf),
        }  # fmt: skip
        if instance is not None:
            conf["group.instance.id"] = instance
        self._consumer = Consumer(conf)
        self.errors = []
        self.rebalances = 0
        self._consumer.subscribe([topic], on_assign=self._on_assign)

    def _on_assign(self, _, partitions):
        self.rebalances += 1

    def poll(self):
        """(partition, value) of each record that has arrived."""
        found = self._consumer.consume(100, 0.05)
        self.errors += [it.error().name() for it in found if it.error() is not None]
        return [(it.partition(), it.value()) for it in found if it.error() is None]

    def assigned(self):
        return {it.partition for it in self._consumer.assignment()}

    def commit(self):
        """Commit all polled records."""
        self._consumer.commit(asynchronous=False)

    def close(self):
        self._consumer.close()


class ConfluentCooperative(Confluent):
    conf = (*Confluent.conf, ("partition.assignment.strategy", "cooperative-sticky"))


class ConfluentConsumer(Confluent):
    """KIP-848."""

    conf = (("group.protocol", "consumer"),)


class KafkaPython:
    """In a thread of its own: a poll that ends before a join does begins another join."""

    POLL_MS = 500

    def __init__(self, address, topic, group, instance=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
            from kafka import ConsumerRebalanceListener, KafkaConsumer

        member = self

        class Listener(ConsumerRebalanceListener):
            def on_partitions_revoked(self, revoked):
                member._assigned = set()

            def on_partitions_assigned(self, assigned):
                member.rebalances += 1

        self.rebalances = 0
        self._assigned = set()
        self._consumer = KafkaConsumer(
            bootstrap_servers=address, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=False, session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS, group_instance_id=instance, fetch_max_wait_ms=100,
            reconnect_backoff_max_ms=200,
        )  # fmt: skip
        self._consumer.subscribe([topic], listener=Listener())
        self._found, self._wanted = Queue(), Queue()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        from kafka.errors import KafkaConnectionError

        while True:
            try:
                found = self._consumer.poll(self.POLL_MS)
            except KafkaConnectionError:  # the server is away; a poll that raises had no records
                continue
            for place, them in found.items():
                self._found.put([(place.partition, it.value) for it in them])
            self._assigned = {it.partition for it in self._consumer.assignment()}
            try:
                work, done = self._wanted.get_nowait()
            except Empty:
                continue
            done.put(work())
            if work == self._consumer.close:
                return

    def _do(self, work):
        done = Queue()
        self._wanted.put((work, done))
        done.get(timeout=DEADLINE_S)

    def poll(self):
        try:
            return self._found.get(timeout=0.05)
        except Empty:
            return []

    def assigned(self):
        return self._assigned

    def commit(self):
        self._do(self._consumer.commit)

    def close(self):
        if self._thread.is_alive():
            self._do(self._consumer.close)
            self._thread.join()


class Aiokafka:
    """Its loop runs only while something is asked of it, often enough for its heartbeats."""

    def __init__(self, address, topic, group, instance=None):
        from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener

        member = self

        class Listener(ConsumerRebalanceListener):
            def on_partitions_revoked(self, revoked):
                member._assigned = set()

            def on_partitions_assigned(self, assigned):
                member.rebalances += 1
                member._assigned = {it.partition for it in assigned}

        self.rebalances = 0
        self._assigned = set()  # by the listener: the client's own is there before it is told
        self._loop = asyncio.new_event_loop()

        async def begin():
            consumer = AIOKafkaConsumer(
                bootstrap_servers=address, group_id=group, auto_offset_reset="earliest",
                enable_auto_commit=False, session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=HEARTBEAT_MS, group_instance_id=instance,
                fetch_max_wait_ms=100, retry_backoff_ms=50,
            )  # fmt: skip
            consumer.subscribe([topic], listener=Listener())
            await consumer.start()
            return consumer

        # Its start waits for the first assignment, which takes the others.
        self._starting = self._loop.create_task(begin())
        self._consumer = None

    def _run(self, work):
        return self._loop.run_until_complete(work)

    def poll(self):
        if self._consumer is None:
            self._run(asyncio.wait([self._starting], timeout=0.05))
            if not self._starting.done():
                return []
            self._consumer = self._starting.result()
        found = self._run(self._consumer.getmany(timeout_ms=50))
        return [(place.partition, it.value) for place, them in found.items() for it in them]

    def assigned(self):
        return self._assigned

    def commit(self):
        self._run(self._consumer.commit())

    def close(self):
        if self._loop.is_closed():
            return
        if self._consumer is None:
            self._consumer = self._run(self._starting)
        self._run(self._consumer.stop())
        self._loop.close()


CLIENTS = {
    "confluent": Confluent,
    "confluent-cooperative": ConfluentCooperative,
    "confluent-consumer": ConfluentConsumer,
    "kafka-python": KafkaPython,
    "aiokafka": Aiokafka,
}


class Elsewhere:
    """A member in a process of its own, to be killed."""

    def __init__(self, client, address, topic, group, instance=None):
        words = [client, address, topic, group, *([instance] if instance else [])]
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__), *words], stdout=subprocess.PIPE
        )
        self._told = Queue()
        self._assigned = set()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self):
        for line in self._process.stdout:
            self._told.put(set(json.loads(line)))

    def poll(self):
        with contextlib.suppress(Empty):
            self._assigned = self._told.get(timeout=0.01)
        return []

    def assigned(self):
        return self._assigned

    def close(self):
        """End the process by SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()


def polled(members, until, take=lambda records: None):
    """Poll all members in turn until ``until()``; ``take`` is called with their records."""
    deadline = time.monotonic() + DEADLINE_S
    while not until():
        states = [sorted(it.assigned()) for it in members]
        assert time.monotonic() < deadline, f"in vain; assigned: {states}"
        for member in members:
            take(member.poll())


def shared(members, count):
    """Whether each member has partitions, and each partition one owner."""
    parts = [it.assigned() for it in members]
    return all(parts) and sorted(n for part in parts for n in part) == list(range(count))


def _main(client, *words):
    member = CLIENTS[client](*words)
    told = None
    while True:
        member.poll()
        if (now := sorted(member.assigned())) != told:
            print(json.dumps(now), flush=True)
            told = now


if __name__ == "__main__":
    _main(*sys.argv[1:])
