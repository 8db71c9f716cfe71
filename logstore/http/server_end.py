"""The server's end of a connection: bytes to requests, replies to bytes, over h11.

It handles one request at a time: further requests (pipelining) wait here, or are not read, until
the reply is sent. The result does not depend on how the bytes are split into reads.

With ``by_head``, a request stops after its head until it is admitted or refused, so that the sender
can be checked before the body is received.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from logstore.http.faults import (
    BAD_REQUEST,
    CONTENT_TOO_LARGE,
    HEADERS_TOO_LARGE,
    VERSION_NOT_SUPPORTED,
    Fault,
)
from logstore.http.routes import BODY_BYTES_MAX

HEAD_BYTES_MAX: Final = 16 << 10  # of a request's line and headers, as most servers allow
THROWN_BYTES_MAX: Final = 64 << 10  # of the body of one that is turned away; else it ends with that
WITHOUT_BODY: Final = (204, 304)  # RFC 9110, 15.3.5 and 15.4.5
VERSIONS: Final = (b"1.0", b"1.1")
PIECES_MAX: Final = 800  # of a body in chunks, each of which takes microseconds
PIECE_BYTES: Final = 2048  # and one more for so many
REASONS: Final = {it.value: it.phrase.encode() for it in HTTPStatus}
REASON_CHARS: Final = 200  # of what h11 says about a request, which may repeat it

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request."""

    method: str
    target: bytes  # path and query, as they were sent
    headers: Mapping[str, str]  # by lower-case names; several of one name with ", " between them
    body_bytes: int | None  # as announced; None: it comes in chunks


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request."""

    head: Head
    body: bytes
    turned: Fault | None = None  # what it was turned away with; its body is not kept

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def target(self) -> bytes:
        return self.head.target


class ServerEnd:
    """One connection. ``take`` until there is a ``request`` or a ``fault``; reply; repeat."""

    def __init__(
        self, body_bytes_max: int = BODY_BYTES_MAX, *, once: bool = False, by_head: bool = False
    ) -> None:
        """``once``: for one request, and no more.

        ``by_head``: each of them stops at ``head`` until ``admit`` or ``turn_away``.
        """
        self.head: Head | None = None  # it is to be admitted or turned away
        self.request: Request | None = None  # it is to be answered
        self.fault: Fault | None = None  # it is to be said; nothing more is taken
        self.over = False  # the connection is to end once the last answer is sent
        self._body_bytes_max = body_bytes_max
        self._once = once
        self._by_head = by_head
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._head: Head | None = None  # of the request that is under way
        self._body = bytearray()
        self._body_bytes = 0  # that have come, also of one that is not kept
        self._pieces = 0  # in which they have
        self._turned: Fault | None = None  # it is turned away: this is said once it is whole
        self._held = 0  # bytes in h11, which are of no event yet
        self._first = b""  # what the peer waits for before it sends a body

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here, and no whole one."""
        return self.request is None and (self._head is not None or self._held > 0)

    @property
    def admitted_bytes(self) -> int:
        """How long the body that is being taken is to be, at the most; 0: none is."""
        if self._head is None or self.head is not None or self.request is not None:
            return 0
        announced = self._head.body_bytes
        return self._body_bytes_max if announced is None else announced

    @property
    def held_bytes(self) -> int:
        body = self.request.body if self.request is not None else self._body
        return self._held + len(body)

    def take(self, data: memoryview | bytes) -> int:
        """Of what has arrived, as much as belongs to the next request; how many bytes."""
        taken = 0
        while self._takes() and taken < len(data):
            # Never more than h11 may hold: how the bytes were split must make no difference.
            piece = bytes(data[taken : taken + HEAD_BYTES_MAX - self._held])
            taken += len(piece)
            self._h11.receive_data(piece)
            self._go_on()
        return taken

    def _takes(self) -> bool:
        waits = self.head is not None or self.request is not None
        return not (waits or self.fault is not None or self.over)

    def _go_on(self) -> None:
        """What h11 can make of what it has."""
        try:
            while self._takes():
                event = self._h11.next_event()
                if isinstance(event, type):  # NEED_DATA, PAUSED
                    break
                self._event(event)
        except h11.RemoteProtocolError as error:
            self._refuse(Fault(error.error_status_hint, str(error)[:REASON_CHARS]))
        self._held = len(self._h11.trailing_data[0])
        if self._takes() and self._held >= HEAD_BYTES_MAX:
            sentence = f"a request's line and headers take at most {HEAD_BYTES_MAX} bytes"
            self._refuse(Fault(HEADERS_TOO_LARGE, sentence))

    def _event(self, event: h11.Event) -> None:
        if isinstance(event, h11.Request):
            if event.http_version not in VERSIONS:
                spoken = event.http_version.decode("ascii")
                self._refuse(Fault(VERSION_NOT_SUPPORTED, f"HTTP/{spoken} is not spoken here"))
                return
            self._head = _head_of(event)
            if {"transfer-encoding", "content-length"} <= self._head.headers.keys():
                # A proxy that goes by the other one would take what is behind it for another's.
                said = "a body's length is given by chunks or by Content-Length, not by both"
                self._refuse(Fault(BAD_REQUEST, said))
                return
            self._body_bytes = self._pieces = 0
            if self._by_head:
                self.head = self._head
            else:
                self._begin_body()
        elif isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            self._pieces += 1
            self._check_length(self._body_bytes)
            if self._pieces > PIECES_MAX + self._body_bytes // PIECE_BYTES:
                self._refuse(Fault(BAD_REQUEST, "a body in this many small chunks is not accepted"))
            if self.fault is None and self._turned is None:
                self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert self._head is not None
            body, self._body = bytes(self._body), bytearray()
            self.request, self._turned = Request(self._head, body, self._turned), None

    def _begin_body(self) -> None:
        assert self._head is not None
        self._check_length(self._head.body_bytes or 0)
        if self.fault is None and self._h11.they_are_waiting_for_100_continue:
            self._first = self._send(h11.InformationalResponse(status_code=100, headers=[]))

    def admit(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        """The request whose ``head`` is here goes on, with a body of so many bytes at the most."""
        assert self.head is not None
        self.head, self._body_bytes_max = None, body_bytes_max
        self._begin_body()
        self._go_on()

    def turn_away(self, fault: Fault) -> None:
        """The request whose ``head`` is here is to be answered with this, and its body not kept.

        Where there is little of that, it is a ``request`` once it is whole, and others may follow.
        """
        assert self.head is not None
        self._turned, self._body_bytes_max = fault, THROWN_BYTES_MAX
        head, self.head = self.head, None
        self._check_length(head.body_bytes or 0)
        if self.fault is None and self._h11.they_are_waiting_for_100_continue:
            self._refuse(fault)
        self._go_on()

    def _check_length(self, size: int) -> None:
        if size <= self._body_bytes_max:
            return
        if self._turned is not None:
            self._refuse(self._turned)
        else:
            sentence = f"a request's body may have at most {self._body_bytes_max} bytes"
            self._refuse(Fault(CONTENT_TOO_LARGE, sentence))

    def _refuse(self, fault: Fault) -> None:
        self.fault, self.head, self.request, self._turned = fault, None, None, None
        self._body = bytearray()

    def left(self) -> bytes:
        """What has come behind the request whose ``head`` is here, and was taken."""
        data: bytes = self._h11.trailing_data[0]
        return data

    # Answers

    def first(self) -> bytes:
        """What the peer is to get before it goes on with its request."""
        first, self._first = self._first, b""
        return first

    def answer(self, status: int, headers: Headers, body: bytes) -> bytes:
        """The whole answer to the request, or to the fault; what comes behind it is looked at."""
        if status in WITHOUT_BODY:
            return self.begin(status, headers) + self.end()
        length = ("content-length", str(len(body)))
        return self.begin(status, [*headers, length]) + self.more(body) + self.end()

    def begin(self, status: int, headers: Headers) -> bytes:
        """The head of an answer; without a length, ``more`` may follow as often as need be."""
        last = [("connection", "close")] if self._once or self.fault is not None else []
        reason = REASONS.get(status, b"")
        return self._send(
            h11.Response(status_code=status, headers=[*headers, *last], reason=reason)
        )

    @property
    def bodiless(self) -> bool:
        """Whether the answer has no body: only its head was asked for."""
        return self._head is not None and self._head.method == "HEAD"

    def more(self, data: bytes) -> bytes:
        """A piece of its body."""
        if self.bodiless:
            return b""
        return self._send(h11.Data(data=data)) if data else b""

    def end(self) -> bytes:
        """The answer is whole."""
        last = self._send(h11.EndOfMessage())
        self.request = self._head = None
        if self.fault is None and self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
            self._go_on()
        else:
            self.over = True
        return last

    def _send(self, event: h11.Event) -> bytes:
        sent = self._h11.send(event)
        assert sent is not None
        return sent


def _head_of(event: h11.Request) -> Head:
    headers: dict[str, str] = {}
    for raw, data in event.headers:
        name, value = raw.decode("ascii"), data.decode("latin-1")
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"  # RFC 9113, 8.2.3
        headers[name] = value
    return Head(event.method.decode("ascii"), event.target, headers, _body_bytes(headers))


def _body_bytes(headers: Mapping[str, str]) -> int | None:
    """As announced; h11 has looked at it already."""
    if "transfer-encoding" in headers:
        return None
    return int(headers.get("content-length", "0").partition(",")[0])
