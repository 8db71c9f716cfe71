"""The MQTT model of one process: the space of topics, sessions, and what is stored with them.

A published message is first stored where necessary, then delivered to subscribers, and acknowledged
when all of that is safe.
"""

import logging
from collections.abc import Callable, Collection, MutableMapping, Sequence
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from logstore.broker.mqtt import mapping
from logstore.broker.mqtt.mapped import MappedTopics
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.message import Message
from logstore.broker.mqtt.retained import Portion, Retained
from logstore.broker.mqtt.session import Session
from logstore.broker.mqtt.sessions import Sessions
from logstore.broker.mqtt.space import Space
from logstore.broker.mqtt.sys_topics import EVERY_MS, ROOT, SysTopics
from logstore.broker.mqtt.wills import Wills
from logstore.broker.queues.message import Message as Queued
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.slices import Steps

_log = logging.getLogger("logstore.mqtt")

Soon = Callable[[Callable[[], object]], object]


class Cursor(Protocol):
    """A position in retained messages: ``retained.Cursor``, ``sys_topics.SysCursor``."""

    @property
    def over(self) -> bool: ...
    def ready(self, wake: Callable[[], object]) -> bool: ...
    def lost(self) -> None: ...
    def some(self, bytes_max: int = ...) -> Portion: ...
    def close(self) -> None: ...


class Sent(NamedTuple):
    """The result of publishing messages together."""

    waiting: Waiting | None  # must be safe before the acknowledgement
    matched: Sequence[int] | None  # how many get each; None: no subscriber


class Mqtt:
    """The MQTT model. Used in the sessions' thread."""

    def __init__(
        self,
        space: Space,
        sessions: Sessions,
        retained: Retained,
        mapped: MappedTopics,
        sys_topics: SysTopics,
        soon: Soon,
        clock: Callable[[], int],
    ) -> None:
        self.space = space
        self.sessions = sessions
        self.retained = retained
        self.mapped = mapped
        self.sys_topics = sys_topics
        self._soon = soon
        self._clock = clock
        self._told = ""  # why messages of QoS 0 were not kept
        # Retained messages that sessions have not got yet after subscribing.
        self.unfinished: MutableMapping[Session, Sequence[tuple[Cursor, Grant]]] = (
            WeakKeyDictionary()
        )
        self._told_ms = clock()  # when ``$SYS`` was told last

    @property
    def wills(self) -> Wills:
        """The wills of the sessions."""
        found = self.sessions.wills
        assert isinstance(found, Wills)
        return found

    # Published

    @property
    def crowded(self) -> bool:
        """Whether there is currently no room for more messages."""
        return self.space.crowded

    def preparing(self, topics: Collection[bytes]) -> Steps | None:
        """As Space.preparing."""
        return self.space.preparing(topics)

    def publish(self, messages: Sequence[Message], held: Transaction | None = None) -> Sent:
        """Store the messages that must be kept, and send each to its subscribers. Raises nothing.

        Call ``settle`` afterwards. ``held``: messages for queues become a part of this transaction;
        then ``waiting`` only says whether one cannot.
        """
        marks: list[tuple[Log, int]] = []
        kept: tuple[Log, int] | None = None
        try:
            marks = self.mapped.take(messages)
            kept = self.retained.take(messages)
        except LogstoreError as error:
            if any(it.qos for it in messages):
                return Sent(_failed(error), None)
            self._tell_unkept(error)  # no one waits, and subscribers want it now
        waiting, matched = self.space.publish(messages, held)
        if kept is not None:
            marks.append(kept)
        if marks:
            if held is None:
                waiting = _with(waiting, marks)
            else:
                held.before(lambda it: _with(it, marks), 0)
            matched = [1] * len(messages)  # if no one else gets it, a topic has
        return Sent(waiting, matched)

    def _tell_unkept(self, error: LogstoreError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            _log.warning("messages of QoS 0 are not kept where they are to be: %s", error)

    def settle(self, size: int = 0) -> None:
        """Deliver messages to subscribers soon, after publishing and at the end of the
        bytes read.
        """
        self.space.settle(size)

    def publish_wills(
        self, messages: Sequence[Message], then: Callable[[LogstoreError | None], None]
    ) -> None:
        """As ``wills.Publish``."""
        waiting = self.publish(messages).waiting
        self.settle()
        self._when_safe(waiting, then)

    def publish_mapped(self, messages: Sequence[Message]) -> Waiting | None:
        """Publish messages that came from records of a topic, to subscribers only."""
        waiting = self.space.publish(messages).waiting
        self.settle()
        return waiting

    def _when_safe(
        self, waiting: Waiting | None, then: Callable[[LogstoreError | None], None]
    ) -> None:
        if waiting is None:
            then(None)
            return
        left = [then]

        def look() -> None:
            if left and waiting.settled():
                left.pop()(waiting.failed)

        def woken() -> None:
            self._soon(look)

        waiting.watch(woken)
        look()

    # Retained messages for new subscribers

    def cursor(self, session: Session, filter_: bytes, grant: Grant) -> Cursor:
        """Return a cursor over the retained messages that match, for this session."""
        if filter_.startswith(ROOT):
            return self.sys_topics.cursor(filter_)
        return self.retained.cursor(filter_, session.client.encode() if grant.no_local else None)

    def queue(self, queue: Queue, messages: Sequence[Message]) -> Pending:
        """Publish retained messages with QoS 1 or 2 into the queue of their session."""
        now_ms, vhost = self._clock(), self.sessions.vhost
        run = [
            (
                (queue,),
                Queued(
                    mapping.EXCHANGE,
                    mapping.key_of(it.topic),
                    mapping.smaller(
                        mapping.properties_of(it.topic, it.qos, it.about, now_ms, retained=True)
                    ),
                    it.payload,
                ),
            )
            for it in messages
        ]
        pending = Pending()
        self._when_safe(vhost.publish(run).waiting, pending.finish)
        return pending

    # Time

    def tick(self, now_ms: int) -> int | None:
        """Do the work that is due; return when the next is due, in ms."""
        self.wills.tick(now_ms)
        self.retained.tick(now_ms)
        due = [self.wills.deadline_ms, self.retained.deadline_ms]
        if self.mapped:
            due.append(self.mapped.step(now_ms, crowded=self.crowded))
        if self.sessions.connected:
            if now_ms >= self._told_ms + EVERY_MS:
                self._told_ms = now_ms
                self.space.publish(self.sys_topics.tick())
                self.settle()
            due.append(self._told_ms + EVERY_MS)
        return min((it for it in due if it is not None), default=None)

    def close(self) -> None:
        """Close all at the end of the process, before its queues are closed."""
        self.mapped.close()
        self.sessions.close()
        self.wills.close()


def _failed(error: LogstoreError) -> Waiting:
    waiting = Waiting()
    waiting.failed = error
    return waiting


def _with(waiting: Waiting | None, marks: Sequence[tuple[Log, int]]) -> Waiting:
    if waiting is None:
        waiting = Waiting()
    for log, upto in marks:
        waiting.appended(log, upto)
        log.sync_soon()
    return waiting
