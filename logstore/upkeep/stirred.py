"""Decides which logs compaction should examine now: changed ones, and those whose time has come.

A log can need compaction only after a segment was sealed, a setting was changed, or a time came
that the last examination announced. So an unchanged log costs nothing.
"""

from collections.abc import Callable, Iterable, Iterator

from logstore.errors import UnknownTopic
from logstore.storage.directory import WritableDirectory
from logstore.storage.kinds import TOPIC, parse_directory
from logstore.storage.unrecovered import LogPlace
from logstore.upkeep.job import Outcome, Rewritten


class Stirred:
    """The logs to examine. Belongs to the upkeep thread."""

    def __init__(self, directory: WritableDirectory, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._clock = clock
        self._again: dict[str, int] = {}  # when (ms), by the log's directory
        self._is_first = True

    def take(self) -> list[LogPlace]:
        """The logs to examine now; the first time all, as the previous writer left them.

        Call ``told`` with the results.
        """
        now_ms, paths = self._clock(), self._directory.stirred()
        if self._is_first:
            self._is_first = False
            return [
                LogPlace(name, it, number)
                for name, it in self._directory.entries() for number in range(it.partitions)
            ]  # fmt: skip
        paths |= {path for path, at_ms in self._again.items() if at_ms <= now_ms}
        for path in paths:
            self._again.pop(path, None)
        return list(self._placed(paths))

    def _placed(self, paths: Iterable[str]) -> Iterator[LogPlace]:
        for path in sorted(paths):
            parsed = parse_directory(self._directory.kinds, path)
            if parsed is None or parsed[0].name != TOPIC.name:
                continue
            _, name, partition = parsed
            try:
                entry = self._directory.topic(name)
            except UnknownTopic:
                continue  # deleted since
            if partition < entry.partitions:
                yield LogPlace(name, entry, partition)

    def told(self, outcomes: Iterable[Outcome]) -> None:
        """The results for logs; logs that become due by time are examined then."""
        for it in outcomes:
            if isinstance(it, Rewritten) and it.again_ms is not None:
                self._again[TOPIC.directory(it.topic, it.partition)] = it.again_ms
