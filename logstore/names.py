"""The rules for names that people and clients choose: of topics, groups, members and users.

Every name is a part of a row's key, so their bounds together must fit into a key.
"""

import re
from collections.abc import Iterable
from typing import Final

from logstore.errors import InvalidName

KEY_BYTES_MAX: Final = 511  # of a row in LMDB
TOPIC_CHARACTERS_MAX: Final = 249  # as Kafka
INSTANCE_CHARACTERS_MAX: Final = 249  # as Kafka
GROUP_BYTES_MAX: Final = 255
MEMBER_BYTES_MAX: Final = 255
USER_BYTES_MAX: Final = 255
PASSWORD_BYTES_MAX: Final = 1024  # it is to fit into any door's first request, beside a name
ANYONE: Final = "*"  # in a rule: every user
OWNER_NAME: Final = "__owner__"  # of the data directory, at its server's doors: no user's
AUDIT_TOPIC: Final = "__audit"  # who did what
RETAINED_TOPIC: Final = "__mqtt_retained"  # of each MQTT topic the message that is kept for it
KEYS_DATABASES: Final = 16  # of Redis's keys
KEYS_TOPICS: Final = tuple(f"__keys.{number}" for number in range(KEYS_DATABASES))  # one each
KEYS_EXPIRE: Final = "redis.expires-at-ms"  # a header of their records: decimal digits
# The server makes these, and alone writes to them.
SERVER_TOPICS: Final = frozenset({AUDIT_TOPIC, RETAINED_TOPIC, *KEYS_TOPICS})
# Begins the names of groups whose offsets are the positions of topic routes: they never expire.
ROUTE_GROUPS: Final = "__route."
QUEUE_PREFIX: Final = "__queue."  # begins the names of topics that hold messages of a queue
PARTITION_BYTES: Final = 4
_SHOWN_CHARACTERS: Final = 60  # of a name that is refused: it may have megabytes

# The keys of a committed offset and of a member: group NUL topic NUL partition, group NUL member.
assert GROUP_BYTES_MAX + 1 + TOPIC_CHARACTERS_MAX + 1 + PARTITION_BYTES <= KEY_BYTES_MAX
assert GROUP_BYTES_MAX + 1 + MEMBER_BYTES_MAX <= KEY_BYTES_MAX

TOPIC_PATTERN: Final = rf"[a-zA-Z0-9._-]{{1,{TOPIC_CHARACTERS_MAX}}}"
_TOPIC = re.compile(TOPIC_PATTERN)


def check_topic(name: str) -> str:
    """The same name, if Kafka would take it. Raises InvalidName."""
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise InvalidName(
            f"topic name {_beginning(name)} is not allowed: use 1 to {TOPIC_CHARACTERS_MAX} of the "
            f"characters a-z A-Z 0-9 . _ -"
        )
    return name


def is_servers(topic: str) -> bool:
    """Whether nobody but the server makes a topic of this name, and writes to it."""
    return topic in SERVER_TOPICS


def _beginning(name: str) -> str:
    """For a message: a name that is refused may have megabytes."""
    return repr(name) if len(name) <= TOPIC_CHARACTERS_MAX else f"{name[:_SHOWN_CHARACTERS]!r}..."


def check_no_queue(name: str) -> None:
    """Raises InvalidName where a topic of this name would be a queue's."""
    if name.startswith(QUEUE_PREFIX):
        raise InvalidName(
            f"topic name {_beginning(name)} is not allowed: names that begin with "
            f"{QUEUE_PREFIX!r} are reserved for queues"
        )


def check_apart(name: str, others: Iterable[str]) -> None:
    """Raises InvalidName where another topic's name differs in '.' and '_' alone.

    Kafka refuses such a pair, since its metrics write both signs alike.
    """
    if "." not in name and "_" not in name:
        return
    same = name.replace(".", "_")
    for other in others:
        if len(other) == len(same) and other != name and other.replace(".", "_") == same:
            raise InvalidName(
                f"topic name {name!r} is not allowed: it collides with topic {other!r}, because"
                " '.' and '_' are treated as the same"
            )


def check_folded(name: str, others: Iterable[str]) -> None:
    """Raises InvalidName where another topic's name differs in upper and lower case alone.

    For a file system that takes both for one name, as most of macOS do.
    """
    same = name.lower()
    for other in others:
        if other != name and other.lower() == same:
            raise InvalidName(
                f"topic name {name!r} is not allowed: the file system ignores case, so it is the "
                f"same as topic {other!r}"
            )


def check_group(name: str) -> str:
    """The same name, if a group may have it. Raises InvalidName."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) <= GROUP_BYTES_MAX or b"\0" in encoded:
        raise InvalidName(
            f"group name {name[:_SHOWN_CHARACTERS]!r} is not allowed: use 1 to {GROUP_BYTES_MAX} "
            f"bytes of UTF-8, no NUL"
        )
    return name


def check_user(name: str) -> str:
    """The same name, if a user may have it. Raises InvalidName."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b""
    if name == OWNER_NAME:
        raise InvalidName(
            f"user name {name!r} is not allowed: it stands for the data directory's owner"
        )
    if not 0 < len(encoded) <= USER_BYTES_MAX or not name.isprintable() or name == ANYONE:
        raise InvalidName(
            f"user name {name[:_SHOWN_CHARACTERS]!r} is not allowed: use 1 to {USER_BYTES_MAX} "
            f"bytes of UTF-8, no control characters, and not {ANYONE!r}, which means everyone"
        )
    return name
