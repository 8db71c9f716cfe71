"""The subjects of rules: kinds of objects, and the operations on them.

An object's kind depends on what it is, never on the door: a channel is ``channel``, with or without
a history; a queue is ``queue``, even if it is read as a topic.
"""

from collections.abc import Callable
from typing import Final

from logstore.names import QUEUE_PREFIX

# Kinds of objects
TOPIC: Final = "topic"
GROUP: Final = "group"
TRANSACTIONAL_ID: Final = "transactional-id"
CHANNEL: Final = "channel"
EXCHANGE: Final = "exchange"
QUEUE: Final = "queue"
KEY: Final = "key"
CLUSTER: Final = "cluster"
USER: Final = "user"
TOKEN: Final = "delegation-token"
KINDS: Final = (
    TOPIC, GROUP, TRANSACTIONAL_ID, CHANNEL, EXCHANGE, QUEUE, KEY, CLUSTER, USER, TOKEN,
)  # fmt: skip

# Operations
READ: Final = "read"
WRITE: Final = "write"
CREATE: Final = "create"
DELETE: Final = "delete"
ALTER: Final = "alter"
DESCRIBE: Final = "describe"
CLUSTER_ACTION: Final = "cluster-action"
DESCRIBE_CONFIGS: Final = "describe-configs"
ALTER_CONFIGS: Final = "alter-configs"
IDEMPOTENT_WRITE: Final = "idempotent-write"
OPERATIONS: Final = (
    READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS,
    IDEMPOTENT_WRITE,
)  # fmt: skip
ALL: Final = "all"  # of a rule: every operation

# An ALLOW of one of these allows the key, too; a DENY does not (Kafka's authorizer).
IMPLIED: Final = {
    DESCRIBE: (READ, WRITE, DELETE, ALTER),
    DESCRIBE_CONFIGS: (ALTER_CONFIGS,),
}

CLUSTER_NAME: Final = "kafka-cluster"  # of the one that there is, as Kafka's tools know it
DEFAULT_VHOST: Final = "/"
DEFAULT_EXCHANGE: Final = "amq.default"  # what rules call the one whose name is empty


def of_topic(name: str, keeps_history: Callable[[str], bool]) -> tuple[str, str]:
    """The object behind a topic's name: its kind, and its own name.

    ``keeps_history``: whether the channel of that name has its messages in the topic.
    """
    if name.startswith(QUEUE_PREFIX):
        return QUEUE, name.removeprefix(QUEUE_PREFIX)
    return (CHANNEL if keeps_history(name) else TOPIC), name


def of_target(name: str, keeps_history: Callable[[str], bool], *, channel: bool) -> tuple[str, str]:
    """The object that an exchange leads to: a topic or a channel."""
    return (CHANNEL, name) if channel else of_topic(name, keeps_history)


def object_name(vhost: str, name: str) -> str:
    """The name of an exchange or queue in rules: ``mail``, or ``vhost:mail`` in another host.

    Names are unique: a name with a colon in the default host gets the host as a prefix, and colons
    in the name of a virtual host are written ``%3A``.
    """
    if vhost != DEFAULT_VHOST:
        return f"{vhost.replace('%', '%25').replace(':', '%3A')}:{name}"
    return f"{DEFAULT_VHOST}:{name}" if ":" in name else name


def split_name(text: str) -> tuple[str, str]:
    """The inverse of ``object_name``: the virtual host, and the name in it."""
    vhost, colon, name = text.partition(":")
    if not colon:
        return DEFAULT_VHOST, text
    return vhost.replace("%3A", ":").replace("%25", "%"), name


def spellings(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that rules may use for an exchange or queue: in denying rules, and in allowing
    ones.

    In the default host ``/:mail`` is as good as ``mail``; what has a colon may be meant by a rule
    that forbids without saying the host, but by none that allows: that one is about another host.
    """
    vhost, plain = split_name(name)
    if vhost != DEFAULT_VHOST:
        return (name,), (name,)
    both = plain, f"{DEFAULT_VHOST}:{plain}"
    return both, both[1:] if ":" in plain else both


def name_text(data: bytes) -> str:
    """A name of any bytes, as rules have it; lossless."""
    return data.decode(errors="surrogateescape")


def name_bytes(text: str) -> bytes:
    """The reverse of ``name_text``."""
    return text.encode(errors="surrogateescape")
