"""Three real Kafka brokers on loopback, which are killed, frozen and cut off by what they do.

Each is a controller, too. Between them and a client that comes by ``proxied`` stands a proxy each
(``tcp_proxy.py``); who comes by ``address`` speaks to them directly. All is asked for, and nothing
is slept for: a broker that comes back is back when it says itself that it is in sync.
"""

import random
import secrets
import signal
import socket
import subprocess
from base64 import urlsafe_b64encode

import pytest
from kafka_broker import KafkaBroker
from tcp_proxy import Proxies
from waiting import until

from bench.harness import NotHere
from bench.kafka.jars import jars
from logstore.kafka.messages import incremental_alter_configs

COUNT = 3
ALTER_CONFIGS = 44
BROKERS = 4  # whose settings these are
SET, DELETE = 0, 1
PORTS = range(20_000, 32_000)  # below ephemeral ports: a broker comes back to its own
BROKER_SESSION_MS = 3000
# Settings as in a cluster of three; few partitions in Kafka's own topics, and small buffers.
PROPERTIES = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "DIRECT",
    "listener.security.protocol.map":
        "DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "offsets.topic.replication.factor": 3,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
    "share.coordinator.state.topic.num.partitions": 1,
    # A dead broker is missed after 3 s, where the default is 9.
    "broker.session.timeout.ms": BROKER_SESSION_MS,
    "broker.heartbeat.interval.ms": 500,
    # Groups of nodes may miss a member after 6 s, where the default allows no less than 45.
    "group.consumer.min.session.timeout.ms": 6000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.initial.rebalance.delay.ms": 0,
    # A client that names its rack reads from that rack.
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    # Events for which tests wait come soon.
    "producer.id.expiration.check.interval.ms": 500,
    "log.retention.check.interval.ms": 500,
    "log.cleaner.backoff.ms": 200,
    "log.segment.delete.delay.ms": 1000,
    "log.index.size.max.bytes": 1 << 20,
    "log.cleaner.dedupe.buffer.size": 4 << 20,
    "num.network.threads": 2,
    "num.io.threads": 4,
}  # fmt: skip


def classes():
    """Kafka's classpath; skips the test if it is not available."""
    try:
        return f"{jars()}/*"
    except NotHere as lacking:
        pytest.skip(str(lacking))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"Maven can't fetch Kafka's jars here: {error}")


def _free_ports(count):
    found = set()
    while len(found) < count:
        port = random.choice(PORTS)
        with socket.socket() as it:
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                it.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return list(found)


class KafkaCluster:
    """All of them run when it is made. ``address``: for Kafka clients."""

    def __init__(self, folder, **properties):
        """``properties``: of brokers, with ``_`` for dots."""
        found = classes()
        given = {key.replace("_", "."): it for key, it in properties.items()}
        ports = _free_ports(3 * COUNT)
        direct, proxied, controllers = (ports[it * COUNT : it * COUNT + COUNT] for it in range(3))
        self.proxies = Proxies([("127.0.0.1", it) for it in proxied])
        voters = ",".join(f"{n + 1}@127.0.0.1:{port}" for n, port in enumerate(controllers))
        self.brokers = {
            n + 1: KafkaBroker(
                n + 1, folder / f"broker-{n + 1}", found, ("127.0.0.1", direct[n]),
                {
                    **PROPERTIES, **given, "node.id": n + 1, "broker.rack": f"rack-{n + 1}",
                    "controller.quorum.voters": voters,
                    "listeners": f"DIRECT://127.0.0.1:{direct[n]},"
                    f"PROXIED://127.0.0.1:{proxied[n]},CONTROLLER://127.0.0.1:{controllers[n]}",
                    "advertised.listeners": f"DIRECT://127.0.0.1:{direct[n]},"
                    f"PROXIED://127.0.0.1:{self.proxies[n].port}",
                },
            )
            for n in range(COUNT)
        }  # fmt: skip
        self.endpoints = [it.endpoint for it in self.brokers.values()]
        self.address = ",".join(f"{host}:{port}" for host, port in self.endpoints)
        self.proxied = [("127.0.0.1", it.port) for it in self.proxies]
        first, *others = self.brokers.values()
        cluster_id = urlsafe_b64encode(b"\0logstore" + secrets.token_bytes(7)).decode().rstrip("=")
        try:
            first.format(cluster_id)
            for it in others:
                it.format_as(first)
            self.start()
        except BaseException:
            self.close()
            raise

    def proxy(self, number):
        """The proxy in front of a broker."""
        return self.proxies[number - 1]

    # Who has which part

    def any(self):
        """A running broker."""
        return next(it for it in self.brokers.values() if it.runs and not it.stopped)

    def partition(self, topic, partition=0):
        """The partition in a running broker's metadata; None if unknown or without a leader."""
        [seen] = self.any().metadata(topic).topics
        return next(
            (it for it in seen.partitions if it.partition_index == partition and it.leader_id > 0),
            None,
        )

    def leader(self, topic, partition=0):
        until(lambda: self.partition(topic, partition) is not None)
        return self.brokers[self.partition(topic, partition).leader_id]

    def follower(self, topic, partition=0):
        """A follower that is not the controller."""
        others = {self.leader(topic, partition), self.controller()}
        return next(it for it in self.brokers.values() if it.runs and it not in others)

    def controller(self):
        """The active controller."""
        return self._asked(lambda it: it.controller())

    def group_coordinator(self, group):
        return self._asked(lambda it: it.coordinator(group))

    def _asked(self, which):
        """The running broker that a running broker names, once it does."""
        found = []

        def look():
            number = which(self.any())
            known = self.brokers.get(number)
            found[:] = [known] if known is not None and known.runs and not known.stopped else []

        look()
        until(lambda: found, look)
        return found[0]

    def alter(self, setting, text):
        """Change a setting of all brokers without a restart; None resets it."""
        its = incremental_alter_configs
        change = its.AlterableConfig(setting, SET if text else DELETE, text)
        request = its.Request([its.AlterConfigsResource(BROKERS, "", [change])], False)
        answer = self.any().ask(ALTER_CONFIGS, 1, request, its.Response)
        assert answer.responses[0].error_code == 0, answer

    # Ends and beginnings

    def start(self):
        """Start all stopped brokers; returns once all are in sync."""
        for it in self.brokers.values():
            if not it.runs:
                it.start()
        self.wait_in_sync()

    def wait_in_sync(self):
        """Wait until every broker reports all brokers present and in sync."""
        for it in self.brokers.values():
            it.wait_until_it_answers(self._in_sync)

    def _in_sync(self, answer):
        return len(answer.brokers) == COUNT and all(
            part.leader_id > 0 and len(part.isr_nodes) == len(part.replica_nodes)
            for it in answer.topics
            for part in it.partitions
        )

    def wait_out_of_sync(self, number, topic, partition=0):
        """Wait until the others continue without this broker."""

        def gone():
            found = self.partition(topic, partition)
            return found is not None and number not in found.isr_nodes

        until(gone)

    def restart(self):
        """Restart all brokers cleanly."""
        self.stop()
        self.start()

    def stop(self):
        """Stop all brokers cleanly."""
        for it in self.brokers.values():
            if it.runs:
                it.process.send_signal(signal.SIGTERM)
        for it in self.brokers.values():
            if it.runs:
                it.signal(signal.SIGTERM)

    def kill(self):
        """Kill all brokers at once."""
        for it in self.brokers.values():
            it.process.send_signal(signal.SIGKILL)
        for it in self.brokers.values():
            it.kill()

    def heal(self):
        """Undo all faults: every broker runs, is in sync, and can be reached."""
        self.proxies.heal()
        for it in self.brokers.values():
            if it.runs and it.stopped:
                it.signal(signal.SIGCONT)
        self.start()

    def close(self):
        """Kill all brokers and close the proxies."""
        for it in self.brokers.values():
            it.kill()
        self.proxies.close()
