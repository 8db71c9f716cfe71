"""The objects that definitions want, and parts without a meaning here. Plain facts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from logstore.broker.policies import Policy
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.kept.users import KeptPermission, KeptTopicPermission, PasswordHash, ScramKey

NOTES_MAX: Final = 1000  # of what means nothing here; more are counted


class WantedUser(NamedTuple):
    """A user. Without keys and hash, an existing password stays."""

    name: str
    tags: tuple[str, ...]
    scram: Mapping[str, ScramKey] = {}
    rabbit: PasswordHash | None = None


class WantedExchange(NamedTuple):
    vhost: str
    facts: ExchangeFacts


class WantedQueue(NamedTuple):
    vhost: str
    facts: QueueFacts


class WantedBinding(NamedTuple):
    vhost: str
    binding: Binding


class WantedPolicy(NamedTuple):
    vhost: str
    policy: Policy


@dataclass(slots=True)
class Notes:
    """Parts that are listed and otherwise ignored: one line each."""

    lines: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, line: str) -> None:
        if len(self.lines) < NOTES_MAX:
            self.lines.append(line)
        else:
            self.more += 1

    def all(self) -> Iterator[str]:
        yield from self.lines
        if self.more:
            yield f"and {self.more} more"


@dataclass(slots=True)
class Wanted:
    """All wanted objects, in the given order."""

    users: list[WantedUser] = field(default_factory=list)
    vhosts: list[str] = field(default_factory=list)
    permissions: list[KeptPermission] = field(default_factory=list)
    topic_permissions: list[KeptTopicPermission] = field(default_factory=list)
    policies: list[WantedPolicy] = field(default_factory=list)
    exchanges: list[WantedExchange] = field(default_factory=list)
    queues: list[WantedQueue] = field(default_factory=list)
    bindings: list[WantedBinding] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
