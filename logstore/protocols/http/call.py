"""One request as its handler sees it, and the reply to it. Used in the sessions' thread."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import msgspec

from logstore.access.identity import Identity
from logstore.amqp import fields
from logstore.errors import LogstoreError
from logstore.http.bodies import JSON, decode, whole
from logstore.http.faults import BAD_REQUEST, INTERNAL_ERROR, NOT_FOUND, UNAVAILABLE, Fault
from logstore.http.server_end import Head, Headers
from logstore.kept.queues import DEFAULT_VHOST
from logstore.protocols.http.replies.events import Events
from logstore.protocols.http.replies.flows import Flow, Lines, Parts, Unread
from logstore.protocols.http.replies.refusals import body_of, fault_of

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost
    from logstore.kept.keeping import Keeping
    from logstore.protocols.http.permits import Permits

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500  # rows of which each may have to open a queue
PAGE_QUERY: Final = ("page", "page_size")
NUMBER_CHARS: Final = 9
ESCAPED_BYTES: Final = b"\\udc"

NO_HEAD: Final = Head("GET", b"/", {}, 0)

log: Final = logging.getLogger("logstore.http")

_T = TypeVar("_T")


class Page(NamedTuple):
    """The requested page of a list."""

    number: int  # from 1
    size: int


class Answers(Protocol):
    """Where replies are sent: the connection."""

    def whole(self, status: int, body: bytes, kind: str, headers: Headers) -> None: ...
    def flow(self, flow: Flow, headers: Headers) -> None:
        """The answer is what flows from there. Raises what its first piece does."""

    def go_on(self) -> None:
        """There may be more of it."""

    def later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Have it called after so long, unless the peer has gone."""

    def cut(self) -> None:
        """The answer can't be given to its end, which the peer is to find out."""

    def parts(self, content_type: str, parts: Iterator[bytes]) -> Parts: ...
    def unread(self) -> Unread:
        """Raises Fault where there are too many."""


class Call:
    """A request and its ``Reply``."""

    def __init__(
        self,
        to: Answers,
        given: bytes,
        rights: "Permits",
        head: Head = NO_HEAD,
        *,
        secure: bool = False,
    ) -> None:
        self.names: Mapping[str, bytes] = {}  # what stands in its path
        self.query: Mapping[str, bytes] = {}
        self.many: Mapping[str, Sequence[bytes]] = {}  # as Found.many
        self.given = given  # the request's body
        self.head = head
        self.headers = head.headers  # by their names in lower case
        self.secure = secure  # it has come by TLS
        self.rights = rights  # of whoever asks
        self.queues: Queues  # of routes that need them
        self.begun = False
        self.words: Callable[[LogstoreError], Fault] = fault_of  # what is answered of errors
        # Has it carried out once more, before "not found" is said; it is called once.
        self.look_again: Callable[[LogstoreError], object] | None = None
        self.over = False  # it is answered, or nobody waits for it any more
        self.lasts = False  # it may take for ever: a server that stops does not wait for it
        self._to = to
        self._lines: Lines | None = None
        self._at_end: list[Callable[[], object]] = []

    @property
    def who(self) -> Identity:
        return self.rights.who

    def at_end(self, call: Callable[[], object]) -> None:
        """Have it called once the answer is given, or nobody waits for it any more."""
        if self.over:
            call()
        else:
            self._at_end.append(call)

    def ended(self) -> None:
        """It is answered, or nobody waits for it any more."""
        self.over = True
        calls, self._at_end = self._at_end, []
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("a bug at the end of an answer")

    # What is asked

    def text(self, name: str) -> str:
        """A parameter of the query, as a text; "" without one."""
        return fields.text(self.query.get(name, b""))

    def word(self, name: str) -> str:
        """What stands in the path, or else in the query, for this; "" without. Raises Fault."""
        given = self.names.get(name, self.query.get(name, b""))
        try:
            return given.decode()
        except UnicodeDecodeError:
            raise Fault(BAD_REQUEST, f"{name}={given[:20]!r} is not UTF-8") from None

    def page(self) -> Page:
        """Raises Fault."""
        return Page(self.number("page", 1), self.number("page_size", PAGE_SIZE, PAGE_SIZE_MAX))

    def number(self, name: str, default: int, most: int = 10**NUMBER_CHARS) -> int:
        """A parameter of the query, from 1 on. Raises Fault."""
        text = self.text(name)
        if not text:
            return default
        digits = text.isascii() and text.isdigit() and len(text) <= NUMBER_CHARS
        if not digits or not 1 <= int(text) <= most:
            raise Fault(BAD_REQUEST, f"{name}={text[:20]}: must be a number from 1 to {most}")
        return int(text)

    def vhost(self) -> "Vhost":
        """The one that the query names; else the default one. Raises NoVhost."""
        return self.queues.vhost(self.query.get("vhost", fields.data(DEFAULT_VHOST)))

    def json(self, kind: type[_T]) -> _T:
        """The request's body. Raises Fault."""
        try:
            if ESCAPED_BYTES in self.given.lower():  # a name that is no UTF-8, as we show it
                return msgspec.convert(decode(self.given), type=kind)
            return msgspec.json.decode(self.given, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Fault(BAD_REQUEST, f"the request's body: {error}") from None

    # The answer

    def answer_when(self, kept: "Keeping", value: object, status: int = 200) -> None:
        """Once it is durable; or else why it is not."""
        self.when_kept(kept, lambda: self.answer(value, status))

    def when_kept(self, kept: "Keeping", go_on: Callable[[], object]) -> None:
        """Go on once it is durable; or else answer why it is not."""

        def done(keeping: "Keeping") -> None:
            if keeping.error is None:
                self.attempt(go_on)
            else:
                self.fail(keeping.error)

        kept.then(done)

    def answer(self, value: object, status: int = 200, headers: Headers = ()) -> None:
        """As Reply.answer."""
        self._whole(status, whole(value), headers=headers)

    def content(self, status: int, body: bytes, kind: str, headers: Headers = ()) -> None:
        """All of the answer, of some other kind than JSON."""
        self._whole(status, body, kind, headers)

    def refuse(self, status: int, sentence: str, kind: str = "") -> None:
        """As Reply.refuse."""
        self.fail(Fault(status, sentence, kind=kind))

    def done(self, status: int, headers: Headers = ()) -> None:
        """All of the answer: there is nothing to be said but the status."""
        self._whole(status, b"", headers=headers)

    def fail(self, error: LogstoreError) -> None:
        """It could not be done."""
        fault = self.words(error)
        look_again, self.look_again = self.look_again, None
        if fault.status == NOT_FOUND and look_again is not None and not (self.begun or self.over):
            look_again(error)
            return
        self._whole(fault.status, body_of(self.head.target, fault), headers=fault.headers)

    def later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Have it called after so long, unless the peer has gone."""
        self._to.later(delay_s, call)

    def cut(self) -> None:
        """Nothing more of an answer that has begun, which the peer is to find out."""
        self._to.cut()

    def _whole(self, status: int, body: bytes, kind: str = JSON, headers: Headers = ()) -> None:
        if self.over:
            return
        if self.begun:  # it has its status already
            self._to.cut()
            return
        self.over = True
        self._to.whole(status, body, kind, headers)

    # The answer, bit by bit

    def line(self, data: bytes, *, skip: bool = False) -> None:
        """As Reply.line."""
        if not self.over:
            self._in_lines().add(data, skip=skip)
            self._to.go_on()

    def end(self) -> None:
        """As Reply.end."""
        if not self.over:
            self._in_lines().given_all = True
            self._to.go_on()

    def _in_lines(self) -> Lines:
        if self._lines is None:
            self._lines = Lines()
            self.at_end(self._lines.close)
            self.begun = True
            self._to.flow(self._lines, ())
        return self._lines

    def stream(
        self, content_type: str, parts: Iterator[bytes], headers: Headers = ()
    ) -> Callable[[], None]:
        """Have the answer be these parts, each of which is asked for when the peer reads.

        One is at most a millisecond's work. What goes wrong before the first is an answer of its
        own; later it ends the connection. Where a part is b"" nothing is asked for until the
        result of this is called. A generator is closed once the peer has gone.
        """
        self._check_waited_for()
        flow = self._to.parts(content_type, parts)
        self.at_end(flow.close)
        self._to.flow(flow, headers)
        self.begun = True

        def go_on() -> None:
            flow.waits = False
            self._to.go_on()

        return go_on

    def _check_waited_for(self) -> None:
        """Raises Fault, which nobody hears of."""
        if self.over:
            raise Fault(UNAVAILABLE, "the client no longer waits for this reply")

    def events(self, headers: Headers = ()) -> Events:
        """Have the answer be events, until the peer goes. Raises Fault where there are too many."""
        self._check_waited_for()
        unread = self._to.unread()
        self.at_end(unread.close)
        self.lasts = self.begun = True
        self._to.flow(unread, headers)
        return Events(unread, self._to.go_on, self.at_end)

    def attempt(self, work: Callable[[], object]) -> None:
        """Do something towards the answer: what goes wrong is the answer."""
        try:
            work()
        except LogstoreError as error:
            self.fail(error)
        except Exception as error:
            log.exception("a bug in an answer")
            self.refuse(INTERNAL_ERROR, f"internal error: {error!r}")
