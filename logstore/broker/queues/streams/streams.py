"""The common part of all streams of a process: their topics, and the records read last.

Workers create, open and delete topics, one operation at a time for each name. If somebody deletes
the topic, the stream is deleted, too.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from logstore.broker.committed import CommittedLog
from logstore.broker.mapping.messages import Messaging
from logstore.broker.mapping.records import Recording
from logstore.broker.queues.opening import Work
from logstore.broker.queues.streams.offset_header import OffsetHeader
from logstore.broker.queues.streams.pages import Pages
from logstore.broker.topic import Topic
from logstore.broker.topics import Change, Topics
from logstore.counts.queues import QueueTotals
from logstore.errors import LogstoreError, Refused, TopicExists, UnknownTopic
from logstore.kept.queues import SINGLE
from logstore.log import Log

log: Final = logging.getLogger("logstore.queues")

# Of a cluster's topic that is said to be deleted: another may have its name, and brokers learn of
# that one after the other.
DOUBT_MS: Final = 20_000
LOOK_MS: Final = 5_000  # it is looked for so often meanwhile

Then = Callable[[Any], None]  # what was made, or a LogstoreError


class Opened(NamedTuple):
    """A topic that was found or created, and its only log."""

    topic: Topic
    log: Log
    new: bool  # it was made for this


class Streams:
    """The streams of one process. In the sessions' thread, except what workers do."""

    def __init__(
        self,
        topics: Topics,
        work: Work,
        soon: Callable[[Callable[[], object]], object],
        clock: Callable[[], int],
        totals: QueueTotals,
        parked: Callable[[int], object],
        alarm: "Callable[[Streams, int], object] | None" = None,
    ) -> None:
        """``parked``: called with changes of the number of bytes that wait for topics
        being opened.

        ``alarm``: has ``wake`` called at that time, where the topics are a cluster's, of which this
        process learns late.
        """
        self.topics = topics
        self.clock, self.soon = clock, soon
        self.totals, self.parked = totals, parked
        self.pages = Pages()
        self.recording, self.messaging = Recording(), Messaging()
        self.offsets = OffsetHeader()
        self._work = work
        self._alarm = alarm
        self._doubted: dict[str, int] = {}  # topics, and when it is certain that they are gone
        self._jobs: dict[str, deque[tuple[Callable[[], Any], Then]]] = {}
        self._gone: dict[str, Callable[[], object]] = {}  # by topic: what ends its stream
        self._ids: dict[str, str] = {}  # of the topics that these have, once they are open
        self._deleted: set[str] = set()  # topics that these had, until they have ended
        self._end = topics.tell(self._changed)

    # Which topics are streams

    def has(self, topic: str) -> bool:
        """Return whether a stream has this topic."""
        return topic in self._gone

    def take(self, topic: str, gone: Callable[[], object]) -> None:
        """Note that a stream has the topic. ``gone`` is called in a turn when the topic
        is deleted.
        """
        self._gone[topic] = gone
        self._forget_end(topic)
        self.topics.keep_single(topic, SINGLE)

    def let_go(self, topic: str) -> None:
        """Note that no stream has the topic any more."""
        self._gone.pop(topic, None)
        self._ids.pop(topic, None)
        self._forget_end(topic)
        self.topics.keep_single(topic, None)

    def _changed(self, change: Change) -> None:
        """Handle a change of the catalogue. Called from any thread."""
        if change.event == "deleted" and change.topic.name in self._gone:
            self._deleted.add(change.topic.name)
            self.soon(self._look)

    def _look(self) -> None:
        for name in list(self._gone):
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        """Delete the stream if its topic was deleted, and is not just being created.

        A topic created later with the same name is another topic. One that is not found may only
        be unknown here: a broker of a cluster may learn of it late.
        """
        gone = self._gone.get(name)
        if gone is None or name in self._jobs:
            return
        topic = self.topics.get(name)
        if topic is None:
            if name in self._deleted and not self._doubts(name):
                gone()
            return
        self._forget_end(name)
        # What was opened in a cluster may have been the one before it: its log fails.
        if self._alarm is None and topic.id != self._ids.get(name, topic.id):
            gone()

    def _forget_end(self, name: str) -> None:
        self._deleted.discard(name)
        self._doubted.pop(name, None)

    def _doubts(self, name: str) -> bool:
        """Whether it is not certain yet that the topic is gone."""
        if self._alarm is None:
            return False
        now_ms = self.clock()
        if self._doubted.setdefault(name, now_ms + DOUBT_MS) <= now_ms:
            return False
        self._alarm(self, now_ms + LOOK_MS)
        return True

    def wake(self) -> None:
        """Look for topics that are said to be deleted."""
        for name in list(self._doubted):
            self._look_at(name)

    # Their topics

    def make(self, name: str, new: Mapping[str, str], there: Mapping[str, str], then: Then) -> None:
        """Create the topic with the settings ``new``; an existing one gets ``there``.

        ``then`` gets ``Opened`` or the error.
        """

        def make() -> Opened:
            with suppress(TopicExists):
                topic = self.topics.create(name, 1, new)
                return Opened(topic, CommittedLog(topic.partition(0)), True)
            found = self._single(name)  # it may have grown just now
            if there:
                self.topics.alter(name, there, ())
                found = self._single(name)
            return found

        self._do(name, make, then)

    def open(self, name: str, then: Then) -> None:
        """Open the topic; ``then`` gets ``Opened`` or the error."""
        self._do(name, lambda: self._single(name), then)

    def alter(self, name: str, settings: Mapping[str, str], reset: Sequence[str]) -> None:
        """Change the settings of the topic after a change of policy."""

        def done(found: object) -> None:
            if isinstance(found, LogstoreError):
                log.error("stream %s keeps the retention that it had: %s", name, found)

        self._do(name, lambda: self.topics.alter(name, settings, reset), done)

    def delete(self, name: str, topic_id: str | None, then: Then) -> None:
        """Delete the topic; ``then`` gets None or the error. A missing topic counts as deleted.

        ``topic_id``: a topic with another id is left alone.
        """

        def delete() -> None:
            with suppress(UnknownTopic):
                if topic_id in (None, self._topic(name).id):
                    self.topics.delete(name)

        self._do(name, delete, then)

    def elsewhere(self, job: Callable[[], Any], then: Then) -> None:
        """Run a job that may take long in a worker, on a log that is open."""
        self._work(lambda: _or_error(job), then)

    def _single(self, name: str) -> Opened:
        """Open a topic with one partition. Raises UnknownTopic, Refused; Damaged, Failed."""
        topic = self._topic(name)
        if len(topic.partitions) != 1:
            raise Refused(f"topic {name!r} has more than one partition, and a stream has one")
        return Opened(topic, CommittedLog(topic.partition(0)), False)

    def _topic(self, name: str) -> Topic:
        """Return the topic. Raises UnknownTopic."""
        topic = self.topics.get(name)
        if topic is None:
            raise UnknownTopic(f"no topic {name!r}", name)
        return topic

    def _do(self, name: str, job: Callable[[], Any], then: Then) -> None:
        """Run the job after all earlier ones of this topic."""
        jobs = self._jobs.setdefault(name, deque())
        jobs.append((job, then))
        if len(jobs) == 1:
            self._begin(name)

    def _begin(self, name: str) -> None:
        job, then = self._jobs[name][0]

        def done(found: Any) -> None:  # noqa: ANN401
            jobs = self._jobs[name]
            jobs.popleft()
            if jobs:
                self._begin(name)
            else:
                del self._jobs[name]
            if isinstance(found, Opened) and name in self._gone:
                self._ids[name] = found.topic.id
            then(found)
            self._look_at(name)

        self._work(lambda: _or_error(job), done)

    def missing(self, name: str) -> bool:
        """Return whether the topic certainly does not exist."""
        try:
            self.topics.given(name)
        except UnknownTopic:
            return True
        except LogstoreError:  # it may be: its row can't be read
            return False
        return False

    def close(self) -> None:
        """Let go of all topics: the process has no queues any more."""
        self._end()
        for name in list(self._gone):
            self.let_go(name)


def _or_error(job: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        return job()
    except LogstoreError as error:
        return error
