"""The decision over rules in three languages. Pure.

A denial wins; without a grant nothing is allowed. A grant is an allowing rule in Kafka's language,
a RabbitMQ permission, or a Redis pattern; one grant that covers the operation is enough. Only rules
in Kafka's language deny, and they override grants of the other languages.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from logstore.access import permissions
from logstore.access.identity import Identity
from logstore.access.resources import spellings, split_name
from logstore.access.rulebook import Rulebook
from logstore.kept.users import KeptPermission, KeptRule
from logstore.printable import printable


class Decision(NamedTuple):
    """Whether an operation is allowed, and which rule decided it."""

    allowed: bool
    why: str  # for people: the rule, or that there is none


NO_GRANT: Final = Decision(False, "no rule allows it")


class Granted(Struct, frozen=True):
    """What a user's RabbitMQ permissions and Redis rules grant."""

    permissions: Mapping[tuple[str, str], KeptPermission]  # of all, by user and virtual host
    redis: str | None = None  # his rules in Redis's words


def decide(
    rules: Rulebook, granted: Granted, who: Identity, operation: str, kind: str, name: str
) -> Decision:
    """Whether the operation on the object of that name is allowed."""
    forbidden, permitted = spellings(name) if kind in permissions.KINDS else ((name,), (name,))
    for spelled in forbidden:
        denied = rules.denies(who, operation, kind, spelled)
        if denied is not None:
            return Decision(False, shown(denied))
    for spelled in permitted:
        allowed = rules.allows(who, operation, kind, spelled)
        if allowed is not None:
            return Decision(True, shown(allowed))
    why = _granted(granted, who, operation, kind, name)
    return NO_GRANT if why is None else Decision(True, printable(why))


def _granted(granted: Granted, who: Identity, operation: str, kind: str, name: str) -> str | None:
    if kind in permissions.KINDS:
        vhost, plain = split_name(name)
        permission = granted.permissions.get((who.user, vhost))
        return None if permission is None else permissions.allows(permission, operation, plain)
    if granted.redis is not None:
        from logstore.access import redis_grants  # most users have no rules in Redis's words

        return redis_grants.allows(granted.redis, operation, kind, name)
    return None


def decide_matching(
    rules: Rulebook, granted: Granted, who: Identity, operation: str, kind: str, pattern: str
) -> Decision:
    """Whether the operation is allowed on every object whose name matches the glob pattern.

    Used for subscriptions to a pattern. It is allowed by a rule about any name, about a prefix of
    the pattern, or about an equal pattern; and by a Redis pattern that is equal or ``*``. A rule
    that denies one of these names denies the pattern.
    """
    glob = pattern.encode(errors="surrogateescape")
    denied = rules.denies_some(who, operation, kind, glob)
    if denied is not None:
        return Decision(False, shown(denied))
    allowed = rules.allows_all(who, operation, kind, glob)
    if allowed is not None:
        return Decision(True, shown(allowed))
    if granted.redis is not None:
        from logstore.access import redis_grants

        why = redis_grants.allows_all(granted.redis, operation, kind, pattern)
        if why is not None:
            return Decision(True, printable(why))
    return NO_GRANT


def decide_some(
    rules: Rulebook, granted: Granted, who: Identity, operation: str, kind: str
) -> Decision:
    """Whether there may be objects of the kind on which the operation is allowed (KIP-679).

    If everything granted is denied by several rules together, or by a rule that prefixes do not
    reveal, the answer is yes, and each operation is refused.
    """
    denied = rules.denies_any(who, operation, kind)
    if denied is not None:
        return Decision(False, shown(denied))
    allowed = rules.allows_some(who, operation, kind)
    if allowed is not None:
        return Decision(True, shown(allowed))
    if kind in permissions.KINDS:
        for (user, vhost), permission in granted.permissions.items():
            if user == who.user and permissions.allows_some(permission, operation):
                return Decision(True, f"permission of user {user} in vhost {printable(vhost)}")
    if granted.redis is not None:
        from logstore.access import redis_grants

        if redis_grants.allows_some(granted.redis, operation, kind):
            return Decision(True, "Redis rules")
    return NO_GRANT


def shown(rule: KeptRule) -> str:
    """``deny user al write topic:orders (literal) from *``."""
    verb = "allow" if rule.allow else "deny"
    return printable(
        f"{verb} user {rule.user} {rule.operation} {rule.kind}:{rule.name} ({rule.pattern}) from "
        f"{rule.host}"
    )
