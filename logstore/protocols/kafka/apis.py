"""The table of requests: supported versions and handlers.

``slow`` requests wait for the disk or for locks, or have large replies, so they are decoded,
executed and encoded in another thread; the connection waits, because later requests may depend on
them. ``free`` requests use nothing of the sessions' thread, and run in another thread if they are
large. ``raw`` requests, which carry records, decode their own bytes. ``asks.py`` has the rights
that each request needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from logstore.kafka.messages import api_versions as api_versions_messages
from logstore.protocols.kafka import errors, fetch, produce
from logstore.protocols.kafka.asks import ASKS, Asks
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.features import FEATURES
from logstore.protocols.kafka.handler import Handler, Handlers, Raw, handler
from logstore.protocols.kafka.slots import Slot

PRODUCE: Final = 0
SASL_HANDSHAKE: Final = 17
API_VERSIONS: Final = 18
SOFTWARE_SHOWN: Final = 100  # characters of the name of a client's library
SASL_AUTHENTICATE: Final = 36
NEVER: Final = 1 << 15  # above every version


@dataclass(frozen=True, slots=True)
class Api:
    """One kind of request."""

    key: int
    name: str  # its module in ``messages``
    low: int
    high: int
    flexible: int  # from this version on (KIP-482)
    handlers: Callable[[], Handlers] | None = None
    slow: bool = False
    free: bool = False
    raw: Raw | None = None

    @property
    def asks(self) -> Asks:
        """The rights that this API requires."""
        return ASKS[self.key]

    def handler(self) -> Handler:
        """The handler of this API, unless it is raw; imported at the first request."""
        assert self.handlers is not None
        return _found(self.handlers, self.key)


@cache
def _found(handlers: Callable[[], Handlers], key: int) -> Handler:
    return handlers()[key]


# Importing all of them would take a fifth of the time in which a server starts.


def _offsets() -> Handlers:
    from logstore.protocols.kafka.offsets import HANDLERS

    return HANDLERS


def _cluster() -> Handlers:
    from logstore.protocols.kafka.cluster import HANDLERS

    return HANDLERS


def _commits() -> Handlers:
    from logstore.protocols.kafka.commits import HANDLERS

    return HANDLERS


def _pending_offsets() -> Handlers:
    from logstore.protocols.kafka.pending_offsets import HANDLERS

    return HANDLERS


def _membership() -> Handlers:
    from logstore.protocols.kafka.membership import HANDLERS

    return HANDLERS


def _group_admin() -> Handlers:
    from logstore.protocols.kafka.group_admin import HANDLERS

    return HANDLERS


def _refusals() -> Handlers:
    from logstore.protocols.kafka.refusals import HANDLERS

    return HANDLERS


def _topics() -> Handlers:
    from logstore.protocols.kafka.topics import HANDLERS

    return HANDLERS


def _producers() -> Handlers:
    from logstore.protocols.kafka.producers import HANDLERS

    return HANDLERS


def _transactions() -> Handlers:
    from logstore.protocols.kafka.transactions import HANDLERS

    return HANDLERS


def _transaction_admin() -> Handlers:
    from logstore.protocols.kafka.transaction_admin import HANDLERS

    return HANDLERS


def _configs() -> Handlers:
    from logstore.protocols.kafka.configs import HANDLERS

    return HANDLERS


def _consumer_groups() -> Handlers:
    from logstore.protocols.kafka.consumer_groups import HANDLERS

    return HANDLERS


def _share_groups() -> Handlers:
    from logstore.protocols.kafka.share_groups import HANDLERS

    return HANDLERS


def _share_acknowledge() -> Handlers:
    from logstore.protocols.kafka.share_acknowledge import HANDLERS

    return HANDLERS


def _share_offsets() -> Handlers:
    from logstore.protocols.kafka.share_offsets import HANDLERS

    return HANDLERS


def _share_fetch(client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot:
    from logstore.protocols.kafka.share_fetch import take

    return take(client, version, frame, at)


def _one_node() -> Handlers:
    from logstore.protocols.kafka.one_node import HANDLERS

    return HANDLERS


def _credentials() -> Handlers:
    from logstore.protocols.kafka.credentials import HANDLERS

    return HANDLERS


def _users() -> Handlers:
    from logstore.protocols.kafka.users import HANDLERS

    return HANDLERS


def _acls() -> Handlers:
    from logstore.protocols.kafka.acls import HANDLERS

    return HANDLERS


def _quotas() -> Handlers:
    from logstore.protocols.kafka.quotas import HANDLERS

    return HANDLERS


def _own() -> Handlers:
    return _OWN


_TABLE: Final = (
    # Versions 0 to 2 are listed, although they are answered with an error: otherwise librdkafka
    # does not compress, and uses the old formats (KAFKA-18659).
    Api(0, "produce", 0, 13, 9, raw=produce.take),
    Api(1, "fetch", 4, 18, 12, raw=fetch.take),
    Api(2, "list_offsets", 1, 11, 6, _offsets, free=True),
    Api(3, "metadata", 0, 13, 9, _cluster, free=True),
    Api(8, "offset_commit", 2, 10, 8, _commits),
    Api(9, "offset_fetch", 1, 10, 6, _commits),
    Api(10, "find_coordinator", 0, 6, 3, _cluster),
    Api(11, "join_group", 0, 9, 6, _membership),
    Api(12, "heartbeat", 0, 4, 4, _membership),
    Api(13, "leave_group", 0, 5, 4, _membership),
    Api(14, "sync_group", 0, 5, 4, _membership),
    Api(15, "describe_groups", 0, 6, 5, _group_admin),
    Api(16, "list_groups", 0, 5, 3, _group_admin),
    Api(17, "sasl_handshake", 0, 1, NEVER, _refusals),
    Api(18, "api_versions", 0, 4, 3, _own),
    Api(19, "create_topics", 2, 7, 5, _topics, slow=True),
    Api(20, "delete_topics", 1, 6, 4, _topics, slow=True),
    Api(21, "delete_records", 0, 2, 2, _offsets, slow=True),
    Api(22, "init_producer_id", 0, 5, 2, _producers),
    Api(23, "offset_for_leader_epoch", 2, 4, 4, _offsets, free=True),
    Api(24, "add_partitions_to_txn", 0, 5, 3, _transactions),
    Api(25, "add_offsets_to_txn", 0, 4, 3, _transactions),
    Api(26, "end_txn", 0, 5, 3, _transactions),
    Api(27, "write_txn_markers", 1, 2, 1, _transaction_admin),
    Api(28, "txn_offset_commit", 0, 5, 3, _pending_offsets),
    Api(29, "describe_acls", 1, 3, 2, _acls),
    Api(30, "create_acls", 1, 3, 2, _acls),
    Api(31, "delete_acls", 1, 3, 2, _acls),
    Api(32, "describe_configs", 1, 4, 4, _configs, slow=True),
    Api(33, "alter_configs", 0, 2, 2, _configs, slow=True),
    Api(34, "alter_replica_log_dirs", 1, 2, 2, _one_node, free=True),
    Api(35, "describe_log_dirs", 1, 4, 2, _cluster, slow=True),
    Api(36, "sasl_authenticate", 0, 2, 2, _refusals),
    Api(37, "create_partitions", 0, 3, 2, _topics, slow=True),
    Api(41, "describe_delegation_token", 1, 3, 2, _users),
    Api(42, "delete_groups", 0, 2, 2, _group_admin),
    Api(43, "elect_leaders", 0, 2, 2, _one_node, slow=True),
    Api(44, "incremental_alter_configs", 0, 1, 1, _configs, slow=True),
    Api(45, "alter_partition_reassignments", 0, 1, 0, _one_node, free=True),
    Api(46, "list_partition_reassignments", 0, 0, 0, _one_node, free=True),
    Api(47, "offset_delete", 0, 0, NEVER, _commits),
    Api(48, "describe_client_quotas", 0, 1, 1, _quotas),
    Api(49, "alter_client_quotas", 0, 1, 1, _quotas),
    Api(50, "describe_user_scram_credentials", 0, 0, 0, _credentials),
    Api(51, "alter_user_scram_credentials", 0, 0, 0, _credentials),
    Api(55, "describe_quorum", 0, 2, 0, _one_node, free=True),
    Api(57, "update_features", 0, 2, 0, _one_node, free=True),
    Api(60, "describe_cluster", 0, 2, 0, _cluster),
    Api(61, "describe_producers", 0, 0, 0, _producers, slow=True),
    Api(64, "unregister_broker", 0, 0, 0, _one_node),
    Api(65, "describe_transactions", 0, 0, 0, _transaction_admin),
    Api(66, "list_transactions", 0, 2, 0, _transaction_admin),
    Api(68, "consumer_group_heartbeat", 0, 1, 0, _consumer_groups),
    Api(69, "consumer_group_describe", 0, 1, 0, _consumer_groups),
    Api(74, "list_config_resources", 0, 1, 0, _one_node, slow=True),
    Api(75, "describe_topic_partitions", 0, 0, 0, _topics, slow=True),
    Api(76, "share_group_heartbeat", 1, 1, 0, _share_groups),
    Api(77, "share_group_describe", 1, 1, 0, _share_groups),
    Api(78, "share_fetch", 1, 2, 0, raw=_share_fetch),
    Api(79, "share_acknowledge", 1, 2, 0, _share_acknowledge),
    Api(90, "describe_share_group_offsets", 0, 1, 0, _share_offsets),
    Api(91, "alter_share_group_offsets", 0, 0, 0, _share_offsets),
    Api(92, "delete_share_group_offsets", 0, 0, 0, _share_offsets),
)

APIS: Final = {api.key: api for api in _TABLE}
assert APIS.keys() == ASKS.keys(), "no request is served without a word on which rights it needs"


def versions_served(error_code: int = errors.NONE) -> api_versions_messages.Response:
    """The table of APIs as clients receive it."""
    served = [api_versions_messages.ApiVersion(it.key, it.low, it.high) for it in _TABLE]
    return api_versions_messages.Response(
        error_code=error_code,
        api_keys=served,
        supported_features=[
            api_versions_messages.SupportedFeatureKey(name, level, level)
            for name, level in FEATURES.items()
        ],
        finalized_features_epoch=0,
        finalized_features=[
            api_versions_messages.FinalizedFeatureKey(name, level, level)
            for name, level in FEATURES.items()
        ],
    )


def _api_versions(
    client: KafkaClient, version: int, request: api_versions_messages.Request
) -> api_versions_messages.Response:
    """Key 18."""
    said = f"{request.client_software_name} {request.client_software_version}".strip()
    client.software = said[:SOFTWARE_SHOWN]
    return versions_served()


_OWN: Final = {
    API_VERSIONS: handler(
        api_versions_messages.Request, api_versions_messages.Response, _api_versions
    )
}
