"""The rights that each request needs, as in Kafka, and what is returned without them.

Rights to a whole request are checked before it is executed (``answers.py``). Rights to single
objects are checked by the handlers; a test compares this table with their checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from logstore.access.resources import (
    ALTER,
    ALTER_CONFIGS,
    CLUSTER,
    CLUSTER_ACTION,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    IDEMPOTENT_WRITE,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient


class When(Enum):
    """What a right is about: the whole request or its objects."""

    WHOLE = "of the request, once"
    EACH = "of each object; the others are served"
    SHOWN = "of each object; what may not be seen is left out, and nothing is told"


@dataclass(frozen=True, slots=True)
class Ask:
    """One right."""

    when: When
    operation: str
    kind: str
    of: str = ""  # the field of the request that names the object; "" : there is one, or many
    enough: tuple[tuple[str, str], ...] = ()  # or any of these: operation and kind

    def name_in(self, request: object) -> str:
        """The name of the object that the whole request concerns."""
        if self.kind == CLUSTER:
            return CLUSTER_NAME
        name = getattr(request, self.of)
        assert name is None or isinstance(name, str)
        return name or ""


Asks = tuple[Ask, ...]
NOTHING: Final[Asks] = ()  # any client may do it


def whole(operation: str, kind: str, of: str = "") -> Ask:
    """A right that is checked once for the whole request."""
    return Ask(When.WHOLE, operation, kind, of)


def each(operation: str, kind: str, *enough: tuple[str, str]) -> Ask:
    """A right that is checked for each object."""
    return Ask(When.EACH, operation, kind, enough=enough)


def shown(operation: str, kind: str, *enough: tuple[str, str]) -> Ask:
    """A right that is checked for each object, without logging a refusal."""
    return Ask(When.SHOWN, operation, kind, enough=enough)


# Error codes for a missing right, as Kafka's clients show them. A topic's name may stand for
# another kind of object: the code is then still the topic's.
CODES: Final = {
    TOPIC: errors.TOPIC_AUTHORIZATION_FAILED,
    GROUP: errors.GROUP_AUTHORIZATION_FAILED,
    CLUSTER: errors.CLUSTER_AUTHORIZATION_FAILED,
    TRANSACTIONAL_ID: errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
NO_TOPIC: Final = "Topic authorization failed."
TEXTS: Final = {
    errors.TOPIC_AUTHORIZATION_FAILED: NO_TOPIC,
    errors.GROUP_AUTHORIZATION_FAILED: "Group authorization failed.",
    errors.CLUSTER_AUTHORIZATION_FAILED: "Cluster authorization failed.",
    errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Transactional Id authorization failed.",
}


def refused_as_a_whole(asks: Asks, client: KafkaClient, request: object) -> int:
    """The error code of the right that the client lacks for the whole request; NONE if it lacks
    none.
    """
    for ask in asks:
        if ask.when is When.WHOLE and not client.may(ask.operation, ask.kind, ask.name_in(request)):
            return CODES[ask.kind]
    return errors.NONE


# The table

_MEMBER: Final = (whole(READ, GROUP, "group_id"),)
_TRANSACTION: Final = whole(WRITE, TRANSACTIONAL_ID, "transactional_id")
_SEES_CLUSTER: Final = (whole(DESCRIBE, CLUSTER),)
_ALTERS_CLUSTER: Final = (whole(ALTER, CLUSTER),)
_SEES_TOPIC: Final = each(DESCRIBE, TOPIC)
_MAKES_TOPIC: Final = each(CREATE, TOPIC, (CREATE, CLUSTER))
_SHOWN_TOPIC: Final = shown(DESCRIBE, TOPIC)  # where all are asked for


def _of_resources(operation: str) -> Asks:
    """The right to settings of topics, of groups and of the node."""
    return each(operation, TOPIC), each(operation, GROUP), each(operation, CLUSTER)


ASKS: Final[Mapping[int, Asks]] = MappingProxyType({
    # Records
    0: (each(WRITE, TRANSACTIONAL_ID), each(WRITE, TOPIC)),  # produce
    1: (each(READ, TOPIC),),  # fetch
    2: (_SEES_TOPIC,),  # list_offsets
    21: (each(DELETE, TOPIC),),  # delete_records
    22: (  # init_producer_id; without a transactional id a right to write any topic is enough
        each(WRITE, TRANSACTIONAL_ID),
        each(IDEMPOTENT_WRITE, CLUSTER, (WRITE, TOPIC)),
    ),
    23: (each(DESCRIBE, TOPIC, (CLUSTER_ACTION, CLUSTER)),),  # offset_for_leader_epoch
    61: (each(READ, TOPIC),),  # describe_producers
    # The cluster and its topics
    3: (_SEES_TOPIC, _SHOWN_TOPIC, _MAKES_TOPIC, shown(DESCRIBE, CLUSTER)),  # metadata
    17: NOTHING,  # sasl_handshake
    18: NOTHING,  # api_versions
    19: (_MAKES_TOPIC, shown(DESCRIBE_CONFIGS, TOPIC)),  # create_topics
    20: (  # delete_topics
        each(DESCRIBE, TOPIC, (DELETE, CLUSTER)),
        each(DELETE, TOPIC, (DELETE, CLUSTER)),
    ),
    32: _of_resources(DESCRIBE_CONFIGS),  # describe_configs
    33: _of_resources(ALTER_CONFIGS),  # alter_configs
    34: _ALTERS_CLUSTER,  # alter_replica_log_dirs
    35: _SEES_CLUSTER,  # describe_log_dirs
    36: NOTHING,  # sasl_authenticate
    37: (each(ALTER, TOPIC),),  # create_partitions
    43: _ALTERS_CLUSTER,  # elect_leaders
    44: _of_resources(ALTER_CONFIGS),  # incremental_alter_configs
    45: _ALTERS_CLUSTER,  # alter_partition_reassignments
    46: _SEES_CLUSTER,  # list_partition_reassignments
    55: _SEES_CLUSTER,  # describe_quorum
    57: _ALTERS_CLUSTER,  # update_features
    60: (shown(DESCRIBE, CLUSTER),),  # describe_cluster
    64: _ALTERS_CLUSTER,  # unregister_broker
    74: (whole(DESCRIBE_CONFIGS, CLUSTER),),  # list_config_resources
    75: (_SEES_TOPIC, _SHOWN_TOPIC),  # describe_topic_partitions
    # Groups
    8: (whole(READ, GROUP, "group_id"), each(READ, TOPIC)),  # offset_commit
    9: (each(DESCRIBE, GROUP), _SEES_TOPIC, _SHOWN_TOPIC),  # offset_fetch
    10: (each(DESCRIBE, GROUP), each(DESCRIBE, TRANSACTIONAL_ID)),  # find_coordinator
    11: _MEMBER,  # join_group
    12: _MEMBER,  # heartbeat
    13: _MEMBER,  # leave_group
    14: _MEMBER,  # sync_group
    15: (each(DESCRIBE, GROUP),),  # describe_groups
    16: (shown(DESCRIBE, GROUP, (DESCRIBE, CLUSTER)),),  # list_groups
    42: (each(DELETE, GROUP),),  # delete_groups
    47: (whole(DELETE, GROUP, "group_id"), each(READ, TOPIC)),  # offset_delete
    68: (*_MEMBER, _SEES_TOPIC),  # consumer_group_heartbeat
    69: (each(DESCRIBE, GROUP), _SEES_TOPIC),  # consumer_group_describe
    76: (*_MEMBER, _SEES_TOPIC),  # share_group_heartbeat
    77: (each(DESCRIBE, GROUP), _SEES_TOPIC),  # share_group_describe
    78: (*_MEMBER, each(READ, TOPIC)),  # share_fetch
    79: (*_MEMBER, each(READ, TOPIC)),  # share_acknowledge
    90: (each(DESCRIBE, GROUP), _SEES_TOPIC, _SHOWN_TOPIC),  # describe_share_group_offsets
    91: (*_MEMBER, each(READ, TOPIC)),  # alter_share_group_offsets
    92: (whole(DELETE, GROUP, "group_id"), each(READ, TOPIC)),  # delete_share_group_offsets
    # Transactions
    24: (  # add_partitions_to_txn: of a client, or of another node
        each(WRITE, TRANSACTIONAL_ID),
        each(WRITE, TOPIC),
        each(CLUSTER_ACTION, CLUSTER),
    ),
    25: (_TRANSACTION, whole(READ, GROUP, "group_id")),  # add_offsets_to_txn
    26: (_TRANSACTION,),  # end_txn
    27: (each(CLUSTER_ACTION, CLUSTER, (ALTER, CLUSTER)),),  # write_txn_markers
    28: (_TRANSACTION, whole(READ, GROUP, "group_id"), each(READ, TOPIC)),  # txn_offset_commit
    65: (each(DESCRIBE, TRANSACTIONAL_ID),),  # describe_transactions
    66: (shown(DESCRIBE, TRANSACTIONAL_ID),),  # list_transactions
    # Users, rules, quotas
    29: _SEES_CLUSTER,  # describe_acls
    30: _ALTERS_CLUSTER,  # create_acls
    31: _ALTERS_CLUSTER,  # delete_acls
    41: NOTHING,  # describe_delegation_token: there are none to be shown
    48: (whole(DESCRIBE_CONFIGS, CLUSTER),),  # describe_client_quotas
    49: (whole(ALTER_CONFIGS, CLUSTER),),  # alter_client_quotas
    50: _SEES_CLUSTER,  # describe_user_scram_credentials
    51: _ALTERS_CLUSTER,  # alter_user_scram_credentials
})  # fmt: skip
