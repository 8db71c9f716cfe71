"""Decides whether a user may connect to a virtual host. Pure.

RabbitMQ clients name a virtual host as they connect, before they name any object in it. The
connection alone permits no operation.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from logstore.access.identity import Identity
from logstore.access.resources import DEFAULT_VHOST, EXCHANGE, QUEUE, object_name
from logstore.kept.users import ANYONE, GLOB, LITERAL, PREFIX, KeptPermission, KeptRule

_GLOB_SIGNS: Final = "*?[\\"
_KINDS: Final = (EXCHANGE, QUEUE)


class Knows(Protocol):
    """The source of all rules and permissions."""

    def rules_of(self, who: Identity, *kinds: str) -> Sequence[KeptRule]: ...
    @property
    def permissions(self) -> Mapping[tuple[str, str], KeptPermission]: ...
    def is_super(self, who: Identity) -> bool: ...


def may_enter(known: Knows, who: Identity, vhost: str) -> bool:
    """Whether there is any permission in the host, or a rule that allows something there."""
    if known.is_super(who) or (who.user, vhost) in known.permissions:
        return True
    rules = known.rules_of(who, *_KINDS)
    return any(rule.allow and reaches(rule, vhost) for rule in rules)


def reaches(rule: KeptRule, vhost: str) -> bool:
    """Whether a rule may concern names in the virtual host."""
    host = _shown(vhost)
    if rule.pattern == LITERAL:
        named, colon, _ = rule.name.partition(":")
        return rule.name == ANYONE or host == (named if colon else DEFAULT_VHOST)
    head = rule.name if rule.pattern == PREFIX else _literal_head(rule.name)
    named, colon, _ = head.partition(":")
    if colon:
        return named == host
    return host == DEFAULT_VHOST or f"{host}:".startswith(head)


def is_within(rule: KeptRule, vhost: str) -> bool:
    """Whether a rule concerns only names of a virtual host other than "/"."""
    head = _literal_head(rule.name) if rule.pattern == GLOB else rule.name
    named, colon, _ = head.partition(":")
    return rule.kind in _KINDS and bool(colon) and named == _shown(vhost)


def _shown(vhost: str) -> str:
    """The host's name with the escapes that it has in names of objects."""
    return object_name(vhost, ":")[:-2]


def _literal_head(glob: str) -> str:
    """The common beginning of all names that match."""
    for at, sign in enumerate(glob):
        if sign in _GLOB_SIGNS:
            return glob[:at]
    return glob
