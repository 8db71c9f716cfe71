"""The kinds of requests to brokers: how each is encoded, and the versions supported here.

A request uses the highest version that both sides support and that can express it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, Final

from logstore.cluster import by_id
from logstore.kafka import fetch_codec, produce_codec
from logstore.kafka.schema import codec
from logstore.kafka.wire import Buffer

Write = Callable[[int, Any], Sequence[Buffer]]  # version, request: the body, in parts
Read = Callable[[int, memoryview, int], Any]  # version, frame, where the body begins


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request."""

    key: int
    name: str  # of its module in ``kafka/messages``; Kafka's own name in snake case
    low: int
    high: int
    flexible: int  # from this version on (KIP-482)
    write: Write
    read: Read
    messages: Callable[[], Any]  # the module of its Request, imported when it is used first
    most: Callable[[Any], int] | None = None  # the highest version in which a request can be said

    def __repr__(self) -> str:
        return f"<Kind {self.name}>"


def _module(name: str) -> Callable[[], Any]:
    return cache(lambda: import_module(name))


def _kind(key: int, name: str, low: int, high: int, flexible: int) -> Kind:
    """A kind that is described in ``kafka/messages``."""
    messages = _module(f"logstore.kafka.messages.{name}")

    def write(version: int, request: Any) -> Sequence[Buffer]:  # noqa: ANN401
        out = bytearray()
        codec(messages().Request, version, version >= flexible).write(out, request)
        return (out,)

    def read(version: int, frame: memoryview, at: int) -> Any:  # noqa: ANN401
        return codec(messages().Response, version, version >= flexible).read(frame, at)[0]

    return Kind(key, name, low, high, flexible, write, read, messages)


API_VERSIONS: Final = _kind(18, "api_versions", 0, 3, 3)
SASL_HANDSHAKE: Final = _kind(17, "sasl_handshake", 1, 1, 99)
SASL_AUTHENTICATE: Final = _kind(36, "sasl_authenticate", 0, 2, 2)
METADATA: Final = _kind(3, "metadata", 7, 12, 9)
# Of all topics: its answer is a function that reads it, for another thread.
ALL_TOPICS: Final = dataclasses.replace(
    METADATA, read=lambda version, frame, at: partial(METADATA.read, version, frame, at)
)
FIND_COORDINATOR: Final = _kind(10, "find_coordinator", 1, 4, 3)
INIT_PRODUCER_ID: Final = _kind(22, "init_producer_id", 1, 4, 2)
LIST_OFFSETS: Final = _kind(2, "list_offsets", 2, 7, 6)
CREATE_TOPICS: Final = _kind(19, "create_topics", 4, 7, 5)  # 4: as many as brokers say (KIP-464)
CREATE_PARTITIONS: Final = _kind(37, "create_partitions", 0, 3, 2)
DELETE_TOPICS: Final = _kind(20, "delete_topics", 1, 5, 4)
DELETE_RECORDS: Final = _kind(21, "delete_records", 0, 2, 2)
DESCRIBE_CONFIGS: Final = _kind(32, "describe_configs", 1, 4, 4)
ALTER_CONFIGS: Final = _kind(44, "incremental_alter_configs", 0, 1, 1)
GROUP_HEARTBEAT: Final = _kind(68, "consumer_group_heartbeat", 0, 1, 0)
JOIN_GROUP: Final = _kind(11, "join_group", 1, 9, 6)
SYNC_GROUP: Final = _kind(14, "sync_group", 0, 5, 4)
HEARTBEAT: Final = _kind(12, "heartbeat", 0, 4, 4)
LEAVE_GROUP: Final = _kind(13, "leave_group", 0, 5, 4)

# Requests of ``by_id``: topics by ids from a version on.
PRODUCE: Final = Kind(
    0, "produce", 7, by_id.PRODUCE_MAX, produce_codec.FLEXIBLE,
    lambda version, it: it.write(version), produce_codec.read_response, lambda: produce_codec,
    by_id.Produce.most,
)  # fmt: skip
FETCH: Final = Kind(
    1, "fetch", fetch_codec.WITH_EPOCH, by_id.FETCH_MAX, fetch_codec.FLEXIBLE,
    lambda version, it: it.write(version), fetch_codec.read_response, lambda: fetch_codec,
    by_id.Fetch.most,
)  # fmt: skip
