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
# Whose lines the log of a server has, below "logstore": the doors, and what is behind them.
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
    """What a topic can be told, in Kafka's names, units and defaults unless the reason says why."""

    cleanup_policy: tuple[str, ...] = _setting(
        ("delete",),
        "drop old segments, keep the latest record of each key, both or neither; "
        "a compacted topic refuses records without a key",
        words=("delete", "compact"),
        empty=True,
    )
    compression_gzip_level: int = _setting(
        -1,
        "level of gzip in batches compressed here; -1: gzip's own default (KIP-390)",
        low=-1,
        high=9,
        besides=(0,),
    )
    compression_lz4_level: int = _setting(
        9,
        "level of lz4 in batches compressed here; 9 is Kafka's default and stands for the fast "
        "compressor, every other level for the slow one (KIP-390)",
        low=1,
        high=17,
    )
    compression_sealed: str = _setting(
        "producer",
        "codec that upkeep gives sealed segments, in larger batches; 'producer' leaves them alone",
        words=("producer", "zstd"),
    )
    compression_type: str = _setting(
        "producer",
        "codec of batches written here; 'producer' keeps what the producer chose",
        words=("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
    )
    compression_zstd_level: int = _setting(
        3, "level of zstd in batches compressed here (KIP-390)", low=-131_072, high=22
    )
    deduplication_header: str = _setting(
        "",
        "the header that has a record's id: a record whose id came before within "
        "deduplication.window.ms is acknowledged, and not stored; empty: nothing is compared",
        pattern=r".{1,255}",
    )
    deduplication_window_ms: int = _setting(
        10 * 60_000,
        "how long the id of a record is known after it, by the records' timestamps",
        unit="ms",
        low=1,
        high=FOREVER,
    )
    delete_retention_ms: int = _setting(
        DAY_MS,
        "how long compaction keeps a tombstone, and a marker of a transaction that is gone",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    delivery_schedule: bool = _setting(
        False,
        "have a topic NAME.delayed whose records are moved here when they are due, by their "
        "x-delay or x-deliver-at; counts as the topic's own setting alone",
    )
    errors_deadletterqueue_group_enable: bool = _setting(
        False, "share groups may name it as the topic for their dead letters (KIP-1191)"
    )
    file_delete_delay_ms: int = _setting(
        60_000,
        "accepted for compatibility, has no effect: files are removed immediately; open readers "
        "are unaffected",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    flush_messages: int = _setting(
        1,
        "sync after so many records; 1 (Kafka: never) means acknowledged is synced, "
        "more trades safety for speed",
        unit="records",
        low=1,
        high=FOREVER,
    )
    flush_ms: int = _setting(
        FOREVER,
        "sync at the latest this long after a write; counts only where flush.messages is over 1",
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
        4096, "log bytes between two index entries", unit="bytes", low=0, high=INT32_MAX
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
        FOREVER, "compact a record at the latest after this", unit="ms", low=1, high=FOREVER
    )
    max_message_bytes: int = _setting(
        1_048_588, "largest record batch, after compression", unit="bytes", low=0, high=INT32_MAX
    )
    message_timestamp_after_max_ms: int = _setting(
        HOUR_MS,
        "how far in the future a record's timestamp may lie",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    message_timestamp_before_max_ms: int = _setting(
        FOREVER, "how far in the past a record's timestamp may lie", unit="ms", low=0, high=FOREVER
    )
    message_timestamp_type: str = _setting(
        "CreateTime",
        "keep the producer's timestamp, or stamp the time of the append",
        words=("CreateTime", "LogAppendTime"),
    )
    min_cleanable_dirty_ratio: float = _setting(
        0.5, "compact when this part of the log is not compacted yet", low=0, high=1
    )
    min_compaction_lag_ms: int = _setting(
        0, "leave a record uncompacted at least this long", unit="ms", low=0, high=FOREVER
    )
    min_insync_replicas: int = _setting(
        1, "1 only: there is one copy, and it is synced before it is acknowledged", low=1, high=1
    )
    preallocate: bool = _setting(
        False,
        "write zeros ahead of every append; without it only small synced appends get them, "
        "since that doubles the bytes written",
    )
    remote_log_copy_disable: bool = _setting(
        False, "accepted for compatibility, has no effect: there is no remote storage"
    )
    remote_log_delete_on_disable: bool = _setting(
        False, "accepted for compatibility, has no effect: there is no remote storage"
    )
    remote_storage_enable: bool = _setting(
        False, "false only: there is no remote storage", words=("false",)
    )
    retention_bytes: int = _setting(
        -1, "drop the oldest segments over this size; -1 keeps all", unit="bytes", low=-1,
        high=FOREVER,
    )  # fmt: skip
    retention_groups: tuple[str, ...] = _setting(
        (),
        "consumer groups that must have read a segment before retention drops it",
        names=True,
    )
    retention_groups_max_ms: int = _setting(
        30 * DAY_MS,
        "wait for the groups of retention.groups at most so long; -1: for ever",
        unit="ms",
        low=-1,
        high=FOREVER,
    )
    retention_ms: int = _setting(
        7 * DAY_MS,
        "drop segments older than this, by their largest timestamp or their last write, whichever "
        "is later; -1 keeps all",
        unit="ms",
        low=-1,
        high=FOREVER,
    )
    segment_bytes: int = _setting(
        1 << 30, "roll to a new segment over this size", unit="bytes", low=14, high=INT32_MAX
    )
    segment_index_bytes: int = _setting(
        10 << 20, "roll when an index file reaches this size", unit="bytes", low=12, high=INT32_MAX
    )
    segment_jitter_ms: int = _setting(
        0,
        "accepted for compatibility, has no effect: segments are rolled by what is appended, not "
        "all at one time",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    segment_ms: int = _setting(
        7 * DAY_MS,
        "roll when a batch is this much later than the segment's first",
        unit="ms",
        low=1,
        high=FOREVER,
    )
    unclean_leader_election_enable: bool = _setting(
        False, "accepted for compatibility, has no effect: the one node leads every partition"
    )


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """Channels whose names match keep a history of so long: ``[[channel]]`` in the file."""

    pattern: str
    history_ms: int


@dataclass(frozen=True, slots=True)
class KeysRule:
    """What may be lost of Redis's keys whose names match: ``[[keys]]`` in the file."""

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
    """MQTT topics that a filter matches are records of a topic, too: ``[[mqtt]]`` in the file."""

    pattern: str  # a topic filter
    topic: str


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """What a group of consumers can be told, in Kafka's names, units, bounds and defaults.

    All are of share groups (KIP-932).
    """

    errors_deadletterqueue_copy_record_enable: bool = _setting(
        False,
        "a dead letter has the key, the value and the headers of its record, too",
    )
    errors_deadletterqueue_topic_name: str = _setting(
        "",
        "the topic that gets a dead letter for each record that a member rejects, or that was "
        "delivered too often (KIP-1191); it must permit that (errors.deadletterqueue.group.enable)",
        pattern=r"[a-zA-Z0-9._-]{1,249}",
    )
    share_auto_offset_reset: str = _setting(
        "latest",
        "where a share group begins in a partition: latest, earliest, or by_duration:PnDTnHnMn.nS, "
        "which is so long before the time of its beginning",
        pattern=STARTS_AT,
    )
    share_delivery_count_limit: int = _setting(
        5, "how often a record is delivered to a share group", unit="deliveries", low=2, high=10
    )
    share_heartbeat_interval_ms: int = _setting(
        5000,
        "how often a member of a share group is told to send a heartbeat",
        unit="ms",
        low=5000,
        high=15_000,
    )
    share_isolation_level: str = _setting(
        "read_uncommitted",
        "read_committed: a share group gets no records of transactions that are open or were "
        "aborted",
        words=("read_uncommitted", "read_committed"),
    )
    share_partition_max_record_locks: int = _setting(
        2000,
        "records of one partition that members of a share group have at one time",
        unit="records",
        low=100,
        high=4000,
    )
    share_record_lock_duration_ms: int = _setting(
        30_000,
        "how long a member of a share group may have a record without a word on it",
        unit="ms",
        low=15_000,
        high=60_000,
    )
    share_renew_acknowledge_enable: bool = _setting(
        True, "let members of a share group ask for more time for a record (KIP-1222)"
    )
    share_session_timeout_ms: int = _setting(
        45_000,
        "how long a member of a share group may be silent",
        unit="ms",
        low=45_000,
        high=60_000,
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What the process can be told."""

    num_partitions: int = _setting(
        1, "partitions of a topic created without a number", low=1, high=100_000
    )
    partitions_max: int = _setting(
        100_000,
        "partitions of all topics; no more are made beyond",
        unit="partitions",
        low=1,
        high=10_000_000,
    )
    files_open_max: int = _setting(
        256,
        "segment files kept open; more are closed, least recently used first",
        unit="files",
        low=16,
        high=1_000_000,
    )
    recovery_bytes: int = _setting(
        64 << 20,
        "synced bytes after which a log's recovery point moves; bounds the work after a crash",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    consumer_commit_ms: int = _setting(
        5000, "how often a consumer in a group commits its offsets", unit="ms", low=10, high=DAY_MS
    )
    consumer_session_timeout_ms: int = _setting(
        10_000,
        "how long a consumer that hangs keeps its partitions from the others of its group in this "
        "directory; one whose process has died loses them at once",
        unit="ms",
        low=100,
        high=DAY_MS,
    )
    consumer_rebalance_timeout_ms: int = _setting(
        300_000,
        "how long a consumer in this directory may work on a record of a partition that it has to "
        "give up; after that it is out of its group",
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
        "how long the first rebalance of an empty group waits for more members; Kafka's default is "
        "3000, its shipped configuration says 0, too",
        unit="ms",
        low=0,
        high=HOUR_MS,
    )
    group_max_size: int = _setting(
        10_000, "members of one group", unit="members", low=1, high=1_000_000
    )
    group_max_count: int = _setting(
        100_000,
        "groups with members in a server at one time",
        unit="groups",
        low=1,
        high=10_000_000,
    )
    group_metadata_max_bytes: int = _setting(
        1 << 20,
        "what one member may say of itself: protocols, metadata, assignment, names of topics",
        unit="bytes",
        low=1 << 10,
        high=1 << 30,
    )
    group_consumer_session_timeout_ms: int = _setting(
        45_000,
        "how long a member of the new protocol (KIP-848) may be silent",
        unit="ms",
        low=1,
        high=DAY_MS,
    )
    group_consumer_heartbeat_interval_ms: int = _setting(
        5000,
        "how often a member of the new protocol is told to send a heartbeat",
        unit="ms",
        low=1,
        high=DAY_MS,
    )
    group_consumer_assignors: tuple[str, ...] = _setting(
        ("uniform", "range"),
        "assignors of the new protocol; the first is for members that ask for none",
        words=("uniform", "range"),
    )
    group_consumer_migration_policy: str = _setting(
        "bidirectional",
        "which groups with members go over: of the classic protocol to the new one (upgrade), back "
        "(downgrade), both ways (bidirectional), or none (disabled)",
        words=("bidirectional", "upgrade", "downgrade", "disabled"),
    )
    errors_deadletterqueue_topic_name_prefix: str = _setting(
        "dlq.",
        "how the name of a topic begins that share groups may name for their dead letters; empty: "
        "as it likes",
        pattern=r"[a-zA-Z0-9._-]{1,249}",
    )
    group_share_max_size: int = _setting(
        200, "members of one share group", unit="members", low=1, high=1000
    )
    offset_metadata_max_bytes: int = _setting(
        4096, "metadata beside a committed offset", unit="bytes", low=0, high=1 << 20
    )
    offsets_retention_minutes: int = _setting(
        7 * 24 * 60,
        "how long offsets are kept after their group has become empty; of a group that never had "
        "members, after each commit; -1: for ever",
        unit="minutes",
        low=-1,
        high=INT32_MAX,
    )
    compaction_memory_bytes: int = _setting(
        64 << 20,
        "memory for the keys of one compaction pass; more keys take more passes",
        unit="bytes",
        low=1 << 10,
        high=1 << 40,
    )
    deduplication_memory_bytes: int = _setting(
        64 << 20,
        "memory for ids that topics, queues and exchanges remember to keep repeats out; more ids "
        "are forgotten, the oldest first",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    upkeep_interval_ms: int = _setting(
        300_000,
        "how often a process that writes the store does its upkeep by itself: retention, "
        "compaction, recompression; -1: never",
        unit="ms",
        low=-1,
        high=DAY_MS,
    )
    log_cleaner_backoff_ms: int = _setting(
        15_000,
        "how soon what is dirty enough is compacted; unless upkeep.interval.ms is -1",
        unit="ms",
        low=1,
        high=DAY_MS,
    )
    upkeep_bytes_per_second: int = _setting(
        32 << 20,
        "what upkeep reads and writes at the most, so that producers and consumers hardly notice "
        "it; -1: as much as it can",
        unit="bytes/s",
        low=-1,
        high=1 << 40,
    )
    reader_poll_ms: int = _setting(
        10,
        "how often a reader looks for what another process has synced",
        unit="ms",
        low=1,
        high=1000,
    )
    producer_id_expiration_ms: int = _setting(
        DAY_MS,
        "how long a partition remembers an idempotent producer that has sent nothing",
        unit="ms",
        low=1,
        high=INT32_MAX,
    )
    transaction_max_timeout_ms: int = _setting(
        900_000,
        "the longest time that a Kafka client may ask for until its transactions are aborted "
        "(transaction.timeout.ms): so long one that is left open may hold back who reads committed "
        "records",
        unit="ms",
        low=1,
        high=INT32_MAX,
    )
    transactional_id_expiration_ms: int = _setting(
        7 * DAY_MS,
        "how long a transactional id that is not used is known",
        unit="ms",
        low=1,
        high=INT32_MAX,
    )
    listen_host: str = _setting(
        "127.0.0.1",
        "the address that the doors listen on; one that other machines reach is refused while the "
        "store has no users",
    )
    listen_insecure: bool = _setting(
        False,
        "listen on any address although the store has no users, so that whoever reaches it may do "
        "everything; with users it has no effect",
    )
    log_format: str = _setting(
        "text", "how a server writes its log: as lines for people, or as one JSON object a line",
        words=("text", "json"),
    )  # fmt: skip
    log_level: str = _setting(
        "warning", "what a server writes to its log: this, and what is more important",
        words=LOG_LEVELS,
    )  # fmt: skip
    log_levels: tuple[str, ...] = _setting(
        (),
        "log.level of single parts, such as kafka=info: connections that come and go at one door",
        names=True,
        pattern=PART_LEVEL,
        shape=f"part=level, where a part is one of {', '.join(LOG_PARTS)}, and a level "
        f"{', '.join(LOG_LEVELS)}",
    )
    metrics_per_object: bool = _setting(
        False,
        "whether /metrics has each queue and connection by itself, as RabbitMQ's "
        "prometheus.return_per_object_metrics; else sums of them, and /metrics/per-object has each",
    )
    metrics_objects_max: int = _setting(
        2000,
        "topics, partitions, and partitions that groups have offsets of: /metrics has each "
        "by itself up to so many of a kind, and none of more; /metrics/per-object up to 100000",
        unit="objects",
        low=0,
        high=1_000_000,
    )
    queue_segment_bytes: int = _setting(
        64 << 20, "roll to a new segment of a queue over this size", unit="bytes", low=1 << 20,
        high=INT32_MAX,
    )  # fmt: skip
    queue_retention_ms: int = _setting(
        HOUR_MS,
        "how long messages of a queue that are done with stay, and can be read again, by their "
        "timestamps; x-retention-ms has it for one queue; 0: they go at once",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    queue_retention_bytes: int = _setting(
        1 << 30,
        "of one queue so many bytes that are done with stay at the most, the last ones; "
        "x-retention-bytes has it for one queue; -1: any",
        unit="bytes",
        low=-1,
        high=FOREVER,
    )
    queue_topics_listed: bool = _setting(
        False,
        "list the topics by which Kafka clients read queues, __queue.NAME; by name they are there "
        "all the same",
    )
    queue_ack_sync_ms: int = _setting(
        100, "acknowledgements of queued messages are synced at the latest after so long",
        unit="ms", low=0, high=60_000,
    )  # fmt: skip
    queue_disk_free_bytes: int = _setting(
        50_000_000,
        "while less than this is free on the disk, RabbitMQ clients may consume and not publish; "
        "0: always",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    tls_cert: str = _setting(
        "",
        "file with the certificate that the doors with TLS show, and those that have signed it, in "
        "PEM; relative to the data directory; without it there are no such doors",
        path=True,
    )
    tls_key: str = _setting(
        "",
        "file with its private key, not encrypted; without it the key is in tls.cert, too",
        path=True,
    )
    tls_client_ca: str = _setting(
        "",
        "file with the certificates of those who sign the certificates of clients; without it no "
        "client is asked for one",
        path=True,
    )
    tls_client_auth: str = _setting(
        "optional",
        "what becomes of a client without a certificate, where tls.client.ca is set: it logs in as "
        "without TLS, or is refused",
        words=("optional", "required"),
    )
    tls_client_user_rules: str = _setting(
        "DEFAULT",
        "which user a client's certificate stands for: the first that fits of "
        "RULE:pattern/replacement/ and DEFAULT, separated by commas, as Kafka's "
        "ssl.principal.mapping.rules; DEFAULT is the whole subject: CN=al,O=acme",
    )
    kafka_port: int = _setting(
        9092, "where Kafka clients connect; 0: any free port, -1: only with TLS", low=-1,
        high=65_535,
    )  # fmt: skip
    kafka_tls_port: int = _setting(
        9093,
        "where Kafka clients connect with TLS, once tls.cert is set; 0: any free port, -1: nowhere",
        low=-1,
        high=65_535,
    )
    resp_port: int = _setting(
        6379, "where Redis clients connect; 0: any free port, -1: no Redis door", low=-1,
        high=65_535,
    )  # fmt: skip
    resp_tls_port: int = _setting(
        6380,
        "where Redis clients connect with TLS, once tls.cert is set; 0: any free port, -1: nowhere",
        low=-1,
        high=65_535,
    )
    resp_maxclients: int = _setting(
        10_000, "Redis clients at once; one more is told so", low=1, high=1_000_000
    )
    resp_proto_max_bulk_len: int = _setting(
        512 << 20,
        "the largest message or other argument; more ends the connection",
        unit="bytes",
        low=1 << 20,
        high=1 << 30,
    )
    resp_max_value_size: int = _setting(
        16 << 20,
        "the largest key, string or element of a collection that is kept; more is refused",
        unit="bytes",
        low=1 << 20,
        high=64 << 20,
    )
    resp_client_output_buffer_limit: str = _setting(
        "32mb 8mb 60",
        "bytes that a subscriber may leave unread before it is cut off: at once, or for so many "
        "seconds; 0: no limit",
        pattern=r"\d{1,15}([kmg]?b?)? \d{1,15}([kmg]?b?)? \d{1,9}",
    )
    resp_appendfsync: str = _setting(
        "always",
        "when a change of a key is answered that no [[keys]] is about: once it is synced, or at "
        "once, to be synced within a second",
        words=("always", "everysec"),
    )
    resp_maxmemory_bytes: int = _setting(
        0,
        "memory that keys and their values may take, about; 0: no limit",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    resp_maxmemory_policy: str = _setting(
        "noeviction",
        "which keys go where they would take more: none, but commands that need more are refused",
        words=KEYS_POLICIES,
    )
    resp_notify_keyspace_events: str = _setting(
        "",
        "which changes of keys are published on __keyspace@N__:KEY and __keyevent@N__:EVENT, in "
        "Redis's letters, such as KEA; empty: none",
        pattern=r"[Ag$lshzxeKEtdmn]*",
    )
    amqp_port: int = _setting(
        5672, "where RabbitMQ clients connect; 0: any free port, -1: no RabbitMQ door", low=-1,
        high=65_535,
    )  # fmt: skip
    amqp_tls_port: int = _setting(
        5671,
        "where RabbitMQ clients connect with TLS, once tls.cert is set; 0: any free port, "
        "-1: nowhere",
        low=-1,
        high=65_535,
    )
    amqp_server_version: str = _setting(
        "3.13.7",
        "the version of RabbitMQ that its clients are told: some choose their ways by it",
        pattern=r"\d{1,4}\.\d{1,4}\.\d{1,4}",
    )
    amqp_max_message_size: int = _setting(
        16 << 20, "the largest message of a RabbitMQ client; more ends the channel", unit="bytes",
        low=1 << 10, high=512 << 20,
    )  # fmt: skip
    mqtt_port: int = _setting(
        1883, "where MQTT clients connect; 0: any free port, -1: no MQTT door", low=-1, high=65_535
    )
    mqtt_tls_port: int = _setting(
        8883,
        "where MQTT clients connect with TLS, once tls.cert is set; 0: any free port, -1: nowhere",
        low=-1,
        high=65_535,
    )
    mqtt_max_packet_size: int = _setting(
        16 << 20, "the largest packet of an MQTT client; more ends the connection", unit="bytes",
        low=1 << 10, high=(256 << 20) + 4,
    )  # fmt: skip
    mqtt_receive_maximum: int = _setting(
        100,
        "messages that a client of MQTT 3.1.1 may leave unacknowledged; those of MQTT 5 say that "
        "themselves",
        unit="messages",
        low=1,
        high=65_535,
    )
    mqtt_slow_bytes: int = _setting(
        8 << 20,
        "what may wait unsent for an MQTT client before messages of QoS 0 for it are dropped",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    mqtt_retained_bytes: int = _setting(
        1 << 30,
        "memory for retained messages, some 100 bytes each beside topic and payload, of which long "
        "ones stay on disk; where it is full, no further topic keeps one; at most a quarter of "
        "what the process may use",
        unit="bytes",
        low=1 << 20,
        high=1 << 44,
    )
    mqtt_session_expiry_max_s: int = _setting(
        NEVER_S,
        "the longest that a session outlives its connection, whatever its client asks for; "
        f"{NEVER_S}: for ever, as clients of MQTT 3.1.1 ask without a clean session",
        unit="s",
        low=0,
        high=NEVER_S,
    )
    mqtt_sessions_max: int = _setting(
        100_000,
        "sessions that outlive their connections; where there are more, the one that was left "
        "longest ago ends, with what waits for it",
        low=1,
        high=10_000_000,
    )
    mqtt_subscriptions_max: int = _setting(
        10_000, "subscriptions of one client; more are refused", low=1, high=1_000_000
    )
    mqtt_queued_messages_max: int = _setting(
        100_000,
        "messages that wait for one client, beside those under way to it; for sessions that begin "
        "from then on",
        low=1,
        high=1_000_000_000,
    )
    mqtt_queued_bytes_max: int = _setting(
        1 << 30, "the same in bytes of their payloads", unit="bytes", low=1 << 10, high=1 << 50
    )
    mqtt_queued_overflow: str = _setting(
        "drop-head",
        "what becomes of a client's messages that are too many: the oldest are dropped, or those "
        "that come",
        words=("drop-head", "drop-new"),
    )
    mqtt_queue_qos0: bool = _setting(
        False,
        "messages of QoS 0 wait for clients that are away and have a session with a queue, too; "
        "else they are not for them",
    )
    stomp_port: int = _setting(
        61_613, "where STOMP clients connect; 0: any free port, -1: no STOMP door", low=-1,
        high=65_535,
    )  # fmt: skip
    stomp_tls_port: int = _setting(
        61_614,
        "where STOMP clients connect with TLS, once tls.cert is set; 0: any free port, -1: nowhere",
        low=-1,
        high=65_535,
    )
    stomp_trailing_lf: bool = _setting(
        False,
        "whether a line end follows each frame to STOMP clients, as in RabbitMQ",
    )
    web_mqtt_port: int = _setting(
        -1,
        "where MQTT clients connect over WebSocket (path /ws), besides /ws/mqtt of http.port; "
        "RabbitMQ's is 15675; 0: any free port, -1: nowhere",
        low=-1,
        high=65_535,
    )
    web_stomp_port: int = _setting(
        -1,
        "where STOMP clients connect over WebSocket (path /ws), besides /ws/stomp of http.port; "
        "RabbitMQ's is 15674; 0: any free port, -1: nowhere",
        low=-1,
        high=65_535,
    )
    http_port: int = _setting(
        15_672, "where browsers and HTTP clients connect; 0: any free port, -1: no HTTP door",
        low=-1, high=65_535,
    )  # fmt: skip
    http_tls_port: int = _setting(
        15_671,
        "where browsers and HTTP clients connect with TLS, once tls.cert is set; 0: any free port, "
        "-1: nowhere",
        low=-1,
        high=65_535,
    )
    http_hosts: tuple[str, ...] = _setting(
        (),
        "names by which browsers know this server, besides localhost and its addresses: behind a "
        "proxy, or where nobody has to log in",
        names=True,
        pattern=r"[a-z0-9_-]+(\.[a-z0-9_-]+)*",
        shape="host.example, in lower case",
    )
    http_path_prefix: str = _setting(
        "",
        "what paths begin with where a proxy leaves it there, such as /logstore",
        pattern=r"(/[A-Za-z0-9._~-]+)+",
    )
    notify: tuple[str, ...] = _setting(
        ("none",),
        "what a server tells on channels named __logstore__:...: topics made and deleted, groups "
        "rebalanced, segments begun",
        words=("none", "topics", "groups", "segments"),
    )
    kafka_advertised_address: str = _setting(
        "",
        "host:port that Kafka clients are told to connect to; without it the one they came by",
        pattern=r"[^\s:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}",
    )
    kafka_tls_advertised_address: str = _setting(
        "",
        "the same for those who come by TLS; its host must be a name of the certificate",
        pattern=r"[^\s:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}",
    )
    auto_create_topics_enable: bool = _setting(
        True, "make a topic when a client asks for one that is not there"
    )
    max_connections: int = _setting(
        10_000, "connections at once; more are closed as they come", low=1, high=1_000_000
    )
    connections_max_idle_ms: int = _setting(
        600_000, "close a connection that has sent nothing for so long", unit="ms", low=1,
        high=FOREVER,
    )  # fmt: skip
    sasl_enabled_mechanisms: tuple[str, ...] = _setting(
        ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
        "mechanisms by which Kafka clients may log in, once there are users; PLAIN and OAUTHBEARER "
        "send secrets as they are: have them beside TLS",
        words=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    )
    sasl_oauthbearer_jwks_endpoint_url: str = _setting(
        "",
        "where the public keys of the issuer of tokens are: file:///PATH or https://HOST/PATH; "
        "empty: there is no OAUTHBEARER",
    )
    sasl_oauthbearer_jwks_endpoint_refresh_ms: int = _setting(
        HOUR_MS,
        "how often the keys at an https address are read anew, unless a token names an unknown one",
        unit="ms",
        low=10_000,
        high=FOREVER,
    )
    sasl_oauthbearer_expected_issuer: str = _setting(
        "", "the iss that a token must have; empty: any"
    )
    sasl_oauthbearer_expected_audience: tuple[str, ...] = _setting(
        (), "the aud of which a token must have one; empty: any", names=True
    )
    sasl_oauthbearer_sub_claim_name: str = _setting(
        "sub", "the claim of a token that is the name of its user"
    )
    sasl_oauthbearer_clock_skew_seconds: int = _setting(
        30, "by how much the issuer's clock may differ", unit="s", low=0, high=3600
    )
    sasl_server_max_receive_size: int = _setting(
        512 << 10,
        "the largest request of a Kafka client that logs in by a token of an issuer; others have "
        "16 KiB at most before a login; more ends the connection",
        unit="bytes",
        low=1 << 10,
        high=8 << 20,
    )
    connections_max_reauth_ms: int = _setting(
        0,
        "how long a login of a Kafka client is good; it can log in again on the same connection "
        "(KIP-368); 0: for ever",
        unit="ms",
        low=0,
        high=FOREVER,
    )
    connection_failed_authentication_delay_ms: int = _setting(
        100,
        "how long the answer to a failed login is held back; after each further one from that "
        "address twice as long, 2 s at the most",
        unit="ms",
        low=0,
        high=2000,
    )
    cluster_bootstrap_servers: tuple[str, ...] = _setting(
        (),
        "some brokers of the Kafka cluster that topics, channels, queues and keys are kept in, "
        "which tell of the others; empty: they are kept in the data directory",
        names=True,
        pattern=r"[^\s:,\[\]/@]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}",
        shape="host:port, IPv6 in brackets",
    )
    cluster_security_protocol: str = _setting(
        "PLAINTEXT",
        "how brokers are spoken to, in Kafka's words: as is or with TLS (SSL), and each with a "
        "login (SASL)",
        words=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    cluster_sasl_mechanism: str = _setting(
        "SCRAM-SHA-512",
        "how the password is shown to brokers; PLAIN sends it as it is: have TLS with it",
        words=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    )
    cluster_sasl_user: str = _setting("", "who logs in at brokers")
    cluster_sasl_password_file: str = _setting(
        "",
        "file with the password of cluster.sasl.user, one line; or LOGSTORE_CLUSTER_SASL_PASSWORD "
        "of the environment has it",
        path=True,
    )
    cluster_tls_ca: str = _setting(
        "",
        "file with the certificates of those who sign the brokers' certificates, in PEM; without "
        "it those that the system trusts",
        path=True,
    )
    cluster_tls_cert: str = _setting(
        "", "file with the certificate that is shown to brokers which ask for one, in PEM",
        path=True,
    )  # fmt: skip
    cluster_tls_key: str = _setting(
        "",
        "file with its private key, not encrypted; without it the key is in cluster.tls.cert, too",
        path=True,
    )
    cluster_tls_server_name: str = _setting(
        "", "the name that brokers' certificates have; without it the host of each broker"
    )
    cluster_link_port: int = _setting(
        0,
        "port where the other nodes of a cluster reach this one, for queues that it owns; 0: any "
        "free one",
        low=0,
        high=65_535,
    )
    cluster_link_advertised_address: str = _setting(
        "",
        "address of cluster.link.port as other nodes reach it, such as node-1:7070; without it "
        "listen.host and the port",
        pattern=r"[^\s/@]+:[0-9]{1,5}",
    )
    cluster_link_secret_file: str = _setting(
        "",
        "file with a secret that all nodes of a cluster have, one line of 16 bytes or more, by "
        "which they know each other; without it the password of cluster.sasl.user is that",
        path=True,
    )
    cluster_link_tls: bool = _setting(
        False,
        "whether the nodes of a cluster speak to each other with TLS: each shows tls.cert, which "
        "has to be for the host of its cluster.link.advertised.address; the same at all nodes",
    )
    cluster_link_tls_ca: str = _setting(
        "",
        "file with the certificates of those who sign the nodes' certificates, in PEM; without it "
        "those that the system trusts",
        path=True,
    )
    cluster_client_rack: str = _setting(
        "",
        "the rack, or zone, that this process is in, as brokers' broker.rack: partitions are read "
        "from a replica there, where brokers have replica.selector.class for it",
        pattern=r"[\x21-\x7e]{1,255}",
    )
    memory_clients_max_bytes: int = _setting(
        0,
        "memory that all clients together may make a server hold: half-sent requests, requests "
        "under way, answers that are not read, transactions, members of groups; when it is nearly "
        "used up, who holds most waits, and then loses the connection; 16777216 at least; 0: a "
        "quarter of what the process may use (control groups and ulimit included), 1 GiB at most",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    socket_request_max_bytes: int = _setting(
        100 << 20,
        "the largest request, and never more than half of memory.clients.max.bytes; more ends the "
        "connection",
        unit="bytes",
        low=1 << 10,
        high=INT32_MAX,
    )
    fetch_max_bytes: int = _setting(
        16 << 20,
        "records in one answer (Kafka: 55 MiB): an answer is read as a whole while others wait",
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


def declared(name: str) -> "dataclasses.Field[Any]":
    """A setting by the name that it has in the file, or that a topic or a group has for it."""
    names = (name, TOPIC_PREFIX + name, GROUP_PREFIX + name)
    return next(FILE_SETTINGS[it] for it in names if it in FILE_SETTINGS)
