"""Messages in and out of a server's queues: confirmed by it, and given out by it."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from logstore.amqp import methods, properties
from logstore.amqp.frames import HEADER, body_frames, frame, method_frame
from logstore.amqp.properties import Properties
from logstore.amqp.replies import UNEXPECTED_FRAME, Refusal
from logstore.broker.queues.received import cancelled
from logstore.errors import Failed, LogstoreError

from ..publishing import Encoder, full
from ..show import counted
from .line import Line
from .reader import Arrived

if TYPE_CHECKING:
    from logstore.records.record import Message

# Sent and not confirmed: enough that the server always has something to do.
WINDOW_MESSAGES: Final = 2000
WINDOW_BYTES: Final = 4 << 20


class ServedMessage:
    """One message that a server has given out, by Deliver or GetOk."""

    def __init__(self, queue: str, arrived: Arrived, line: Line) -> None:
        method = arrived.method
        self.queue = queue
        self.tag: int = method.delivery_tag  # type: ignore[attr-defined]
        self.redelivered: bool = method.redelivered  # type: ignore[attr-defined]
        self.exchange: str = method.exchange  # type: ignore[attr-defined]
        self.key: str = method.routing_key  # type: ignore[attr-defined]
        self.body = arrived.body
        self._properties = arrived.properties
        self._line = line

    @cached_property
    def properties(self) -> Properties:
        """All properties; missing ones are None."""
        return properties.read(self._properties)

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}

    def ack(self) -> None:
        """As Message.ack; on its way when this returns."""
        self._line.send(methods.BasicAck(self.tag, False))

    def reject(self) -> None:
        """As Message.reject; on its way when this returns."""
        self._line.send(methods.BasicReject(self.tag, False))


class ServedConsumer:
    """As ``Consumer``."""

    def __init__(self, line: Line, queue: str, prefetch: int) -> None:
        self._line = line
        self._queue = queue
        self._came: deque[ServedMessage] = deque()
        self._cancelled = False
        line.ask(methods.BasicQos(0, prefetch, False), methods.BasicQosOk)
        line.listen(methods.BasicDeliver, to=self._deliver)
        line.listen(methods.BasicCancel, to=self._cancel)
        self._asked = methods.BasicConsume(0, queue, "", False, False, False, False, {})
        line.ask(self._asked, methods.BasicConsumeOk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening; closing the line returns unacknowledged messages."""
        self._line.forget(methods.BasicDeliver, methods.BasicCancel)

    def _deliver(self, arrived: Arrived) -> None:
        self._came.append(ServedMessage(self._queue, arrived, self._line))

    def _cancel(self, _: Arrived) -> None:
        self._cancelled = True

    def get_many(self, most: int, timeout_s: float) -> Sequence[ServedMessage]:
        """As Consumer.get_many. Raises Refused once the queue is gone, Failed."""
        line = self._line
        line.wait(lambda: self._came or self._cancelled or line.refused, timeout_s)
        if line.refused:
            raise line.refusal(self._asked)
        if self._cancelled and not self._came:
            raise cancelled(self._queue)
        return [self._came.popleft() for _ in range(min(most, len(self._came)))]

    def ack(self, messages: Sequence[ServedMessage]) -> None:
        """As Consumer.ack."""
        if messages and not self._line.refused:
            self._line.send(methods.BasicAck(messages[-1].tag, True))


class ServedSink:
    """As ``QueueSink``: messages are on their way when ``send_many`` returns."""

    def __init__(self, line: Line, exchange: str, encoder: Encoder) -> None:
        self.unrouted = 0
        self._acknowledged = 0
        self._line = line
        self._encoder = encoder
        self._publish = methods.BasicPublish(0, exchange, "", True, False)
        self._sent = 0  # messages, and with it the last one's number
        self._under_way: deque[tuple[int, int]] = deque()  # number, bytes: not confirmed
        self._bytes = 0  # of these
        self._rejected = 0
        self._failure: LogstoreError | None = None
        line.ask(methods.ConfirmSelect(False), methods.ConfirmSelectOk)
        line.listen(methods.BasicAck, methods.BasicNack, to=self._confirmed)
        line.listen(methods.BasicReturn, to=self._returned)

    @property
    def acknowledged(self) -> int:
        """As Sink.acknowledged."""
        return self._acknowledged

    def send_many(self, messages: "Sequence[Message]", partition: int | None = None) -> None:
        """As Sink.send_many. Raises Refused where a queue is full, or the exchange is gone."""
        self._check()
        for wanted in self._encoder.encode(messages):
            self._send(wanted.key, wanted.properties, bytes(wanted.body))
        self.push()

    def _send(self, key: bytes, properties_: bytes, body: bytes) -> None:
        line = self._line
        while len(self._under_way) >= WINDOW_MESSAGES or self._bytes >= WINDOW_BYTES:
            seen = len(self._under_way)
            self._wait(lambda: len(self._under_way) < seen)  # noqa: B023
            self._check()
        method = self._publish._replace(routing_key=key.decode("utf-8", "surrogateescape"))
        header = frame(HEADER, line.channel, properties.header(len(body), properties_))
        frames = (
            method_frame(line.channel, method), header,
            *body_frames(line.channel, body, line.frame_max),
        )  # fmt: skip
        line.put(b"".join(frames))
        self._sent += 1
        self._under_way.append((self._sent, len(body)))
        self._bytes += len(body)

    def push(self) -> None:
        """As Sink.push."""
        self._wait(lambda: not self._line.out_bytes)
        self._check()

    def flush(self) -> None:
        """As Sink.flush."""
        self._wait(lambda: not self._under_way)
        self._check()

    def _wait(self, ready: Callable[[], object]) -> None:
        """Wait until ``ready`` is true or a failure makes that impossible."""
        line = self._line
        if self._failure is not None:
            return
        try:
            done = line.wait(lambda: ready() or line.refused, finish=True)
        except LogstoreError as error:
            self._failure = error
            return
        if line.refused:
            self._failure = line.refusal(self._publish)
        elif not done:
            self._failure = Failed(
                f"{line.address}: the server has not confirmed"
                f" {counted(len(self._under_way), 'message')}; each may or may not be published"
            )

    def _check(self) -> None:
        """Raise the failure, if there is one."""
        if self._rejected:
            self._wait(lambda: not self._under_way)
        if self._failure is not None:
            raise self._failure
        if self._rejected:
            raise full(self._rejected)

    # What comes

    def _confirmed(self, arrived: Arrived) -> None:
        method = arrived.method
        upto: int = method.delivery_tag  # type: ignore[attr-defined]
        multiple: bool = method.multiple  # type: ignore[attr-defined]
        count = 0
        if multiple:
            while self._under_way and self._under_way[0][0] <= upto:
                self._bytes -= self._under_way.popleft()[1]
                count += 1
        else:
            at = next((n for n, (number, _) in enumerate(self._under_way) if number == upto), None)
            if at is None:
                raise Refusal(UNEXPECTED_FRAME, f"a confirm of {upto}, which is not under way")
            self._bytes -= self._under_way[at][1]
            del self._under_way[at]
            count = 1
        if isinstance(method, methods.BasicAck):
            self._acknowledged += count
        else:
            self._rejected += count

    def _returned(self, _: Arrived) -> None:
        self.unrouted += 1
