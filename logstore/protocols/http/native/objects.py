"""Topics and groups as the caller may see them: lookup, and the rights to them."""

from collections.abc import Iterable
from typing import Final

from logstore.access.resources import CLUSTER, CLUSTER_NAME, CREATE, DESCRIBE, GROUP, of_topic
from logstore.broker.topic import Topic
from logstore.errors import Forbidden, UnknownTopic
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.names import is_servers
from logstore.printable import printable
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

OFFSET_DIGITS: Final = 19  # of 63 bits
SHOWN_CHARACTERS: Final = 100


def topic_of(door: HttpDoor, name: str) -> Topic:
    """Raises UnknownTopic."""
    topic = door.topics.get(name)
    if topic is None:
        raise UnknownTopic(f"no topic {name[:SHOWN_CHARACTERS]!r}", name)
    return topic


def may_topic(door: HttpDoor, call: Call, operation: str, name: str) -> bool:
    """Whether the caller may do this with the object behind the topic's name. From any thread."""
    return call.rights.may(operation, *of_topic(name, door.keeps_history))


def require_topic(door: HttpDoor, call: Call, operation: str, name: str, instead: str = "") -> None:
    """As in Kafka, the right to create in the cluster covers any topic. Raises Forbidden.

    ``instead``: shown instead of the topic's name to a caller that may not see it and has not named
    it.
    """
    on_cluster = (
        operation == CREATE
        and not is_servers(name)
        and call.rights.may(operation, CLUSTER, CLUSTER_NAME)
    )
    if not on_cluster and not may_topic(door, call, operation, name):
        kind, known = of_topic(name, door.keeps_history)
        why = call.rights.decision(operation, kind, known).why
        door.refusals.tell(call.who, operation, kind, known, why)
        if instead and not may_topic(door, call, DESCRIBE, name):
            raise Forbidden(f"{_who(call)} may not {operation} {instead}")
        raise Forbidden(f"{_who(call)} may not {operation} {kind} {_shown(known)!r}")


def topics_shown(door: HttpDoor, call: Call, names: Iterable[str]) -> list[str]:
    """The topics that the caller may see. From any thread."""
    if call.rights.all:
        return list(names)
    return [name for name in names if may_topic(door, call, DESCRIBE, name)]


def groups_shown(call: Call, names: Iterable[str]) -> list[str]:
    """The groups that the caller may see; as in Kafka, a right to the cluster is enough."""
    if call.rights.all or call.rights.may(DESCRIBE, CLUSTER, CLUSTER_NAME):
        return list(names)
    return [name for name in names if call.rights.may(DESCRIBE, GROUP, name)]


def _who(call: Call) -> str:
    return f"user {_shown(call.who.user)!r}" if call.who.user else "an anonymous client"


def _shown(text: str) -> str:
    return printable(text[:SHOWN_CHARACTERS])


def offset_given(given: str | int, what: str = "offset") -> int:
    """An offset in a request: digits, as a text or a number. Raises Fault."""
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= OFFSET_DIGITS):
        raise Fault(BAD_REQUEST, f"{what} {text[:SHOWN_CHARACTERS]!r}: must be a string of digits")
    return int(text)
