"""What one connection may do: looked up once for each object, forgotten when rules change.

Connections of one user share what they know, so that it does not grow with their number.
"""

from typing import Final, Protocol

from logstore.access.identity import Identity
from logstore.access.rules import Decision

# Answers that are remembered of one user, at some 250 bytes each: a client chooses the names.
KNOWN_MAX: Final = 10_000
NAME_MAX: Final = 512  # of a longer name nothing is remembered: Redis's channels have any length

# By operation and kind, and the name or, with a word behind it, the pattern.
Answers = dict[tuple[str, ...], bool]
_MATCHING: Final = "matching"


class Decides(Protocol):
    """Who knows the rules."""

    version: int  # rises with every change

    def decision(self, who: Identity, operation: str, kind: str, name: str) -> Decision: ...
    def decision_matching(
        self, who: Identity, operation: str, kind: str, pattern: str
    ) -> Decision: ...
    def decision_some(self, who: Identity, operation: str, kind: str) -> Decision: ...
    def decision_key(
        self, who: Identity, operation: str, vhost: str, exchange: str, key: str
    ) -> Decision: ...
    def is_super(self, who: Identity) -> bool: ...
    def answers(self, who: Identity) -> Answers:
        """What is known of all whose answers are the same; another one after each change."""


class Rights:
    """Of one identity. In the sessions' thread."""

    __slots__ = ("_access", "_all", "_known", "_version", "who")

    def __init__(self, access: Decides, who: Identity) -> None:
        self.who = who
        self._access = access
        self._version = -1
        self._all = False
        self._known: Answers = {}

    def _look_anew(self) -> None:
        self._version = self._access.version
        self._all = self._access.is_super(self.who)
        self._known = self._access.answers(self.who)

    def may(self, operation: str, kind: str, name: str) -> bool:
        """Whether this is allowed now."""
        if self._version != self._access.version:
            self._look_anew()
        if self._all:
            return True
        known = self._known.get((operation, kind, name))
        if known is not None:
            return known
        return self._remember(
            (operation, kind, name), self._access.decision(self.who, operation, kind, name)
        )

    def may_matching(self, operation: str, kind: str, pattern: str) -> bool:
        """The same, with every object whose name the glob pattern matches."""
        if self.all:
            return True
        question = operation, kind, pattern, _MATCHING
        known = self._known.get(question)
        if known is not None:
            return known
        decision = self._access.decision_matching(self.who, operation, kind, pattern)
        return self._remember(question, decision)

    def may_some(self, operation: str, *kinds: str) -> bool:
        """The same, with any object at all of one of the kinds."""
        return self.all or any(self._may_some(operation, kind) for kind in kinds)

    def _may_some(self, operation: str, kind: str) -> bool:
        known = self._known.get((operation, kind))
        if known is not None:
            return known
        decision = self._access.decision_some(self.who, operation, kind)
        return self._remember((operation, kind), decision)

    def may_key(self, operation: str, vhost: str, exchange: str, key: str) -> bool:
        """Whether he may publish (write) or bind (read) with this key at an exchange of type topic.

        That the exchange itself is allowed is asked besides.
        """
        return self.all or (
            self._access.decision_key(self.who, operation, vhost, exchange, key).allowed
        )

    def _remember(self, question: tuple[str, ...], decision: Decision) -> bool:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        if len(question) < 3 or len(question[2]) <= NAME_MAX:
            self._known[question] = decision.allowed
        return decision.allowed

    def decision(self, operation: str, kind: str, name: str) -> Decision:
        """The answer of ``may``, with what says so."""
        return self._access.decision(self.who, operation, kind, name)

    @property
    def all(self) -> bool:
        """Whether everything is allowed."""
        if self._version != self._access.version:
            self._look_anew()
        return self._all
