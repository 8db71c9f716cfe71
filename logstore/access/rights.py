"""What one connection may do: looked up once for each object, forgotten when rules change."""

from typing import Final, Protocol

from logstore.access.identity import Identity
from logstore.access.rules import Decision

KNOWN_MAX: Final = 10_000  # answers that one connection remembers: a client chooses the names


class Decides(Protocol):
    """Who knows the rules."""

    version: int  # rises with every change

    def decision(self, who: Identity, operation: str, kind: str, name: str) -> Decision: ...
    def is_super(self, who: Identity) -> bool: ...


class Rights:
    """Of one identity."""

    __slots__ = ("_access", "_known", "_version", "who")

    def __init__(self, access: Decides, who: Identity) -> None:
        self.who = who
        self._access = access
        self._version = access.version
        self._known: dict[tuple[str, str, str], bool] = {}

    def may(self, operation: str, kind: str, name: str) -> bool:
        """Whether this is allowed now."""
        if self._version != self._access.version:
            self._known.clear()
            self._version = self._access.version
        known = self._known.get((operation, kind, name))
        return self._look(operation, kind, name) if known is None else known

    def _look(self, operation: str, kind: str, name: str) -> bool:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        allowed = self._access.decision(self.who, operation, kind, name).allowed
        self._known[operation, kind, name] = allowed
        return allowed

    def decision(self, operation: str, kind: str, name: str) -> Decision:
        """The same, with what says so."""
        return self._access.decision(self.who, operation, kind, name)

    @property
    def all(self) -> bool:
        """Whether everything is allowed."""
        return self._access.is_super(self.who)
