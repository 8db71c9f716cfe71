"""One connection to a broker, without its socket: matches replies with requests, in order.

A link first asks which versions the broker supports, and logs in if that is required; requests wait
until then. A broker processes one request of a connection at a time, so long waits (a fetch) have a
connection of their own.

Each caller is called back once, with the reply or with the reason why there is none. A lost link
sends nothing more, and it is unknown whether its unanswered requests were executed. The time limit
of a reply counts from the arrival of the previous reply, so that a request after a slow one is not
overdue.
"""

from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple

from logstore.cluster import frames, kinds
from logstore.cluster.kinds import Kind
from logstore.cluster.login import Conversation, Credentials
from logstore.errors import BrokenProtocol, ClusterUnreachable, LogstoreError, NotSpoken
from logstore.kafka.wire import Buffer, skip_tags
from logstore.version import VERSION

ANSWER_S: Final = 30.0  # for what nobody has said how long it may take
READY_S: Final = 10.0  # from the first attempt to connect until it may be asked
IN_FLIGHT_MAX: Final = 100  # requests; others wait here
THROTTLE_MAX_S: Final = 60.0
UNSUPPORTED_VERSION: Final = 35

_SIZE: Final = Struct(">i")
_HEAD: Final = Struct(">hhi")  # key, version, number
_NUMBER: Final = Struct(">i")

Answer = Callable[[Any], None]  # the answer, or a LogstoreError


class _Asked(NamedTuple):
    kind: Kind
    request: Any
    then: Answer
    seconds: float


class _Sent(NamedTuple):
    number: int
    version: int
    kind: Kind
    then: Answer
    seconds: float


class Link:
    """One connection, as a ``Spoken``. Used in one thread."""

    frame_bytes_max = frames.BYTES_MAX

    def __init__(
        self,
        name: str,
        now: Callable[[], float],
        wake: Callable[[], None],
        client_id: str = "logstore",
        credentials: Credentials | None = None,
        call_at: Callable[[float, Callable[[], object]], object] = lambda at, call: None,
    ) -> None:
        """``name``: of the broker, for people; ``wake``: called when there is output."""
        self.name = name
        self.failure: LogstoreError | None = None
        self.ready = False
        self.when_ready: Callable[[], None] = lambda: None
        self.when_lost: Callable[[], None] = lambda: None  # called before those who wait are told
        self._now = now
        self._wake = wake
        raw = client_id.encode()
        self._client = len(raw).to_bytes(2) + raw
        self._credentials = credentials
        self._conversation: Conversation | None = None
        self._versions: dict[int, tuple[int, int]] = {}
        self._call_at = call_at
        self._quiet_until = float("-inf")  # nothing is sent, but to log in
        self._number = 0
        self._begun = self._since = now()  # that; and when what was sent first became the first
        self._waiting: deque[_Asked] = deque()
        self._sent: deque[_Sent] = deque()
        self._out: list[Buffer] = []
        request = kinds.API_VERSIONS
        self._send(request, request.high, _software(), self._versions_known, ANSWER_S)

    @property
    def peer(self) -> str:
        """As Spoken.peer."""
        return f"broker {self.name}"

    def came(self) -> None:
        """As Spoken.came: an answer counts once it is whole."""

    # Asking

    def ask(self, kind: Kind, request: Any, then: Answer, seconds: float = ANSWER_S) -> None:  # noqa: ANN401
        """``seconds``: the time limit of the reply."""
        if self.failure is not None:
            then(self.failure)
        else:
            self._waiting.append(_Asked(kind, request, then, seconds))
            self._send_waiting()

    def _send_waiting(self) -> None:
        if self._now() < self._quiet_until:
            return
        while self._waiting and self.ready and len(self._sent) < IN_FLIGHT_MAX:
            self._send_spoken(self._waiting.popleft())

    def version_of(self, kind: Kind, request: Any = None) -> int:  # noqa: ANN401
        """The highest version that both sides support and that can express the request; once the
        link is ready.

        Raises NotSpoken.
        """
        low, high = self._versions.get(kind.key, (0, -1))
        most = kind.high if kind.most is None or request is None else kind.most(request)
        version = min(most, high)
        if version < max(kind.low, low):
            raise NotSpoken(
                f"broker {self.name} speaks {kind.name} in versions {low} to {high}, and "
                f"{kind.low} to {kind.high} are known here: another version of it is needed"
            )
        return version

    def _send_spoken(self, asked: _Asked) -> None:
        try:
            version = self.version_of(asked.kind, asked.request)
        except NotSpoken as error:
            asked.then(error)
            return
        self._send(asked.kind, version, asked.request, asked.then, asked.seconds)

    def _send(
        self,
        kind: Kind,
        version: int,
        request: Any,  # noqa: ANN401
        then: Answer,
        seconds: float,
    ) -> None:
        self._number = (self._number + 1) & 0x7FFFFFFF
        flexible = version >= kind.flexible
        body = kind.write(version, request)
        head = _HEAD.pack(kind.key, version, self._number) + self._client + b"\0" * flexible
        self._out += (_SIZE.pack(len(head) + sum(map(len, body))) + head, *body)
        if not self._sent:
            self._since = self._now()
        self._sent.append(_Sent(self._number, version, kind, then, seconds))
        self._wake()

    def outgoing(self) -> list[Buffer]:
        """The next output in order, which then belongs to the caller."""
        out, self._out = self._out, []
        return out

    # Answers

    def received(self, frame: memoryview) -> None:
        """A reply without its size. It belongs to the link from now on, because records stay views
        of it.
        """
        if self.failure is not None:
            return
        try:
            sent, answer = self._answer(frame)
        except LogstoreError as error:
            self.lose(BrokenProtocol(f"broker {self.name}: {error}"))
            return
        self._obey(getattr(answer, "throttle_time_ms", 0))
        self._send_waiting()
        sent.then(answer)

    def _obey(self, throttle_ms: int) -> None:
        """A broker that throttles reads nothing for so long (KIP-219), so requests sent meanwhile
        would become overdue.
        """
        if throttle_ms > 0:
            quiet_s = min(throttle_ms / 1000, THROTTLE_MAX_S)
            self._quiet_until = max(self._quiet_until, self._now() + quiet_s)
            self._call_at(self._quiet_until, self._quiet_over)

    def _quiet_over(self) -> None:
        if self._now() < self._quiet_until and self.failure is None:
            # A timer may ring a moment too early.
            self._call_at(self._quiet_until, self._quiet_over)
        else:
            self._send_waiting()

    def _answer(self, frame: memoryview) -> tuple[_Sent, Any]:
        if not self._sent or len(frame) < _NUMBER.size:
            raise BrokenProtocol("sends what nobody has asked for")
        sent = self._sent[0]
        (number,) = _NUMBER.unpack_from(frame)
        if number != sent.number:
            raise BrokenProtocol(f"answers request {number} before {sent.number}")
        at = _NUMBER.size
        version = sent.version
        if sent.kind is kinds.API_VERSIONS:  # whose answer's head is never flexible
            (code,) = _CODE.unpack_from(frame, at) if len(frame) >= at + _CODE.size else (0,)
            version = 0 if code == UNSUPPORTED_VERSION else version
        elif version >= sent.kind.flexible:
            at = skip_tags(frame, at)
        answer = sent.kind.read(version, frame, at)
        self._sent.popleft()
        self._since = self._now()
        return sent, answer

    # Its beginning

    def _versions_known(self, answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, LogstoreError):
            return  # whoever asks is told why
        if answer.error_code == UNSUPPORTED_VERSION:  # it says which it knows, in the oldest way
            self._send(kinds.API_VERSIONS, 0, _software(), self._versions_known, ANSWER_S)
            return
        if answer.error_code:
            why = f"broker {self.name} does not return its versions: error {answer.error_code}"
            self.lose(ClusterUnreachable(why))
            return
        self._versions = {it.api_key: (it.min_version, it.max_version) for it in answer.api_keys}
        if self._credentials is None:
            self._begin()
            return
        request = kinds.SASL_HANDSHAKE.messages().Request(self._credentials.mechanism)
        self._send_spoken(_Asked(kinds.SASL_HANDSHAKE, request, self._may_log_in, ANSWER_S))

    def _may_log_in(self, answer: Any) -> None:  # noqa: ANN401
        assert self._credentials is not None
        if isinstance(answer, LogstoreError):
            self.lose(answer)
        elif answer.error_code:
            self.lose(
                ClusterUnreachable(
                    f"broker {self.name} accepts no login by {self._credentials.mechanism},"
                    f" only by {', '.join(answer.mechanisms) or 'nothing'}"
                )
            )
        else:
            self._conversation = self._credentials.conversation()
            self._say(next(self._conversation))

    def _say(self, words: bytes) -> None:
        request = kinds.SASL_AUTHENTICATE.messages().Request(words)
        self._send_spoken(_Asked(kinds.SASL_AUTHENTICATE, request, self._said, ANSWER_S))

    def _said(self, answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, LogstoreError):
            self.lose(answer)
            return
        if answer.error_code:
            why = answer.error_message or f"error {answer.error_code}"
            self.lose(ClusterUnreachable(f"broker {self.name} refused the login: {why}"))
            return
        assert self._conversation is not None
        try:
            self._say(self._conversation.send(answer.auth_bytes))
        except StopIteration:
            self._conversation = None
            self._begin()
        except LogstoreError as error:
            self.lose(error)

    def _begin(self) -> None:
        self.ready = True
        self.when_ready()
        self._send_waiting()

    # Its end

    @property
    def silent_s(self) -> float:
        """How long the next reply has been outstanding; 0 for a lost link, of which none comes."""
        if self.failure is not None:
            return 0.0
        if not self.ready:
            return self._now() - self._begun
        return self._now() - self._since if self._sent else 0.0

    def look(self) -> None:
        """An overdue reply ends the link, because the replies after it would be even later."""
        if self.failure is not None:
            return
        patience_s = min([READY_S, *(it.seconds for it in self._waiting)])
        if not self.ready and self._now() >= self._begun + patience_s:
            self.lose(ClusterUnreachable(f"broker {self.name} does not answer"))
        elif self._sent and self._now() >= self._since + self._sent[0].seconds:
            late = self._sent[0].kind.name
            self.lose(ClusterUnreachable(f"broker {self.name} does not answer {late}"))

    def lose(self, why: LogstoreError) -> None:
        """The connection has ended, or must end: report that to callers that await replies."""
        if self.failure is not None:
            return
        self.failure, self.ready = why, False
        sent, self._sent = self._sent, deque()
        waiting, self._waiting = self._waiting, deque()
        self._out = []
        self.when_lost()
        for then in [*(it.then for it in sent), *(it.then for it in waiting)]:
            then(why)
        self._wake()


_CODE: Final = Struct(">h")


def _software() -> Any:  # noqa: ANN401
    return kinds.API_VERSIONS.messages().Request("logstore", VERSION)
