"""An upkeep job: the request, its progress, and its result for each log.

These are plain facts, which can be sent to another process that requested the job.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from logstore.errors import LogstoreError
from logstore.storage.kinds import TOPIC
from logstore.upkeep.retention import Held, Verdict
from logstore.upkeep.work import Broke

Name = Literal["retention", "compact", "recompress"]
NAMES: Final[tuple[Name, ...]] = ("retention", "compact", "recompress")
assert set(NAMES) == TOPIC.jobs


class Job(msgspec.Struct, frozen=True):
    """A requested job."""

    name: Name
    topics: tuple[str, ...] = ()  # none: all
    dry_run: bool = False  # only say what would be done
    seal: bool = False  # begin a new segment first, so that all there is can be rewritten


class Retained(msgspec.Struct, frozen=True, tag=True):
    """The result of retention for one log."""

    topic: str
    partition: int
    verdicts: tuple[Verdict, ...] = ()
    broke: Broke | None = None  # nothing was decided
    held: tuple[Held, ...] = ()  # what retention.groups keeps, by group
    groups: tuple[str, ...] = ()  # of retention.groups
    silent: tuple[str, ...] = ()  # those of them that have committed nothing here

    @property
    def dropped(self) -> list[Verdict]:
        return [it for it in self.verdicts if it.goes]

    @property
    def held_back(self) -> tuple[int, int]:
        """Segments and bytes that retention.groups keeps."""
        # Every group's end at the same segment: the largest has what the others have.
        return max(((it.segments, it.bytes) for it in self.held), default=(0, 0))


class Rewritten(msgspec.Struct, frozen=True, tag=True):
    """The result of compaction or recompression for one log."""

    topic: str
    partition: int
    due: bool = False  # there was something to do
    why: str = ""
    bytes_before: int = 0
    bytes_after: int = 0
    segments_before: int = 0
    segments_after: int = 0
    records_removed: int = 0
    passes: int = 0
    broke: Broke | None = None
    again_ms: int | None = None  # when time alone may make it due
    left_out: tuple[str, ...] = ()  # what was not looked at, and why
    # Of a dry run: whether what would be removed, and left, was counted: in all of it, or in some.
    tried: Literal["", "all", "some"] = ""
    tombstones_until_ms: int | None = None  # until when they stay, if a compaction found some


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How much of one log a job has processed."""

    topic: str
    partition: int
    bytes_done: int
    bytes_total: int


Outcome = Retained | Rewritten
Tell = Callable[[Progress], None]


def untold(progress: Progress) -> None:
    """Ignores progress."""


def silent(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Topics, and groups in their retention.groups that have no committed offset in them.

    The offset was never committed, or it has expired.
    """
    retained = [it for it in outcomes if isinstance(it, Retained) and it.broke is None]
    heard = {(it.topic, group) for it in retained for group in _heard(it)}
    named = {(it.topic, group): None for it in retained for group in it.silent}
    return [it for it in named if it not in heard]


def silence(topic: str, group: str) -> str:
    """The message for one of them."""
    return (
        f"topic {topic}: group {group!r} of retention.groups has no offset in this topic:"
        " records that it has not read are not deleted"
    )


def _heard(retained: Retained) -> set[str]:
    return set(retained.groups).difference(retained.silent)


def failure(outcomes: Sequence[Outcome]) -> LogstoreError | None:
    """The first failure."""
    return next((it.broke.error() for it in outcomes if it.broke is not None), None)
