"""Every setting, declared once: name, type, unit, default, bounds, reason.

``TopicSettings`` belong to a topic and carry Kafka's names (``segment.bytes`` is the field
``segment_bytes``), ``GroupSettings`` to a group of consumers. ``StoreSettings`` belong to the
process. ``config.py`` finds their values.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

FOREVER = 2**63 - 1  # Kafka's "no limit" for 64-bit settings
INT32_MAX = 2**31 - 1
NEVER_S = 2**32 - 1  # MQTT's session expiry interval that never passes
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TOPIC_PREFIX = "topic."
GROUP_PREFIX = "group."
# Where a share group begins: Kafka's words, or so long ago, as ISO 8601 has it.
STARTS_AT = (
    r"latest|earliest|by_duration:P(?=\dT?|T\d)(\d{1,7}D)?"
    r"(T(?=\d)(\d{1,9}H)?(\d{1,9}M)?(\d{1,9}(\.\d{1,9})?S)?)?"
)
THROTTLED = r"\*|[0-9]{1,10}:[0-9]{1,10}"  # partition:node, or all of them

LOG_LEVELS = ("debug", "info", "warning", "error")
# The loggers below "logstore" in a server's log: the doors, and what is behind them.
LOG_PARTS = (
    "access", "aio", "amqp", "audit", "budget", "certificates", "channels", "cluster", "committer",
    "config", "consumer", "deduplication", "delivery", "groups", "http", "kafka", "keys", "mqtt",
    "node", "queues", "reading", "resp", "server", "shares", "slices", "stomp", "storage",
    "supervisor", "tls", "transactions", "turn", "upkeep",
)  # fmt: skip
PART_LEVEL = rf"({'|'.join(LOG_PARTS)})=({'|'.join(LOG_LEVELS)})"


def _setting(
    default: Any,  # noqa: ANN401  one declaration serves numbers, flags, words and word lists
    reason: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    words: tuple[str, ...] = (),
    empty: bool = False,  # a list of words may hold none
    names: bool = False,  # a list of any names
    pattern: str = r".+",  # of a text without words of its own, or of each name in a list
    shape: str = "names",  # of each name in a list, in words
    besides: tuple[int, ...] = (),  # numbers between low and high that are not taken
    path: bool = False,  # a text that names a file
) -> Any:  # noqa: ANN401
    facts = {
        "reason": reason, "unit": unit, "low": low, "high": high, "words": words, "names": names,
        "pattern": pattern, "shape": shape, "besides": besides,
        "empty": empty, "path": path,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """A topic's settings, with Kafka's names, units and defaults unless the reason says why not."""

    cleanup_policy: tuple[str, ...] = _setting(
        ("delete",),
        "removal of old records: delete removes old segments, compact keeps the latest record"
        " of each key; both or neither may be set; a topic with compact refuses records without"
        " a key",
        words=("delete", "compact"),
        empty=True,
    )
    compression_gzip_level: int = _setting(
        -1,
        "compression level of gzip for batches that are compressed here (KIP-390); -1: gzip's"
        " own default",
        low=-1,
        high=9,
        besides=(0,),
    )
    compression_lz4_level: int = _setting(
        9,
        "compression level of lz4 for batches that are compressed here (KIP-390); 9, Kafka's"
        " default, selects the fast compressor, every other level the slow one",
        low=1,
        high=17,
    )
    compression_sealed: str = _setting(
        "producer",
        "codec with which upkeep rewrites sealed segments, in larger batches; 'producer' leaves"
        " sealed segments unchanged",
        words=("producer", "zstd"),
    )
    compression_type: str = _setting(
        "producer",
        "codec of stored batches; 'producer' keeps the codec that the producer chose",
        words=("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
    )
    compression_zstd_level: int = _setting(
        3,
        "compression level of zstd for batches that are compressed here (KIP-390)",
        low=-131_072,
        high=22,
    )
    deduplication_header: str = _setting(
        "",
        "header that holds a record's id; a record whose id was seen within"
        " deduplication.window.ms is acknowledged but not stored; empty: no deduplication",
        pattern=r".{1,255}",
    )
    deduplication_window_ms: int = _setting(
        10 * 60_000,
        "time for which the id of a record is remembered, by the timestamps of records",
        unit="ms",
        low=1,
        high=FOREVER,
    )
    delete_retention_ms: int = _setting(
        DAY_MS,
        "time for which compaction keeps tombstones, and markers of transactions without"
        " remaining records",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    delivery_schedule: bool = _setting(
        False,
        "create a topic NAME.delayed, whose records are moved to this topic at the time in"
        " their header x-delay or x-deliver-at; has no effect as a default for all topics",
    )
    errors_deadletterqueue_group_enable: bool = _setting(
        False, "allow share groups to use this topic for their dead letters (KIP-1191)"
    )
    file_delete_delay_ms: int = _setting(
        60_000,
        "accepted for compatibility, has no effect: files are removed immediately; open readers"
        " are unaffected",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    flush_messages: int = _setting(
        1,
        "number of records after which the log is synced; 1 (Kafka's default is never) syncs"
        " every record before it is acknowledged; a larger number trades safety for speed",
        unit="records",
        low=1,
        high=FOREVER,
    )
    flush_ms: int = _setting(
        FOREVER,
        "longest time from a write to its sync; has an effect only if flush.messages is larger"
        " than 1",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    follower_replication_throttled_replicas: tuple[str, ...] = _setting(
        (),
        "accepted for compatibility, has no effect: there are no replicas",
        names=True,
        pattern=THROTTLED,
        shape="partition:node, or *",
    )
    index_interval_bytes: int = _setting(
        4096, "bytes of the log between two index entries", unit="bytes", low=0, high=INT32_MAX
    )
    leader_replication_throttled_replicas: tuple[str, ...] = _setting(
        (),
        "accepted for compatibility, has no effect: there are no replicas",
        names=True,
        pattern=THROTTLED,
        shape="partition:node, or *",
    )
    local_retention_bytes: int = _setting(
        -2,
        "accepted for compatibility, has no effect: all segments are local",
        unit="bytes",
        low=-2,
        high=FOREVER,
    )
    local_retention_ms: int = _setting(
        -2,
        "accepted for compatibility, has no effect: all segments are local",
        unit="ms",
        low=-2,
        high=FOREVER,
    )
    max_compaction_lag_ms: int = _setting(
        FOREVER, "longest time until a record is compacted", unit="ms", low=1, high=FOREVER
    )
    max_message_bytes: int = _setting(
        1_048_588,
        "size of the largest record batch, after compression",
        unit="bytes",
        low=0,
        high=INT32_MAX,
    )
    message_timestamp_after_max_ms: int = _setting(
        HOUR_MS,
        "longest time by which a record's timestamp may lie in the future",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    message_timestamp_before_max_ms: int = _setting(
        FOREVER,
        "longest time by which a record's timestamp may lie in the past",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    message_timestamp_type: str = _setting(
        "CreateTime",
        "timestamp of a record: the producer's (CreateTime) or the time of the append"
        " (LogAppendTime)",
        words=("CreateTime", "LogAppendTime"),
    )
    min_cleanable_dirty_ratio: float = _setting(
        0.5,
        "smallest share of the log that is not compacted yet at which compaction starts",
        low=0,
        high=1,
    )
    min_compaction_lag_ms: int = _setting(
        0, "shortest time for which a record stays uncompacted", unit="ms", low=0, high=FOREVER
    )
    min_insync_replicas: int = _setting(
        1,
        "must be 1: there is one copy of each record, which is synced before it is acknowledged",
        low=1,
        high=1,
    )
    preallocate: bool = _setting(
        False,
        "write zeros ahead of every append, not only of small synced appends; doubles the bytes"
        " written",
    )
    remote_log_copy_disable: bool = _setting(
        False, "accepted for compatibility, has no effect: there is no remote storage"
    )
    remote_log_delete_on_disable: bool = _setting(
        False, "accepted for compatibility, has no effect: there is no remote storage"
    )
    remote_storage_enable: bool = _setting(
        False, "must be false: there is no remote storage", words=("false",)
    )
    retention_bytes: int = _setting(
        -1, "size of a partition above which its oldest segments are deleted; -1: no limit",
        unit="bytes", low=-1,
        high=FOREVER,
    )  # fmt: skip
    retention_groups: tuple[str, ...] = _setting(
        (),
        "consumer groups that must have read a segment before retention deletes it",
        names=True,
    )
    retention_groups_max_ms: int = _setting(
        30 * DAY_MS,
        "longest time for which retention waits for the groups of retention.groups; -1: no limit",
        unit="ms",
        low=-1,
        high=FOREVER,
    )
    retention_ms: int = _setting(
        7 * DAY_MS,
        "age at which a segment is deleted, counted from its largest timestamp or its last"
        " write, whichever is later; -1: no limit",
        unit="ms",
        low=-1,
        high=FOREVER,
    )
    segment_bytes: int = _setting(
        1 << 30, "size at which a new segment is started", unit="bytes", low=14, high=INT32_MAX
    )
    segment_index_bytes: int = _setting(
        10 << 20,
        "size of an index file at which a new segment is started",
        unit="bytes",
        low=12,
        high=INT32_MAX,
    )
    segment_jitter_ms: int = _setting(
        0,
        "accepted for compatibility, has no effect: a new segment is started by an append, not"
        " in all logs at one time",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    segment_ms: int = _setting(
        7 * DAY_MS,
        "time from a segment's first batch after which a new segment is started",
        unit="ms",
        low=1,
        high=FOREVER,
    )
    unclean_leader_election_enable: bool = _setting(
        False, "accepted for compatibility, has no effect: the one node leads every partition"
    )


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """Channels with matching names keep a history: ``[[channel]]`` in the file."""

    pattern: str
    history_ms: int


@dataclass(frozen=True, slots=True)
class KeysRule:
    """How durable changes of matching Redis keys are: ``[[keys]]`` in the file."""

    pattern: str
    sync: str  # one of KEYS_SYNC


KEYS_SYNC = ("turn", "everysec", "none")
# Which keys go where there is no room for all, in Redis's words.
KEYS_POLICIES = (
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru",
    "allkeys-lfu", "allkeys-random", "noeviction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MqttRule:
    """MQTT topics that match a filter are also records of a topic: ``[[mqtt]]`` in the file."""

    pattern: str  # a topic filter
    topic: str


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """A group's settings, with Kafka's names, units, bounds and defaults.

    All of them concern share groups (KIP-932).
    """

    errors_deadletterqueue_copy_record_enable: bool = _setting(
        False,
        "copy the key, the value and the headers of a record into its dead letter",
    )
    errors_deadletterqueue_topic_name: str = _setting(
        "",
        "topic that receives a dead letter for each record that a member rejects, or that was"
        " delivered too often (KIP-1191); the topic must allow it by"
        " errors.deadletterqueue.group.enable",
        pattern=r"[a-zA-Z0-9._-]{1,249}",
    )
    share_auto_offset_reset: str = _setting(
        "latest",
        "place where a share group begins in a partition: latest, earliest, or"
        " by_duration:PnDTnHnMn.nS, which is that long before the group is started",
        pattern=STARTS_AT,
    )
    share_delivery_count_limit: int = _setting(
        5,
        "number of times that a record is delivered to a share group",
        unit="deliveries",
        low=2,
        high=10,
    )
    share_heartbeat_interval_ms: int = _setting(
        5000,
        "interval at which a member of a share group is told to send heartbeats",
        unit="ms",
        low=5000,
        high=15_000,
    )
    share_isolation_level: str = _setting(
        "read_uncommitted",
        "isolation of a share group; with read_committed the group receives no records of open"
        " or aborted transactions",
        words=("read_uncommitted", "read_committed"),
    )
    share_partition_max_record_locks: int = _setting(
        2000,
        "number of records of one partition that members of a share group may hold at one time",
        unit="records",
        low=100,
        high=4000,
    )
    share_record_lock_duration_ms: int = _setting(
        30_000,
        "time for which a member of a share group may hold a record without acknowledging it",
        unit="ms",
        low=15_000,
        high=60_000,
    )
    share_renew_acknowledge_enable: bool = _setting(
        True, "allow members of a share group to ask for more time for a record (KIP-1222)"
    )
    share_session_timeout_ms: int = _setting(
        45_000,
        "time without a heartbeat after which a member is removed from a share group",
        unit="ms",
        low=45_000,
        high=60_000,
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The settings of the store and its process."""

    num_partitions: int = _setting(
        1, "number of partitions of a topic that is created without one", low=1, high=100_000
    )
    partitions_max: int = _setting(
        100_000,
        "maximum number of partitions of all topics together; further partitions are refused",
        unit="partitions",
        low=1,
        high=10_000_000,
    )
    files_open_max: int = _setting(
        256,
        "maximum number of open segment files; the least recently used files are closed",
        unit="files",
        low=16,
        high=1_000_000,
    )
    recovery_bytes: int = _setting(
        64 << 20,
        "synced bytes after which a log's recovery point moves, which limits the work after a"
        " crash",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    consumer_commit_ms: int = _setting(
        5000,
        "interval at which a consumer in a group commits its offsets",
        unit="ms",
        low=10,
        high=DAY_MS,
    )
    consumer_session_timeout_ms: int = _setting(
        10_000,
        "time for which a consumer in this directory that hangs keeps its partitions from the"
        " rest of its group; a consumer whose process has died loses its partitions at once",
        unit="ms",
        low=100,
        high=DAY_MS,
    )
    consumer_rebalance_timeout_ms: int = _setting(
        300_000,
        "time for which a consumer in this directory may work on a record of a partition that"
        " it must give up; after that the consumer is removed from its group",
        unit="ms",
        low=100,
        high=DAY_MS,
    )
    group_min_session_timeout_ms: int = _setting(
        6000, "shortest session timeout that a client may ask for", unit="ms", low=1, high=DAY_MS
    )
    group_max_session_timeout_ms: int = _setting(
        1_800_000, "longest session timeout that a client may ask for", unit="ms", low=1,
        high=DAY_MS,
    )  # fmt: skip
    group_initial_rebalance_delay_ms: int = _setting(
        0,
        "time for which the first rebalance of an empty group waits for more members; Kafka's"
        " default is 3000, and 0 in its shipped configuration",
        unit="ms",
        low=0,
        high=HOUR_MS,
    )
    group_max_size: int = _setting(
        10_000, "maximum number of members of one group", unit="members", low=1, high=1_000_000
    )
    group_max_count: int = _setting(
        100_000,
        "maximum number of groups with members in one server",
        unit="groups",
        low=1,
        high=10_000_000,
    )
    group_metadata_max_bytes: int = _setting(
        1 << 20,
        "maximum size of the data that one member sends: protocols, metadata, assignment, names"
        " of topics",
        unit="bytes",
        low=1 << 10,
        high=1 << 30,
    )
    group_consumer_session_timeout_ms: int = _setting(
        45_000,
        "time without a heartbeat after which a member that uses the new protocol (KIP-848) is"
        " removed from its group",
        unit="ms",
        low=1,
        high=DAY_MS,
    )
    group_consumer_heartbeat_interval_ms: int = _setting(
        5000,
        "interval at which a member that uses the new protocol is told to send heartbeats",
        unit="ms",
        low=1,
        high=DAY_MS,
    )
    group_consumer_assignors: tuple[str, ...] = _setting(
        ("uniform", "range"),
        "assignors of the new protocol; the first is used for members that ask for none",
        words=("uniform", "range"),
    )
    group_consumer_migration_policy: str = _setting(
        "bidirectional",
        "migration of groups with members between protocols: from the classic protocol to the"
        " new one (upgrade), back (downgrade), both ways (bidirectional), or none (disabled)",
        words=("bidirectional", "upgrade", "downgrade", "disabled"),
    )
    errors_deadletterqueue_topic_name_prefix: str = _setting(
        "dlq.",
        "prefix that a topic's name must have if share groups use the topic for dead letters;"
        " empty: any name",
        pattern=r"[a-zA-Z0-9._-]{1,249}",
    )
    group_share_max_size: int = _setting(
        200, "maximum number of members of one share group", unit="members", low=1, high=1000
    )
    offset_metadata_max_bytes: int = _setting(
        4096,
        "maximum size of the metadata of a committed offset",
        unit="bytes",
        low=0,
        high=1 << 20,
    )
    offsets_retention_minutes: int = _setting(
        7 * 24 * 60,
        "time for which offsets are kept after their group becomes empty, or after each commit"
        " if the group never had members; -1: forever",
        unit="minutes",
        low=-1,
        high=INT32_MAX,
    )
    compaction_memory_bytes: int = _setting(
        64 << 20,
        "memory for the keys of one compaction pass; more keys need more passes",
        unit="bytes",
        low=1 << 10,
        high=1 << 40,
    )
    deduplication_memory_bytes: int = _setting(
        64 << 20,
        "memory for ids that topics, queues and exchanges remember for deduplication; the"
        " oldest ids are forgotten when the memory is full",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    upkeep_interval_ms: int = _setting(
        300_000,
        "interval at which a process that writes the store runs retention, compaction and"
        " recompression; -1: never",
        unit="ms",
        low=-1,
        high=DAY_MS,
    )
    log_cleaner_backoff_ms: int = _setting(
        15_000,
        "interval at which logs are checked for enough uncompacted records; has no effect if"
        " upkeep.interval.ms is -1",
        unit="ms",
        low=1,
        high=DAY_MS,
    )
    upkeep_bytes_per_second: int = _setting(
        32 << 20,
        "maximum rate at which upkeep reads and writes, so that producers and consumers are"
        " hardly slowed down; -1: no limit",
        unit="bytes/s",
        low=-1,
        high=1 << 40,
    )
    reader_poll_ms: int = _setting(
        10,
        "interval at which a reader looks for records that another process has synced",
        unit="ms",
        low=1,
        high=1000,
    )
    producer_id_expiration_ms: int = _setting(
        DAY_MS,
        "time for which a partition remembers an idempotent producer that sends nothing",
        unit="ms",
        low=1,
        high=INT32_MAX,
    )
    transaction_max_timeout_ms: int = _setting(
        900_000,
        "longest transaction.timeout.ms that a Kafka client may ask for; a transaction that is"
        " left open blocks readers of committed records for up to this time",
        unit="ms",
        low=1,
        high=INT32_MAX,
    )
    transactional_id_expiration_ms: int = _setting(
        7 * DAY_MS,
        "time for which an unused transactional id is remembered",
        unit="ms",
        low=1,
        high=INT32_MAX,
    )
    listen_host: str = _setting(
        "127.0.0.1",
        "address on which the server listens for clients; an address that other machines can"
        " reach is refused while the store has no users",
    )
    listen_insecure: bool = _setting(
        False,
        "allow a non-loopback listen.host although the store has no users: every client that"
        " reaches the address may do everything; has no effect if there are users",
    )
    log_format: str = _setting(
        "text", "form of a server's log: text for people, or one JSON object per line",
        words=("text", "json"),
    )  # fmt: skip
    log_level: str = _setting(
        "warning", "least important level that a server writes to its log",
        words=LOG_LEVELS,
    )  # fmt: skip
    log_levels: tuple[str, ...] = _setting(
        (),
        "log.level of single parts of the server; kafka=info, for example, logs connections of"
        " Kafka clients",
        names=True,
        pattern=PART_LEVEL,
        shape=f"part=level, where a part is one of {', '.join(LOG_PARTS)}, and a level "
        f"{', '.join(LOG_LEVELS)}",
    )
    metrics_per_object: bool = _setting(
        False,
        "show each queue and connection separately in /metrics, as RabbitMQ's"
        " prometheus.return_per_object_metrics does; otherwise /metrics shows sums, and"
        " /metrics/per-object shows each of them",
    )
    metrics_objects_max: int = _setting(
        2000,
        "maximum number of topics, of partitions, and of partitions with offsets of groups that"
        " /metrics shows separately; if there are more of a kind, it shows none of them; the"
        " maximum of /metrics/per-object is 100000",
        unit="objects",
        low=0,
        high=1_000_000,
    )
    queue_segment_bytes: int = _setting(
        64 << 20, "size at which a queue starts a new segment", unit="bytes", low=1 << 20,
        high=INT32_MAX,
    )  # fmt: skip
    queue_retention_ms: int = _setting(
        HOUR_MS,
        "time for which settled messages of a queue stay readable, by their timestamps; the"
        " argument x-retention-ms sets it for one queue; 0: settled messages are removed at"
        " once",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    queue_retention_bytes: int = _setting(
        1 << 30,
        "maximum size of the settled messages that one queue keeps, the newest ones; the"
        " argument x-retention-bytes sets it for one queue; -1: no limit",
        unit="bytes",
        low=-1,
        high=FOREVER,
    )
    queue_topics_listed: bool = _setting(
        False,
        "include the topics __queue.NAME, by which Kafka clients read queues, in lists of"
        " topics; clients can use them by name in any case",
    )
    queue_ack_sync_ms: int = _setting(
        100, "longest time until acknowledgements of queued messages are synced",
        unit="ms", low=0, high=60_000,
    )  # fmt: skip
    queue_disk_free_bytes: int = _setting(
        50_000_000,
        "free disk space below which RabbitMQ clients may consume but not publish; 0: no limit",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    tls_cert: str = _setting(
        "",
        "file with the server's certificate and the certificates of its signers, in PEM;"
        " relative to the data directory; without a certificate the server accepts no TLS"
        " connections",
        path=True,
    )
    tls_key: str = _setting(
        "",
        "file with the private key of tls.cert, not encrypted; defaults to tls.cert, which then"
        " holds the key, too",
        path=True,
    )
    tls_client_ca: str = _setting(
        "",
        "file with the certificates of authorities that sign clients' certificates; without"
        " this file clients are not asked for a certificate",
        path=True,
    )
    tls_client_auth: str = _setting(
        "optional",
        "treatment of a client without a certificate if tls.client.ca is set: the client logs"
        " in as it does without TLS (optional), or is refused (required)",
        words=("optional", "required"),
    )
    tls_client_user_rules: str = _setting(
        "DEFAULT",
        "rules that give the user of a client's certificate, separated by commas: the first"
        " rule that matches applies, RULE:pattern/replacement/ or DEFAULT, as in Kafka's"
        " ssl.principal.mapping.rules; DEFAULT is the whole subject, such as CN=al,O=acme",
    )
    kafka_port: int = _setting(
        9092, "port for Kafka clients; 0: any free port, -1: none", low=-1,
        high=65_535,
    )  # fmt: skip
    kafka_tls_port: int = _setting(
        9093,
        "port for Kafka clients with TLS, if tls.cert is set; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    resp_port: int = _setting(
        6379, "port for Redis clients; 0: any free port, -1: none", low=-1,
        high=65_535,
    )  # fmt: skip
    resp_tls_port: int = _setting(
        6380,
        "port for Redis clients with TLS, if tls.cert is set; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    resp_maxclients: int = _setting(
        10_000,
        "maximum number of Redis connections; further clients receive Redis's own error",
        low=1,
        high=1_000_000,
    )
    resp_proto_max_bulk_len: int = _setting(
        512 << 20,
        "maximum size of a message or other argument of a Redis client; a larger one closes the"
        " connection",
        unit="bytes",
        low=1 << 20,
        high=1 << 30,
    )
    resp_max_value_size: int = _setting(
        16 << 20,
        "maximum size of a stored key, string or element of a collection; a larger one is refused",
        unit="bytes",
        low=1 << 20,
        high=64 << 20,
    )
    resp_client_output_buffer_limit: str = _setting(
        "32mb 8mb 60",
        "limits of unread bytes for a subscriber, as HARD SOFT SECONDS: the connection is"
        " closed at HARD bytes at once, and at SOFT bytes after SECONDS; 0: no limit",
        pattern=r"\d{1,15}([kmg]?b?)? \d{1,15}([kmg]?b?)? \d{1,9}",
    )
    resp_appendfsync: str = _setting(
        "always",
        "time of the reply to a change of a key, unless a [[keys]] rule applies: after the sync"
        " (always), or at once with a sync within a second (everysec)",
        words=("always", "everysec"),
    )
    resp_maxmemory_bytes: int = _setting(
        0,
        "approximate maximum memory of keys and values; 0: no limit",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    resp_maxmemory_policy: str = _setting(
        "noeviction",
        "keys that are removed when resp.maxmemory.bytes is reached; noeviction removes none"
        " and refuses commands that need more memory",
        words=KEYS_POLICIES,
    )
    resp_notify_keyspace_events: str = _setting(
        "",
        "changes of keys that are published on __keyspace@N__:KEY and __keyevent@N__:EVENT, in"
        " Redis's letters, such as KEA; empty: none",
        pattern=r"[Ag$lshzxeKEtdmn]*",
    )
    amqp_port: int = _setting(
        5672, "port for RabbitMQ clients; 0: any free port, -1: none", low=-1,
        high=65_535,
    )  # fmt: skip
    amqp_tls_port: int = _setting(
        5671,
        "port for RabbitMQ clients with TLS, if tls.cert is set; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    amqp_server_version: str = _setting(
        "3.13.7",
        "version of RabbitMQ that clients are told; some clients behave differently by version",
        pattern=r"\d{1,4}\.\d{1,4}\.\d{1,4}",
    )
    amqp_max_message_size: int = _setting(
        16 << 20, "maximum size of a message of a RabbitMQ client; a larger one closes the channel",
        unit="bytes",
        low=1 << 10, high=512 << 20,
    )  # fmt: skip
    mqtt_port: int = _setting(
        1883, "port for MQTT clients; 0: any free port, -1: none", low=-1, high=65_535
    )
    mqtt_tls_port: int = _setting(
        8883,
        "port for MQTT clients with TLS, if tls.cert is set; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    mqtt_max_packet_size: int = _setting(
        16 << 20, "maximum size of a packet of an MQTT client; a larger one closes the connection",
        unit="bytes",
        low=1 << 10, high=(256 << 20) + 4,
    )  # fmt: skip
    mqtt_receive_maximum: int = _setting(
        100,
        "maximum number of unacknowledged messages of an MQTT 3.1.1 client; MQTT 5 clients set"
        " their own maximum",
        unit="messages",
        low=1,
        high=65_535,
    )
    mqtt_slow_bytes: int = _setting(
        8 << 20,
        "unsent bytes for one MQTT client above which its QoS 0 messages are dropped",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    mqtt_retained_bytes: int = _setting(
        1 << 30,
        "memory for retained messages; each takes about 100 bytes besides topic and payload,"
        " and long payloads stay on disk; no further topic keeps a retained message when the"
        " memory is full; limited to a quarter of the memory that the process may use",
        unit="bytes",
        low=1 << 20,
        high=1 << 44,
    )
    mqtt_session_expiry_max_s: int = _setting(
        NEVER_S,
        "longest time for which a session is kept after its connection ends, even if its client "
        f"asks for more; {NEVER_S}: forever, as MQTT 3.1.1 clients without a clean session ask for",
        unit="s",
        low=0,
        high=NEVER_S,
    )
    mqtt_sessions_max: int = _setting(
        100_000,
        "maximum number of sessions without a connection; if there are more, the session that"
        " has been disconnected longest is deleted with its messages",
        low=1,
        high=10_000_000,
    )
    mqtt_subscriptions_max: int = _setting(
        10_000,
        "maximum number of subscriptions of one MQTT client; further subscriptions are refused",
        low=1,
        high=1_000_000,
    )
    mqtt_queued_messages_max: int = _setting(
        100_000,
        "maximum number of messages queued for one MQTT client, besides messages under way;"
        " applies to new sessions",
        low=1,
        high=1_000_000_000,
    )
    mqtt_queued_bytes_max: int = _setting(
        1 << 30,
        "maximum size of the payloads queued for one MQTT client; applies to new sessions",
        unit="bytes",
        low=1 << 10,
        high=1 << 50,
    )
    mqtt_queued_overflow: str = _setting(
        "drop-head",
        "treatment of messages beyond an MQTT client's maximum: drop the oldest (drop-head) or"
        " the new ones (drop-new)",
        words=("drop-head", "drop-new"),
    )
    mqtt_queue_qos0: bool = _setting(
        False,
        "queue QoS 0 messages, too, for disconnected MQTT clients that have a session with a"
        " queue; otherwise such clients do not receive them",
    )
    stomp_port: int = _setting(
        61_613, "port for STOMP clients; 0: any free port, -1: none", low=-1,
        high=65_535,
    )  # fmt: skip
    stomp_tls_port: int = _setting(
        61_614,
        "port for STOMP clients with TLS, if tls.cert is set; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    stomp_trailing_lf: bool = _setting(
        False,
        "send a line end after each frame to STOMP clients, as RabbitMQ can",
    )
    web_mqtt_port: int = _setting(
        -1,
        "port for MQTT clients over WebSocket (path /ws), besides /ws/mqtt at http.port;"
        " RabbitMQ uses 15675; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    web_stomp_port: int = _setting(
        -1,
        "port for STOMP clients over WebSocket (path /ws), besides /ws/stomp at http.port;"
        " RabbitMQ uses 15674; 0: any free port, -1: none",
        low=-1,
        high=65_535,
    )
    http_port: int = _setting(
        15_672, "port for browsers and HTTP clients; 0: any free port, -1: none",
        low=-1, high=65_535,
    )  # fmt: skip
    http_tls_port: int = _setting(
        15_671,
        "port for browsers and HTTP clients with TLS, if tls.cert is set; 0: any free port, -1:"
        " none",
        low=-1,
        high=65_535,
    )
    http_hosts: tuple[str, ...] = _setting(
        (),
        "host names under which browsers may reach this server, besides localhost and its"
        " addresses; needed behind a proxy, or if no one has to log in",
        names=True,
        pattern=r"[a-z0-9_-]+(\.[a-z0-9_-]+)*",
        shape="host.example, in lower case",
    )
    http_path_prefix: str = _setting(
        "",
        "prefix of request paths that a proxy does not remove, such as /logstore",
        pattern=r"(/[A-Za-z0-9._~-]+)+",
    )
    notify: tuple[str, ...] = _setting(
        ("none",),
        "events that a server publishes on channels named __logstore__:...: topics created and"
        " deleted, groups rebalanced, segments started",
        words=("none", "topics", "groups", "segments"),
    )
    kafka_advertised_address: str = _setting(
        "",
        "host:port that Kafka clients are told to connect to; defaults to the address of the"
        " client's connection",
        pattern=r"[^\s:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}",
    )
    kafka_tls_advertised_address: str = _setting(
        "",
        "host:port that Kafka clients with TLS are told to connect to; the host must be a name"
        " in the certificate",
        pattern=r"[^\s:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}",
    )
    auto_create_topics_enable: bool = _setting(
        True, "create a missing topic when a client asks for it"
    )
    max_connections: int = _setting(
        10_000,
        "maximum number of connections; further connections are closed at once",
        low=1,
        high=1_000_000,
    )
    connections_max_idle_ms: int = _setting(
        600_000, "time after which a connection that sends nothing is closed", unit="ms", low=1,
        high=FOREVER,
    )  # fmt: skip
    sasl_enabled_mechanisms: tuple[str, ...] = _setting(
        ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
        "mechanisms by which Kafka clients may log in, if there are users; PLAIN and"
        " OAUTHBEARER send secrets unencrypted and need TLS to be safe",
        words=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    )
    sasl_oauthbearer_jwks_endpoint_url: str = _setting(
        "",
        "URL of the public keys of the tokens' issuer: file:///PATH or https://HOST/PATH;"
        " empty: OAUTHBEARER is off",
    )
    sasl_oauthbearer_jwks_endpoint_refresh_ms: int = _setting(
        HOUR_MS,
        "interval at which the keys at an https address are read again; a token with an unknown"
        " key causes a read at once",
        unit="ms",
        low=10_000,
        high=FOREVER,
    )
    sasl_oauthbearer_expected_issuer: str = _setting(
        "", "value of iss that a token must have; empty: any"
    )
    sasl_oauthbearer_expected_audience: tuple[str, ...] = _setting(
        (), "values of aud, of which a token must have one; empty: any", names=True
    )
    sasl_oauthbearer_sub_claim_name: str = _setting(
        "sub", "claim of a token that holds the user's name"
    )
    sasl_oauthbearer_clock_skew_seconds: int = _setting(
        30, "largest difference between the clocks of server and issuer", unit="s", low=0, high=3600
    )
    sasl_server_max_receive_size: int = _setting(
        512 << 10,
        "maximum size of a request of a Kafka client that logs in with an issuer's token; a"
        " larger one closes the connection; the maximum for other clients is 16 KiB before the"
        " login",
        unit="bytes",
        low=1 << 10,
        high=8 << 20,
    )
    connections_max_reauth_ms: int = _setting(
        0,
        "time for which a login of a Kafka client is valid; the client can log in again on the"
        " same connection (KIP-368); 0: no limit",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    connection_failed_authentication_delay_ms: int = _setting(
        100,
        "time by which the reply to a failed login is delayed; doubles with each further failed"
        " login from the same address, up to 2 s",
        unit="ms",
        low=0,
        high=2000,
    )
    cluster_bootstrap_servers: tuple[str, ...] = _setting(
        (),
        "some brokers of the Kafka cluster that stores topics, channels, queues and keys; the"
        " other brokers are discovered; empty: the data directory stores them",
        names=True,
        pattern=r"[^\s:,\[\]/@]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}",
        shape="host:port, IPv6 in brackets",
    )
    cluster_security_protocol: str = _setting(
        "PLAINTEXT",
        "protocol of connections to brokers, in Kafka's terms: unencrypted (PLAINTEXT) or TLS"
        " (SSL), each also with a login (SASL_)",
        words=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    cluster_sasl_mechanism: str = _setting(
        "SCRAM-SHA-512",
        "mechanism of the login to brokers; PLAIN sends the password unencrypted and needs TLS"
        " to be safe",
        words=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    )
    cluster_sasl_user: str = _setting("", "user that logs in to brokers")
    cluster_sasl_password_file: str = _setting(
        "",
        "file that holds the password of cluster.sasl.user on one line; the environment"
        " variable LOGSTORE_CLUSTER_SASL_PASSWORD can be used instead",
        path=True,
    )
    cluster_tls_ca: str = _setting(
        "",
        "file with the certificates of authorities that sign brokers' certificates, in PEM;"
        " defaults to the authorities that the system trusts",
        path=True,
    )
    cluster_tls_cert: str = _setting(
        "", "file with the certificate for brokers that ask for one, in PEM",
        path=True,
    )  # fmt: skip
    cluster_tls_key: str = _setting(
        "",
        "file with the private key of cluster.tls.cert, not encrypted; defaults to"
        " cluster.tls.cert, which then holds the key, too",
        path=True,
    )
    cluster_tls_server_name: str = _setting(
        "", "name that brokers' certificates must have; defaults to the host of each broker"
    )
    cluster_link_port: int = _setting(
        0,
        "port at which other nodes of a cluster reach this node for the queues that it owns; 0:"
        " any free port",
        low=0,
        high=65_535,
    )
    cluster_link_advertised_address: str = _setting(
        "",
        "address at which other nodes reach cluster.link.port, such as node-1:7070; defaults to"
        " listen.host and the port",
        pattern=r"[^\s/@]+:[0-9]{1,5}",
    )
    cluster_link_secret_file: str = _setting(
        "",
        "file that holds a secret shared by all nodes of a cluster, one line of 16 bytes or"
        " more, by which nodes recognize each other; defaults to the password of"
        " cluster.sasl.user",
        path=True,
    )
    cluster_link_tls: bool = _setting(
        False,
        "use TLS between the nodes of a cluster; each node shows tls.cert, which must be valid"
        " for the host of its cluster.link.advertised.address; must be equal on all nodes",
    )
    cluster_link_tls_ca: str = _setting(
        "",
        "file with the certificates of authorities that sign nodes' certificates, in PEM;"
        " defaults to the authorities that the system trusts",
        path=True,
    )
    cluster_client_rack: str = _setting(
        "",
        "rack or zone of this process, as in broker.rack of brokers; partitions are read from a"
        " replica in the same rack if the brokers' replica.selector.class supports it",
        pattern=r"[\x21-\x7e]{1,255}",
    )
    memory_clients_max_bytes: int = _setting(
        0,
        "maximum memory that a server holds for all clients together: incomplete requests,"
        " requests under way, unread replies, transactions, members of groups; the client that"
        " holds the most is paused and then disconnected when the memory is nearly used up; at"
        " least 16777216; 0: a quarter of the memory that the process may use (limits of"
        " control groups and ulimit included), but at most 1 GiB",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    socket_request_max_bytes: int = _setting(
        100 << 20,
        "maximum size of a request, at most half of memory.clients.max.bytes; a larger one"
        " closes the connection",
        unit="bytes",
        low=1 << 10,
        high=INT32_MAX,
    )
    fetch_max_bytes: int = _setting(
        16 << 20,
        "maximum size of the records in one reply (Kafka's default is 55 MiB); a reply is read"
        " as a whole while other clients wait",
        unit="bytes",
        low=1024,
        high=INT32_MAX,
    )


def setting_name(field: str) -> str:
    """``segment_bytes`` -> ``segment.bytes``."""
    return field.replace("_", ".")


def _by_name(
    kind: type[TopicSettings] | type[GroupSettings] | type[StoreSettings],
) -> dict[str, "dataclasses.Field[Any]"]:
    return {setting_name(field.name): field for field in dataclasses.fields(kind)}


TOPIC_SETTINGS = _by_name(TopicSettings)
GROUP_SETTINGS = _by_name(GroupSettings)
STORE_SETTINGS = _by_name(StoreSettings)
FILE_SETTINGS = (
    STORE_SETTINGS
    | {TOPIC_PREFIX + name: f for name, f in TOPIC_SETTINGS.items()}
    | {GROUP_PREFIX + name: f for name, f in GROUP_SETTINGS.items()}
)
assert len(FILE_SETTINGS) == len(STORE_SETTINGS) + len(TOPIC_SETTINGS) + len(GROUP_SETTINGS)

# By the name that a setting has in files of Kafka, Redis and RabbitMQ: what there is here.
ELSEWHERE = {
    "log.retention.hours": "topic.retention.ms",
    "log.retention.minutes": "topic.retention.ms",
    "log.dir": "--data DIR",
    "log.dirs": "--data DIR",
    "dir": "--data DIR",
    "message.max.bytes": "topic.max.message.bytes",
    "listeners": "listen.host and kafka.port",
    "port": "kafka.port, resp.port or amqp.port",
    "bind": "listen.host",
    "host": "listen.host",
    "maxclients": "max.connections",
    "maxmemory": "resp.maxmemory.bytes",
    "requirepass": "`logstore user add`",
    "listeners.tcp.default": "amqp.port",
    "management.tcp.port": "http.port",
    "disk_free_limit.absolute": "queue.disk.free.bytes",
}


def declared(name: str) -> "dataclasses.Field[Any]":
    """A setting by the name that it has in the file, or that a topic or a group has for it."""
    names = (name, TOPIC_PREFIX + name, GROUP_PREFIX + name)
    return next(FILE_SETTINGS[it] for it in names if it in FILE_SETTINGS)
