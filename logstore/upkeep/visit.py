"""A visit at the desk of a process that is not a server: one request, answered by the upkeep
thread.
"""

import socket
from contextlib import suppress
from time import monotonic
from typing import Final

from logstore.http.asks import OWN
from logstore.http.bodies import JSON, LINES, refusal, whole
from logstore.http.faults import NOT_FOUND, Fault
from logstore.http.reply import Reply
from logstore.http.routes import Route, Router
from logstore.http.server_end import ServerEnd
from logstore.upkeep.order import Facts, Order, Run

_READ_BYTES: Final = 65_536
# A visitor that sends nothing, or reads nothing, delays the next one no longer than this.
_PATIENCE_S: Final = 5.0


class _SocketReply:
    """A ``Reply`` to a client; writing waits until the client reads."""

    def __init__(self, end: ServerEnd, connection: socket.socket) -> None:
        self.begun = False
        self._end = end
        self._connection = connection
        self._gone = False

    def answer(self, value: object, status: int = 200) -> None:
        """As Reply.answer."""
        self._whole(status, whole(value))

    def refuse(self, status: int, sentence: str, kind: str = "", *, allow: str = "") -> None:
        """As Reply.refuse."""
        self._whole(status, refusal(sentence, kind), allow)

    def _whole(self, status: int, body: bytes, allow: str = "") -> None:
        self._send(self._end.answer(status, _headers(JSON, allow), body))

    def line(self, data: bytes, *, skip: bool = False) -> None:
        """As Reply.line."""
        if not self.begun:
            self.begun = True
            self._send(self._end.begin(200, _headers(LINES)))
        self._send(self._end.more(data))

    def end(self) -> None:
        """As Reply.end."""
        self._send(self._end.end())

    def _send(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            self._connection.sendall(data)
        except OSError:  # it has gone, or does not read: the job is not held up again
            self._gone = True


def _headers(kind: str, allow: str = "") -> list[tuple[str, str]]:
    found = [("content-type", kind)]
    return [*found, ("allow", allow)] if allow else found


class Visit:
    """One connection, in a process without a server."""

    def __init__(self, connection: socket.socket, facts: Facts) -> None:
        self._connection = connection
        self._facts = facts

    def serve(self, run: Run) -> None:
        """Answer one request, and end the connection."""
        end = ServerEnd(once=True)
        with self._connection, suppress(OSError):  # who asked has gone, or says nothing
            reply = _SocketReply(end, self._connection)
            if self._receive(end):
                self._answer(end, reply, run)

    def _receive(self, end: ServerEnd) -> bool:
        """Receive the request; returns whether there is one."""
        until = monotonic() + _PATIENCE_S
        while end.request is None and end.fault is None:
            self._connection.settimeout(max(0.001, until - monotonic()))
            data = self._connection.recv(_READ_BYTES)
            if not data:
                return False
            end.take(data)
            if first := end.first():
                self._connection.sendall(first)
        self._connection.settimeout(_PATIENCE_S)
        return True

    def _answer(self, end: ServerEnd, reply: _SocketReply, run: Run) -> None:
        routes = (
            Route("GET", "/api/v1/server", self._describe, "", OWN),
            Route("POST", "/api/v1/jobs", self._job, "", OWN),
        )
        try:
            if end.fault is not None:
                raise end.fault
            assert end.request is not None
            found = Router(routes).find(end.request.method, end.request.target)
            found.route.handler(end.request.body, reply, run)
        except Fault as fault:
            elsewhere = fault.status == NOT_FOUND
            hint = "; this process is no server, which may have it" if elsewhere else ""
            reply.refuse(fault.status, f"{fault}{hint}", allow=fault.allow)

    def _describe(self, body: bytes, reply: Reply, run: Run) -> None:
        reply.answer(self._facts())

    def _job(self, body: bytes, reply: Reply, run: Run) -> None:
        Order(body, reply).serve(run)
