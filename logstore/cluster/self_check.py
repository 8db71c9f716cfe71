"""Tests whether a cluster refuses the previous owner of a partition, before anything relies on it.

The test uses a partition of its own, and a name that nothing else uses::

    one producer claims; another claims; an append of the first is refused
    the second appends a beat, and everything before the beat is deleted
    an append of the first is still refused, and an append of the second is accepted

Brokers with Kafka's protocol implement producers in different ways, so the test asks the cluster
instead of trusting it. Behaviour that shows only after a restart of the brokers is not tested.
"""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, Protocol

from logstore.cluster.claims import BEAT, CLAIM, Word, batch_of
from logstore.cluster.identity import Identity, Then
from logstore.errors import ClusterUnreachable, Failed, FencedProducer, LogstoreError

TOPIC: Final = "__logstore-self-check"
WITHIN_S: Final = 60.0
AGAIN_S: Final = 0.5

Told = Callable[[Any], None]
Step = Callable[[Told], object]  # begins something, and has what came of it told
Steps = Generator[Step, Any, Any]


class Appends(Protocol):
    """Appends as a ``PartitionWriter`` does."""

    failure: LogstoreError | None

    @property
    def done(self) -> int: ...
    def append(self, batch: Any) -> int: ...  # noqa: ANN401  a Batch
    def offset_of(self, mark: int) -> int: ...


class Around(Protocol):
    """The surroundings of the test."""

    def named(self, then: Then) -> object:
        """Request the next identity of the test's own name."""

    def opened(self, identify: Callable[[Then], None], news: Callable[[], object]) -> Appends:
        """The partition's log for the identity in ``identify``."""

    def trim(self, before: int, then: Told) -> object:
        """Delete records below; reports the new start, or a LogstoreError."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def now_ms(self) -> int:
        """The time in ms since 1970."""

    def call_at(self, at: float, call: Callable[[], object]) -> object:
        """Make the call at that time."""


class _Producer:
    """One producer of the partition: an owner, or one that does not know that it was replaced."""

    def __init__(self, around: Around, identity: Identity) -> None:
        self.identity = identity
        self.is_forgotten = False  # its leader does not know what it has appended last
        self._given = [identity]
        self._told: Callable[[], object] = lambda: None
        self.log = around.opened(self._identify, lambda: self._told())

    def _identify(self, then: Then) -> None:
        if self._given:
            then(self._given.pop())
        else:
            self.is_forgotten = True
            then(FencedProducer("its leader does not know any more who appended last"))

    def outcome_of(self, mark: int, told: Told) -> None:
        """``told`` gets whether the append was stored."""

        def look() -> None:
            stands = self.log.done > mark
            if stands or self.log.failure is not None:
                self._told = lambda: None
                told(stands)

        self._told = look
        look()


class SelfCheck:
    """One test of one cluster. ``then`` receives None, or why its fence cannot be relied on."""

    def __init__(
        self,
        around: Around,
        cluster: str,
        then: Callable[[LogstoreError | None], object],
        within_s: float = WITHIN_S,
    ) -> None:
        """``cluster``: its name for people."""
        self._around = around
        self._cluster = cluster
        self._then: Callable[[LogstoreError | None], object] | None = then
        self._steps = self._all()
        around.call_at(around.now() + within_s, partial(self._late, within_s))
        self._go_on(None)

    def _late(self, within_s: float) -> None:
        text = f"cluster {self._cluster} has not answered the self-check in {within_s:g} s"
        self._end(ClusterUnreachable(f"{text}: try again when its brokers are well"))

    def _end(self, why: LogstoreError | None) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(why)

    def _go_on(self, found: Any) -> None:  # noqa: ANN401
        if self._then is None:
            return
        try:
            step = self._steps.send(found)
        except StopIteration:
            self._end(None)
        except LogstoreError as error:
            self._end(error)
        else:
            step(self._go_on)

    # What is tried

    def _all(self) -> Steps:
        first = yield from self._producer()
        yield from self._stands(first, CLAIM)
        second = yield from self._producer()
        if not _is_next(second.identity, first.identity):
            raise self._unfit("gives one name no new epoch each time that it is asked for one")
        yield from self._stands(second, CLAIM)
        yield from self._is_refused(first, "another one has claimed its partition")
        beat = yield from self._stands(second, BEAT)
        yield from self._trimmed(beat)
        again = _Producer(self._around, first.identity)  # for it the first refusal was the end
        try:
            yield from self._is_refused(again, "records before its owner's last were deleted")
            yield from self._stands(second, BEAT)
        except Failed:
            if (yield from self._trimmed(beat)) <= beat:
                raise
            yield from self._all()  # another node's check has deleted that last one, too

    def _trimmed(self, before: int) -> Steps:
        """The new start of the partition."""
        return self._got((yield partial(self._around.trim, before)))

    def _producer(self) -> Steps:
        found = yield self._around.named
        while isinstance(found, ClusterUnreachable):  # for now
            yield self._pause
            found = yield self._around.named
        return _Producer(self._around, self._got(found))

    def _pause(self, told: Told) -> None:
        self._around.call_at(self._around.now() + AGAIN_S, partial(told, None))

    def _got(self, found: Any) -> Any:  # noqa: ANN401
        if isinstance(found, LogstoreError):
            raise Failed(f"cluster {self._cluster} can't be checked: {found}")
        return found

    def _say(self, its: _Producer, kind: str) -> Steps:
        """Whether it was stored, and its mark."""
        mark = its.log.append(batch_of(Word(kind, "self-check", "", self._around.now_ms())))
        stands = yield partial(its.outcome_of, mark)
        return stands, mark

    def _stands(self, its: _Producer, kind: str) -> Steps:
        """Its offset."""
        stands, mark = yield from self._say(its, kind)
        if not stands:
            raise self._unfit(f"refuses the owner of a partition ({its.log.failure})")
        return its.log.offset_of(mark)

    def _is_refused(self, its: _Producer, although: str) -> Steps:
        stands, _ = yield from self._say(its, BEAT)
        if stands or its.is_forgotten:
            raise self._unfit(f"takes what a former owner appends after {although}")
        if not isinstance(its.log.failure, FencedProducer):
            raise self._unfit(f"does not say that a former owner is fenced ({its.log.failure})")

    def _unfit(self, what: str) -> Failed:
        return Failed(
            f"cluster {self._cluster} {what}: queues and keys would not be safe there; topics and "
            f"channels are, or use Apache Kafka"
        )


def _is_next(it: Identity, before: Identity) -> bool:
    return it.pid == before.pid and it.epoch > before.epoch
