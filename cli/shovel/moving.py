"""Messages on their way from one connection to another: what each side has been told of them.

Those that a side has been sent are *under way* until the target has confirmed them. They are
acknowledged at the source in their order, many at once.
"""

from collections import deque
from typing import Final, NamedTuple

from logstore.amqp import methods, properties
from logstore.amqp.frames import HEADER, body_frames, frame, method_frame
from logstore.amqp.properties import Properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.received import cancelled
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import Failed, LogstoreError, Refused

from ..served.line import Line
from ..served.reader import Arrived
from ..show import counted
from ..stop import Stop

STEP_S: Final = 0.5  # after which a quiet side is checked
UNDER_WAY_BYTES: Final = 16 << 20  # beyond, the source is not read from
COPIES: Final[tuple[str, ...]] = ("CC", "BCC")  # queues that the sender wanted a message in, too
COUNTS: Final[tuple[str, ...]] = (
    "x-delivery-count",
    "x-acquired-count",
)  # how often the source has given it out


class Refusing(Failed):
    """The target has refused messages for now; they are still at the source."""


class Route(NamedTuple):
    """From a queue to an exchange. ``key``: None leaves each its own."""

    queue: str
    exchange: str
    key: str | None


class _UnderWay(NamedTuple):
    """One message."""

    tag: int  # at the source
    key: str
    body: bytes


class Moving:
    """Of one pair of connections; both end when one of them fails."""

    def __init__(
        self, source: Line, target: Line, route: Route, stop: Stop, *, user: str, prefetch: int
    ) -> None:
        """``user``: the user as whom messages are published."""
        self.moved = 0
        self.moved_bytes = 0
        self._source, self._target = source, target
        self._route = route
        self._stop = stop
        self._user = user
        self._prefetch = prefetch
        self._consume = methods.BasicConsume(0, route.queue, "", False, False, False, False, {})
        self._publish = methods.BasicPublish(0, route.exchange, "", True, False)
        self._came: deque[Arrived] = deque()
        self._came_bytes = 0
        self._under_way: deque[_UnderWay] = deque()
        self._bytes = 0  # of these
        self._first = 1  # the number, at the target, of the first that is under way
        self._answered: dict[int, bool] = {}  # by number: it was taken, or refused
        self._unroutable: set[int] = set()  # numbers
        self._cancelled = False
        self._tag = ""  # of the consumer
        self._taken = 0

    # What is done

    def begin(self, most: int | None) -> None:
        """Check both sides, and start to consume. Raises Refused, NoQueue, NoExchange, Failed,
        Stopped.
        """
        route = self._route
        self._target.ask(methods.ConfirmSelect(False), methods.ConfirmSelectOk)
        if route.exchange:
            passive = methods.ExchangeDeclare(
                0, route.exchange, "", True, False, False, False, False, {}
            )
            self._target.ask(passive, methods.ExchangeDeclareOk)
        elif route.key is not None:
            self.ready(self._target, route.key)
        self._target.listen(methods.BasicAck, methods.BasicNack, to=self._confirmed)
        self._target.listen(methods.BasicReturn, to=self._returned)
        prefetch = self._prefetch if most is None else min(self._prefetch, most)
        self._source.ask(methods.BasicQos(0, prefetch, False), methods.BasicQosOk)
        self._source.listen(methods.BasicDeliver, to=self._delivered)
        self._source.listen(methods.BasicCancel, to=self._was_cancelled)
        answer = self._source.ask(self._consume, methods.BasicConsumeOk)
        self._tag = answer.method.consumer_tag  # type: ignore[attr-defined]

    @staticmethod
    def ready(line: Line, queue: str) -> int:
        """The number of ready messages. Raises NoQueue, Failed, Refused, Stopped."""
        if not queue:
            raise NoQueue(b"")
        passive = methods.QueueDeclare(0, queue, True, False, False, False, False, {})
        answer = line.ask(passive, methods.QueueDeclareOk)
        return int(answer.method.message_count)  # type: ignore[attr-defined]

    @property
    def quiet(self) -> bool:
        """Whether no message is known to be under way."""
        return not (self._came or self._under_way)

    def step(self, most: int | None, seconds: float = STEP_S) -> None:
        """Wait for either side, and pass on arrived messages, ``most`` in all.

        Raises Failed, Refused, Refusing.
        """
        source, target = self._source, self._target
        for line in (source, target):
            line.beat()
        full = self._bytes + self._came_bytes > UNDER_WAY_BYTES
        reads = [target.fileno(), *([] if full else [source.fileno()])]
        writes = [it.fileno() for it in (source, target) if it.out_bytes]
        readable, writable = self._stop.wait_many(reads, writes, seconds)
        for line in (source, target):
            at = line.fileno()
            line.attend(readable=at in readable, writable=at in writable)
        if source.refused:
            raise source.refusal(self._consume)
        if target.refused:
            raise target.refusal(self._publish)
        if not self._bad:
            self._send(most)
        self._settle()
        if self._cancelled and self.quiet:
            raise cancelled(self._route.queue)

    def finish(self, seconds: float) -> None:
        """Accept no more messages, and finish those under way within this time."""
        self._source.send(methods.BasicCancel(self._tag, True))
        self._came.clear()
        self._came_bytes = 0
        left = int(seconds / STEP_S)
        while self._under_way and left > 0:
            self.step(0)
            left -= 1

    def _send(self, most: int | None) -> None:
        while self._came and (most is None or self._taken < most):
            arrived = self._came.popleft()
            self._came_bytes -= len(arrived.body)
            self._taken += 1
            self._pass_on(arrived)

    def _pass_on(self, arrived: Arrived) -> None:
        method, line = arrived.method, self._target
        key = self._route.key
        if key is None:
            key = method.routing_key  # type: ignore[attr-defined]
        given = self._properties(arrived, redelivered=method.redelivered)  # type: ignore[attr-defined]
        line.put(b"".join((
            method_frame(line.channel, self._publish._replace(routing_key=key)),
            frame(HEADER, line.channel, properties.header(len(arrived.body), given)),
            *body_frames(line.channel, arrived.body, line.frame_max),
        )))  # fmt: skip
        tag: int = method.delivery_tag  # type: ignore[attr-defined]
        self._under_way.append(_UnderWay(tag, key, arrived.body))
        self._bytes += len(arrived.body)

    def _properties(self, arrived: Arrived, *, redelivered: bool) -> bytes:
        """The message's properties without those that would be refused, redirect it, or are the
        source's own.
        """
        given = arrived.properties
        try:
            found = properties.read(given)
        except Refusal as error:
            raise Refused(f"{self._source.address}: invalid message properties: {error}") from None
        headers = found.headers or {}
        drop = [it for it in COPIES if self._route.key is not None and it in headers]
        drop += [it for it in COUNTS if redelivered and it in headers]
        stranger = found.user_id is not None and found.user_id != self._user
        if not drop and not stranger:
            return given
        left = {name: value for name, value in headers.items() if name not in drop}
        changed: Properties = found._replace(headers=left or None)
        return properties.write(changed._replace(user_id=None) if stranger else changed)

    def _settle(self) -> None:
        """Acknowledge messages that are safe; raise the error of others."""
        tag = 0
        while self._under_way and self._answered.get(self._first) and (
            self._first not in self._unroutable
        ):  # fmt: skip
            del self._answered[self._first]
            self._first += 1
            tag = self._forget()
        if tag:
            self._source.send(methods.BasicAck(tag, True))
        if self._bad:
            self._settle_others()

    @property
    def _bad(self) -> bool:
        """Whether any message was refused, after which none is sent."""
        return bool(self._unroutable) or False in self._answered.values()

    def _forget(self) -> int:
        gone = self._under_way.popleft()
        self._bytes -= len(gone.body)
        self.moved += 1
        self.moved_bytes += len(gone.body)
        return gone.tag

    def _settle_others(self) -> None:
        """After all answers: acknowledge safe messages one by one, and report the others."""
        if len(self._answered) < len(self._under_way):
            return
        bad: list[_UnderWay] = []
        number, unroutable = self._first, 0
        while self._under_way:
            if self._answered[number] and number not in self._unroutable:
                self._source.send(methods.BasicAck(self._forget(), False))
            else:
                unroutable += number in self._unroutable
                bad.append(self._under_way.popleft())
            number += 1
        where = self._target.address
        if unroutable:
            raise Refused(
                f"{where}: no queue receives messages with the key {bad[0].key!r} at exchange "
                f"{self._route.exchange!r}: {counted(len(bad), 'message')} stay at the source; "
                f"bind a queue there, or choose another --key"
            )
        raise Refusing(f"{where}: a queue has no room for {counted(len(bad), 'message')}")

    # What comes

    def _delivered(self, arrived: Arrived) -> None:
        self._came.append(arrived)
        self._came_bytes += len(arrived.body)

    def _was_cancelled(self, _: Arrived) -> None:
        self._cancelled = True

    def _confirmed(self, arrived: Arrived) -> None:
        method = arrived.method
        upto: int = method.delivery_tag  # type: ignore[attr-defined]
        good = isinstance(method, methods.BasicAck)
        if not self._first <= upto < self._first + len(self._under_way):
            raise LogstoreError(
                f"{self._target.address}: confirmed message {upto}, which is not under way"
            )
        first = self._first if method.multiple else upto  # type: ignore[attr-defined]
        for number in range(first, upto + 1):
            self._answered.setdefault(number, good)

    def _returned(self, arrived: Arrived) -> None:
        """Note the first equal message as returned: the server does not say which one it is."""
        key = arrived.method.routing_key  # type: ignore[attr-defined]
        for number, it in enumerate(self._under_way, self._first):
            if it.key == key and it.body == arrived.body and number not in self._unroutable:
                self._unroutable.add(number)
                return
        raise LogstoreError(f"{self._target.address}: returned a message that is not under way")
