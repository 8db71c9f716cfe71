"""The settings of a Kafka 4 broker, with values that fit this node, for tools that read them.

Some are logstore's settings under another name, some follow from the nature of this node, and the
rest have Kafka's default value and no effect.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from logstore.config import Chosen, text_of
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import NODE_ID
from logstore.settings import GROUP_SETTINGS, HOUR_MS, INT32_MAX, TOPIC_PREFIX, declared

BOOLEAN, STRING, INT, SHORT, LONG, DOUBLE, LIST, CLASS, PASSWORD = range(1, 10)  # KIP-569
_KINDS: Final[tuple[tuple[type, int], ...]] = (
    (bool, BOOLEAN),  # before int, which it is too
    (str, STRING),
    (float, DOUBLE),
    (tuple, LIST),
)

FIXED: Final = "fixed"  # a source beside those of Chosen: it follows from what the node is


@dataclass(frozen=True, slots=True)
class BrokerSetting:
    """One setting as clients see it; ``default`` if it has one."""

    name: str
    value: str | None
    kind: int
    source: str
    default: str | None
    reason: str
    sensitive: bool = False


def kind_of(chosen: Chosen) -> int:
    """Kafka's number for the type of a setting."""
    for kind, number in _KINDS:
        if isinstance(chosen.default, kind):
            return number
    field = declared(chosen.name)
    return INT if field.metadata["high"] <= INT32_MAX else LONG


# Kafka's names of the defaults of topic settings.
OF_TOPICS: Final = {
    "compression.gzip.level": "compression.gzip.level",
    "compression.lz4.level": "compression.lz4.level",
    "compression.type": "compression.type",
    "compression.zstd.level": "compression.zstd.level",
    "log.cleaner.delete.retention.ms": "delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms": "max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio": "min.cleanable.dirty.ratio",
    "log.cleaner.min.compaction.lag.ms": "min.compaction.lag.ms",
    "log.cleanup.policy": "cleanup.policy",
    "log.flush.interval.messages": "flush.messages",
    "log.flush.interval.ms": "flush.ms",
    "log.index.interval.bytes": "index.interval.bytes",
    "log.index.size.max.bytes": "segment.index.bytes",
    "log.local.retention.bytes": "local.retention.bytes",
    "log.local.retention.ms": "local.retention.ms",
    "log.message.timestamp.after.max.ms": "message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms": "message.timestamp.before.max.ms",
    "log.message.timestamp.type": "message.timestamp.type",
    "log.preallocate": "preallocate",
    "log.retention.bytes": "retention.bytes",
    "log.retention.ms": "retention.ms",
    "log.roll.jitter.ms": "segment.jitter.ms",
    "log.roll.ms": "segment.ms",
    "log.segment.bytes": "segment.bytes",
    "log.segment.delete.delay.ms": "file.delete.delay.ms",
    "message.max.bytes": "max.message.bytes",
    "min.insync.replicas": "min.insync.replicas",
    "unclean.leader.election.enable": "unclean.leader.election.enable",
}
# Kafka's name of a topic setting's default.
SYNONYMS: Final = {ours: kafkas for kafkas, ours in OF_TOPICS.items()}
# Kafka's names of our settings that differ from ours.
RENAMED: Final = {
    "log.cleaner.dedupe.buffer.size": "compaction.memory.bytes",
    "log.cleaner.io.max.bytes.per.second": "upkeep.bytes.per.second",
    "log.retention.check.interval.ms": "upkeep.interval.ms",
}
# The same settings in other units: the topic setting, and the unit in ms.
IN_UNITS: Final = {
    "log.retention.hours": ("retention.ms", HOUR_MS),
    "log.retention.minutes": ("retention.ms", 60_000),
    "log.roll.hours": ("segment.ms", HOUR_MS),
    "log.roll.jitter.hours": ("segment.jitter.ms", HOUR_MS),
}


def _endpoint(client: KafkaClient) -> str:
    host, port = client.address
    return f"{client.listener}://{f'[{host}]' if ':' in host else host}:{port}"


# Values that follow from the kind of node.
_FACTS: Final[dict[str, tuple[int, Callable[[KafkaClient], str | None]]]] = {
    "advertised.listeners": (STRING, _endpoint),
    "auto.leader.rebalance.enable": (BOOLEAN, lambda _: "true"),
    "broker.id": (INT, lambda _: str(NODE_ID)),
    "default.replication.factor": (INT, lambda _: "1"),
    "delete.topic.enable": (BOOLEAN, lambda _: "true"),
    "group.coordinator.rebalance.protocols": (LIST, lambda _: "classic,consumer,share"),
    "inter.broker.listener.name": (STRING, lambda client: client.listener),
    "listener.security.protocol.map": (STRING, lambda it: f"{it.listener}:{it.listener}"),
    "listeners": (STRING, _endpoint),
    "log.cleaner.enable": (BOOLEAN, lambda _: "true"),
    "log.cleaner.threads": (INT, lambda _: "1"),
    "log.dir": (STRING, lambda client: client.door.path),
    "log.dirs": (STRING, lambda client: client.door.path),
    "metadata.log.dir": (STRING, lambda client: client.door.path),
    "node.id": (INT, lambda _: str(NODE_ID)),
    "num.io.threads": (INT, lambda _: "4"),
    "num.network.threads": (INT, lambda _: "1"),
    "num.recovery.threads.per.data.dir": (INT, lambda _: "1"),
    "offsets.topic.num.partitions": (INT, lambda _: "1"),
    "offsets.topic.replication.factor": (SHORT, lambda _: "1"),
    "process.roles": (LIST, lambda _: "broker,controller"),
    "remote.log.storage.system.enable": (BOOLEAN, lambda _: "false"),
    "sasl.enabled.mechanisms": (LIST, lambda _: ""),
    "share.coordinator.state.topic.replication.factor": (SHORT, lambda _: "1"),
    "transaction.state.log.min.isr": (INT, lambda _: "1"),
    "transaction.state.log.num.partitions": (INT, lambda _: "1"),
    "transaction.state.log.replication.factor": (SHORT, lambda _: "1"),
}
_FACT: Final = "follows from what this node is"


def _bounds() -> Iterator[tuple[str, int]]:
    """Kafka's names for the bounds of share group settings, with their values."""
    for name, field in GROUP_SETTINGS.items():
        for end, bound in (("min", field.metadata["low"]), ("max", field.metadata["high"])):
            if bound is not None:
                yield f"group.share.{end}.{name.removeprefix('share.')}", bound


# Kafka's default, without a meaning here.
_DEFAULTS: Final[dict[str, tuple[int, str | None]]] = {
    "alter.config.policy.class.name": (CLASS, None),
    "authorizer.class.name": (STRING, ""),
    "background.threads": (INT, "10"),
    "broker.heartbeat.interval.ms": (INT, "2000"),
    "broker.rack": (STRING, None),
    "broker.session.timeout.ms": (INT, "9000"),
    "client.quota.callback.class": (CLASS, None),
    "connection.failed.authentication.delay.ms": (INT, "100"),
    "connections.max.reauth.ms": (LONG, "0"),
    "controlled.shutdown.enable": (BOOLEAN, "true"),
    "controller.listener.names": (STRING, None),
    "controller.quorum.bootstrap.servers": (LIST, ""),
    "controller.quorum.voters": (LIST, ""),
    "controller.socket.timeout.ms": (INT, "30000"),
    "create.topic.policy.class.name": (CLASS, None),
    "delegation.token.expiry.time.ms": (LONG, "86400000"),
    "delegation.token.max.lifetime.ms": (LONG, "604800000"),
    "delete.records.purgatory.purge.interval.requests": (INT, "1"),
    "early.start.listeners": (STRING, None),
    "fetch.purgatory.purge.interval.requests": (INT, "1000"),
    "follower.replication.throttled.rate": (LONG, str(2**63 - 1)),
    "leader.imbalance.check.interval.seconds": (LONG, "300"),
    "leader.imbalance.per.broker.percentage": (INT, "10"),
    "leader.replication.throttled.rate": (LONG, str(2**63 - 1)),
    "log.cleaner.backoff.ms": (LONG, "15000"),
    "log.cleaner.io.buffer.load.factor": (DOUBLE, "0.9"),
    "log.cleaner.io.buffer.size": (INT, "524288"),
    "log.flush.offset.checkpoint.interval.ms": (INT, "60000"),
    "log.flush.scheduler.interval.ms": (LONG, str(2**63 - 1)),
    "log.flush.start.offset.checkpoint.interval.ms": (INT, "60000"),
    "max.connection.creation.rate": (INT, str(INT32_MAX)),
    "max.connections.per.ip": (INT, str(INT32_MAX)),
    "max.connections.per.ip.overrides": (STRING, ""),
    "max.incremental.fetch.session.cache.slots": (INT, "1000"),
    "max.request.partition.size.limit": (INT, "2000"),
    "metadata.log.segment.bytes": (INT, "1073741824"),
    "metric.reporters": (LIST, ""),
    "metrics.num.samples": (INT, "2"),
    "metrics.recording.level": (STRING, "INFO"),
    "metrics.sample.window.ms": (LONG, "30000"),
    "num.replica.alter.log.dirs.threads": (INT, None),
    "num.replica.fetchers": (INT, "1"),
    "offsets.commit.timeout.ms": (INT, "5000"),
    "offsets.load.buffer.size": (INT, "5242880"),
    "offsets.retention.check.interval.ms": (LONG, "600000"),
    "offsets.topic.compression.codec": (INT, "0"),
    "offsets.topic.segment.bytes": (INT, "104857600"),
    "principal.builder.class": (CLASS, None),
    "producer.id.expiration.check.interval.ms": (INT, "600000"),
    "producer.purgatory.purge.interval.requests": (INT, "1000"),
    "queued.max.request.bytes": (LONG, "-1"),
    "queued.max.requests": (INT, "500"),
    "quota.window.num": (INT, "11"),
    "quota.window.size.seconds": (INT, "1"),
    "replica.fetch.backoff.ms": (INT, "1000"),
    "replica.fetch.max.bytes": (INT, "1048576"),
    "replica.fetch.min.bytes": (INT, "1"),
    "replica.fetch.response.max.bytes": (INT, "10485760"),
    "replica.fetch.wait.max.ms": (INT, "500"),
    "replica.high.watermark.checkpoint.interval.ms": (LONG, "5000"),
    "replica.lag.time.max.ms": (LONG, "30000"),
    "replica.selector.class": (STRING, None),
    "replica.socket.receive.buffer.bytes": (INT, "65536"),
    "replica.socket.timeout.ms": (INT, "30000"),
    "request.timeout.ms": (INT, "30000"),
    "sasl.mechanism.inter.broker.protocol": (STRING, "GSSAPI"),
    "security.inter.broker.protocol": (STRING, "PLAINTEXT"),
    "socket.connection.setup.timeout.max.ms": (LONG, "30000"),
    "socket.connection.setup.timeout.ms": (LONG, "10000"),
    "socket.listen.backlog.size": (INT, "50"),
    "socket.receive.buffer.bytes": (INT, "102400"),
    "socket.send.buffer.bytes": (INT, "102400"),
    "ssl.client.auth": (STRING, "none"),
    "ssl.enabled.protocols": (LIST, "TLSv1.2,TLSv1.3"),
    "ssl.keystore.location": (STRING, None),
    "ssl.keystore.type": (STRING, "JKS"),
    "ssl.protocol": (STRING, "TLSv1.3"),
    "ssl.truststore.location": (STRING, None),
    "ssl.truststore.type": (STRING, "JKS"),
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": (INT, "10000"),
    "transaction.remove.expired.transaction.cleanup.interval.ms": (INT, "3600000"),
    "transaction.state.log.segment.bytes": (INT, "104857600"),
}
_NO_EFFECT: Final = "Kafka's default; has no effect here"
_PASSWORDS: Final = (
    "delegation.token.secret.key", "sasl.jaas.config", "ssl.key.password", "ssl.keystore.key",
    "ssl.keystore.password", "ssl.truststore.password",
)  # fmt: skip


def described(client: KafkaClient, ours: Sequence[Chosen]) -> list[BrokerSetting]:
    """All settings, each once; a setting under our own name comes first and wins."""
    found: dict[str, BrokerSetting] = {}
    for setting in _every(client, ours):
        found.setdefault(setting.name, setting)
    return list(found.values())


def _every(client: KafkaClient, ours: Sequence[Chosen]) -> Iterator[BrokerSetting]:
    by_name = {it.name: it for it in ours}
    for chosen in ours:
        yield _of(chosen, chosen.name)
    for name, setting in OF_TOPICS.items():
        yield _of(by_name[TOPIC_PREFIX + setting], name)
    for name, setting in RENAMED.items():
        yield _of(by_name[setting], name)
    for name, (setting, unit_ms) in IN_UNITS.items():
        yield _in_units(by_name[TOPIC_PREFIX + setting], name, unit_ms)
    for name, (kind, value) in _FACTS.items():
        yield BrokerSetting(name, value(client), kind, FIXED, None, _FACT)
    for name, bound in _bounds():
        yield BrokerSetting(name, str(bound), INT, FIXED, None, _FACT)
    for name, (kind, default) in _DEFAULTS.items():
        yield BrokerSetting(name, default, kind, "default", default, _NO_EFFECT)
    for name in _PASSWORDS:
        yield BrokerSetting(name, None, PASSWORD, "default", None, _NO_EFFECT, sensitive=True)


def _of(chosen: Chosen, name: str) -> BrokerSetting:
    value, default = text_of(chosen.value), text_of(chosen.default)
    return BrokerSetting(name, value, kind_of(chosen), chosen.source, default, chosen.reason)


def _in_units(chosen: Chosen, name: str, unit_ms: int) -> BrokerSetting:
    def convert(ms: int) -> str:
        return str(min(ms // unit_ms, INT32_MAX)) if ms >= 0 else str(ms)

    value, default = convert(chosen.value), convert(chosen.default)
    return BrokerSetting(name, value, INT, chosen.source, default, chosen.reason)
