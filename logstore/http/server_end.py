"""The end of a connection that is asked: bytes to requests, answers to bytes, over h11.

One request at a time: what comes behind it (pipelining) waits in here, or is not taken, until it is
answered. Whatever splits the bytes of the same requests, they are the same requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import h11

from logstore.http.faults import CONTENT_TOO_LARGE, HEADERS_TOO_LARGE, Fault

HEAD_BYTES_MAX: Final = 16 << 10  # of a request's line and headers, as most servers allow
BODY_BYTES_MAX: Final = 1 << 20  # names of some ten thousand topics
REASON_CHARS: Final = 200  # of what h11 says about a request, which may repeat it

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One, whole."""

    method: str
    target: bytes  # path and query, as they were sent
    body: bytes


class ServerEnd:
    """Of one connection. ``take`` until there is a ``request`` or a ``fault``; answer; again."""

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX, *, once: bool = False) -> None:
        """``once``: for one request, and no more."""
        self.request: Request | None = None  # it is to be answered
        self.fault: Fault | None = None  # it is to be said; nothing more is taken
        self.over = False  # the connection is to end once the last answer is sent
        self._body_bytes_max = body_bytes_max
        self._once = once
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._held = 0  # bytes in h11, which are of no event yet
        self._first = b""  # what the peer waits for before it sends a body

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here, and no whole one."""
        return self.request is None and (self._head is not None or self._held > 0)

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
        return self.request is None and self.fault is None and not self.over

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
            self._head = event
            self._check_length(_content_length(event))
            if self.fault is None and self._h11.they_are_waiting_for_100_continue:
                self._first = self._send(h11.InformationalResponse(status_code=100, headers=[]))
        elif isinstance(event, h11.Data):
            self._check_length(len(self._body) + len(event.data))
            if self.fault is None:
                self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert self._head is not None
            body, self._body = bytes(self._body), bytearray()
            self.request = Request(self._head.method.decode("ascii"), self._head.target, body)

    def _check_length(self, size: int) -> None:
        if size > self._body_bytes_max:
            sentence = f"a request's body takes at most {self._body_bytes_max} bytes"
            self._refuse(Fault(CONTENT_TOO_LARGE, sentence))

    def _refuse(self, fault: Fault) -> None:
        self.fault, self.request = fault, None
        self._body = bytearray()

    # Answers

    def first(self) -> bytes:
        """What the peer is to get before it goes on with its request."""
        first, self._first = self._first, b""
        return first

    def answer(self, status: int, headers: Headers, body: bytes) -> bytes:
        """The whole answer to the request, or to the fault; what comes behind it is looked at."""
        length = ("content-length", str(len(body)))
        return self.begin(status, [*headers, length]) + self.more(body) + self.end()

    def begin(self, status: int, headers: Headers) -> bytes:
        """The head of an answer; without a length, ``more`` may follow as often as need be."""
        last = [("connection", "close")] if self._once or self.fault is not None else []
        return self._send(h11.Response(status_code=status, headers=[*headers, *last]))

    def more(self, data: bytes) -> bytes:
        """A piece of its body."""
        if self._head is not None and self._head.method == b"HEAD":
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


def _content_length(head: h11.Request) -> int:
    """As it was announced; h11 has looked at it already."""
    return next((int(it) for name, it in head.headers if name == b"content-length"), 0)
