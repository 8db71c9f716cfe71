"""A topic for asyncio."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from logstore.aio.faces import Face, Opened, awaited
from logstore.broker.topic import HeadersGiven, Position, PutMany, as_headers
from logstore.broker.topic import Topic as Behind
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.records.record import Message
from logstore.settings import TopicSettings

_T = TypeVar("_T")

# Larger messages are encoded by a worker: compression would delay the loop.
SMALL_BYTES: Final = 32 << 10
FEW: Final = 100  # messages, likewise
OPENED_MAX: Final = 64  # partitions that the first append opens, all together: it takes 1 ms each


class Topic(Opened["Topic"], Face[Behind]):
    """``logstore.Topic`` for asyncio. Awaiting it opens all its logs; otherwise their first use
    does.
    """

    async def _opened(self) -> "Topic":
        topic = self.behind
        await self._open_all(topic)
        if not topic.all_at_hand:
            await self.workers.run(lambda: _open(topic))  # raises the error of one
        return self

    async def _open_all(self, topic: Behind) -> None:
        """Open the topic's logs, once for all waiting calls, which continue in their order."""
        if topic.all_at_hand or len(topic.partitions) > OPENED_MAX:
            return
        opening = self._ground.openings.get(topic)
        if opening is None:
            opening = self.workers.start(lambda: _open_good(topic))
            self._ground.openings[topic] = opening
            opening.add_done_callback(lambda _: self._ground.openings.pop(topic, None))
        await asyncio.shield(opening)

    # What it is

    @property
    def name(self) -> str:
        return self._behind.name

    @property
    def id(self) -> str:
        return self._behind.id

    @property
    def uuid(self) -> bytes:
        """The id as 16 bytes; empty for a topic without one."""
        return self._behind.uuid

    @property
    def created_ms(self) -> int:
        return self._behind.created_ms

    @property
    def settings(self) -> TopicSettings:
        return self._behind.settings

    @property
    def partitions(self) -> Sequence[Log]:
        """The logs; a log that was not used yet is opened on access, which may block."""
        return self._behind.partitions

    partition = awaited(Behind.partition)

    # Appending

    async def append(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
        *,
        deliver_at: datetime | int | None = None,
    ) -> Position:
        """As Topic.append: synced on return, with everything that others append meanwhile.

        If the task is cancelled, the record may have been appended; a note on the exception then
        says so.
        """
        topic = self.behind
        if deliver_at is not None:
            topic, headers = topic.waiting(headers, deliver_at)
            timestamp_ms = None
        headers = as_headers(headers)
        if not topic.all_at_hand:
            await self._open_all(topic)
        if topic.all_at_hand and size_of((value, key, headers)) <= SMALL_BYTES:
            put = topic.put(value, key, headers, timestamp_ms, partition)
        else:
            put = await self._put(
                lambda: topic.put(value, key, headers, timestamp_ms, partition), "one record"
            )
        await self._ground.safe([(put.log, put.mark + 1)], f"one record of {put.log.name}")
        return put.position

    async def append_many(
        self, messages: Iterable[Message], partition: int | None = None
    ) -> Sequence[Position]:
        """As Topic.append_many. If cancelled, all were appended or none; as with ``append``."""
        topic, listed = self.behind, list(messages)
        if not topic.all_at_hand:
            await self._open_all(topic)
        small = len(listed) <= FEW and sum(map(size_of, listed)) <= SMALL_BYTES
        if small and topic.all_at_hand:
            put: PutMany = topic.put_many(listed, partition)
        else:
            what = f"{len(listed)} records"
            put = await self._put(lambda: topic.put_many(listed, partition), what)
        await self._ground.safe(put.marks, f"{len(listed)} records of topic {self.name!r}")
        return put.positions

    async def _put(self, call: Callable[[], _T], what: str) -> _T:
        try:
            return await self.workers.run(call)
        except asyncio.CancelledError as error:
            error.add_note(f"{what} of topic {self.name!r}: perhaps appended, and not waited for")
            raise


def _open(topic: Behind) -> None:
    for number in range(len(topic.partitions)):
        topic.partition(number)


def _open_good(topic: Behind) -> None:
    """Open the logs that can be opened; the use of another one reports its error."""
    for number in range(len(topic.partitions)):
        try:
            topic.partition(number)
        except LogstoreError:
            continue


def size_of(message: Sequence[Any]) -> int:
    """The size of value, key and headers in bytes; other code refuses invalid messages."""
    known = sum(map(_size, message[:2]))
    headers = message[2] if len(message) > 2 else ()
    if not isinstance(headers, tuple | list):
        return known
    return known + sum(_size(part) for pair in headers if isinstance(pair, tuple) for part in pair)


def _size(given: object) -> int:
    return len(given) if isinstance(given, bytes | str) else 0
