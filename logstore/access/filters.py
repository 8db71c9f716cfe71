"""Selects rules by their content, to list or remove them (Kafka's AclBindingFilter)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from logstore.access.rulebook import matches
from logstore.kept.users import KeptRule

# Of patterns, besides the three that rules have.
ANY: Final = "any"  # any of them, with this very name
MATCH: Final = "match"  # any of them that is about this name


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """The content that a rule must have. None matches anything; the operation ``all`` matches only
    rules with that word.
    """

    kind: str | None = None
    name: str | None = None
    pattern: str = ANY  # or MATCH, or one of the rules'
    user: str | None = None
    host: str | None = None
    operation: str | None = None
    allow: bool | None = None

    def takes(self, rule: KeptRule) -> bool:
        return (
            self.kind in (None, rule.kind)
            and self.user in (None, rule.user)
            and self.host in (None, rule.host)
            and self.operation in (None, rule.operation)
            and self.allow in (None, rule.allow)
            and self.pattern in (ANY, MATCH, rule.pattern)
            and self._names(rule)
        )

    def _names(self, rule: KeptRule) -> bool:
        if self.name in (None, rule.name):
            return True
        return self.pattern == MATCH and self.name is not None and matches(rule, self.name)


def picked(rules: Iterable[KeptRule], wanted: RuleFilter) -> list[KeptRule]:
    """The matching rules, in order."""
    return [it for it in rules if wanted.takes(it)]
