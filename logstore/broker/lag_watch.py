"""How far groups are behind, all of them: looked up by a worker, remembered for an hour.

Nobody pays for it who does not ask: looking begins when somebody asks for the first time, goes on
every STEP_S (less often where it takes long), and ends when nobody has asked for FORGET_S. Logs are
not opened for it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.topics import Topics
from logstore.errors import LogstoreError, UnknownTopic
from logstore.log import TopicPartition

STEP_S: Final = 10.0
STEPS: Final = 360  # that are remembered: an hour
FRESH_S: Final = 2.0  # who asks may be told what was looked up so long ago
FORGET_S: Final = 3600.0
SHARE: Final = 200  # of one processor: a look that takes 1 s is not begun again for so many
RATE_S: Final = 60.0  # that a rate is measured over

Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]  # as House.work
Stands = tuple[int, int] | None  # start and safe of a partition


class Timer(Protocol):
    """As House.timer."""

    def now(self) -> float: ...
    def call_at(self, at: float, call: Callable[[], object]) -> object: ...


class Behind(NamedTuple):
    """A group, in the topics that it has committed offsets of."""

    name: str
    kind: str  # as it is kept
    topics: Mapping[str, int | None]  # records that it has not read; None: that is not known
    lag: int | None  # of all together; None: of some it is not known
    committed: int  # the sum of its offsets: it rises while the group gets on
    error: str = ""  # why nothing can be known of it


class Looked(NamedTuple):
    """What one look has found."""

    groups: Mapping[str, Behind]
    readers: Mapping[str, Sequence[str]]  # the groups that have to do with a topic


class _Past:
    """What is remembered of a group: changes alone, so that an idle one takes next to nothing."""

    __slots__ = ("committed", "lags", "moved_at")

    def __init__(self, at: float, it: Behind) -> None:
        self.lags: list[tuple[float, int | None]] = [(at, it.lag)]
        self.committed, self.moved_at = it.committed, at

    def add(self, at: float, it: Behind) -> None:
        if it.committed != self.committed:
            self.committed, self.moved_at = it.committed, at
        if it.lag != self.lags[-1][1]:
            self.lags.append((at, it.lag))
            del self.lags[:-STEPS]

    def at(self, moment: float) -> int | None:
        """The lag at that time; None: nobody looked."""
        return next((lag for at, lag in reversed(self.lags) if at <= moment), None)


class LagWatch:
    """Of one node. For the sessions' thread, but for ``look``."""

    def __init__(self, topics: Topics, coordinator: Coordinator, work: Work, timer: Timer) -> None:
        self.last = Looked({}, {})
        self._topics = topics
        self._coordinator = coordinator
        self._work = work
        self._timer = timer
        self._past: dict[str, _Past] = {}
        self._looked_at: float | None = None
        self._asked_at = 0.0
        self._going_on = self._looking = False
        self._waiting: list[Callable[[LogstoreError | None], object]] = []

    def ask(self, then: Callable[[LogstoreError | None], object]) -> None:
        """``then`` is called, now or later, when ``last`` is as of now, or with why it is not."""
        now = self._asked_at = self._timer.now()
        if self._looked_at is not None and now - self._looked_at <= FRESH_S:
            then(None)
            return
        self._waiting.append(then)
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            began = self._timer.now()
            self._work(partial(_attempt, self.look), partial(self._looked, began))

    def look(self) -> Looked:
        """All groups, in any thread; may take long. Raises Failed, CorruptStore."""
        ends: dict[str, Sequence[Stands]] = {}
        kept = self._coordinator.kinds()
        groups = {
            name: self._one(name, kept.get(name, ""), ends)
            for name in self._coordinator.group_names(kept)
        }
        readers: dict[str, list[str]] = {}
        for name, it in groups.items():
            for topic in it.topics:
                readers.setdefault(topic, []).append(name)
        return Looked(groups, readers)

    def _one(self, name: str, kind: str, ends: dict[str, Sequence[Stands]]) -> Behind:
        try:
            committed = self._coordinator.fetch(name, 0)
        except Refusal as error:
            return Behind(name, kind, {}, None, 0, error.message)
        for topic in {topic for topic, _ in committed} - ends.keys():
            ends[topic] = self._ends(topic)
        offsets = {place: it.offset for place, it in committed.items()}
        lags = {
            topic: lag_of(topic, offsets, ends[topic])
            for topic in sorted({topic for topic, _ in offsets}) if ends[topic]
        }  # fmt: skip
        return Behind(name, kind, lags, total(lags.values()), sum(offsets.values()))

    def _ends(self, topic: str) -> Sequence[Stands]:
        try:
            return self._topics.offsets(topic)
        except UnknownTopic:  # deleted since; its offsets go with it
            return ()

    def _looked(self, began: float, found: Looked | LogstoreError) -> None:
        now = self._timer.now()
        self._looking = False
        if not isinstance(found, LogstoreError):
            self._looked_at = now
            self.last = found
            self._remember(now, found.groups)
        if not self._going_on:
            self._going_on = True
            self._timer.call_at(now + max(STEP_S, SHARE * (now - began)), self._go_on)
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(found if isinstance(found, LogstoreError) else None)

    def _remember(self, now: float, found: Mapping[str, Behind]) -> None:
        for name in self._past.keys() - found.keys():
            del self._past[name]
        for name, it in found.items():
            past = self._past.get(name)
            if past is None:
                self._past[name] = _Past(now, it)
            else:
                past.add(now, it)

    def _go_on(self) -> None:
        self._going_on = False
        if self._timer.now() - self._asked_at < FORGET_S:
            self._look_soon()
        else:
            self._past = {}

    # What is known

    def readers(self, topic: str) -> Sequence[str]:
        """The groups that have committed an offset in it, as of the last look. From any thread."""
        return self.last.readers.get(topic, ())

    def history(self, name: str) -> list[int | None]:
        """The group's lag every STEP_S until now; None as long as nobody looked."""
        past, now = self._past.get(name), self._timer.now()
        if past is None:
            return []
        found: list[int | None] = []
        changes, lag = deque(past.lags), None
        for step in range(STEPS, -1, -1):
            while changes and changes[0][0] <= now - step * STEP_S:
                lag = changes.popleft()[1]
            if found or lag is not None or not step:
                found.append(lag)
        return found[-STEPS:]

    def per_second(self, name: str) -> float | None:
        """By how many records a second it fell behind lately, below 0 where it catches up."""
        past, now = self._past.get(name), self._timer.now()
        if past is None or past.lags[0][0] > now - STEP_S:
            return None
        since = max(past.lags[0][0], now - RATE_S)
        before, after = past.at(since), past.lags[-1][1]
        return None if before is None or after is None else (after - before) / (now - since)

    def unmoved_s(self, name: str) -> float | None:
        """For how long it has committed nothing new, as far as that was watched."""
        past = self._past.get(name)
        return None if past is None else self._timer.now() - past.moved_at


def lag_of(
    topic: str, committed: Mapping[TopicPartition, int], ends: Sequence[Stands]
) -> int | None:
    """Records in all partitions of a topic that a group has not read; None: it is not known.

    One in which it has committed nothing counts as a whole, as in ``group.lags``.
    """
    return total(
        None if stands is None
        else max(stands[1] - max(committed.get((topic, number), 0), stands[0]), 0)
        for number, stands in enumerate(ends)
    )  # fmt: skip


def total(lags: Iterable[int | None]) -> int | None:
    """Of all; None where one is not known."""
    found = 0
    for lag in lags:
        if lag is None:
            return None
        found += lag
    return found


def _attempt(look: Callable[[], Looked]) -> Looked | LogstoreError:
    try:
        return look()
    except LogstoreError as error:
        return error
