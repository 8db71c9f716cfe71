"""One HTTP connection: requests in, replies out, one after another.

If a request is not HTTP, or too large, the client is told so and the connection is not read any
further. It is closed only after the peer has closed it, or some time has passed: closing a socket
with unread bytes would destroy the reply in transit.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final

from logstore.access.identity import Identity
from logstore.errors import LogstoreError
from logstore.http import asks
from logstore.http.bodies import JSON
from logstore.http.faults import REQUEST_TIMEOUT, UNAUTHORIZED, Fault
from logstore.http.routes import Router
from logstore.http.server_end import Head, Headers, Request, ServerEnd
from logstore.protocols.http.call import NO_HEAD, Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.entry.origin import SAFE
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.permits import LOG_IN
from logstore.protocols.http.reception import Admitted, Reception, Refused
from logstore.protocols.http.replies.flows import Flow, Parts, Unread
from logstore.protocols.http.replies.headers import complete
from logstore.protocols.http.replies.refusals import body_of
from logstore.protocols.http.routes import ROUTER
from logstore.protocols.http.sockets import NO_TURNING, Turning, turn
from logstore.protocols.session import About, Buffer, Link

REQUEST_S: Final = 10.0  # from a request's first byte to its last
BODY_BYTES_A_SECOND: Final = 50_000  # for so many of its body it has a second more
DISCARD_S: Final = 2.0
ANSWERS_AT_ONCE: Final = 8  # of pipelined requests, before others have their turn
STRANGERS_BYTES_MAX: Final = 8 << 10  # of a body, where nobody is asked who sends it: a login
ANSWERS_S: Final = 0.001  # of these together: an answer may take as long
OUT_BYTES: Final = 256 << 10  # of answers; then the requests behind wait until they are sent
SESSION_BYTES: Final = 2048  # that it takes by itself

log: Final = logging.getLogger("logstore.http")


class HttpSession:
    """One HTTP connection, as a ``Session``."""

    def __init__(
        self,
        door: HttpDoor,
        link: Link,
        owner: Identity | None = None,
        router: Router[Handler] = ROUTER,
        turning: Turning = NO_TURNING,
    ) -> None:
        """``owner``: who has come in, where that is known by the way."""
        self.wants = 0
        self.kept = False
        self.closed: str | None = None
        self._door = door
        self._link = link
        self._local = owner is not None
        self._reception = Reception(door, router, link, owner)
        self._end = ServerEnd(by_head=True)
        self._admitted: Admitted | None = None  # the request that has begun to arrive
        self._decides = False  # whether that is, is being found out
        self._call: Call | None = None  # that is not answered yet
        self._is_out = False  # whoever sent it is no user any more
        self._later: tuple[float, Callable[[], object]] | None = None  # what is put off, until when
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flow: Flow | None = None  # the answer that is given bit by bit
        self._more = False  # there may be something to do once answers before it are sent
        self._now = 0.0
        self._begun_at: float | None = None  # when the first byte of half a request came
        self._discards_until: float | None = None
        self._turning = turning
        self._turned = False  # it is another protocol's connection now
        door.sessions[self] = None

    def about(self) -> About:
        """As Doorway.about."""
        who = "" if self._admitted is None else self._admitted.permits.who.user
        state = "idle" if self._call is None else "listening" if self._call.lasts else "asking"
        return About(who, "owner" if self._local else "", state=state)

    # The session of the server

    @property
    def deadline(self) -> float | None:
        if self._discards_until is not None:
            return self._discards_until
        if self._later is not None:
            return self._later[0]
        if self._flow is not None:
            return self._flow.deadline
        if self._begun_at is None:
            return None
        return self._begun_at + REQUEST_S + self._end.admitted_bytes / BODY_BYTES_A_SECOND

    @property
    def busy(self) -> bool:
        return self._call is not None or self._decides or self._more or self._turned

    @property
    def held_bytes(self) -> int:
        flow = 0 if self._flow is None else self._flow.held_bytes
        return SESSION_BYTES + self._end.held_bytes + self._out_bytes + flow

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
        elif self._later is not None:
            (_, call), self._later = self._later, None
            call()
        elif self._flow is not None:
            self._look_at_flow(self._flow)
        else:
            self._refuse(Fault(REQUEST_TIMEOUT, "the request did not arrive in time"))

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        self._send_flow(bytes_max)
        if self._more and not self._out:
            self._go_on()
        if not self._out:
            return ()
        joined = b"".join(self._out)
        self._out, self._out_bytes = [], 0
        return (joined,)

    def finish(self, now: float) -> None:
        """As Session.finish: what was asked is answered still, and the connection ends.

        But for events, which have no end: who sends nothing more has gone.
        """
        if isinstance(self._flow, Unread):
            self.closed = ""

    def leave(self, now: float) -> bool:
        """As Session.leave. What may take for ever ends here, half said."""
        if self._call is not None and self._call.lasts:
            self.closed = ""
            if self._link.unsent:  # which would be waited for
                self._link.cut("")
        return False

    def close(self) -> None:
        """As Session.close."""
        self._door.sessions.pop(self, None)
        self._flow = self._later = None
        self._decides = False
        if self._call is not None:
            call, self._call = self._call, None
            call.ended()

    # Users and rules

    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""
        if self._admitted is not None and self._call is not None:
            self._is_out |= not self._door.access.knows(self._admitted.permits.who)

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed: what is told, and not allowed any more, ends."""
        call, admitted = self._call, self._admitted
        lasts = call is not None and (call.lasts or self._flow is not None)
        if call is None or admitted is None or not (lasts or call.head.method in SAFE):
            return  # what is done may be done already: that is what it is told
        again = self._reception.again(call.head, admitted)
        if not self._is_out and isinstance(again, Admitted):
            self._admitted = again
        elif not lasts:
            call.fail(Fault(UNAUTHORIZED, LOG_IN) if isinstance(again, Admitted) else again.fault)
        elif self._is_out:
            self._link.cut("no more of an answer: its user is deleted")
        elif isinstance(again, Refused):
            self._link.cut(f"no more of an answer: {again.fault}")

    def logged_out(self, secrets: Collection[str]) -> None:
        """As door.Connected.logged_out."""
        admitted = self._admitted
        if admitted is None or not admitted.is_of(secrets):
            return
        if self._call is None:
            self._admitted = admitted.to_be_looked_at_again()
        elif self._call.lasts or self._flow:
            self._link.cut("no more of an answer: its browser has logged out")
        elif self._call.head.method in SAFE:
            self._call.fail(Fault(UNAUTHORIZED, LOG_IN))

    # Requests

    def _go_on(self) -> None:
        """Answer what is here, some of it."""
        until = self._door.stopwatch() + ANSWERS_S
        for number in range(ANSWERS_AT_ONCE):
            if number and self._door.stopwatch() > until:
                break
            self._more = False
            if self._end.head is not None:
                self._arrive(self._end.head)
            if self._decides or self._turned:
                return
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

    def _arrive(self, head: Head) -> None:
        """A request has begun: is it to go on?"""
        if self._turns(head):
            return
        self._decides, decided = True, False

        def then(came: Admitted | Refused) -> None:
            if not self._decides:  # the peer has gone
                return
            if isinstance(came, Refused) and came.delay_s:
                self.later(came.delay_s, lambda: then(Refused(came.fault)))
                return
            self._decides = False
            self._admit(came)
            if decided:  # in a later turn: its time was not the peer's
                self._begun_at = self._now
                self._more = True
                self._link.wake()

        self._reception.receive(head, then)
        decided = True

    def _turns(self, head: Head) -> bool:
        """Whether it asks for another protocol, which is spoken from now on, or is refused."""
        if not self._turning.paths:
            return False
        path = self._reception.seen(head).target
        try:
            turned = turn(self._door, self._link, head, path, self._turning.paths)
        except Fault as fault:
            self._admit(Refused(fault))
            return True
        if turned is None:
            return False
        self._turned = True
        self._turning.become(turned(self._end.left()))
        return True

    def _admit(self, came: Admitted | Refused) -> None:
        if isinstance(came, Refused):
            self._admitted = None
            self._end.turn_away(came.fault)
        else:
            self._admitted = came
            route = came.found.route
            of_strangers = route.asks.level in (asks.NOBODY, asks.ANYBODY) and not self._local
            most = STRANGERS_BYTES_MAX if of_strangers else route.body_bytes_max
            self._end.admit(most)

    def _begin(self, request: Request) -> None:
        self._begun_at = None
        if request.turned is not None:
            self._say(request.head, request.turned)
            self._answered()
            return
        assert self._admitted is not None
        came = self._reception.again(request.head, self._admitted)
        if isinstance(came, Refused):
            self._say(request.head, came.fault)
            self._answered()
            return
        self._admitted = came
        head = self._reception.seen(request.head)
        call = self._call = Call(
            self, request.body, came.permits, head, secure=self._is_secure(head)
        )
        call.names, call.query = came.found.names, came.found.query
        call.many = came.found.many
        carry_out = partial(came.found.route.handler, self._door, call)
        call.look_again = self._looking_again(call, carry_out)
        call.attempt(carry_out)

    def _looking_again(
        self, call: Call, carry_out: Callable[[], object]
    ) -> Callable[[LogstoreError], object] | None:
        """Where other nodes may have made what is asked for, a moment ago."""
        read_on = self._door.read_on
        if read_on is None:
            return None

        def look(why: LogstoreError) -> None:
            def known(error: LogstoreError | None) -> None:
                if error is not None:
                    call.fail(error)
                elif not call.over:
                    call.attempt(carry_out)

            read_on(known)

        return look

    def _is_secure(self, head: Head) -> bool:
        """Whether the client has come by TLS, to us or to a proxy, which may say so."""
        return self._link.secure or head.headers.get("x-forwarded-proto", "").lower() == "https"

    def _refuse(self, fault: Fault) -> None:
        """Nothing more is taken."""
        self._end.fault = fault
        self._say(NO_HEAD, fault)
        self._discards_until = self._now + DISCARD_S

    # Answers

    def _say(self, head: Head, fault: Fault) -> None:
        body = body_of(self._reception.seen(head).target, fault)
        self._put(self._end.answer(fault.status, self._headers(JSON, fault.headers), body))

    def _headers(self, kind: str, headers: Headers) -> Headers:
        if self._local:  # no browser comes there
            return [("content-type", kind), *headers]
        return complete(kind, headers, self._door.clock())

    def whole(self, status: int, body: bytes, kind: str, headers: Headers) -> None:
        """As Answers.whole."""
        self._put(self._end.answer(status, self._headers(kind, headers), body))
        self._answered()

    def later(self, delay_s: float, call: Callable[[], object]) -> None:
        """As Answers.later."""
        self._later = self._now + delay_s, call
        self._link.wake()

    def flow(self, flow: Flow, headers: Headers) -> None:
        """As Answers.flow."""
        first = flow.take(OUT_BYTES)  # what goes wrong with that is an answer of its own
        self._put(self._end.begin(200, self._headers(flow.content_type, headers)))
        self._put(self._end.more(first))
        self._flow = flow
        self._link.wake()

    def go_on(self) -> None:
        """As Answers.go_on."""
        self._link.wake()

    def cut(self) -> None:
        """As Answers.cut."""
        self._send_flow(OUT_BYTES)
        self._break_off()
        self._link.wake()

    def _break_off(self, why: str = "") -> None:
        self._flow = None
        self.closed = f"an answer broke off{why}"

    def parts(self, content_type: str, parts: Iterator[bytes]) -> Parts:
        """As Answers.parts."""
        return Parts(content_type, parts, self._door.stopwatch)

    def unread(self) -> Unread:
        """As Answers.unread."""
        found = self._door.listeners.add(self._now)
        assert self._call is not None
        self._call.at_end(lambda: self._door.listeners.remove(found))
        return found

    def _send_flow(self, bytes_max: int) -> None:
        flow = self._flow
        if flow is None:
            return
        try:
            data = b"" if self._end.bodiless else flow.take(bytes_max)
        except LogstoreError as error:
            self._break_off(f": {error}")
            return
        except Exception:
            log.exception("a bug in an answer that is given bit by bit")
            self._break_off()
            return
        self._put(self._end.more(data))
        if flow.ended or self._end.bodiless:
            self._flow = None
            self._put(self._end.end())
            self._answered()

    def _look_at_flow(self, flow: Flow) -> None:
        reason = flow.look(self._now, unsent=self._link.unsent > 0)
        if reason is not None:
            self._link.cut(reason)
        elif self._admitted is not None and self._door.gate.is_over(self._admitted.secrets):
            self._link.cut("no more of an answer: the time of its login is over")

    def _answered(self) -> None:
        call, self._call = self._call, None
        self._begun_at, self._later, self._is_out = None, None, False
        self._more = True  # what is behind it
        self._link.wake()
        if call is not None:
            call.ended()

    def _put(self, data: bytes) -> None:
        if data:
            self._out.append(data)
            self._out_bytes += len(data)
