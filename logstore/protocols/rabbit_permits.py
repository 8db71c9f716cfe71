"""The rights of a client in its virtual host; refusals use RabbitMQ's texts.

The rights in ``asks.py`` are checked before a method is executed. The exchange of a run of messages
is checked once and remembered here until rules change; a remembered check takes 0.1 us.
"""

from typing import Any, Final, NamedTuple

from logstore.access.access import Access
from logstore.access.audit import Audit
from logstore.access.entrance import may_enter
from logstore.access.refusals import Refusals
from logstore.access.resources import (
    ALTER,
    CREATE,
    DEFAULT_EXCHANGE,
    DELETE,
    DESCRIBE,
    EXCHANGE,
    QUEUE,
    READ,
    WRITE,
    object_name,
)
from logstore.access.rules import NO_GRANT
from logstore.amqp.fields import data, text
from logstore.amqp.replies import ACCESS_REFUSED, NOT_ALLOWED, Refusal
from logstore.broker.routing.refusals import NoExchange
from logstore.broker.routing.topology import Topology
from logstore.protocols.rabbit_login import Admitted
from logstore.protocols.rabbit_refusals import place

IMPERSONATOR: Final = "impersonator"  # the tag of who may say that a message is of another user
EXCHANGES_MAX: Final = 1024  # whose answers are remembered: the client chooses the names

# What RabbitMQ calls each; where any of its three rights is enough it names this one, too.
WORDS: Final = {
    CREATE: "configure", DELETE: "configure", ALTER: "configure", DESCRIBE: "configure",
    READ: "read", WRITE: "write",
}  # fmt: skip


HOSTED: Final = frozenset({EXCHANGE, QUEUE})  # kinds of objects that virtual hosts have


class Ask(NamedTuple):
    """One right that a method needs."""

    operation: str
    kind: str
    name: bytes  # of a queue or an exchange; of a topic or a channel that an exchange leads to


class Unless(NamedTuple):
    """An operation that no rule may deny, although something else grants it.

    It is used for streams: a right to the queue is a right to its topic, unless a rule denies that.
    """

    operation: str
    kind: str
    name: bytes


class AskKey(NamedTuple):
    """The right to a routing key, if the exchange is of type topic."""

    operation: str
    exchange: bytes
    key: bytes


class Permits:
    """The rights of one connection in one virtual host."""

    __slots__ = (
        "_access", "_publishable", "_refusals", "_rights", "_version", "_vhost", "_who", "user",
    )  # fmt: skip

    def __init__(self, access: Access, refusals: Refusals, entry: Admitted, vhost: str) -> None:
        self.user = entry.user
        self._who = entry.who
        self._refusals = refusals
        self._access = access
        self._rights = access.rights(entry.who)
        self._vhost = vhost
        self._version = access.version
        # By exchange that may be published to: whether there are rules about keys.
        self._publishable: dict[bytes, bool] = {}

    def enter(self) -> None:
        """Whether it may be in its virtual host at all. Raises Refusal."""
        if not may_enter(self._access, self._who, self._vhost):
            why = "no permission there, and no rule about anything there"
            self._refusals.tell(self._who, "enter", "vhost", self._vhost, why)
            raise Refusal(
                NOT_ALLOWED, f"access to vhost '{self._vhost}' refused for user '{self.user}'"
            )

    def may(self, ask: Ask) -> bool:
        """Whether it has this right."""
        named = self._named(ask)
        if self._rights.may(ask.operation, ask.kind, named):
            return True
        # To see that something is there it is enough to be allowed anything with it, and not
        # forbidden to see it.
        return (
            ask.operation == DESCRIBE
            and self._rights.may(CREATE, ask.kind, named)
            and self._rights.decision(DESCRIBE, ask.kind, named) == NO_GRANT
        )

    def is_forbidden(self, ask: Unless) -> bool:
        """Whether a rule denies this."""
        found = self._rights.decision(ask.operation, ask.kind, text(ask.name))
        return not found.allowed and found != NO_GRANT

    def require(self, ask: Ask | AskKey | Unless) -> None:
        """Raises Refusal where it has not."""
        if isinstance(ask, Unless):
            if self.is_forbidden(ask):
                raise self.refusal(Ask(*ask))
        elif isinstance(ask, AskKey):
            if not self._may_key(ask):
                raise self._refused_key(ask)
        elif not self.may(ask):
            raise self.refusal(ask)

    def refusal(self, ask: Ask) -> Refusal:
        """What a client is told that has not."""
        named = self._named(ask)
        why = self._rights.decision(ask.operation, ask.kind, named).why
        self._refusals.tell(self._who, ask.operation, ask.kind, named, why)
        at = place(ask.kind, data(_shown(ask)), self._vhost)
        return self._refusal(ask.operation, at)

    def _refusal(self, operation: str, at: str) -> Refusal:
        word = WORDS[operation]
        return Refusal(ACCESS_REFUSED, f"{word} access to {at} refused for user '{self.user}'")

    def _named(self, ask: Ask) -> str:
        """What rules call it: topics and channels are in no virtual host."""
        return object_name(self._vhost, _shown(ask)) if ask.kind in HOSTED else text(ask.name)

    def removed(self, audit: Audit, event: str, what: str, name: bytes) -> None:
        """Have it known afterwards: ``what`` was done to an object of this name."""
        audit.tell(event, self._who, f"{what} {object_name(self._vhost, text(name))}")

    # Messages

    def check_publish(self, exchange: bytes) -> bool:
        """Whether it may publish there; whether its routing keys are to be asked for, too.

        Raises Refusal.
        """
        if self._version != self._access.version or len(self._publishable) >= EXCHANGES_MAX:
            self._publishable.clear()
            self._version = self._access.version
        known = self._publishable.get(exchange)
        if known is None:
            self.require(Ask(WRITE, EXCHANGE, exchange))
            known = self._publishable[exchange] = self.has_key_rules(exchange)
        return known

    def may_claim(self, user: str) -> bool:
        """Whether messages may say that they are of this user."""
        return user == self.user or IMPERSONATOR in self._tags()

    def _tags(self) -> tuple[str, ...]:
        user = self._access.users.get(self._who.user)
        return () if user is None else user.tags

    # Routing keys, at exchanges of the type topic

    def has_key_rules(self, exchange: bytes) -> bool:
        """Whether there is a topic permission for it at this exchange."""
        found = self._access.topic_permissions
        return (self._who.user, self._vhost, text(exchange)) in found

    def _may_key(self, ask: AskKey) -> bool:
        named, key = text(ask.exchange), text(ask.key)
        return self._rights.may_key(ask.operation, self._vhost, named, key)

    def _refused_key(self, ask: AskKey) -> Refusal:
        key, exchange = text(ask.key), text(ask.exchange)
        named = object_name(self._vhost, exchange)
        why = self._access.decision_key(self._who, ask.operation, self._vhost, exchange, key).why
        self._refusals.tell(self._who, ask.operation, EXCHANGE, f"{named} with the key {key}", why)
        at = place("exchange", ask.exchange, self._vhost)
        return self._refusal(ask.operation, f"topic '{key}' in {at}")


def is_topic(topology: Topology[Any, Any], exchange: bytes) -> bool:
    """Whether topic permissions are about this exchange. One that there is not has no keys."""
    try:
        return topology.exchange(exchange).type_name == "topic"
    except NoExchange:
        return False


def _shown(ask: Ask) -> str:
    """What rules and texts call it."""
    return text(ask.name) or (DEFAULT_EXCHANGE if ask.kind == EXCHANGE else "")
