"""Whether the caller may use a route."""

from collections.abc import Mapping
from typing import Final

from logstore.access.access import Access
from logstore.access.identity import Identity
from logstore.access.resources import (
    DEFAULT_EXCHANGE,
    DEFAULT_VHOST,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    EXCHANGE,
    QUEUE,
    TOPIC,
    name_text,
    object_name,
    of_topic,
)
from logstore.access.rights import Rights
from logstore.errors import Forbidden
from logstore.http import asks
from logstore.http.asks import Ask
from logstore.http.faults import FORBIDDEN, UNAUTHORIZED, Fault
from logstore.printable import printable
from logstore.protocols.http.door import HttpDoor

FACTS: Final = (DESCRIBE, DESCRIBE_CONFIGS)  # what is asked of an object without its contents
# Of RabbitMQ's tags: which of them let their user in at all, and who sees all facts.
LET_IN: Final = frozenset({"management", "policymaker", "monitoring", "administrator"})
SEE_ALL: Final = frozenset({"monitoring", "administrator"})
POLICYMAKER: Final = "policymaker"  # who may set policies
_NAME_SHOWN: Final = 100  # characters
LOG_IN: Final = "log in with a name and a password"


class Permits(Rights):
    """The rights of one caller over HTTP; some tags let a user see facts about everything."""

    __slots__ = ("_users",)

    def __init__(self, access: Access, who: Identity) -> None:
        super().__init__(access, who)
        self._users = access

    @property
    def tags(self) -> frozenset[str]:
        """Of his user, as they are now."""
        user = self._users.users.get(self.who.user)
        return frozenset() if user is None else frozenset(user.tags)

    @property
    def is_let_in(self) -> bool:
        """Whether he may use this door."""
        return self.all or not LET_IN.isdisjoint(self.tags)

    @property
    def sees_all(self) -> bool:
        """Whether he sees what there is, of whomever."""
        return self.all or not SEE_ALL.isdisjoint(self.tags)

    def may(self, operation: str, kind: str, name: str) -> bool:
        """As Rights.may."""
        return super().may(operation, kind, name) or (operation in FACTS and self.sees_all)


def check(
    door: HttpDoor,
    permits: Permits,
    ask: Ask,
    names: Mapping[str, bytes],
    query: Mapping[str, bytes],
    asked: tuple[str, str] = ("", ""),
) -> None:
    """``names``, ``query``: what the path and the query say. Raises Fault, Forbidden.

    ``asked``: the method and the path of the route, for who is told of refusals.
    """
    who = permits.who
    if who.owner or ask.level in (asks.NOBODY, asks.ANYBODY):
        return
    if ask.level == asks.LOCAL:
        raise Fault(FORBIDDEN, "this is answered through the socket of the data directory only")
    if not door.access.knows(who):
        raise Fault(UNAUTHORIZED, LOG_IN)
    if not _reaches(permits, ask.level):
        why = f"it needs the tag {_TAKES[ask.level]}"
        method, path = asked
        door.refusals.tell(who, method, "path", path, why)
        raise Forbidden(f"user '{_shown(who.user)}' may not use this: {why}")
    if ask.operation:
        kind, name = _object(door, ask, names, query)
        if not permits.may(ask.operation, kind, name):
            why = permits.decision(ask.operation, kind, name).why
            door.refusals.tell(who, ask.operation, kind, name, why)
            raise Forbidden(
                f"user '{_shown(who.user)}' may not {ask.operation} {kind} '{_shown(name)}'"
            )


_TAKES: Final = {
    asks.MANAGEMENT: "management, policymaker, monitoring or administrator",
    asks.POLICYMAKER: "policymaker or administrator",
    asks.MONITORING: "monitoring or administrator",
    asks.ADMINISTRATOR: "administrator",
}


def _reaches(permits: Permits, level: str) -> bool:
    if level == asks.ADMINISTRATOR:
        return permits.all
    if level == asks.POLICYMAKER:
        return permits.all or POLICYMAKER in permits.tags
    return permits.sees_all if level == asks.MONITORING else permits.is_let_in


def _object(
    door: HttpDoor, ask: Ask, names: Mapping[str, bytes], query: Mapping[str, bytes]
) -> tuple[str, str]:
    """Kind and name of the object that is asked for, as rules have them."""
    name = name_text(names.get(ask.word, query.get(ask.word, b"")))
    if ask.kind == TOPIC:  # which may stand for another object
        return of_topic(name, door.keeps_history)
    if ask.kind in (EXCHANGE, QUEUE):
        vhost = names.get("vhost", query.get("vhost", DEFAULT_VHOST.encode()))
        if ask.kind == EXCHANGE and not name:
            name = DEFAULT_EXCHANGE
        return ask.kind, object_name(name_text(vhost), name)
    return ask.kind, name


def _shown(text: str) -> str:
    return printable(text[:_NAME_SHOWN])
