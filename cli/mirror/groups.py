"""Groups' offsets, carried over to where the same records stand in the copy."""

from collections.abc import Callable, Sequence

from logstore.errors import GroupBusy, UnknownGroup
from logstore.log import TopicPartition

from .copy import Copy
from .sides import Source, Target

Offsets = dict[TopicPartition, tuple[int, str]]


class Groups:
    """Some groups. A group's offset is moved while nobody consumes as it in the target."""

    def __init__(
        self,
        source: Source,
        target: Target,
        copy: Copy,
        names: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._source = source
        self._target = target
        self._copy = copy
        self._names = names
        self._say = say
        self._carried: dict[str, Offsets] = {}
        self._busy: dict[str, GroupBusy] = {}

    def carry(self) -> None:
        """Move each group to its source position, as far as that is copied. Raises LogstoreError.

        A group with members in the target stays; see ``failure``.
        """
        for name in self._names:
            try:
                wanted = self._wanted(name)
            except UnknownGroup:  # its offsets have expired, or it was deleted
                continue
            if not wanted or wanted == self._carried.get(name):
                continue
            try:
                self._target.commit(name, wanted)
            except GroupBusy as error:
                if name not in self._busy:
                    self._say(f"group {name} is not moved: {error}")
                self._busy[name] = error
                continue
            self._busy.pop(name, None)
            self._carried[name] = wanted

    def _wanted(self, name: str) -> Offsets:
        found: Offsets = {}
        for lag in self._source.site.group(name).describe():
            if lag.committed is None:
                continue
            place = lag.topic, lag.partition
            at = self._copy.translate(place, lag.committed)
            if at is not None:
                found[place] = at, lag.metadata
        return found

    @property
    def carried(self) -> dict[str, int]:
        """The number of partitions whose offset was moved, by group."""
        return {name: len(offsets) for name, offsets in self._carried.items()}

    @property
    def failure(self) -> GroupBusy | None:
        """The error of the first group that could not be moved."""
        return next(iter(self._busy.values()), None)
