"""Splits received bytes into frames (a size, then that many bytes) without copying large ones.

Bytes are read into one buffer that all connections share, and whole frames are taken out of it. An
incomplete frame gets a buffer of its own, into which the rest is read.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from logstore.errors import BrokenProtocol

BYTES_MAX: Final = 256 << 20  # of an answer
SHARED_BYTES: Final = 64 << 10

_SIZE: Final = Struct(">i")


class Frames:
    """The frames of one connection. ``shared``: the buffer, whose content is not needed between two
    calls.
    """

    def __init__(
        self, shared: memoryview, bytes_max: Callable[[], int] = lambda: BYTES_MAX
    ) -> None:
        """``bytes_max``: the present maximum size of a frame."""
        self._shared = shared
        self._bytes_max = bytes_max
        self._head = b""  # of an answer, whose size is not all there
        self._body: bytearray | None = None  # of one that is not whole
        self._have = 0  # bytes of it

    def room(self) -> memoryview:
        """The buffer for the next bytes."""
        if self._body is not None:
            return memoryview(self._body)[self._have :]
        self._shared[: len(self._head)] = self._head
        return self._shared[len(self._head) :]

    def taken(self, count: int) -> Iterator[memoryview]:
        """Bytes were read into the buffer: returns complete frames. Raises BrokenProtocol."""
        if self._body is not None:
            self._have += count
            if self._have == len(self._body):
                body, self._body = self._body, None
                yield memoryview(body)
            return
        have = len(self._head) + count
        self._head, at = b"", 0
        while have - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._shared, at)
            most = self._bytes_max()
            if not 0 <= size <= most:
                raise BrokenProtocol(f"a message of {size} bytes: at most {most} are allowed")
            at += _SIZE.size
            there = self._shared[at : min(at + size, have)]
            at += len(there)
            if len(there) < size:
                self._body, self._have = bytearray(size), len(there)
                self._body[: len(there)] = there
                return
            yield memoryview(bytes(there))
        self._head = bytes(self._shared[at:have])
