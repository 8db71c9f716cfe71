"""Replies that a client gets once something is safe, in order.

PUBACKs are sent in the order of the PUBLISHes [MQTT-4.6.0-2]. The SUBACK of a persistent session
waits until the subscription is stored.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from logstore.broker.queues.pending import Pending, Waiting
from logstore.errors import LogstoreError
from logstore.log import Wake


class _Answer(NamedTuple):
    waiting: Waiting | None
    pending: Pending | None
    messages: int  # messages that it acknowledges
    counted: int  # of them: in the client's quota for as long as that
    said: Callable[[LogstoreError | None], bytes]


class Owed:
    """The replies of one connection."""

    __slots__ = ("_answers", "counted", "unacknowledged")

    def __init__(self) -> None:
        # None if empty, because an idle connection must be cheap.
        self._answers: deque[_Answer] | None = None
        self.unacknowledged = 0  # messages that the client has sent or released
        self.counted = 0  # of them: those of QoS 1

    def __len__(self) -> int:
        return 0 if self._answers is None else len(self._answers)

    def _put(self, answer: _Answer) -> None:
        if self._answers is None:
            self._answers = deque()
        self._answers.append(answer)

    def add_run(
        self,
        waiting: Waiting | None,
        count: int,
        wake: Wake,
        said: Callable[[LogstoreError | None], bytes],
        *,
        counted: bool = True,
    ) -> None:
        """Add ``count`` messages of one read. ``said``: called with the error if they are not safe.

        ``counted``: they count for the client's receive maximum only here.
        """
        if waiting is not None and not waiting.settled():
            waiting.watch(wake)
        self.unacknowledged += count
        its = count if counted else 0
        self.counted += its
        self._put(_Answer(waiting, None, count, its, said))

    def add(
        self, pending: Pending | None, wake: Wake, said: Callable[[LogstoreError | None], bytes]
    ) -> None:
        """Add an acknowledgement of a change that must first be stored."""
        if pending is not None and not pending.done:
            pending.then(lambda _: wake())
        self._put(_Answer(None, pending, 0, 0, said))

    def take(self) -> list[bytes]:
        """The frames that can be sent now."""
        frames: list[bytes] = []
        answers = self._answers
        while answers:
            waiting, pending, messages, counted, said = answers[0]
            error: LogstoreError | None = None
            if waiting is not None:
                if not waiting.settled():
                    break
                error = waiting.failed
            if pending is not None:
                if not pending.done:
                    break
                error = error or pending.error
            answers.popleft()
            self.unacknowledged -= messages
            self.counted -= counted
            frames.append(said(error))
        if answers is not None and not answers:
            self._answers = None
        return frames

    def close(self) -> None:
        """Stop waiting; no acknowledgement is sent."""
        if self._answers is not None:
            for it in self._answers:
                if it.waiting is not None:
                    it.waiting.close()
            self._answers.clear()  # a caller may be iterating over it
        self.unacknowledged = self.counted = 0
