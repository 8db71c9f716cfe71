"""What a server of AMQP 0-9-1 sends: bytes to methods, each with its content. No socket."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from logstore.amqp.frames import BODY, END, HEAD, HEADER, HEARTBEAT, METHOD, OVERHEAD, PROTOCOL
from logstore.amqp.methods import BasicDeliver, BasicGetOk, BasicReturn, Method, decode
from logstore.amqp.properties import read_header
from logstore.amqp.replies import FRAME_ERROR, UNEXPECTED_FRAME, Refusal

CARRIERS: Final = BasicDeliver | BasicGetOk | BasicReturn  # a content follows
FRAME_BYTES_MAX: Final = 128 << 10  # requested; a longer frame is invalid
BODY_BYTES_MAX: Final = 512 << 20  # as RabbitMQ's largest: a header that says more is none


class Arrived(NamedTuple):
    """A method, and the content that came with it."""

    channel: int
    method: Method
    properties: bytes = b""  # as they travel
    body: bytes = b""


@dataclass(slots=True)
class _Content:
    """Of a method: it comes in frames of its own."""

    method: Method
    properties: bytes = b""
    size: int = -1  # of the body; -1: its header is due
    parts: list[bytes] | None = None
    had: int = 0  # bytes of the body


class Reader:
    """Of one connection."""

    def __init__(self) -> None:
        self._rest = b""  # half a frame
        self._contents: dict[int, _Content] = {}  # by channel

    def receive(self, data: bytes) -> list[Arrived]:
        """The complete methods in order. Raises Refusal if the bytes are not AMQP."""
        data = self._rest + data
        at, found = 0, list[Arrived]()
        while len(data) - at >= HEAD.size:
            kind, channel, size = HEAD.unpack_from(data, at)
            if data.startswith(PROTOCOL[:4], at):
                raise Refusal(FRAME_ERROR, "the server speaks another version of AMQP")
            if size + OVERHEAD > FRAME_BYTES_MAX:
                raise Refusal(FRAME_ERROR, f"a frame of {size} bytes: too large")
            end = at + OVERHEAD + size
            if len(data) < end:
                break
            if data[end - 1 : end] != END:
                raise Refusal(FRAME_ERROR, "a frame does not end where it says")
            arrived = self._take(kind, channel, data[at + HEAD.size : end - 1])
            if arrived is not None:
                found.append(arrived)
            at = end
        self._rest = data[at:]
        return found

    def _take(self, kind: int, channel: int, payload: bytes) -> Arrived | None:
        if kind == HEARTBEAT:
            return None
        content = self._contents.get(channel)
        if kind == METHOD and content is None:
            method = decode(payload)
            if not isinstance(method, CARRIERS):
                return Arrived(channel, method)
            self._contents[channel] = _Content(method)
            return None
        if kind == HEADER and content is not None and content.size < 0:
            content.size, content.properties = read_header(payload)
            content.parts = []
            if content.size > BODY_BYTES_MAX:
                raise Refusal(FRAME_ERROR, f"a body of {content.size} bytes: too large")
        elif kind == BODY and content is not None and content.parts is not None:
            content.parts.append(payload)
            content.had += len(payload)
        else:
            raise Refusal(UNEXPECTED_FRAME, f"a frame of type {kind} where none may be")
        return self._whole(channel, content)

    def _whole(self, channel: int, content: _Content) -> Arrived | None:
        if content.had < content.size:
            return None
        if content.had > content.size:
            raise Refusal(FRAME_ERROR, "a body is longer than its header says")
        assert content.parts is not None
        del self._contents[channel]
        return Arrived(channel, content.method, content.properties, b"".join(content.parts))
