"""Where the records of one partition stand in its copy. Pure."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple


class Run(NamedTuple):
    """So many offsets one after another, on both sides."""

    source: int
    target: int
    span: int


class Track:
    """Runs, in order. One for each gap of the source: three numbers, so that many may be there."""

    def __init__(self) -> None:
        self._sources, self._targets, self._spans = array("q"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[Run]:
        return map(Run, self._sources, self._targets, self._spans)

    @property
    def target_end(self) -> int | None:
        """The target's offset after the last noted one; None without any."""
        return self._targets[-1] + self._spans[-1] if self._sources else None

    @property
    def source_end(self) -> int | None:
        """The source's offset after the last noted one; None without any."""
        return self._sources[-1] + self._spans[-1] if self._sources else None

    def add(self, run: Run) -> None:
        """Add a run; earlier notes of the target from there on are void."""
        self.cut(run.target)
        if (run.source, run.target) == (self.source_end, self.target_end):
            self._spans[-1] += run.span
            return
        self._sources.append(run.source)
        self._targets.append(run.target)
        self._spans.append(run.span)

    def cut(self, target_end: int) -> None:
        """Remove notes from there on, which the target does not have."""
        keep = bisect_left(self._targets, target_end)
        for column in (self._sources, self._targets, self._spans):
            del column[keep:]
        if keep:
            self._spans[-1] = min(self._spans[-1], target_end - self._targets[-1])

    def translate(self, offset: int) -> int | None:
        """Where to continue in the copy, for a reader at ``offset`` of the source.

        That is the first record copied from there or later, or the end of the copy if there is
        none. None if nothing was copied at all.
        """
        at = bisect_right(self._sources, offset) - 1
        if at >= 0 and offset < self._sources[at] + self._spans[at]:
            return self._targets[at] + offset - self._sources[at]
        return self._targets[at + 1] if at + 1 < len(self) else self.target_end
