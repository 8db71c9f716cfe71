"""The decision: pure.

Deny wins; without a grant nothing is allowed. A grant is a rule that allows, or a permission of
RabbitMQ, or a pattern of Redis: one that covers the act is enough.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from logstore.access.identity import Identity
from logstore.access.resources import ALL, IMPLIED
from logstore.kept_users import ANYONE, GLOB, LITERAL, PREFIX, KeptRule


class Decision(NamedTuple):
    """Whether an act is allowed, and what says so."""

    allowed: bool
    why: str  # for people: the rule, or that there is none


NO_GRANT: Final = Decision(False, "no rule allows it")


def decide(
    rules: Iterable[KeptRule], who: Identity, operation: str, kind: str, name: str
) -> Decision:
    """Of the rules in Kafka's language."""
    allowed: KeptRule | None = None
    for rule in rules:
        if not _concerns(rule, who, kind, name):
            continue
        if not rule.allow and rule.operation in (operation, ALL):
            return Decision(False, shown(rule))
        covers = (operation, ALL, *IMPLIED.get(operation, ()))
        if rule.allow and rule.operation in covers and allowed is None:
            allowed = rule
    return NO_GRANT if allowed is None else Decision(True, shown(allowed))


def _concerns(rule: KeptRule, who: Identity, kind: str, name: str) -> bool:
    return (
        rule.kind == kind
        and rule.user in (who.user, ANYONE)
        and rule.host in (who.host, ANYONE)
        and _matches(rule, name)
    )


def _matches(rule: KeptRule, name: str) -> bool:
    if rule.pattern == PREFIX:
        return name.startswith(rule.name)
    if rule.pattern == GLOB:
        return fnmatchcase(name, rule.name)
    assert rule.pattern == LITERAL
    return rule.name in (name, ANYONE)


def shown(rule: KeptRule) -> str:
    """``deny user al write topic:orders (literal) from *``."""
    verb = "allow" if rule.allow else "deny"
    return (
        f"{verb} user {rule.user} {rule.operation} {rule.kind}:{rule.name} ({rule.pattern}) from "
        f"{rule.host}"
    )
