"""The rights of one connection: decided once for each object, forgotten when rules change.

Connections of one user share remembered decisions, so that memory does not grow with their number.
"""

from typing import Final, Protocol

from logstore.access.identity import Identity
from logstore.access.rules import Decision
from logstore.names import is_servers

# Answers that are remembered of one user, at some 250 bytes each: a client chooses the names.
KNOWN_MAX: Final = 10_000
NAME_MAX: Final = 512  # of a longer name nothing is remembered: Redis's channels have any length


class Answers(dict[tuple[str, ...], bool]):
    """Remembered decisions, by operation and kind, and by name or, with a word behind it, pattern.

    Decisions about a routing key are stored by operation, virtual host, key, exchange, and a word.
    """

    __slots__ = ("__weakref__",)  # what nobody asks for any more is forgotten


_MATCHING: Final = "matching"
_KEY: Final = "key"


class Decides(Protocol):
    """Decides by the rules."""

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
        """The shared answers of identities with equal rights; new after each change."""


class Rights:
    """The rights of one identity. From any thread."""

    __slots__ = ("_access", "_state", "who")

    def __init__(self, access: Decides, who: Identity) -> None:
        self.who = who
        self._access = access
        # Of which version; whether everything is allowed; what is known. In one, so that a thread
        # that rules changed under puts nothing of before into the answers of now.
        self._state: tuple[int, bool, Answers] = (-1, False, Answers())

    def _look_anew(self) -> tuple[int, bool, Answers]:
        version = self._access.version  # first: what changes from now on is seen the next time
        self._state = version, self._access.is_super(self.who), self._access.answers(self.who)
        return self._state

    def may(self, operation: str, kind: str, name: str) -> bool:
        """Whether this is allowed now."""
        version, everything, known = self._state
        if version != self._access.version:
            _, everything, known = self._look_anew()
        if everything:
            return not is_servers(name) or self.decision(operation, kind, name).allowed
        answer = known.get((operation, kind, name))
        if answer is not None:
            return answer
        decision = self._access.decision(self.who, operation, kind, name)
        return _remember(known, (operation, kind, name), decision)

    def may_matching(self, operation: str, kind: str, pattern: str) -> bool:
        """The same for every object whose name matches the glob pattern."""
        if self.all:
            return True
        known, question = self._state[2], (operation, kind, pattern, _MATCHING)
        answer = known.get(question)
        if answer is not None:
            return answer
        decision = self._access.decision_matching(self.who, operation, kind, pattern)
        return _remember(known, question, decision)

    def may_some(self, operation: str, *kinds: str) -> bool:
        """The same for any object of one of the kinds."""
        return self.all or any(self._may_some(operation, kind) for kind in kinds)

    def _may_some(self, operation: str, kind: str) -> bool:
        known = self._state[2]
        answer = known.get((operation, kind))
        if answer is not None:
            return answer
        decision = self._access.decision_some(self.who, operation, kind)
        return _remember(known, (operation, kind), decision)

    def may_key(self, operation: str, vhost: str, exchange: str, key: str) -> bool:
        """Whether the user may publish (write) or bind (read) with this key at a topic exchange.

        The right to the exchange itself is checked separately.
        """
        if self.all:
            return True
        known, question = self._state[2], (operation, vhost, key, exchange, _KEY)
        answer = known.get(question)
        if answer is not None:
            return answer
        decision = self._access.decision_key(self.who, operation, vhost, exchange, key)
        return _remember(known, question, decision)

    def decision(self, operation: str, kind: str, name: str) -> Decision:
        """The answer of ``may``, with the rule that decided."""
        return self._access.decision(self.who, operation, kind, name)

    @property
    def all(self) -> bool:
        """Whether everything is allowed except writing the audit log."""
        version, everything, _ = self._state
        return everything if version == self._access.version else self._look_anew()[1]


def _remember(known: Answers, question: tuple[str, ...], decision: Decision) -> bool:
    if len(known) >= KNOWN_MAX:
        known.clear()
    if len(question) < 3 or len(question[2]) <= NAME_MAX:
        known[question] = decision.allowed
    return decision.allowed
