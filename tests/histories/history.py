"""A history: what clients did to logs, and what they were told. Facts only.

Every value is sent once, so that whoever reads it tells which operation wrote it. What an offset
says is the order in its log: no order of writes has to be guessed.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import Enum

Place = tuple[str, int]  # topic, partition
Value = bytes | int | str


class Outcome(Enum):
    OK = "ok"
    FAIL = "fail"  # certainly not: aborted, or refused
    INFO = "info"  # nobody was told: either


@dataclass(frozen=True, slots=True)
class Send:
    place: Place
    value: Value
    offset: int | None = None  # None: the client was not told


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll gave of one log, in its order."""

    place: Place
    read: tuple[tuple[int, Value], ...]  # offset, value


@dataclass(frozen=True, slots=True)
class Commit:
    """The group has all below ``offset`` behind it, if the operation takes place."""

    group: str
    place: Place
    offset: int


Step = Send | Poll | Commit


@dataclass(frozen=True, slots=True)
class Operation:
    """One transaction, or one call outside of any. Its polls are not undone when it fails."""

    client: str
    steps: tuple[Step, ...]
    outcome: Outcome = Outcome.OK
    begun: float = 0.0
    ended: float = 0.0
    asked: float | None = None  # when its commit was sent; None: no transaction
    committed: bool = True  # it reads only what is committed
    assigned: bool = False  # the client reads its logs on and on, from where it stopped

    def sends(self) -> list[Send]:
        return [it for it in self.steps if isinstance(it, Send)]

    def polls(self) -> list[Poll]:
        return [it for it in self.steps if isinstance(it, Poll)]

    def __str__(self) -> str:
        asked = "" if self.asked is None else f", asked {self.asked:.4f}"
        when = f"{self.begun:.4f} - {self.ended:.4f}{asked}"
        return f"{when} {self.client} {self.outcome.value}: {'; '.join(map(str, self.steps))}"

    def commits(self) -> list[Commit]:
        return [it for it in self.steps if isinstance(it, Commit)]


@dataclass(frozen=True, slots=True)
class History:
    operations: tuple[Operation, ...]
    # What logs have in the end, once nothing is written any more, of what is committed.
    last: dict[Place, tuple[tuple[int, Value], ...]] = field(default_factory=dict)
    # Where groups stood in the end, of logs of which nobody else has committed offsets.
    groups: dict[tuple[str, Place], int] = field(default_factory=dict)

    def only(self, places: Collection[Place]) -> "History":
        """What there is of these logs alone."""
        kept = []
        for it in self.operations:
            steps = tuple(step for step in it.steps if step.place in places)
            if steps:
                kept.append(replace(it, steps=steps))
        last = {place: read for place, read in self.last.items() if place in places}
        groups = {of: offset for of, offset in self.groups.items() if of[1] in places}
        return History(tuple(kept), last, groups)
