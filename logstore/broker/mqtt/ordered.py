"""A map from topics to values, in the order of the topics' bytes.

It consists of many short lists, so that a traversal of a million topics can stop anywhere and
continue, whatever was inserted or removed meanwhile, and no change moves more than one list. A
dictionary would need a copy of its keys for a traversal, and is rebuilt as a whole from time to
time.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

CHUNK_MAX: Final = 1024  # topics of one list; moving half of them takes a microsecond


class Ordered:
    """An ordered map. Used in one thread."""

    def __init__(self) -> None:
        self._topics: list[list[bytes]] = []
        self._values: list[list[bytes]] = []
        self._lasts: list[bytes] = []  # of each list the last topic
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for topics in self._topics:
            yield from topics

    def get(self, topic: bytes) -> bytes | None:
        """Return the value of the topic, or None."""
        chunk = bisect_left(self._lasts, topic)
        if chunk < len(self._lasts):
            topics = self._topics[chunk]
            at = bisect_left(topics, topic)
            if topics[at] == topic:
                return self._values[chunk][at]
        return None

    def put(self, topic: bytes, value: bytes) -> bytes | None:
        """Set the value of the topic; return the earlier value, or None."""
        lasts = self._lasts
        chunk = bisect_left(lasts, topic)
        if chunk == len(lasts):
            self._put_last(topic, value)
            return None
        topics, values = self._topics[chunk], self._values[chunk]
        at = bisect_left(topics, topic)
        if topics[at] == topic:
            before, values[at] = values[at], value
            return before
        topics.insert(at, topic)
        values.insert(at, value)
        self._count += 1
        self._split(chunk)
        return None

    def _put_last(self, topic: bytes, value: bytes) -> None:
        """Add a topic that sorts after all others."""
        if not self._lasts:
            self._topics.append([])
            self._values.append([])
            self._lasts.append(topic)
        self._topics[-1].append(topic)
        self._values[-1].append(value)
        self._lasts[-1] = topic
        self._count += 1
        self._split(len(self._lasts) - 1)

    def _split(self, chunk: int) -> None:
        topics, values = self._topics[chunk], self._values[chunk]
        if len(topics) <= CHUNK_MAX:
            return
        # Insertion in order leaves full lists, not half-empty ones.
        half = CHUNK_MAX if chunk == len(self._lasts) - 1 else CHUNK_MAX // 2
        self._topics[chunk : chunk + 1] = [topics[:half], topics[half:]]
        self._values[chunk : chunk + 1] = [values[:half], values[half:]]
        self._lasts[chunk : chunk + 1] = [topics[half - 1], topics[-1]]

    def pop(self, topic: bytes) -> bytes | None:
        """Remove the topic; return its value, or None."""
        chunk = bisect_left(self._lasts, topic)
        if chunk == len(self._lasts):
            return None
        topics = self._topics[chunk]
        at = bisect_left(topics, topic)
        if topics[at] != topic:
            return None
        del topics[at]
        value = self._values[chunk].pop(at)
        self._count -= 1
        if not topics:
            del self._topics[chunk], self._values[chunk], self._lasts[chunk]
        elif at == len(topics):
            self._lasts[chunk] = topics[-1]
        return value

    def run(self, first: bytes, most: int) -> tuple[list[bytes], list[bytes]]:
        """Return up to ``most`` topics from ``first`` on, in order, and their values.

        The result is empty only if there are no topics from ``first`` on.
        """
        chunk = bisect_left(self._lasts, first)
        if chunk == len(self._lasts):
            return [], []
        topics = self._topics[chunk]
        at = bisect_left(topics, first)
        return topics[at : at + most], self._values[chunk][at : at + most]

    def clear(self) -> None:
        """Remove all topics."""
        self._topics, self._values, self._lasts, self._count = [], [], [], 0
