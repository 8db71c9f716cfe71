"""One connection to an AMQP door, with one channel at a time; every wait can end by a signal.

What comes without having been asked for (deliveries, returns, confirms) goes to whoever listens
for it. While something is sent, what has come is taken: a server that is not read from does not
read either.
"""

import math
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from logstore.amqp import frames, methods
from logstore.amqp.fields import data
from logstore.amqp.frames import method_frame
from logstore.amqp.methods import Method
from logstore.amqp.replies import ACCESS_REFUSED, NOT_ALLOWED, SUCCESS, Refusal
from logstore.broker.queues.given import SHORT_BYTES_MAX
from logstore.broker.queues.refusals import NoVhost
from logstore.errors import Failed, LogstoreError, Refused

from ..ends import say
from ..login import Login
from ..stop import Stop
from .reader import FRAME_BYTES_MAX, Arrived, Reader
from .refusal import refused

if TYPE_CHECKING:
    import ssl

READ_BYTES: Final = 256 << 10
CONNECT_S: Final = 20.0  # to a server on another machine
HANDSHAKE_S: Final = 60.0  # as at the directory's socket: a busy machine is no hung server
STEP_S: Final = 1.0  # maximum length that one wait counts for
CLOSE_S: Final = 5.0  # for the server to receive the last method
FINISH_S: Final = 5.0  # after a signal: for work under way to end
GUEST: Final = ("guest", "guest")
ABOUT: Final = {
    "product": "logstore",
    "capabilities": {
        "publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True,
        "connection.blocked": True, "authentication_failure_close": True,
    },
}  # fmt: skip

Listener = Callable[[Arrived], None]
_M = TypeVar("_M", bound=tuple[Any, ...])


class Secured:
    """A socket with TLS, as one without: what has to wait raises BlockingIOError."""

    def __init__(self, connection: "ssl.SSLSocket") -> None:
        import ssl

        connection.setblocking(False)
        self.fileno, self.close, self.pending = (
            connection.fileno, connection.close, connection.pending,
        )  # fmt: skip
        self._connection = connection
        self._waits = ssl.SSLWantReadError, ssl.SSLWantWriteError

    def send(self, data: memoryview) -> int:
        try:
            return self._connection.send(data)
        except self._waits:
            raise BlockingIOError from None

    def recv(self, bytes_max: int) -> bytes:
        try:
            return self._connection.recv(bytes_max)
        except self._waits:
            raise BlockingIOError from None


def connected(
    address: str, login: Login | None = None, *, near: bool = True
) -> "socket.socket | Secured":
    """A connection. ``near``: the server is on this machine. Raises Failed if it does not
    answer.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    last: OSError | None = None
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failed(f"{address}: {error.strerror or error}") from None
    for family, kind, protocol, _, place in found:
        sock = socket.socket(family, kind, protocol)
        try:
            if near:
                # The door recognizes local clients by their address, which must not be the server's
                # public one.
                sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            else:
                sock.settimeout(CONNECT_S)
            sock.connect(place)
        except OSError as error:
            last = error
            sock.close()
        else:
            if login is not None and login.tls is not None:
                sock.settimeout(HANDSHAKE_S)
                return Secured(login.tls.secured(sock, host, address))
            sock.setblocking(False)
            return sock
    reason = "no address" if last is None else last.strerror or str(last)
    raise Failed(
        f"{address}: the server that has the queues can't be reached: {reason}; has it ended?"
        if near else f"{address}: no server can be reached: {reason}"
    )  # fmt: skip


class Line:
    """Open from the start. Whatever ends it is raised by each call from then on."""

    def __init__(
        self,
        address: str,
        vhost: str,
        stop: Stop,
        login: Login | None = None,
        *,
        heartbeat_s: int = 0,
    ) -> None:
        """``login``: guest's if None, where no login is required.

        ``heartbeat_s``: for a server that may be on another machine; the caller must then call
        ``beat``. 0: the server is on this machine.

        Raises Failed, Refused, Stopped, CommandFailed.
        """
        self.address = address
        self.vhost = vhost
        self.stop = stop
        self.frame_max = FRAME_BYTES_MAX
        self.channel = 0  # the one that is open; 0: none
        self._numbers = 0
        self._reader = Reader()
        self._out: deque[memoryview] = deque()
        self.out_bytes = 0  # bytes to send
        self._replies: deque[Arrived] = deque()
        self._listeners: dict[type[Any], Listener] = {}
        self._closed: methods.ChannelClose | None = None  # why there is no channel
        self._failure: LogstoreError | None = None  # why there is no connection
        self._asked: Method | None = None  # last
        self._closing = False
        self._heartbeat_s = heartbeat_s
        self._heard = self._said = time.monotonic()
        if len(data(vhost)) > SHORT_BYTES_MAX:
            raise NoVhost(data(vhost))
        named = login is not None and login.user
        user, password = (login.user, login.password()) if login and named else GUEST
        self.user = user
        self._socket = connected(address, login, near=not heartbeat_s)
        try:
            self._shake_hands(f"\0{user}\0{password}".encode())
        except BaseException:
            self._socket.close()
            raise

    # The handshake

    def _shake_hands(self, answer: bytes) -> None:
        self._put(frames.PROTOCOL)
        self._expect(methods.ConnectionStart)
        self._tell(methods.ConnectionStartOk(ABOUT, "PLAIN", answer, "en_US"))
        tune = self._expect(methods.ConnectionTune)
        self.frame_max = min(tune.frame_max or FRAME_BYTES_MAX, FRAME_BYTES_MAX)
        # No heartbeats on one machine: they detect a peer that vanished silently, which cannot
        # happen here; and ours would stop while this process waits for its reader.
        self._tell(methods.ConnectionTuneOk(tune.channel_max, self.frame_max, self._heartbeat_s))
        self._tell(methods.ConnectionOpen(self.vhost))
        self._expect(methods.ConnectionOpenOk)

    def _expect(self, kind: type[_M]) -> _M:
        if not self.wait(lambda: self._replies, HANDSHAKE_S):
            self.stop.check()
            raise Failed(f"{self.address}: the server does not reply")
        method = self._replies.popleft().method
        if not isinstance(method, kind):
            raise self._broken(f"{type(method).__name__} where {kind.__name__} was due")
        return method

    # Calls

    def ask(self, method: Method, *answers: type[Any]) -> Arrived:
        """Send a method and return its answer, one of ``answers``. Raises Refused, Failed,
        Stopped.
        """
        self.send(method)
        self._asked = method
        if not self.wait(lambda: self._replies or self._closed):
            self.stop.check()
        if self._closed is not None:
            raise self.refusal(method)
        answer = self._replies.popleft()
        if answers and not isinstance(answer.method, answers):
            raise self._broken(f"{type(answer.method).__name__} as an answer")
        return answer

    def send(self, method: Method) -> None:
        """Send a method on the channel, opened if necessary. Raises Failed, Stopped; ValueError."""
        if not self.channel:
            self._open_channel()
        self._put(method_frame(self.channel, method))

    def put(self, frames_: bytes) -> None:
        """Send frames of the channel, which is open."""
        assert self.channel
        self._put(frames_)

    def _open_channel(self) -> None:
        self._closed = None
        self._numbers += 1
        self.channel = self._numbers
        self._put(method_frame(self.channel, methods.ChannelOpen()))
        self._expect(methods.ChannelOpenOk)

    @property
    def refused(self) -> bool:
        """Whether the server has closed the channel."""
        return self._closed is not None

    def refusal(self, method: Method) -> LogstoreError:
        """The error with which the channel was closed after ``method``; it may be opened again."""
        closed, self._closed = self._closed, None
        assert closed is not None
        return refused(closed.reply_code, closed.reply_text, method)

    def listen(self, *kinds: type[Any], to: Listener) -> None:
        """Call ``to`` with each arriving method of these kinds."""
        self._listeners |= dict.fromkeys(kinds, to)

    def forget(self, *kinds: type[Any]) -> None:
        """Undo ``listen``; arriving methods of these kinds are dropped."""
        self.listen(*kinds, to=lambda arrived: None)

    # Waiting

    def wait(
        self, ready: Callable[[], object], seconds: float | None = None, *, finish: bool = False
    ) -> bool:
        """Send and receive until ``ready`` is true; False on timeout or after a signal.

        ``finish``: after a signal, work under way may still end, within FINISH_S. Raises Failed.
        """
        left_s = math.inf if seconds is None else seconds
        stopping = False
        while True:
            if self._failure is not None:
                raise self._failure
            if ready():
                return True
            if self.stop.asked and not stopping:
                if not finish:
                    return False
                stopping, left_s = True, min(left_s, FINISH_S)
            if left_s <= 0:
                return False
            left_s -= self._step(left_s)

    def _step(self, seconds: float) -> float:
        """Wait up to this long; returns how long it waited.

        If the machine, and the server with it, stands still for a minute, only one step counts.
        """
        step_s = None if seconds == math.inf else min(seconds, STEP_S)
        began = time.monotonic()
        readable, writable = self.stop.wait_either(
            self._socket.fileno(), step_s, write=bool(self._out)
        )
        with suppress(LogstoreError):  # ``wait`` raises it
            self.attend(readable=readable, writable=writable)
        return min(time.monotonic() - began, STEP_S)

    def _write(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(self._out[0])
            except BlockingIOError:
                return
            self.out_bytes -= sent
            if sent < len(self._out[0]):
                self._out[0] = self._out[0][sent:]
                return
            self._out.popleft()

    def _read(self) -> None:
        while True:
            try:
                came = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            if not came:
                self._fail(Failed(f"{self.address}: the server closed the connection"))
            self._heard = time.monotonic()
            for arrived in self._reader.receive(came):
                self._arrived(arrived)
            if isinstance(self._socket, socket.socket) or not self._socket.pending():
                return  # otherwise decrypted bytes would not be noticed

    def _put(self, frames_: bytes) -> None:
        self._out.append(memoryview(frames_))
        self.out_bytes += len(frames_)

    def _tell(self, method: Method) -> None:
        """Send a method of the connection itself."""
        self._put(method_frame(0, method))

    # Beside another one

    def fileno(self) -> int:
        """The file descriptor of the socket."""
        return self._socket.fileno()

    def attend(self, *, readable: bool, writable: bool) -> None:
        """Send and receive without waiting, as ``wait`` does. Raises Failed; refusals."""
        try:
            if writable:
                self._write()
            if readable:
                self._read()
        except OSError as error:
            self._fail(Failed(f"{self.address}: the connection was lost: {error.strerror}"))
        except Refusal as error:
            self._fail(self._broken(str(error)))
        if self._failure is not None:
            raise self._failure

    def beat(self) -> None:
        """Send a heartbeat if one is due, and check for the server's. Raises Failed."""
        now = time.monotonic()
        if not self._heartbeat_s:
            return
        if now - self._said >= self._heartbeat_s / 2 and not self._out:
            self._said = now
            self._put(frames.frame(frames.HEARTBEAT, 0, b""))
        if now - self._heard > 2 * self._heartbeat_s:
            raise Failed(f"{self.address}: the server has sent nothing for too long")

    # What comes

    def _arrived(self, arrived: Arrived) -> None:
        channel, method = arrived.channel, arrived.method
        match method:
            case methods.ConnectionCloseOk():
                self._fail(Failed(f"{self.address}: the connection is closed"))
            case methods.ConnectionClose():
                self._tell(methods.ConnectionCloseOk())
                self._fail(self._ended(method))
            case _ if self._closing:
                pass
            case methods.ConnectionBlocked():
                say(f"logstore: {self.address}: the server has paused publishing: {method.reason}")
            case methods.ConnectionUnblocked():
                say(f"logstore: {self.address}: the server accepts messages again")
            case methods.ChannelClose() if channel == self.channel:
                self._put(method_frame(channel, methods.ChannelCloseOk()))
                self.channel, self._closed = 0, method
            case _ if channel in (0, self.channel):
                self._listeners.get(type(method), self._replies.append)(arrived)

    def _ended(self, close: methods.ConnectionClose) -> LogstoreError:
        if close.reply_code == NOT_ALLOWED and close.reply_text.endswith(" not found"):
            return NoVhost(data(self.vhost))
        if self._asked is not None and close.class_id == methods.IDS[type(self._asked)][0]:
            return refused(close.reply_code, close.reply_text, self._asked)
        if close.reply_code in (ACCESS_REFUSED, NOT_ALLOWED):
            return Refused(f"{self.address}: {close.reply_text.partition(' - ')[2]}")
        return Failed(f"{self.address}: the server closed the connection: {close.reply_text}")

    def _fail(self, error: LogstoreError) -> None:
        if self._failure is None:
            self._failure = error

    def _broken(self, what: str) -> LogstoreError:
        return Failed(f"{self.address}: not a logstore server, or a defective one: {what}")

    # The end

    def close(self) -> None:
        """Close after everything sent is received; ignores signals and failures."""
        self._closing = True
        if self._failure is None:
            self._tell(methods.ConnectionClose(SUCCESS, "goodbye"))
        left_s = CLOSE_S
        while self._failure is None and left_s > 0:
            left_s -= self._step(left_s)
        with suppress(OSError):  # the answer to the server's own Close, if it still listens
            self._write()
        self._socket.close()
