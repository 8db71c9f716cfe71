"""Records of a cluster's partitions, and what of them is done."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from logstore.broker.committed import Isolation
from logstore.broker.start import (
    Held,
    OnOutOfRange,
    Start,
    Starts,
    committed_offset,
    end_of,
    start_of,
)
from logstore.errors import Failed, Fenced, LogstoreError, UnknownPartition
from logstore.log import TopicPartition
from logstore.records.record import Record

from .address import Address
from .reader import FETCH_WAIT_MS, NO_GROUP, NO_MATTER, TRANSIENT, place_of, record_of
from .refusal import ANSWER_S, error_in, refused

COMMIT_S: Final = 5.0  # as consumer.commit.ms of a store
SESSION_MS: Final = 10_000  # as consumer.session.timeout.ms of a store
OUT_OF_RANGE: Final = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET}
HEARTBEAT_MS: Final = 1000  # how soon a member hears that others have come


class PartitionsOf(Protocol):
    """Each partition of a topic, with its offsets as they are now."""

    def __call__(self, topic: str, /) -> Mapping[int, Held]: ...


class ClusterConsumer:
    """As ``logstore.broker.consumer.Consumer``, by ``poll``: the records of one poll are done when
    the next is asked for, and at a clean end.
    """

    def __init__(
        self,
        address: Address,
        partitions_of: PartitionsOf,
        places: Sequence[TopicPartition],
        *,
        group: str | None,
        member: bool,
        start: Starts,
        follow: bool,
        on_out_of_range: OnOutOfRange = "stop",
        isolation: Isolation = "committed",
        end: Start | None = None,
    ) -> None:
        """``member``: share the topics of ``places`` with the group's other members.

        ``end``: as in Store.consumer.

        Raises OffsetOutOfRange, UnknownTopic.
        """
        self._address = address
        self._partitions_of = partitions_of
        self._group = group
        self._ignored = NO_MATTER if group is None else TRANSIENT
        self._start = start
        self._follow = follow
        self._on_out_of_range: OnOutOfRange = on_out_of_range
        self._done: dict[TopicPartition, int] = {}  # partitions here: all below is processed
        self._handed: dict[TopicPartition, int] = {}  # processed at the next request
        self._committed: dict[TopicPartition, int] = {}
        self._at_end: set[TopicPartition] = set()
        self._end = end
        self._ends: dict[TopicPartition, int] = {}  # where reading ends, if it is to
        self._assigned = False
        self._assignments = 0  # how often it has changed
        self._failure: LogstoreError | None = None
        self._commit_at = time.monotonic() + COMMIT_S
        self._heard_at = time.monotonic()
        self._consumer = Consumer(
            address.settings(
                group_id=group or NO_GROUP,
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                auto_offset_reset="error",
                isolation_level=f"read_{isolation}",
                enable_partition_eof=True,
                fetch_wait_max_ms=FETCH_WAIT_MS,
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=HEARTBEAT_MS,
            )
        )
        try:
            if group is not None and member:
                self._consumer.subscribe(
                    sorted({topic for topic, _ in places}),
                    on_assign=self._got,
                    on_revoke=self._giving_up,
                    on_lost=self._lost,
                )
            else:
                self._begin(places)
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(last_done=kind is None)

    # Which partitions, and from where

    def _begin(self, places: Iterable[TopicPartition]) -> None:
        self._done = self._positions(list(places))
        self._consumer.assign([Place(*place, at) for place, at in self._done.items()])
        self._assigned = True
        self._at_end.clear()
        self._heard_at = time.monotonic()

    def _positions(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The group's committed positions, or else the start positions. Raises OffsetOutOfRange."""
        self._committed = self._fetch_committed(places) if self._group is not None else {}
        found = {topic: self._partitions_of(topic) for topic in {topic for topic, _ in places}}
        positions = {}
        for topic, number in places:
            partition = found[topic][number]
            if self._end is not None:
                self._ends[topic, number] = end_of(partition, self._end)
            committed = self._committed.get((topic, number))
            if committed is None:
                positions[topic, number] = start_of(partition, (topic, number), self._start)
                continue
            positions[topic, number] = committed_offset(
                partition, committed, self._group, self._on_out_of_range
            )
        return positions

    def _fetch_committed(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = [Place(*place) for place in places]
        doing = f"see what group {self._group!r} has committed"
        found = self._ask(lambda: self._consumer.committed(wanted, timeout=ANSWER_S), doing)
        for it in found:
            if it.error is not None:
                raise refused(it.error, self._address, doing)
        return {(it.topic, it.partition): it.offset for it in found if it.offset >= 0}

    def _got(self, consumer: Consumer, places: list[Place]) -> None:
        self._rebalanced(lambda: self._begin([(it.topic, it.partition) for it in places]))

    def _giving_up(self, consumer: Consumer, places: list[Place]) -> None:
        def give_up() -> None:
            try:
                self._commit()
            finally:
                self._forget()

        self._rebalanced(give_up)

    def _lost(self, consumer: Consumer, places: list[Place]) -> None:
        self._rebalanced(self._forget)

    def _forget(self) -> None:
        self._done.clear()
        self._handed.clear()
        self._consumer.unassign()
        self._assigned = False

    def _rebalanced(self, work: Callable[[], None]) -> None:
        """Run ``work``; the next poll raises its error, because a callback cannot."""
        self._assignments += 1
        try:
            work()
        except LogstoreError as error:
            self._failure = error

    # Reading

    @property
    def ended(self) -> bool:
        """Whether the end of every partition was reached."""
        return self._assigned and not self._follow and self._done.keys() <= self._at_end

    def poll(self, records_max: int = 10_000, timeout_s: float | None = None) -> list[Record]:
        """Up to ``records_max`` records; records of the last poll count as processed.

        Empty if none arrives within ``timeout_s``. Raises LogstoreError.
        """
        self._settle()
        if time.monotonic() >= self._commit_at:
            self._commit_at = time.monotonic() + COMMIT_S
            # Fenced: the client notices, too, and joins again. Failed: tried again later, or at the
            # end.
            with suppress(Fenced, Failed):
                self._commit()
        while True:
            before = self._assignments
            first = self._consumer.poll(-1 if timeout_s is None else timeout_s)
            messages = [] if first is None else [first]
            if first is not None and records_max > 1:
                messages += self._consumer.consume(records_max - 1, timeout=0)
            if self._failure is not None:
                raise self._failure
            if self._assignments != before:
                if messages and self._done:
                    # Some may be of partitions that others now have: the state here begins again.
                    self._consumer.assign([Place(*place, at) for place, at in self._done.items()])
                    self._at_end.clear()
                return []
            records = [it for message in messages if (it := self._taken(message)) is not None]
            if records or timeout_s is not None:
                break
        self._check_heard(bool(messages))
        for record in records:
            self._handed[record.topic, record.partition] = record.offset + 1
        return records

    def _taken(self, message: Message) -> Record | None:
        """The record of a message; None for a notice without a record. Raises LogstoreError."""
        error = message.error()
        if error is None:
            place, record = place_of(message), record_of(message)
            if record.offset >= self._ends.get(place, record.offset + 1):
                self._at_end.add(place)
                self._consumer.pause([Place(*place)])
                return None
            self._at_end.discard(place)
            return record
        if error.code() == KafkaError._PARTITION_EOF:
            self._at_end.add(place_of(message))
        elif error.code() in OUT_OF_RANGE and message.topic() is not None:
            self._go_on(place_of(message))
        elif error.code() not in self._ignored or error.fatal():
            raise refused(error, self._address, f"consume {message.topic() or 'the topics'}")
        return None

    def _go_on(self, place: TopicPartition) -> None:
        """Continue after records were deleted before they were read. Raises OffsetOutOfRange, for
        "stop".
        """
        topic, number = place
        if place not in self._done:
            return  # others have it by now
        partition = self._partitions_of(topic)[number]
        self._settle()
        at = committed_offset(partition, self._done[place], self._group, self._on_out_of_range)
        self.seek(topic, number, at)

    def _check_heard(self, heard: bool) -> None:
        """Raise Failed if the server has not answered for too long.

        A consumer that follows waits for the server's return instead.
        """
        now = time.monotonic()
        if heard or self.ended or self._follow:
            self._heard_at = now
        elif now - self._heard_at > ANSWER_S:
            self._heard_at = now
            if not self._assigned:
                self._address.reach()  # others of the group may just take their time
                return
            raise Failed(f"{self._address}: no reply; check that the server is running")

    # What is done

    def _settle(self) -> None:
        self._done.update(self._handed)
        self._handed.clear()

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at an offset. Raises UnknownPartition if another member consumes the
        partition.
        """
        place = topic, partition
        if place not in self._done:
            raise UnknownPartition(f"{topic}-{partition} is not consumed here")
        self._handed.pop(place, None)
        self._done[place] = offset
        self._at_end.discard(place)
        self._consumer.assign([Place(*it, at) for it, at in self._done.items()])

    def _commit(self) -> None:
        """Commit processed records. A rebalance in progress calls this again."""
        if self._group is None:
            return
        moved = {it: at for it, at in self._done.items() if self._committed.get(it) != at}
        if not moved:
            return
        wanted = [Place(*place, at) for place, at in moved.items()]
        doing = f"commit as group {self._group!r}"
        found = self._ask(lambda: self._consumer.commit(offsets=wanted, asynchronous=False), doing)
        for it in found or ():
            if it.error is not None:
                raise refused(it.error, self._address, doing)
        self._committed.update(moved)

    def _ask(self, request: "Callable[[], list[Place]]", doing: str) -> "list[Place]":
        try:
            return request()
        except KafkaException as error:
            raise refused(error_in(error), self._address, doing) from None

    def close(self, *, last_done: bool = True) -> None:
        """Commit processed records and leave the group; ``last_done``: includes the last returned
        ones.
        """
        if last_done:
            self._settle()
        self._handed.clear()
        try:
            self._commit()
        finally:
            self._done.clear()  # leaving gives the partitions up: nothing more is committed
            self._consumer.close()
