"""TLS handshakes of new connections, which have no session yet. Knows the event loop.

An unknown peer must cost little: a socket has no TLS state before its first bytes arrive; few
handshakes are continued in a turn, because each takes half a millisecond of processor time; and a
handshake that takes too long while others wait is ended. A session is created when its handshake is
done.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from socket import socket
from typing import Any, Final, Protocol

from logstore.foreign import speaks_tls
from logstore.secured import ARRIVED_BYTES, Secured, fault
from logstore.subject import Certificate
from logstore.turn import Turn

HANDSHAKE_S: Final = 10.0  # that one may take
HANDSHAKES_MAX: Final = 1024  # at once; more wait to be accepted
PATIENCE_S: Final = 2.0  # that the oldest has while others wait: a good one takes some milliseconds
READY_MAX: Final = 64  # that wait for their turn: others need not be accepted before that
HANDSHAKES_A_TURN: Final = 8  # at half a millisecond each
# That one begins with. OpenSSL makes room for what is claimed, and a third more, up to 170 KiB.
HELLO_BYTES_MAX: Final = 16 << 10
HEAD_BYTES: Final = 9  # that claim it
PEER_BYTES_MAX: Final = 32 << 10  # of one handshake with a chain of certificates; as in Java
READ_BYTES: Final = 16 << 10
LOOK_S: Final = 1.0  # whether one takes too long

log: Final = logging.getLogger("logstore.server")

# What OpenSSL calls it; what it means to whoever has to mend it.
MEANS: Final = {
    "UNSUPPORTED_PROTOCOL": "the peer speaks no TLS newer than 1.1",
    "NO_SHARED_CIPHER": "the peer takes none of our ciphers",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has shown no certificate, and "
    "tls.client.auth is required",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust the certificate of tls.cert: it has to be "
    "told of the authority that has signed it",
    "TLSV1_ALERT_DECRYPT_ERROR": "the peer finds a signature that does not fit: it knows another "
    "authority of the name that has signed the certificate of tls.cert",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refuses the certificate of tls.cert",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refuses the certificate of tls.cert: perhaps it "
    "has come by another name than the certificate says, or does not trust who has signed it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that the certificate of tls.cert has expired",
}


class Tls(Protocol):
    """The context for handshakes; it may be replaced while the server runs."""

    @property
    def context(self) -> ssl.SSLContext: ...

    def whose(self, shown: dict[str, Any]) -> Certificate:
        """Of a certificate that is verified, as ``getpeercert`` gives it."""


@dataclass(eq=False, slots=True)
class Handshake:
    """A handshake in progress."""

    sock: socket
    peer: str
    tls: Tls
    enter: Callable[[Secured], None]
    refuse: Callable[[str], None]  # "": the peer has gone
    until: float
    ssl_object: ssl.SSLObject | None = None
    incoming: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    outgoing: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    head: bytes = b""  # what has come, until it is known what that begins
    received: int = 0
    unsent: bytes = b""


class Handshakes:
    """The handshakes of one server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Turn) -> None:
        self._loop = loop
        self._turn = turn
        self._under_way: dict[Handshake, None] = {}  # the oldest first
        self._ready: deque[Handshake] = deque()  # has been sent something, or can send
        self._arrived = bytearray(ARRIVED_BYTES)  # of the connections that come of them, too
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def behind(self) -> bool:
        """Whether there is so much to be done that nobody else need be accepted now."""
        return len(self._ready) >= READY_MAX

    @property
    def full(self) -> bool:
        """Whether nobody can begin now. Where there are too many, one that has had its time goes.

        A crowd that comes at once is served in turn; who only holds his place soon loses it.
        """
        if len(self._under_way) < HANDSHAKES_MAX:
            return False
        return self._turn.now() < next(iter(self._under_way)).until - HANDSHAKE_S + PATIENCE_S

    def begin(
        self,
        sock: socket,
        peer: str,
        tls: Tls,
        enter: Callable[[Secured], None],
        refuse: Callable[[str], None],
    ) -> None:
        """Either of the two is called in the end. The socket is ours until then."""
        if len(self._under_way) >= HANDSHAKES_MAX:
            oldest = next(iter(self._under_way))
            self._fail(oldest, f"more than {HANDSHAKES_MAX} TLS handshakes at once")
        it = Handshake(sock, peer, tls, enter, refuse, self._turn.now() + HANDSHAKE_S)
        self._under_way[it] = None
        self._loop.add_reader(sock.fileno(), self._readable, it)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _readable(self, it: Handshake) -> None:
        self._loop.remove_reader(it.sock.fileno())
        self._be_ready(it)

    def _writable(self, it: Handshake) -> None:
        self._loop.remove_writer(it.sock.fileno())
        self._be_ready(it)

    def _be_ready(self, it: Handshake) -> None:
        self._ready.append(it)
        self._turn.soon(self._some)

    def _some(self) -> None:
        for _ in range(min(len(self._ready), HANDSHAKES_A_TURN)):
            it = self._ready.popleft()
            if it in self._under_way:
                self._carry_on(it)
        if self._ready:
            self._turn.soon(self._some)

    def _carry_on(self, it: Handshake) -> None:
        try:
            done = self._step(it)
            certificate = self._certificate(it) if done else None
        except (BlockingIOError, InterruptedError):
            self._loop.add_reader(it.sock.fileno(), self._readable, it)
        except ConnectionError:
            self._fail(it, "")
        except OSError as error:
            self._fail(it, _reason(error))
        except Exception:
            log.exception("%s: a bug in a TLS handshake", it.peer)
            self._fail(it, "")
        else:
            if done:
                self._enter(it, certificate)
            elif it.unsent:
                self._loop.add_writer(it.sock.fileno(), self._writable, it)
            else:
                self._loop.add_reader(it.sock.fileno(), self._readable, it)

    def _step(self, it: Handshake) -> bool:
        """Whether it is done. Raises OSError."""
        if it.unsent:
            self._send(it)
            return False
        data = it.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError
        it.received += len(data)
        if it.ssl_object is None:
            data = it.head = it.head + data
            _check_head(data)
            if len(data) < HEAD_BYTES:
                return False
            it.head = b""
            it.ssl_object = it.tls.context.wrap_bio(it.incoming, it.outgoing, server_side=True)
        asked = it.ssl_object.context.verify_mode is not ssl.CERT_NONE
        most = PEER_BYTES_MAX if asked else HELLO_BYTES_MAX
        if it.received > most + READ_BYTES:  # and what follows at once
            raise OSError(0, f"TLS: a handshake of more than {most} bytes")
        it.incoming.write(data)
        try:
            it.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            self._send(it)
            return False
        except ssl.SSLError:
            with suppress(OSError):  # an alert that says why, if it can still be said
                self._send(it)
            raise
        return True

    @staticmethod
    def _send(it: Handshake) -> None:
        it.unsent += it.outgoing.read()
        while it.unsent:
            try:
                sent = it.sock.send(it.unsent)
            except (BlockingIOError, InterruptedError):
                return
            it.unsent = it.unsent[sent:]

    @staticmethod
    def _certificate(it: Handshake) -> Certificate | None:
        """Raises OSError where the peer's is good, and can't be read."""
        assert it.ssl_object is not None
        try:
            shown = it.ssl_object.getpeercert()
        except (ValueError, ssl.SSLError):  # bytes that are no text: OpenSSL does not mind them
            raise OSError(0, "TLS: the peer's certificate: a name in it is not text") from None
        return it.tls.whose(shown) if shown else None

    def _enter(self, it: Handshake, certificate: Certificate | None) -> None:
        del self._under_way[it]
        assert it.ssl_object is not None
        parts = (it.ssl_object, it.incoming, it.outgoing)
        it.enter(Secured(it.sock, *parts, self._arrived, certificate))

    def _fail(self, it: Handshake, why: str) -> None:
        """End it. The other party is told by a ``refuse``."""
        del self._under_way[it]
        self._loop.remove_reader(it.sock.fileno())
        self._loop.remove_writer(it.sock.fileno())
        it.sock.close()
        it.refuse(why)

    def _look(self) -> None:
        now = self._turn.now()
        for it in list(self._under_way):
            if it.until > now:
                break
            self._fail(it, f"no TLS handshake within {HANDSHAKE_S:.0f} s")
        self._timer = None
        if self._under_way:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def stop(self) -> None:
        """The server stops: nobody else comes in."""
        for it in list(self._under_way):
            self._fail(it, "")
        if self._timer is not None:
            self._timer.cancel()


def _check_head(data: bytes) -> None:
    """Raises OSError where it is no TLS at all, of which OpenSSL would say the strangest things.

    And where it claims to be larger than any that is meant.
    """
    if not speaks_tls(data) and (len(data) >= 3 or data[0] != 0x16):
        raise OSError(0, "plain text on a port for TLS: the peer must use TLS")
    if len(data) < HEAD_BYTES:
        return
    record, claimed = int.from_bytes(data[3:5]), int.from_bytes(data[6:HEAD_BYTES])
    if record < HEAD_BYTES - 5:  # nobody cuts a header of 4 bytes
        raise OSError(0, f"TLS: a handshake that begins with {record} bytes")
    if claimed > HELLO_BYTES_MAX:
        raise OSError(0, f"TLS: a handshake that begins with {claimed} bytes")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in MEANS:
        return f"TLS: {MEANS[error.reason]}"
    error = fault(error)
    return error.strerror or str(error)
