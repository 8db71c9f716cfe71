"""One HTTP connection: requests in, answers out, one after another.

A connection whose request is no HTTP, or too large, is told so and is not read any further. It is
not closed before its peer has closed it, or some time has passed: to close a socket with unread
bytes would destroy the answer on its way.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from logstore.access.identity import Identity
from logstore.access.rights import Rights
from logstore.http.bodies import JSON, LINES, refusal
from logstore.http.faults import REQUEST_TIMEOUT, Fault
from logstore.http.routes import find
from logstore.http.server_end import Headers, Request, ServerEnd
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.permits import check
from logstore.protocols.http.routes import ROUTES
from logstore.protocols.session import Buffer, Link

REQUEST_S: Final = 10.0  # from a request's first byte to its last
DISCARD_S: Final = 2.0
ANSWERS_AT_ONCE: Final = 8  # of pipelined requests, before others have their turn
OUT_BYTES: Final = 256 << 10  # of answers; then the requests behind wait until they are sent
SESSION_BYTES: Final = 2048  # that it takes by itself

_WHOLE: Final = [("content-type", JSON)]
_LINES: Final = [("content-type", LINES)]


class HttpSession:
    """A ``Session``."""

    def __init__(self, door: HttpDoor, link: Link, who: Identity) -> None:
        """``who``: has come in, as far as is known before the first request."""
        self.wants = 0
        self.kept = False
        self.closed: str | None = None
        self._door = door
        self._link = link
        self._rights = Rights(door.access, who)
        self._end = ServerEnd()
        self._call: Call | None = None  # that is not answered yet
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._lines: deque[bytes] = deque()  # of the answer that is under way
        self._lines_bytes = 0
        self._skippable = b""  # the last of them, where another may take its place
        self._in_lines = self._ended = False  # how the answer is given; whether it is whole
        self._more = False  # there may be something to do once answers before it are sent
        self._now = 0.0
        self._begun_at: float | None = None  # when the first byte of half a request came
        self._discards_until: float | None = None

    # The session of the server

    @property
    def deadline(self) -> float | None:
        if self._discards_until is not None:
            return self._discards_until
        return None if self._begun_at is None else self._begun_at + REQUEST_S

    @property
    def busy(self) -> bool:
        return self._call is not None or self._more

    @property
    def held_bytes(self) -> int:
        held = self._end.held_bytes + self._out_bytes + self._lines_bytes
        return SESSION_BYTES + held + len(self._skippable)

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._now = now
        taken = 0
        while not self.busy and self._hears() and taken < len(data):
            taken += self._end.take(data[taken:])
            self._go_on()
        return taken if self._hears() else len(data)

    def _hears(self) -> bool:
        """Whether what comes is read; else it is thrown away."""
        return self._discards_until is None and self.closed is None

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self._now = now
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if self._discards_until is not None:
            self.closed = ""
        else:
            self._refuse(Fault(REQUEST_TIMEOUT, f"no whole request within {REQUEST_S:.0f} s"))

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        self._send_lines(bytes_max)
        if self._more and not self._out:
            self._go_on()
        if not self._out:
            return ()
        joined = b"".join(self._out)
        self._out, self._out_bytes = [], 0
        return (joined,)

    def finish(self, now: float) -> None:
        """As Session.finish: what was asked is answered still, and the connection ends."""

    def leave(self, now: float) -> bool:
        """As Session.leave. What may take for ever ends here, half said."""
        if self._call is not None and self._call.lasts:
            self.closed = ""
        return False

    def close(self) -> None:
        """As Session.close."""
        if self._call is not None:
            self._call.over, self._call = True, None
        self._lines.clear()

    # Requests

    def _go_on(self) -> None:
        """Answer what is here, some of it."""
        for _ in range(ANSWERS_AT_ONCE):
            self._more = False
            self._put(self._end.first())
            if self._end.fault is not None:
                self._refuse(self._end.fault)
                return
            if self._end.over:
                self.closed = ""
                return
            if self._end.request is None:
                self._time_half()
                return
            if self._out_bytes > OUT_BYTES:
                break
            self._begin(self._end.request)
            if self._call is not None:
                return
        self._more = True

    def _time_half(self) -> None:
        if not self._end.begun:
            self._begun_at = None
        elif self._begun_at is None:
            self._begun_at = self._now

    def _begin(self, request: Request) -> None:
        call = self._call = Call(self, request.body, self._rights)
        call.attempt(lambda: _dispatch(self._door, call, request))

    def _refuse(self, fault: Fault) -> None:
        self._end.fault = fault
        self._put(self._end.answer(fault.status, _WHOLE, refusal(str(fault))))
        self._discards_until = self._now + DISCARD_S

    # Answers

    def whole(self, status: int, body: bytes, kind: str, headers: Headers) -> None:
        """As Answers.whole."""
        self._put(self._end.answer(status, [("content-type", kind), *headers], body))
        self._answered()

    def line(self, data: bytes, *, skip: bool) -> None:
        """As Answers.line."""
        if not self._in_lines:
            self._in_lines = True
            self._put(self._end.begin(200, _LINES))
        if not skip:
            self._lines += [self._skippable, data] if self._skippable else [data]
            self._lines_bytes += len(self._skippable) + len(data)
        self._skippable = data if skip else b""
        self._link.wake()

    def end(self) -> None:
        """As Answers.end."""
        self._ended = True
        self._link.wake()

    def _send_lines(self, bytes_max: int) -> None:
        while self._lines and self._out_bytes < bytes_max:
            data = self._lines.popleft()
            self._lines_bytes -= len(data)
            self._put(self._end.more(data))
        if self._lines:
            return
        self._put(self._end.more(self._skippable) if self._skippable else b"")
        self._skippable = b""
        if self._ended:
            self._in_lines = self._ended = False
            self._put(self._end.end())
            self._answered()

    def _answered(self) -> None:
        self._call = self._begun_at = None
        self._more = True  # what is behind it
        self._link.wake()

    def _put(self, data: bytes) -> None:
        if data:
            self._out.append(data)
            self._out_bytes += len(data)


def _dispatch(door: HttpDoor, call: Call, request: Request) -> None:
    """Raises Fault, and what the handler raises."""
    found = find(ROUTES, request.method, request.target)
    check(door, call.rights, found.route.asks)
    call.names, call.query = found.names, found.query
    found.route.handler(door, call)
