"""A consumer's part in its group: follows what the group gives it, and commits for it.

As a chore, it looks for changes every few milliseconds. A partition that moves to another member is
given up when its records that were handed out are done and committed; until then the other member
waits.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from logstore.broker.chores import OWN_THREADS, Chore, Chores
from logstore.broker.coordinator.assignor import Place
from logstore.broker.embedded import EmbeddedMember, Share
from logstore.errors import Fenced, LogstoreError, Refused
from logstore.kept.groups import Offsets, OffsetToCommit
from logstore.log import Log, TopicPartition

LOOK_S: Final = 0.05  # how long news of the group may stay unheard; a look costs some 50 us


class Opened(NamedTuple):
    """Partitions that a consumer can read from now on."""

    logs: Mapping[TopicPartition, Log]
    positions: Mapping[TopicPartition, int]
    committed: Mapping[TopicPartition, int]
    places: Mapping[TopicPartition, Place]


class Sharer(Protocol):
    """The consumer whose part this is."""

    def take(
        self,
        logs: Mapping[TopicPartition, Log],
        positions: Mapping[TopicPartition, int],
        committed: Mapping[TopicPartition, int],
    ) -> None: ...
    def give_up(self, places: Collection[TopicPartition]) -> None: ...
    def release(self) -> bool: ...
    def lose(self) -> None: ...
    def fail(self, error: LogstoreError) -> None: ...
    @property
    def places(self) -> set[TopicPartition]: ...


class Sharing:
    """A consumer's part in its group, from ``start`` to ``leave``."""

    def __init__(
        self,
        member: EmbeddedMember,
        opened: Callable[[Collection[Place], Offsets], Opened],
        metadata_bytes_max: int,
        chores: Chores = OWN_THREADS,
    ) -> None:
        """``opened(places, committed)``: returns the partitions that exist, ready to be read."""
        self._member = member
        self._opened = opened
        self._metadata_bytes_max = metadata_bytes_max
        self._consumer: Sharer | None = None
        self._places: dict[TopicPartition, Place] = {}
        self._settled = False
        self._lock = threading.Lock()  # one look at a time
        self._leaving = False
        # Waits until what the last transaction has committed is kept, and so all before it.
        self._deciding: Callable[[], None] | None = None
        self._chores = chores
        self._chore: Chore | None = None

    def start(self, consumer: Sharer) -> None:
        """Join, and give the consumer its partitions. Raises GroupBusy, and errors of opening."""
        self._consumer = consumer
        share = self._member.join()
        try:
            self._follow(consumer, share)
        except BaseException:
            self._member.leave()
            raise
        self._chore = self._chores.begin(LOOK_S, lambda: self._looked(consumer), "group member")

    def _looked(self, consumer: Sharer) -> bool:
        """Check for changes; returns whether to check again."""
        try:
            self._look(consumer)
        except LogstoreError as error:
            consumer.fail(error)
            return False
        return not self._leaving

    def _look(self, consumer: Sharer) -> None:
        with self._lock:
            if self._leaving:
                return
            released = self._released(consumer)
            while released or self._member.news():
                self._beat(consumer)
                released = self._released(consumer)

    def _released(self, consumer: Sharer) -> bool:
        try:
            return consumer.release()
        except Fenced:
            return True  # the beat that follows hears it, too

    def _beat(self, consumer: Sharer) -> None:
        try:
            share = self._member.beat(frozenset(self._owned(consumer).values()))
        except Fenced:
            consumer.lose()
            share = self._member.join()
        self._follow(consumer, share)

    def _owned(self, consumer: Sharer) -> dict[TopicPartition, Place]:
        there = consumer.places
        self._places = {place: it for place, it in self._places.items() if place in there}
        return self._places

    def _follow(self, consumer: Sharer, share: Share) -> None:
        owned = self._owned(consumer)
        gone = [place for place, it in owned.items() if it not in share.places]
        if gone:
            consumer.give_up(gone)
        new = share.places - set(owned.values())
        if new:
            opened = self._opened(new, share.committed)
            self._places |= opened.places
            consumer.take(opened.logs, opened.positions, opened.committed)
        self._settled = share.settled and not gone

    # Requests of the consumer, in its own threads

    def commit(self, offsets: Mapping[TopicPartition, int], metadata: str = "") -> None:
        """Commit; durable on return. Raises Fenced if all partitions belong to others by now,
        Refused.
        """
        size = len(metadata.encode())
        if size > self._metadata_bytes_max:
            raise Refused(
                f"group {self._member.group!r}: metadata of {size} bytes, "
                f"{self._metadata_bytes_max} at most"
            )
        self._settle()
        places = self._places
        self._member.commit({
            place: OffsetToCommit(offset, metadata, topic_id=places[place][0])
            for place, offset in offsets.items()
            if place in places
        })  # fmt: skip

    @contextmanager
    def owning(self, places: Collection[TopicPartition]) -> Iterator[Mapping[TopicPartition, str]]:
        """As Membership.owning."""
        with self._lock:
            consumer = self._consumer
            owned = {} if consumer is None else self._owned(consumer)
            self._member.check_owns([owned.get(it, ("", it[1])) for it in places])
            yield {it: owned[it][0] for it in places}

    def decided(self, kept: Callable[[], None]) -> None:
        """As Membership.decided."""
        self._deciding = kept

    def _settle(self) -> None:
        """Wait until the offsets of transactions are stored, so that this commit follows them."""
        if self._deciding is not None:
            self._deciding()
            self._deciding = None

    @property
    def late(self) -> bool:
        """As Membership.late."""
        return self._member.late

    def check(self) -> None:
        """Find out, after a long sleep, whether others have the partitions by now."""
        if self._member.late and self._consumer is not None:
            self._look(self._consumer)

    def settled(self) -> bool:
        if self._consumer is not None and not self._leaving:
            self._look(self._consumer)
        return self._settled

    def poke(self) -> None:
        if self._chore is not None:
            self._chore.hurry()

    def leave(self) -> None:
        """Leave the group, so that others get the partitions immediately."""
        self._leaving = True
        if self._chore is not None:
            self._chore.join()
        self._settle()
        self._member.leave()
