"""What a client may publish and receive: one table of the rights that each operation needs.

A topic is a channel of the same name, and its messages also go to the exchange ``amq.topic``. A
denying rule about either denies; a grant about either is enough: a rule or a Redis pattern for the
channel, or a RabbitMQ permission for the exchange with its topic permission, for which the topic's
separators are translated to those of a routing key.

A subscriber to a filter may receive every topic that it matches, so grants must cover the whole
filter, and no rule may deny a part of it.
"""

from collections.abc import Iterator
from typing import Final

from logstore.access.access import Access
from logstore.access.entrance import may_enter
from logstore.access.identity import Identity
from logstore.access.refusals import Refusals
from logstore.access.resources import (
    CHANNEL,
    DEFAULT_VHOST,
    EXCHANGE,
    READ,
    WRITE,
    name_text,
)
from logstore.access.rules import NO_GRANT, Decision
from logstore.broker.mqtt.filters import SHARE, has_wildcard, shared
from logstore.broker.mqtt.swap import swap

TOPIC_EXCHANGE: Final = "amq.topic"
KNOWN_MAX: Final = 1000  # topics that one connection is known to publish to
KNOWN_BYTES_MAX: Final = 512  # of such a topic
_SIGNS: Final = b"*?[\\"  # special in a glob pattern

# The acts, and what each asks of channel and exchange.
PUBLISH: Final = "publish"
SUBSCRIBE: Final = "subscribe"
WILL: Final = "will"
ASKS: Final = {PUBLISH: WRITE, SUBSCRIBE: READ, WILL: WRITE}


class Permits:
    """The rights of one identity."""

    __slots__ = ("_access", "_publishable", "_refusals", "_rights", "_version", "free", "who")

    def __init__(self, access: Access, refusals: Refusals, who: Identity) -> None:
        self.who = who
        self._access = access
        self._refusals = refusals
        self._rights = access.rights(who)
        self._publishable: dict[bytes, bool] | None = None
        self.look_anew()

    def look_anew(self) -> None:
        """Apply changed rules."""
        self._version = self._access.version
        self.free: bool = self._rights.all
        self._publishable = None

    @property
    def outdated(self) -> bool:
        """Whether rules have changed since they were last applied."""
        return self._version != self._access.version

    def may_enter(self) -> bool:
        """Whether the client may publish or subscribe to anything at all."""
        return (
            self.free
            or may_enter(self._access, self.who, DEFAULT_VHOST)
            or self._rights.may_some(WRITE, CHANNEL)
            or self._rights.may_some(READ, CHANNEL)
        )

    # Publishing

    def may_publish(self, topic: bytes) -> bool:
        """Whether the client may publish to the topic; the answer is remembered."""
        if self.outdated:
            self.look_anew()
        if self.free:
            return True
        known = self._publishable
        if known is None:
            known = self._publishable = {}
        answer = known.get(topic)
        if answer is None:
            answer = self._may(PUBLISH, topic)
            if len(known) >= KNOWN_MAX:
                known.clear()
            if len(topic) <= KNOWN_BYTES_MAX:
                known[topic] = answer
        return answer

    def may_will(self, topic: bytes) -> bool:
        """Whether the client's will may be published to the topic."""
        return self._rights.all or self._may(WILL, topic)

    def _may(self, act: str, topic: bytes) -> bool:
        operation = ASKS[act]
        of_channel = self._rights.decision(operation, CHANNEL, name_text(topic))
        return self._decided(act, topic, [of_channel])

    # Subscribing

    def may_subscribe(self, filter: bytes) -> bool:
        """Whether the client may receive everything that a valid filter matches."""
        if self._rights.all:
            return True
        if filter.startswith(SHARE):
            found = shared(filter)
            assert found is not None
            filter = found.filter
        if not has_wildcard(filter):
            return self._may(SUBSCRIBE, filter)
        return self._decided(SUBSCRIBE, filter, list(self._of_channels(filter)))

    def _of_channels(self, filter: bytes) -> Iterator[Decision]:
        """Decisions on all names that the filter matches: ``a/#`` is ``a``, and the pattern
        ``a/*``.

        A pattern's star matches more than a ``+``, so a denying rule may deny too much.
        """
        levels = filter.split(b"/")
        if levels[-1] == b"#" and len(levels) > 1:
            above = levels[:-1]
            if b"+" in above:
                yield self._matching(above)
            else:
                yield self._rights.decision(READ, CHANNEL, name_text(b"/".join(above)))
        yield self._matching(levels)

    def _matching(self, levels: list[bytes]) -> Decision:
        glob = b"/".join(b"*" if it in (b"+", b"#") else _literally(it) for it in levels)
        return self._access.decision_matching(self.who, READ, CHANNEL, name_text(glob))

    # Both ways

    def _decided(self, act: str, name: bytes, of_channels: list[Decision]) -> bool:
        """Combine the rules of channels, all of which must allow, with those of the exchange."""
        operation = ASKS[act]
        refused = next((it for it in of_channels if not it.allowed), None)
        of_exchange = self._rights.decision(operation, EXCHANGE, TOPIC_EXCHANGE)
        for it in (*of_channels, of_exchange):
            if not it.allowed and it != NO_GRANT:
                return self._refuse(act, name, it.why)
        if refused is None:
            return True
        if not of_exchange.allowed:
            return self._refuse(act, name, refused.why)
        key = name_text(swap(name))
        if self._rights.may_key(operation, DEFAULT_VHOST, TOPIC_EXCHANGE, key):
            return True
        why = self._access.decision_key(self.who, operation, DEFAULT_VHOST, TOPIC_EXCHANGE, key).why
        return self._refuse(act, name, why)

    def _refuse(self, act: str, name: bytes, why: str) -> bool:
        self._refusals.tell(self.who, ASKS[act], CHANNEL, name_text(name), why)
        return False


def _literally(level: bytes) -> bytes:
    """A pattern that matches only this level."""
    if not any(sign in level for sign in _SIGNS):
        return level
    return b"".join(b"\\" + bytes((it,)) if it in _SIGNS else bytes((it,)) for it in level)
