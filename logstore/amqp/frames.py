"""Frames of AMQP 0-9-1 (4.2.3), which carry everything else."""

from struct import Struct
from typing import Final

from logstore.amqp.methods import Method, encode

PROTOCOL: Final = b"AMQP\0\0\x09\x01"  # what a client begins with, and what others are answered

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8

HEAD: Final = Struct(">BHI")  # type, channel, size of what it holds
HEAD_BYTES: Final = HEAD.size
END: Final = b"\xce"
OVERHEAD: Final = HEAD.size + len(END)

SIZE_MIN: Final = 4096  # frame_max of the specification; also what may come before Tune
HEARTBEAT_FRAME: Final = HEAD.pack(HEARTBEAT, 0, 0) + END


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (HEAD.pack(kind, channel, len(payload)), payload)


def method_frame(channel: int, method: Method) -> bytes:
    """Raises ValueError, TypeError for values that can't travel."""
    return frame(METHOD, channel, encode(method))


def body_frames(channel: int, body: bytes, frame_max: int) -> list[bytes]:
    """A body as its frames; none where it is empty."""
    room = frame_max - OVERHEAD
    return [frame(BODY, channel, body[at : at + room]) for at in range(0, len(body), room)]
