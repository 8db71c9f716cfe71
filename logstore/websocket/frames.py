"""Frames of RFC 6455, and the writing of a server's frames. No extension is supported."""

from struct import Struct
from typing import Final

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DATA: Final = frozenset({TEXT, BINARY})
CONTROL: Final = frozenset({CLOSE, PING, PONG})
CONTROL_BYTES_MAX: Final = 125

FIN: Final = 0x80
MASKED: Final = 0x80
TWO_BYTES, EIGHT_BYTES = 126, 127  # of a length, behind it
SHORT: Final = Struct(">H")
LONG: Final = Struct(">Q")
_SMALL: Final = {it: [bytes((FIN | it, size)) for size in range(126)] for it in (*DATA, *CONTROL)}

# Why a connection ends (7.4.1), as far as it is said here.
NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED = 1000, 1001, 1002, 1003
INVALID_TEXT, POLICY = 1007, 1008


def head(opcode: int, size: int) -> bytes:
    """What stands before so many bytes, which are all of a message."""
    if size < TWO_BYTES:
        return _SMALL[opcode][size]
    if size < 1 << 16:
        return bytes((FIN | opcode, TWO_BYTES)) + SHORT.pack(size)
    return bytes((FIN | opcode, EIGHT_BYTES)) + LONG.pack(size)


def close(code: int, reason: str = "") -> bytes:
    """That the server ends it. The reason is cut to what there is room for."""
    text = reason.encode(errors="replace")[: CONTROL_BYTES_MAX - 2]
    text = text.decode(errors="ignore").encode()  # no half of a character
    return head(CLOSE, 2 + len(text)) + SHORT.pack(code) + text


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Of a client's frame: its bytes, of which the first goes with the mask's first (5.3)."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    both = int.from_bytes(data, "little") ^ int.from_bytes(key, "little")
    return both.to_bytes(size, "little")
