"""Committed offsets of consumer groups, in LMDB beside the catalogue.

    offsets   group NUL topic NUL partition (4 bytes)   offset, commit time (ms), metadata (UTF-8)
    groups    group                                     time of creation (ms)

Any process may commit, for LMDB serialises writers; who may commit for a group is decided above.
"""

import struct
from collections.abc import Callable, Mapping
from struct import Struct
from typing import NamedTuple, TypeVar

from logstore.errors import CorruptStore, UnknownGroup
from logstore.log import TopicPartition
from logstore.storage.environment import Change, Environment

_T = TypeVar("_T")

_OFFSETS, _GROUPS = b"offsets", b"groups"
_PARTITION = Struct(">I")
_VALUE = Struct(">qq")
_TIME = Struct(">q")


class Committed(NamedTuple):
    """One partition's committed offset: the next that the group wants to read."""

    offset: int
    commit_ms: int
    metadata: str


class CommittedOffsets:
    """Every group's offsets."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @property
    def writable(self) -> bool:
        return self._environment.writable

    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        keys = (key for key, _ in self._environment.items(_GROUPS))
        return [self._intact(key, bytes.decode) for key in keys]

    def fetch(self, group: str) -> dict[TopicPartition, Committed]:
        """All that the group has committed."""
        prefix = group.encode() + b"\0"
        items = self._environment.items(_OFFSETS, prefix)
        return {
            self._intact(key[len(prefix) :], _place): self._intact(value, _committed)
            for key, value in items
        }

    def _intact(self, data: bytes, parse: Callable[[bytes], _T]) -> _T:
        try:
            return parse(data)
        except (UnicodeDecodeError, struct.error):
            path = self._environment.path
            raise CorruptStore(f"{path}: what a group has committed is damaged: {data!r}") from None

    def commit(
        self, group: str, offsets: Mapping[TopicPartition, int], now_ms: int, metadata: str = ""
    ) -> None:
        """All at once, durable on return; makes the group if there is none."""
        changes: list[Change] = [
            (_OFFSETS, _key(group, place), _VALUE.pack(offset, now_ms) + metadata.encode())
            for place, offset in offsets.items()
        ]
        if self._environment.get(_GROUPS, group.encode()) is None:
            changes.append((_GROUPS, group.encode(), _TIME.pack(now_ms)))
        self._environment.commit(changes)

    def without_topic(self, topic: str) -> list[Change]:
        """The changes that drop what all groups have committed in a topic."""
        return [
            (_OFFSETS, _key(group, place), None)
            for group in self.groups()
            for place in self.fetch(group)
            if place[0] == topic
        ]

    def delete_group(self, group: str) -> None:
        """The group and all its offsets. Raises UnknownGroup."""
        if group not in self.groups():
            raise UnknownGroup(f"no group {group!r}")
        changes: list[Change] = [(_GROUPS, group.encode(), None)]
        changes += [(_OFFSETS, _key(group, place), None) for place in self.fetch(group)]
        self._environment.commit(changes)


def _key(group: str, place: TopicPartition) -> bytes:
    return b"%b\0%b\0%b" % (group.encode(), place[0].encode(), _PARTITION.pack(place[1]))


def _place(key: bytes) -> TopicPartition:
    topic, partition = key[:-5], key[-4:]
    return topic.decode(), _PARTITION.unpack(partition)[0]


def _committed(value: bytes) -> Committed:
    offset, commit_ms = _VALUE.unpack_from(value)
    return Committed(offset, commit_ms, value[_VALUE.size :].decode())
