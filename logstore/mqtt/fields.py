"""Wire types (1.5): numbers, texts, bytes with their length; read with a cursor."""

from typing import Final

from logstore.mqtt.reasons import Broken, malformed, not_allowed

LENGTH_MAX: Final = 268_435_455  # what four bytes of seven bits hold (1.5.5)
TEXT_BYTES_MAX: Final = 65_535  # of a text or bytes: their length has two bytes

_SHORT: Final = tuple(
    bytes((it,)) if it < 128 else bytes((it & 127 | 128, it >> 7)) for it in range(2048)
)  # what most packets have


def varint(value: int) -> bytes:
    """A number below 268,435,456, seven bits in a byte, the lowest first. Raises ValueError."""
    if value < len(_SHORT):
        return _SHORT[value]
    if value > LENGTH_MAX:
        raise ValueError(f"{value} is more than four bytes of seven bits hold")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_size(value: int) -> int:
    """How many bytes ``varint`` gives."""
    return 1 + (value > 127) + (value > 16_383) + (value > 2_097_151)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """The number, and where it ends; None: it is not all there. Raises Broken.

    [MQTT-1.5.5-1]: no more bytes than it needs.
    """
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if not byte and shift:
                raise malformed("a variable byte integer has more bytes than it needs")
            return value, at
        shift += 7
        if shift == 28:
            raise malformed("a variable byte integer has more than four bytes")
    return None


def data(value: bytes) -> bytes:
    """Bytes with their length before them. Raises ValueError."""
    if len(value) > TEXT_BYTES_MAX:
        raise ValueError(f"{len(value)} bytes: a field has at most {TEXT_BYTES_MAX}")
    return len(value).to_bytes(2) + value


def text(value: str) -> bytes:
    """A text with its length before it. Raises ValueError for what cannot travel."""
    return data(value.encode())


def is_text(value: bytes) -> bool:
    """Whether it is UTF-8 without U+0000 and surrogates [MQTT-1.5.4-1, -2]."""
    if value.isascii():
        return b"\0" not in value
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in value


class Cursor:
    """Reads one packet's body. A missing field raises Broken: the packet is malformed."""

    __slots__ = ("at", "data", "end", "what")

    def __init__(self, data: bytes, what: str, at: int = 0, end: int | None = None) -> None:
        """``what``: the packet's name, for people."""
        self.data = data
        self.what = what
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes."""
        return self.end - self.at

    def _pass(self, size: int) -> int:
        """Where these bytes begin."""
        begin = self.at
        self.at = begin + size
        if self.at > self.end:
            raise malformed(f"a {self.what} packet ends within a field")
        return begin

    def byte(self) -> int:
        return self.data[self._pass(1)]

    def two(self) -> int:
        begin = self._pass(2)
        return int.from_bytes(self.data[begin : begin + 2])

    def four(self) -> int:
        begin = self._pass(4)
        return int.from_bytes(self.data[begin : begin + 4])

    def varint(self) -> int:
        found = read_varint(self.data, self.at, self.end)
        if found is None:
            raise malformed(f"a {self.what} packet ends within a field")
        value, self.at = found
        return value

    def binary(self) -> bytes:
        size = self.two()
        begin = self._pass(size)
        return self.data[begin : begin + size]

    def utf8(self) -> bytes:
        """The bytes of a text."""
        found = self.binary()
        if not is_text(found):
            raise malformed(f"a text in a {self.what} packet is not UTF-8, or has a NUL")
        return found

    def text(self) -> str:
        return self.utf8().decode()

    def pid(self) -> int:
        """A packet identifier [MQTT-2.2.1-3]."""
        found = self.two()
        if not found:
            raise no_pid(self.what)
        return found

    def done(self) -> None:
        """Raises Broken where something is left."""
        if self.left:
            raise malformed(f"a {self.what} packet continues after its last field")


def no_pid(what: str) -> Broken:
    """Of a packet that must have an identifier."""
    return not_allowed(f"a {what} packet has the packet identifier 0")
