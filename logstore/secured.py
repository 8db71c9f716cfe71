"""TLS of one connection, as a layer between its socket and the code that uses plain bytes.

It has a socket's methods: ``recv_into``, ``send``, ``sendmsg``; but bytes count as sent only when
all their TLS records are on their way, so that the caller keeps unsent bytes and passes them again.
Knows no event loop: it never waits. The handshake is already done (``handshakes.py``).

OpenSSL's buffers in memory never shrink, so at most one record is put into a buffer at a time: a
connection costs at most 70 KiB, whatever has gone through it; otherwise it would cost 550.
"""

import errno
import os
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from socket import socket
from time import monotonic
from typing import Final, cast

from logstore.log import Extent
from logstore.subject import Certificate

RECORD_BYTES: Final = 1 << 14  # of plain bytes; RFC 8446 5.1
SEALED_RECORD_BYTES: Final = 5 + RECORD_BYTES + 256  # at most, with its header; RFC 8446 5.2
ARRIVED_BYTES: Final = 256 << 10  # one read of a socket, as of one without TLS
# Sealed ahead of what the peer takes: it is held twice meanwhile. As one call sends it.
SEAL_BYTES: Final = 128 << 10
# That opening may take at once: an update of keys has 27 bytes, and costs as much as 20 KB do.
OPEN_S: Final = 0.005

Plain = bytes | bytearray | memoryview
_IN_ORDER: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def fault(error: OSError) -> OSError:
    """The same, with what went wrong in words that say that it was TLS."""
    if not isinstance(error, ssl.SSLError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return OSError(errno.EPROTO, f"TLS: the peer's certificate: {error.verify_message}")
    reason = (error.reason or "broken off").replace("_", " ").lower()
    return OSError(errno.EPROTO, f"TLS: {reason}")


class Secured:
    """One connection's TLS, with a socket's methods."""

    def __init__(
        self,
        sock: socket,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        arrived: bytearray,
        certificate: Certificate | None,
    ) -> None:
        """``arrived``: what encrypted bytes are read into; all connections share it."""
        self.certificate = certificate  # of the peer, verified
        # Whether recv_into may give something that the socket's readiness does not tell of.
        self.more = True  # what came with the handshake's end
        self._sock = sock
        self._tls = tls
        # A peer may send small records, so this is called for each of some hundred bytes. Its types
        # know neither other buffers nor that it gives a number then.
        self._read = cast("Callable[[int, memoryview], int]", tls.read)
        self._incoming = incoming
        self._outgoing = outgoing
        self._arrived = arrived
        self._rest = b""  # has arrived, and was not looked into: others had their turn
        self._ended = False
        self._sealed: deque[Plain] = deque()  # records that the socket has not taken
        self._sealed_plain = 0  # how many of the caller's bytes these are
        self._take_outgoing()

    @property
    def holding(self) -> bool:
        """Whether records are still to be sent."""
        return bool(self._sealed)

    @property
    def held_bytes(self) -> int:
        """Memory that sealed records take until the peer has them, or we have looked into them."""
        return sum(map(len, self._sealed), len(self._rest)) if self._sealed else len(self._rest)

    # Receiving

    def recv_into(self, room: bytearray | memoryview) -> int:
        """Plain bytes that have come; 0: the peer sends nothing more.

        Raises BlockingIOError where nothing is there yet, or others have their turn first: then
        there may be ``more``; OSError.
        """
        try:
            with memoryview(room) as view:
                size = self._open(view)
                if not size and not self._ended:
                    size = self._receive(view)
        except ssl.SSLError as error:
            raise fault(error) from None
        finally:
            self.more = self.more or bool(self._rest)
            self._answer()  # to an update of keys; an alert, if that was no TLS
        return size

    def _receive(self, room: memoryview) -> int:
        """Read the socket until there are plain bytes of it, or the peer has sent enough."""
        size = unwanted = 0
        until = monotonic() + OPEN_S
        while not size and unwanted <= len(room):
            # As much as the room takes, and a whole record in any case: less would be never read.
            wanted = max(len(room), SEALED_RECORD_BYTES) - self._incoming.pending
            with memoryview(self._arrived)[:wanted] as view:
                arrived = self._arrive(view)
                if not arrived:  # cut off or told before: what has come is whole, or never will be
                    self._ended = True
                    return 0
                at = 0
                while at < arrived and not (at and monotonic() > until):
                    # One record at the most waits in OpenSSL's buffer.
                    upto = at + max(SEALED_RECORD_BYTES - self._incoming.pending, 1)
                    self._incoming.write(view[at : min(upto, arrived)])
                    size += self._open(room[size:])
                    at = upto
                if at < arrived:
                    self._rest = bytes(view[at:arrived]) + self._rest
                if arrived == len(view):
                    self.more = True  # so that an error that may follow is found, too
            if self._ended:
                return size
            unwanted += arrived
            if monotonic() > until:
                break
        if not size:  # updates of keys, empty records: others have their turn
            raise BlockingIOError
        return size

    def _arrive(self, room: memoryview) -> int:
        """What is to be opened next; 0: the end."""
        if not self._rest:
            return self._sock.recv_into(room)
        size = min(len(self._rest), len(room))
        room[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def _open(self, room: memoryview) -> int:
        """Whatever of what has arrived makes plain bytes, as far as there is room."""
        size, whole, read = 0, len(room), self._read
        try:
            while size < whole:
                got = read(whole - size, room[size:] if size else room)
                if not got:  # the peer has said that this is all
                    self._ended = self.more = True
                    return size
                size += got
        except _IN_ORDER:
            self.more = False
            return size
        self.more = True
        return size

    # Sending

    def send(self, data: Plain) -> int:
        """As ``sendmsg`` of one."""
        return self.sendmsg((data,))

    def sendmsg(
        self, buffers: Iterable[Plain], ancillary: Sequence[object] = (), flags: int = 0
    ) -> int:
        """Send these, or the first of them; how many bytes of them are taken, as of a socket.

        Those that are not must be given again, before any others: some may be sealed already.
        Raises BlockingIOError where the socket takes nothing, OSError.
        """
        if not self._sealed:
            self._seal(buffers)
        return self._pass_on()

    def send_from(self, extent: Extent) -> int:
        """The same of a file: it goes through memory here."""
        if not self._sealed:
            size = min(len(extent), SEAL_BYTES)
            data = os.pread(extent.fileno(), size, extent.position)
            if not data:
                raise OSError(errno.EIO, "a segment is shorter than it was")
            self._seal((data,))
        return self._pass_on()

    def drain(self) -> bool:
        """Send what TLS itself has to say; whether all of it is sent. Raises OSError."""
        while self._sealed:
            try:
                self._pass_on()
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Tell the peer that this is all, if it can be told now; the socket stays open."""
        if self._sealed:
            return  # within a record: whatever follows would belong to it
        with suppress(OSError):  # the peer may be gone, or not read: nobody waits for it here
            with suppress(*_IN_ORDER):  # for its answer, that is
                self._tls.unwrap()
            self._take_outgoing()
            self._pass_on()

    def _seal(self, buffers: Iterable[Plain]) -> None:
        """Make records of them, full ones: each costs a header, a tag and a call of OpenSSL."""
        left = SEAL_BYTES
        parts: list[memoryview] = []
        room = RECORD_BYTES
        for buffer in buffers:
            view = memoryview(buffer)[:left]
            left -= len(view)
            self._sealed_plain += len(view)
            while view:
                part, view = view[:room], view[room:]
                parts.append(part)
                room -= len(part)
                if not room:
                    self._seal_record(parts)
                    room = RECORD_BYTES
            if not left:
                break
        self._seal_record(parts)

    def _seal_record(self, parts: list[memoryview]) -> None:
        if not parts:
            return
        record = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        try:
            written = self._tls.write(cast("bytes", record))
        except ssl.SSLError as error:
            raise fault(error) from None
        assert written == len(record), "a buffer in memory takes every record"
        self._take_outgoing()

    def _take_outgoing(self) -> None:
        if self._outgoing.pending:
            self._sealed.append(self._outgoing.read())

    def _pass_on(self) -> int:
        """Have the socket take what is sealed; what is taken of the caller's, once all is."""
        if self._sealed:
            sent = self._sock.sendmsg(self._sealed)
            while sent and sent >= len(self._sealed[0]):
                sent -= len(self._sealed.popleft())
            if sent:
                self._sealed[0] = memoryview(self._sealed[0])[sent:]
            if self._sealed:
                return 0
        taken, self._sealed_plain = self._sealed_plain, 0
        return taken

    def _answer(self) -> None:
        """What TLS has to say to what has come; what can't be sent now goes with the rest."""
        if self._outgoing.pending:
            self._take_outgoing()
            if not self._sealed_plain:  # else the caller gives that again, and this goes with it
                with suppress(OSError):  # a socket that is broken says so when it is read
                    self._pass_on()
