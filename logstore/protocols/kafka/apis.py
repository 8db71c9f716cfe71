"""Which requests are served, in which versions, and by what.

A handler takes the session, the version and the request's dataclass, and gives the response's, or a
``Later``, or a ``Job``. ``slow`` ones wait for disk or other locks or have much to say, so they run
in another thread, with reading and encoding; the connection waits for them, as requests behind may
depend on what they do. So do ``free`` ones, which need nothing of the sessions' thread, when the
request is large. ``raw`` ones, which carry records, read their own bytes.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from logstore.kafka.schema import Codec, codec
from logstore.protocols.kafka import fetch, produce
from logstore.protocols.kafka.door import Job, Later, elsewhere
from logstore.protocols.kafka.slots import Promised, Ready, Slot

if TYPE_CHECKING:
    from logstore.protocols.kafka.session import KafkaSession

Raw = Callable[["KafkaSession", int, memoryview, int], Slot | None]
PRODUCE: Final = 0
API_VERSIONS: Final = 18
NEVER: Final = 1 << 15  # above every version
LARGE_BYTES: Final = 4 << 10  # of a request: hundreds of names

_MESSAGES: Final = "logstore.kafka.messages."
_HANDLERS: Final = "logstore.protocols.kafka."


@dataclass(frozen=True, slots=True)
class Api:
    """One kind of request."""

    name: str  # its module in ``messages``
    low: int
    high: int
    flexible: int  # from this version on (KIP-482)
    handler: str = ""  # module and function, imported at the first request
    slow: bool = False
    free: bool = False
    raw: Raw | None = None


APIS: Final[dict[int, Api]] = {
    # Versions 0 to 2 are answered with an error: librdkafka leaves compression out, and the old
    # formats in, where they are not in the list (KAFKA-18659).
    0: Api("produce", 0, 13, 9, raw=produce.take),
    1: Api("fetch", 4, 18, 12, raw=fetch.take),
    2: Api("list_offsets", 1, 11, 6, "offsets.list_offsets", free=True),
    3: Api("metadata", 0, 13, 9, "cluster.metadata", free=True),
    8: Api("offset_commit", 2, 10, 8, "commits.offset_commit"),
    9: Api("offset_fetch", 1, 10, 6, "commits.offset_fetch"),
    10: Api("find_coordinator", 0, 6, 3, "cluster.find_coordinator", free=True),
    11: Api("join_group", 0, 9, 6, "membership.join_group"),
    12: Api("heartbeat", 0, 4, 4, "membership.heartbeat"),
    13: Api("leave_group", 0, 5, 4, "membership.leave_group"),
    14: Api("sync_group", 0, 5, 4, "membership.sync_group"),
    15: Api("describe_groups", 0, 6, 5, "group_admin.describe_groups"),
    16: Api("list_groups", 0, 5, 3, "group_admin.list_groups"),
    17: Api("sasl_handshake", 0, 1, NEVER, "refusals.sasl_handshake"),
    18: Api("api_versions", 0, 4, 3, "cluster.api_versions"),
    19: Api("create_topics", 2, 7, 5, "topics.create", slow=True),
    20: Api("delete_topics", 1, 6, 4, "topics.delete", slow=True),
    21: Api("delete_records", 0, 2, 2, "offsets.delete_records", slow=True),
    22: Api("init_producer_id", 0, 5, 2, "producers.init_producer_id", slow=True),
    23: Api("offset_for_leader_epoch", 2, 4, 4, "offsets.offset_for_leader_epoch", free=True),
    24: Api("add_partitions_to_txn", 0, 5, 3, "refusals.add_partitions_to_txn", free=True),
    25: Api("add_offsets_to_txn", 0, 4, 3, "refusals.add_offsets_to_txn"),
    26: Api("end_txn", 0, 5, 3, "refusals.end_txn"),
    28: Api("txn_offset_commit", 0, 5, 3, "refusals.txn_offset_commit", free=True),
    29: Api("describe_acls", 1, 3, 2, "refusals.describe_acls"),
    30: Api("create_acls", 1, 3, 2, "refusals.create_acls", free=True),
    31: Api("delete_acls", 1, 3, 2, "refusals.delete_acls", free=True),
    32: Api("describe_configs", 1, 4, 4, "configs.describe", slow=True),
    33: Api("alter_configs", 0, 2, 2, "configs.alter", slow=True),
    35: Api("describe_log_dirs", 1, 4, 2, "cluster.describe_log_dirs", slow=True),
    36: Api("sasl_authenticate", 0, 2, 2, "refusals.sasl_authenticate"),
    37: Api("create_partitions", 0, 3, 2, "topics.create_partitions", slow=True),
    42: Api("delete_groups", 0, 2, 2, "group_admin.delete_groups"),
    44: Api("incremental_alter_configs", 0, 1, 1, "configs.alter_incrementally", slow=True),
    47: Api("offset_delete", 0, 0, NEVER, "commits.offset_delete"),
    60: Api("describe_cluster", 0, 2, 0, "cluster.describe_cluster"),
    61: Api("describe_producers", 0, 0, 0, "producers.describe_producers", slow=True),
    65: Api("describe_transactions", 0, 0, 0, "refusals.describe_transactions", free=True),
    66: Api("list_transactions", 0, 1, 0, "refusals.list_transactions"),
    68: Api("consumer_group_heartbeat", 0, 1, 0, "consumer_groups.heartbeat"),
    69: Api("consumer_group_describe", 0, 1, 0, "consumer_groups.describe"),
    75: Api("describe_topic_partitions", 0, 0, 0, "topics.describe_partitions", slow=True),
}


@cache
def _made(name: str, handler: str) -> tuple[Any, Callable[..., Any]]:
    """The module of the messages, and the handler."""
    module, _, function = handler.partition(".")
    found = getattr(importlib.import_module(_HANDLERS + module), function)
    return importlib.import_module(_MESSAGES + name), found


def _codec(api: Api, kind: str, version: int) -> Codec:
    messages, _ = _made(api.name, api.handler)
    return codec(getattr(messages, kind), version, version >= api.flexible)


def call(api: Api, session: "KafkaSession", version: int, frame: memoryview, at: int) -> Slot:
    """Read the request, have it done, and keep its place."""
    if api.slow or (api.free and len(frame) > LARGE_BYTES):
        copy = memoryview(bytes(frame))  # its buffer will be used again
        return _elsewhere(session, lambda: _done(api, session, version, copy, at))
    done = _handled(api, session, version, frame, at)
    if isinstance(done, Job):
        return _elsewhere(session, lambda: encode(api, version, done.work()))
    if isinstance(done, Later):
        if done.answer is None:
            done.waiting(session.wake_me)
        return Promised(done, partial(encode, api, version))
    return Ready(encode(api, version, done))


def _handled(api: Api, session: "KafkaSession", version: int, frame: memoryview, at: int) -> object:
    request, _ = _codec(api, "Request", version).read(frame, at)
    return _made(api.name, api.handler)[1](session, version, request)


def _elsewhere(session: "KafkaSession", job: Callable[[], bytearray]) -> Slot:
    """The answer's bytes are made in another thread: many of them take long, too."""
    later = elsewhere(session.door, job)
    later.waiting(session.wake_me)
    return Promised(later, _made_already)


def _made_already(answer: object) -> bytearray:
    assert isinstance(answer, bytearray)
    return answer


def _done(api: Api, session: "KafkaSession", version: int, frame: memoryview, at: int) -> bytearray:
    done = _handled(api, session, version, frame, at)
    return encode(api, version, done.work() if isinstance(done, Job) else done)


def encode(api: Api, version: int, response: object) -> bytearray:
    """The response's bytes, without its header."""
    out = bytearray()
    _codec(api, "Response", version).write(out, response)
    return out


def unsupported() -> bytearray:
    """The answer to an ApiVersions request of a version that is unknown here (KIP-511)."""
    from logstore.protocols.kafka.cluster import versions_served
    from logstore.protocols.kafka.errors import UNSUPPORTED_VERSION

    return encode(APIS[API_VERSIONS], 0, versions_served(UNSUPPORTED_VERSION))
