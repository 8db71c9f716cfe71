"""Executes a command for a client of another node: a session without a connection.

It lasts as long as the request, and its replies are the answer to the other node.
"""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.errors import Failed, LogstoreError
from logstore.protocols.house import Alarm, Timer
from logstore.protocols.resp.relaying import read
from logstore.protocols.resp.session import RespSession
from logstore.protocols.session import Link, Session

OUT_BYTES: Final = 1 << 20
# Limit on an answer: a link's message has at most 256 MiB, and a longer one ends the link.
ANSWER_BYTES_MAX: Final = 255 << 20
HOST: Final = ""  # treated as local: the asking node has proved its identity

Answered = Callable[[bytes | LogstoreError], object]


class _Link:
    """A ``session.Link`` without pushed output, because there are no subscriptions."""

    id = 0
    peer = "a client of another node"
    peer_address = address = HOST, 0
    secure = True
    certificate = None
    unsent = unread = 0

    def __init__(self, wake: Callable[[], None], cut: Callable[[str], None]) -> None:
        self.wake = wake
        self.cut = cut

    def push(self, data: bytes) -> int:
        """As Link.push."""
        return 0

    def let_be(self) -> None:
        """As Link.let_be."""


class Relayed:
    """One command, or one transaction. Used in the sessions' thread."""

    def __init__(
        self,
        new_session: Callable[[Link], Session],
        content: bytes,
        timer: Timer,
        soon: Callable[[Callable[[], object]], object],
        answered: Answered,
    ) -> None:
        """``new_session``: creates a session of the Redis door. Raises BrokenProtocol."""
        asked = read(content)
        self.bytes = len(content)
        self._timer = timer
        self._soon = soon
        self._answered = answered
        self._parts = [it for it in (asked.before, asked.last) if it]
        self._at = 0  # position in the first of these: bytes already taken
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._alarm: Alarm | None = None
        self._over = False
        session = new_session(_Link(self._wake, self._cut))
        assert isinstance(session, RespSession)
        self._session = session
        session.stand_for(asked)
        self._look()

    def _wake(self) -> None:
        self._soon(self._look)

    def _look(self) -> None:
        if self._over:
            return
        try:
            self._go_on()
        except LogstoreError as error:
            self._end(error)

    def _go_on(self) -> None:
        session, now = self._session, self._timer.now()
        session.wake(now)
        while self._parts and not self._over:
            taken = 0
            if self._at < len(self._parts[0]):
                taken = session.receive(memoryview(self._parts[0])[self._at :], now)
                self._at += taken
            out = session.outgoing(OUT_BYTES)
            self._out += map(bytes, _buffers(out))
            self._out_bytes += sum(map(len, out))
            if self._out_bytes > ANSWER_BYTES_MAX:
                self._end(Failed(f"its answer has more than {ANSWER_BYTES_MAX} bytes"))
            elif session.closed is not None:
                self._end(Failed(session.closed or "the session has ended"))
            elif self._at == len(self._parts[0]) and session.is_idle:
                self._part_done()
            elif taken and self._at < len(self._parts[0]):
                self._wake()  # it is long: others first
                break
            elif not taken and not out:
                break
        self._set_alarm()

    def _part_done(self) -> None:
        del self._parts[0]
        self._at = 0
        if self._parts:
            self._out.clear()  # drops the replies QUEUED
            self._out_bytes = 0
        else:
            self._end(b"".join(self._out))

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        at = None if self._over else self._session.deadline
        if at is not None:
            self._alarm = self._timer.call_at(at, self._look)

    def _cut(self, reason: str) -> None:
        self._end(Failed(reason))

    def _end(self, answer: bytes | LogstoreError) -> None:
        if not self._over:
            self.close()
            self._answered(answer)

    @property
    def over(self) -> bool:
        """Whether the request is answered."""
        return self._over

    def give_up(self) -> None:
        """End the request with an error: no one waits for the answer."""
        self._end(Failed("the client no longer waits for it"))

    def close(self) -> None:
        """End the request without an answer."""
        if self._over:
            return
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._session.close()


def _buffers(out: Sequence[object]) -> Sequence[bytes]:
    """The output as bytes, which is all that this door sends."""
    assert all(isinstance(it, bytes) for it in out)
    return out  # type: ignore[return-value]
