"""Every setting, declared once: name, type, unit, default, bounds, reason.

``TopicSettings`` belong to a topic and carry Kafka's names (``segment.bytes`` is the field
``segment_bytes``). ``StoreSettings`` belong to the process. A value comes, in falling order, from
the topic itself, the environment (``LOGSTORE_TOPIC_SEGMENT_BYTES`` style), the file
(``<data>/logstore.toml``), the default. An unknown name or a bad value raises and names the
nearest valid one: configuration cannot be got wrong silently.
"""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logstore.errors import Failed, InvalidSetting, UnknownSetting

FOREVER = 2**63 - 1  # Kafka's "no limit" for 64-bit settings
INT32_MAX = 2**31 - 1
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

CHANNEL_TABLE = "channel"
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS}

ENVIRONMENT_PREFIX = "LOGSTORE_"
# Read before any configuration is, to find it; not settings themselves.
ENVIRONMENT_RESERVED = frozenset({"LOGSTORE_DATA", "LOGSTORE_CONFIG"})
TOPIC_PREFIX = "topic."


def _setting(
    default: Any,  # noqa: ANN401  one declaration serves numbers, flags, words and word lists
    reason: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    words: tuple[str, ...] = (),
    names: bool = False,  # a list of any names
    pattern: str = r".+",  # of a text without words of its own
) -> Any:  # noqa: ANN401
    facts = {
        "reason": reason, "unit": unit, "low": low, "high": high, "words": words, "names": names,
        "pattern": pattern,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What a topic can be told, in Kafka's names, units and defaults unless the reason says why."""

    cleanup_policy: tuple[str, ...] = _setting(
        ("delete",),
        "drop old segments, keep the latest record of each key, or both; "
        "a compacted topic refuses records without a key",
        words=("delete", "compact"),
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
    delete_retention_ms: int = _setting(
        DAY_MS, "how long compaction keeps a tombstone", unit="ms", low=0, high=FOREVER
    )
    file_delete_delay_ms: int = _setting(
        60_000,
        "taken, and not needed: a dropped segment's files go at once, and readers that have them "
        "open read on",
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
    index_interval_bytes: int = _setting(
        4096, "log bytes between two index entries", unit="bytes", low=0, high=INT32_MAX
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
    segment_ms: int = _setting(
        7 * DAY_MS,
        "roll when a batch is this much later than the segment's first",
        unit="ms",
        low=1,
        high=FOREVER,
    )


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """Channels whose names match keep a history of so long: ``[[channel]]`` in the file."""

    pattern: str
    history_ms: int


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What the process can be told."""

    num_partitions: int = _setting(
        1, "partitions of a topic created without a number", low=1, high=100_000
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
    upkeep_interval_ms: int = _setting(
        300_000,
        "how often a process that writes the store does its upkeep by itself: retention, "
        "compaction, recompression; -1: never",
        unit="ms",
        low=-1,
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
    listen_host: str = _setting("127.0.0.1", "the address that the doors listen on")
    kafka_port: int = _setting(
        9092, "where Kafka clients connect; 0: any free port", low=0, high=65_535
    )
    resp_port: int = _setting(
        6379, "where Redis clients connect; 0: any free port, -1: no Redis door", low=-1,
        high=65_535,
    )  # fmt: skip
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
    resp_client_output_buffer_limit: str = _setting(
        "32mb 8mb 60",
        "bytes that a subscriber may leave unread before it is cut off: at once, or for so many "
        "seconds; 0: no limit",
        pattern=r"\d{1,15}([kmg]?b?)? \d{1,15}([kmg]?b?)? \d{1,9}",
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
    socket_request_max_bytes: int = _setting(
        100 << 20,
        "the largest request; more ends the connection",
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
    kind: type[TopicSettings] | type[StoreSettings],
) -> dict[str, "dataclasses.Field[Any]"]:
    return {setting_name(field.name): field for field in dataclasses.fields(kind)}


TOPIC_SETTINGS = _by_name(TopicSettings)
STORE_SETTINGS = _by_name(StoreSettings)
FILE_SETTINGS = STORE_SETTINGS | {TOPIC_PREFIX + name: f for name, f in TOPIC_SETTINGS.items()}


def parse(name: str, field: "dataclasses.Field[Any]", text: str) -> Any:  # noqa: ANN401
    """The value that ``text`` stands for. Raises InvalidSetting, which says what is taken."""
    facts, text = field.metadata, text.strip()
    default = field.default
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
            if facts["names"] and not text:
                return ()
            if not all(words) if facts["names"] else not set(words) <= set(facts["words"]):
                raise ValueError
            return words
        if isinstance(default, str):
            if text not in facts["words"] if facts["words"] else not _fits(text, field):
                raise ValueError
            return text
        value = float(text) if isinstance(default, float) else int(text)
        if not facts["low"] <= value <= facts["high"]:  # also refuses NaN
            raise ValueError
        return value
    except (ValueError, KeyError):
        raise InvalidSetting(f"{name}={text}: takes {takes(field)} ({facts['reason']})") from None


def _fits(text: str, field: "dataclasses.Field[Any]") -> bool:
    return text == field.default or re.fullmatch(field.metadata["pattern"], text) is not None


def takes(field: "dataclasses.Field[Any]") -> str:
    """The values a setting takes, in words."""
    facts, default = field.metadata, field.default
    if isinstance(default, bool):
        return "true or false"
    if facts["names"]:
        return "a comma-separated list of names"
    if isinstance(default, tuple):
        return "a comma-separated list of " + ", ".join(facts["words"])
    if isinstance(default, str) and not facts["words"]:
        return "a text"
    if isinstance(default, str):
        return "one of " + ", ".join(facts["words"])
    unit = f" {facts['unit']}" if facts["unit"] else ""
    number = "a number" if isinstance(default, float) else "a whole number"
    return f"{number} from {facts['low']} to {facts['high']}{unit}"


def text_of(value: Any) -> str:  # noqa: ANN401
    """The text that ``parse`` reads back as this value."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean X?)``, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def check_topic_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The same settings, each known and well-formed. Raises UnknownSetting, InvalidSetting.

    What is no text becomes the text that stands for it: a number, a flag, a tuple of words.
    """
    texts = {name: text_of(value) for name, value in settings.items()}
    for name, text in texts.items():
        parse(name, topic_setting(name), text)
    return texts


def topic_setting(name: str) -> "dataclasses.Field[Any]":
    """The declaration of a topic setting. Raises UnknownSetting, which names the nearest."""
    field = TOPIC_SETTINGS.get(name)
    if field is None:
        raise UnknownSetting(f"no topic setting {name!r}{nearest(name, TOPIC_SETTINGS)}")
    return field


@dataclass(frozen=True, slots=True)
class Chosen:
    """One setting's value and where it came from."""

    name: str
    value: Any
    source: str  # "default", "file PATH", "environment NAME", "topic"
    default: Any
    reason: str


class Config:
    """What the file and the environment say, checked; the defaults where they say nothing."""

    def __init__(
        self,
        given: Mapping[str, tuple[str, str]] | None = None,
        channels: tuple[ChannelRule, ...] = (),
    ) -> None:
        """``given``: name -> (text, source); topic defaults under ``topic.<name>``."""
        self.channels = channels
        self._given: dict[str, tuple[Any, str]] = {}
        for name, (text, source) in (given or {}).items():
            field = FILE_SETTINGS.get(name)
            if field is None:
                raise UnknownSetting(f"{source}: no setting {name!r}{nearest(name, FILE_SETTINGS)}")
            self._given[name] = parse(name, field, text), source
        self.store = StoreSettings(**self._fields(STORE_SETTINGS, ""))

    def unless_given(self, name: str, text: str) -> "Config":
        """The same, with another default for a setting of the store."""
        if name in self._given:
            return self
        config = Config(channels=self.channels)
        config._given = self._given | {name: (parse(name, STORE_SETTINGS[name], text), "default")}
        config.store = StoreSettings(**config._fields(STORE_SETTINGS, ""))
        return config

    @classmethod
    def load(cls, file: Path | None, environment: Mapping[str, str]) -> "Config":
        """From a TOML file (None or absent: no file) and the environment, which wins."""
        given: dict[str, tuple[str, str]] = {}
        channels: tuple[ChannelRule, ...] = ()
        if file is not None and file.exists():
            try:
                tables = tomllib.loads(file.read_text("utf-8"))
            except OSError as error:
                raise Failed(f"{file}: can't be read: {error.strerror}") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise InvalidSetting(f"{file}: not TOML: {error}") from None
            channels = _channel_rules(file, tables.pop(CHANNEL_TABLE, []))
            given |= {name: (text, f"file {file}") for name, text in _flatten(tables)}
        by_variable = {
            ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): name for name in FILE_SETTINGS
        }
        for variable, text in environment.items():
            if not variable.startswith(ENVIRONMENT_PREFIX) or variable in ENVIRONMENT_RESERVED:
                continue
            if variable not in by_variable:
                raise UnknownSetting(
                    f"environment: no setting {variable}"
                    f"{nearest(variable, [*by_variable, *ENVIRONMENT_RESERVED])}"
                )
            given[by_variable[variable]] = text, f"environment {variable}"
        return cls(given, channels)

    def topic(self, overrides: Mapping[str, str]) -> TopicSettings:
        """A topic's settings: its own, else what file or environment say, else the defaults."""
        fields = self._fields(TOPIC_SETTINGS, TOPIC_PREFIX)
        for name, text in overrides.items():
            fields[TOPIC_SETTINGS[name].name] = parse(name, TOPIC_SETTINGS[name], text)
        return TopicSettings(**fields)

    def describe(self) -> list[Chosen]:
        """Every store setting and topic default, with its source."""
        return [self._chosen(name, name, field) for name, field in FILE_SETTINGS.items()]

    def describe_topic(self, overrides: Mapping[str, str]) -> list[Chosen]:
        """Every setting of a topic, with its source."""
        return [
            self._own(name, field, overrides[name])
            if name in overrides
            else self._chosen(name, TOPIC_PREFIX + name, field)
            for name, field in TOPIC_SETTINGS.items()
        ]

    @staticmethod
    def _own(name: str, field: "dataclasses.Field[Any]", text: str) -> Chosen:
        value, reason = parse(name, field, text), field.metadata["reason"]
        return Chosen(name, value, "topic", field.default, reason)

    def _chosen(self, name: str, given_as: str, field: "dataclasses.Field[Any]") -> Chosen:
        value, source = self._given.get(given_as, (field.default, "default"))
        return Chosen(name, value, source, field.default, field.metadata["reason"])

    def _fields(
        self, settings: Mapping[str, "dataclasses.Field[Any]"], prefix: str
    ) -> dict[str, Any]:
        return {
            field.name: self._given[prefix + name][0]
            for name, field in settings.items()
            if prefix + name in self._given
        }


def _channel_rules(file: Path, tables: Any) -> tuple[ChannelRule, ...]:  # noqa: ANN401  TOML
    """``pattern = "orders.*"``, ``history = "1h"``. Raises InvalidSetting, UnknownSetting."""
    if not isinstance(tables, list) or not all(isinstance(it, dict) for it in tables):
        raise InvalidSetting(f"file {file}: channel: is a list of tables: [[{CHANNEL_TABLE}]]")
    rules = []
    for table in tables:
        for name in table:
            if name not in ("pattern", "history"):
                near = nearest(name, ("pattern", "history"))
                raise UnknownSetting(f"file {file}: [[{CHANNEL_TABLE}]]: no setting {name!r}{near}")
        pattern, history = table.get("pattern"), table.get("history")
        found = re.fullmatch(r"(\d{1,12})(ms|s|m|h|d)", str(history))
        if not isinstance(pattern, str) or not 1 <= len(pattern.encode()) <= 4096 or found is None:
            raise InvalidSetting(
                f"file {file}: [[{CHANNEL_TABLE}]]: takes pattern, a text such as 'orders.*', and "
                f"history, a time such as '30m', '1h' or '7d'"
            )
        rules.append(ChannelRule(pattern, int(found[1]) * UNITS_MS[found[2]]))
    return tuple(rules)


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ",".join(str(item) for item in value)
        else:
            yield prefix + key, text_of(value)
