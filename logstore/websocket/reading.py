"""Parses the input of a WebSocket connection: the bytes within its messages, and control frames.

The inner protocol's units need not match messages, so messages are not reassembled: their bytes are
returned as they arrive. Unmasking a client's bytes costs 2 ns each.
"""

from codecs import getincrementaldecoder
from typing import Final

from logstore.errors import BrokenProtocol
from logstore.websocket.frames import (
    CLOSE,
    CONTINUATION,
    CONTROL,
    CONTROL_BYTES_MAX,
    DATA,
    EIGHT_BYTES,
    FIN,
    INVALID_TEXT,
    LONG,
    MASKED,
    NORMAL,
    PING,
    PONG,
    PROTOCOL_ERROR,
    SHORT,
    TEXT,
    TWO_BYTES,
    UNSUPPORTED,
    head,
    unmasked,
)

FRAMES_AT_ONCE: Final = 2000  # however short they are: 5 ms
_RESERVED: Final = 0x70  # of extensions, of which none is spoken
_DECODER: Final = getincrementaldecoder("utf-8")
# Codes that a close frame may have (7.4.2), below those of libraries and applications.
_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_OF_OTHERS: Final = range(3000, 5000)
_HEAD_BYTES: Final = {TWO_BYTES: 4, EIGHT_BYTES: 10}
_SIZE_MAX: Final = (1 << 63) - 1


class BadWebSocket(BrokenProtocol):
    """A violation of the RFC: the connection ends with this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Reader:
    """The reader of one connection."""

    def __init__(self, *, text: bool) -> None:
        """``text``: messages of text are taken, too."""
        self.replies: list[bytes] = []  # frames that the client is to get
        self.closed: int | None = None  # the code that its close frame has: nothing more comes
        self.frames_left = FRAMES_AT_ONCE  # that are read before the caller says so again
        self._text = text
        self._opcode = CONTINUATION  # of the message that has begun; this one: none has
        self._last = True  # the frame that is read ends its message
        self._left = 0  # bytes of it
        self._mask = b""
        self._control: tuple[int, bytearray] | None = None  # a control frame that is read
        self._decoder = _DECODER() if text else None

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self.replies))

    def take(self, raw: bytes, at: int, room: int) -> tuple[bytes, int]:
        """What stands within messages from there on, at most so much; how far was taken.

        Raises BadWebSocket.
        """
        found: list[bytes] = []
        size = len(raw)
        while self.closed is None:
            if not self._left and self._control is None:
                if self.frames_left <= 0:
                    break
                begun = self._begin(raw, at)
                if not begun:
                    break
                at = begun
                self.frames_left -= 1
                if not self._left:
                    self._end()
                    continue
            most = size - at
            if self._control is None:
                most = min(most, room)
            count = min(self._left, most)
            if not count and self._left:
                break
            piece = unmasked(raw[at : at + count], self._mask)
            at += count
            self._left -= count
            turned = count % 4
            self._mask = self._mask[turned:] + self._mask[:turned]
            if self._control is not None:
                self._control[1].extend(piece)
            else:
                self._check_text(piece)
                found.append(piece)
                room -= count
            if not self._left:
                self._end()
        return b"".join(found), at

    def _begin(self, raw: bytes, at: int) -> int:
        """Where the bytes of the frame begin whose head is there; 0: that is not whole."""
        if len(raw) - at < 2:
            return 0
        first, second = raw[at], raw[at + 1]
        opcode, size = first & 0x0F, second & 0x7F
        _check_head(first, second)
        head_bytes = _HEAD_BYTES.get(size, 2)
        if len(raw) - at < head_bytes + 4:
            return 0
        if size == TWO_BYTES:
            (size,) = SHORT.unpack_from(raw, at + 2)
            _check_size(size, TWO_BYTES)
        elif size == EIGHT_BYTES:
            (size,) = LONG.unpack_from(raw, at + 2)
            _check_size(size, 1 << 16)
        at += head_bytes
        self._mask, self._left = raw[at : at + 4], size
        if opcode in CONTROL:
            self._control = opcode, bytearray()
            return at + 4
        if (opcode == CONTINUATION) == (self._opcode == CONTINUATION):
            what = "goes on with no message" if opcode == CONTINUATION else "begins within another"
            raise BadWebSocket(PROTOCOL_ERROR, f"a message {what}")
        if opcode == TEXT and not self._text:
            raise BadWebSocket(UNSUPPORTED, "messages are binary here")
        if opcode != CONTINUATION:
            self._opcode = opcode
        self._last = bool(first & FIN)
        return at + 4

    def _end(self) -> None:
        """A frame is whole."""
        if self._control is not None:
            opcode, payload = self._control
            self._control = None
            self._take_control(opcode, bytes(payload))
        elif self._last:
            if self._opcode == TEXT:
                self._check_text(b"", final=True)
            self._opcode = CONTINUATION

    def _check_text(self, piece: bytes, *, final: bool = False) -> None:
        if self._opcode != TEXT or self._decoder is None:
            return
        try:
            self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            raise BadWebSocket(INVALID_TEXT, "a message of text is not UTF-8") from None
        if final:
            self._decoder.reset()

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            # One that comes before the last was answered stands for both (5.5.3).
            self.replies = [head(PONG, len(payload)) + payload]
        elif opcode == CLOSE:
            self.closed = _code_of(payload)


def _check_head(first: int, second: int) -> None:
    """Raises BadWebSocket."""
    opcode = first & 0x0F
    if first & _RESERVED:
        raise BadWebSocket(PROTOCOL_ERROR, "a reserved bit is set: no extension is spoken")
    if opcode not in DATA and opcode not in CONTROL and opcode != CONTINUATION:
        raise BadWebSocket(PROTOCOL_ERROR, f"no frames are of type {opcode}")
    if not second & MASKED:
        raise BadWebSocket(PROTOCOL_ERROR, "a client's frame has no mask")
    if opcode in CONTROL and (not first & FIN or second & 0x7F > CONTROL_BYTES_MAX):
        raise BadWebSocket(
            PROTOCOL_ERROR, f"a control frame is one frame of at most {CONTROL_BYTES_MAX} bytes"
        )


def _check_size(size: int, least: int) -> None:
    if not least <= size <= _SIZE_MAX:
        raise BadWebSocket(PROTOCOL_ERROR, f"a length of {size} is written as another one is")


def _code_of(payload: bytes) -> int:
    """Of a close frame. Raises BadWebSocket."""
    if not payload:
        return NORMAL
    code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0
    if code not in _CODES and code not in _OF_OTHERS:
        raise BadWebSocket(PROTOCOL_ERROR, f"no connection ends with the code {code}")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise BadWebSocket(INVALID_TEXT, "the reason of a close frame is not UTF-8") from None
    return code
