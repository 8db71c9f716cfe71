"""A connection as its channels see it, and the state of a message that is being received."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from logstore.amqp.methods import Method
from logstore.amqp.replies import Refusal
from logstore.broker.queues.vhost import Vhost
from logstore.protocols.amqp.door import AmqpDoor
from logstore.protocols.rabbit_permits import Permits
from logstore.protocols.session import Link
from logstore.records.encode import Pieces


class Publishing(NamedTuple):
    """The fields of a Basic.Publish."""

    exchange: bytes
    key: bytes
    mandatory: bool
    immediate: bool


class Last(NamedTuple):
    """The frames of the previous message up to its body, which the next one mostly repeats."""

    prefix: bytes  # its frames up to the body
    size: int  # of the body
    publishing: Publishing
    properties: bytes


NO_LAST: Final = Last(b"", 0, Publishing(b"", b"", False, False), b"")


class Carrier(Protocol):
    """The connection of a channel."""

    door: AmqpDoor
    link: Link
    vhost: Vhost
    vhost_name: str
    permits: Permits  # what its client may do
    may_cancel: bool  # the client understands that a consumer of it is cancelled
    published: dict[Any, None]  # channels that have messages for the queues
    confirming: dict[Any, None]  # channels that wait for something to be safe
    roomier: dict[Any, None]  # channels whose queues were woken in this read
    content_bytes: int  # of bodies that have not arrived as a whole, and of transactions
    payload_max: int  # of a frame
    out_bytes: int  # bytes to send
    publishings: dict[bytes, Publishing]  # by the methods that said it
    told_blocked: str  # why it may not publish now

    @property
    def name(self) -> str:
        """The connection's name in RabbitMQ's form: both ends."""

    def put(self, frames: bytes) -> None: ...
    def room_bytes(self) -> int: ...
    def must_look(self) -> bool: ...
    def park(self, size: int) -> None: ...
    def later(self, call: Callable[[], None]) -> None: ...
    def went_on(self) -> None: ...
    def cancelled(
        self,
        channel: Any,  # noqa: ANN401
        tag: bytes,
        timeout_ms: int | None,
    ) -> None: ...
    def forget_channel(self, channel: Any) -> None: ...  # noqa: ANN401
    def closed_in_order(self, channel: Any) -> None: ...  # noqa: ANN401
    def fail(self, refusal: Refusal, ids: tuple[int, int]) -> None: ...
    def send_all_published(self) -> None: ...
    def late(self) -> bool:
        """Whether the remaining input must wait for the next turn."""

    def publish(
        self,
        channel: Any,  # noqa: ANN401
        publishing: Publishing,
        properties: bytes,
        body: bytes | Pieces,
    ) -> None: ...
    def carry_out(self, channel: Any, method: Method) -> None: ...  # noqa: ANN401
