"""Sockets to sessions and back. Knows the event loop, as do ``turn`` and ``node`` with its groups.

A socket is read into a buffer that all connections share; only a connection with half a message
keeps one of its own, so an idle one costs next to nothing. What a
session has to send goes out in one call, as many buffers as there are; what one session has for
many others it pushes to each. A connection whose peer does not read is not read from either, until
it does: it holds up nobody else. What all of them hold in memory is bounded by one budget: who
holds much is not read from while there is little left, or is closed.
"""

import asyncio
import contextlib
import errno
import logging
import math
import mmap
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, takewhile
from time import monotonic
from typing import Any, Final

from logstore.budget import LITTLE_BYTES, Budget
from logstore.errors import LogstoreError
from logstore.protocols.session import Buffer, Doorway
from logstore.turn import Turn

RECEIVE_BYTES: Final = 256 << 10  # one read; larger gains nothing, smaller costs system calls
# Of one that has a larger buffer: others have their turn, and the budget is looked at each time.
READ_BYTES_MAX: Final = 512 << 10
SEND_BYTES: Final = 1 << 20  # asked of a session at once
BUFFERS_MAX: Final = 1000  # of one call; the kernel takes 1024
OWN_ROOM_BYTES: Final = 64 << 10  # beyond the message that has begun: the next one has begun, too
BACKLOG: Final = 1024
ACCEPTS_AT_ONCE: Final = 64
ACCEPT_PAUSE_S: Final = 0.1  # after the process has run out of file descriptors
SWEEP_S: Final = 10.0
RELIEF_S: Final = 0.1  # while somebody has to wait for memory
EASE_S: Final = 1.0  # that less is held, before it is given back
BUFFER_BYTES: Final = 64  # of a buffer beside its bytes: many are short
TURNS_MAX: Final = 16  # of one connection, before others get theirs
TURNS_S: Final = 0.01  # that they take, if so many are long
HEARD_AT_ONCE: Final = 64  # connections that are read after a gap, before others have their turn
HEARD_OFTEN: Final = 16  # each of them, if it has so much to say: a heartbeat is behind little

PLAIN: Final = (bytes, bytearray, memoryview)  # what a Buffer is, unless it is an extent

log = logging.getLogger("logstore.server")


@dataclass(eq=False, slots=True)
class Listening:
    """One door's socket, and how many have come in through it."""

    sock: socket.socket
    doorway: Doorway
    connections: int = 0
    refused: int = 0  # since the last sweep
    why: str = ""  # the last of these was


class Connection:
    """One socket and its session; to the session it is a ``Link``."""

    def __init__(
        self,
        server: "Server",
        sock: socket.socket,
        peer_address: tuple[str, int],
        listening: Listening,
    ) -> None:
        self.peer = f"{peer_address[0]}:{peer_address[1]}"
        self.peer_address = peer_address
        self.listening = listening
        self.unsent = 0  # bytes that the peer has not taken, of those in _out
        self._server = server
        self._loop = server.loop
        self._turn = server.turn
        self._sock = sock
        self._own: mmap.mmap | None = None  # holds what is left of a message, from _begin to _end
        self._begin = self._end = 0
        self._out: deque[Any] = deque()  # Buffers, each told from an extent where it matters
        self._extents = 0  # of those in _out
        self._extent_bytes = 0  # unsent bytes that are in files, not in memory
        self._shared: deque[tuple[int, bytes]] = deque()  # pushed chunks: where each ends of all
        self._shared_bytes = 0
        self._queued = 0  # bytes that were ever put into _out
        self._touched = 0  # how far its own room was written to: so much of it is memory
        self._reading = self._writing = False
        self._ended = False  # the peer sends nothing more
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.gone = False
        self.heard_at = self._turn.now()
        self.address: tuple[str, int] = sock.getsockname()[:2]
        self._account = server.budget.open(self.close)
        self.session = listening.doorway.new_session(self)
        self._read()

    def _read(self) -> None:
        if not self._reading and not self._ended and not self.gone:
            self._reading = True
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    # Receiving

    def _readable(self) -> None:
        began = monotonic()
        self._receive()
        self._turn.spent(began)

    def hear(self) -> bool:
        """Take what was sent, if it is read from; whether there may be more of it."""
        if not self._reading:
            return False
        heard_at, self.heard_at = self.heard_at, -math.inf
        self._receive()
        if self.heard_at == -math.inf:  # it has sent nothing
            self.heard_at = heard_at
            return False
        return self._reading and not self.gone

    def _receive(self) -> None:
        buffer = self._own if self._own is not None else self._server.shared
        if self._end == len(buffer):  # reading nothing would look like the end
            self._stop_reading()
            return
        if buffer is self._own and self._account.must_wait():
            self._stop_reading()
            self._server.wait(self)
            return
        try:
            upto = self._end + READ_BYTES_MAX
            with memoryview(buffer) as view, view[self._end : upto] as room:
                size, filled = self._sock.recv_into(room), len(room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(_reason(error))
            return
        self.heard_at = self._turn.now()
        if not size:
            self._ended = True
            self._stop_reading()
            self._attempt(self.session.finish, self.heard_at)
        else:
            if size == filled:
                # There may be more, and after it an error: libuv tells of that once, and then of
                # nothing any more, so that it would be missed.
                self._stop_reading()
                self._read()
            self._end += size
            if buffer is self._own:
                self._touched = max(self._touched, self._end)
            self._attempt(self._feed, buffer)
        self.flush()

    def _attempt(self, work: Callable[..., object], *given: object) -> None:
        """One session's fault must not be another's."""
        try:
            work(*given)
        except LogstoreError as error:
            self.close(str(error))
        except Exception:
            log.exception("%s: a bug ended this connection", self.peer)
            self.close("")

    def _feed(self, buffer: bytearray | mmap.mmap) -> bool:
        """Give the session what has arrived; keep what it leaves. Whether it took any."""
        with memoryview(buffer) as view, view[self._begin : self._end] as data:
            taken = self.session.receive(data, self._turn.now())
        if self.gone:  # cut by its own session
            return False
        self._begin += taken
        left = self._end - self._begin
        if not left:
            self._begin = self._end = 0
            if self._touched > self._server.budget.room_bytes_max:
                self._own, self._touched = None, 0
        elif buffer is self._server.shared or self._end == len(buffer) or self._too_small():
            self._make_room(buffer, left)
        return taken > 0

    def _wanted(self) -> int:
        """The room for the message that has begun, and for what follows it."""
        return max(self.session.wants + OWN_ROOM_BYTES, RECEIVE_BYTES)

    def _too_small(self) -> bool:
        assert self._own is not None
        return self.session.wants > len(self._own) - self._begin

    def _make_room(self, buffer: bytearray | mmap.mmap, left: int) -> None:
        """Have what is left stand at the front of a buffer that has room for the rest.

        A session that wants nothing and takes nothing gets no more room: it is not read from.
        """
        wanted, target = self._wanted(), self._own
        if target is None or (len(target) < wanted and self.session.wants):
            # Mapped, not a bytearray: memory that nothing was read into yet is none, so that a
            # size that is only claimed costs nothing.
            target = mmap.mmap(-1, wanted)
            self._touched = 0
        target[:left] = buffer[self._begin : self._end]
        self._own, self._begin, self._end = target, 0, left
        self._touched = max(self._touched, left)

    # Sending

    def flush(self) -> None:
        """Send what there is; wait where the peer does not take it."""
        if self.gone or self._writing:
            return
        self._attempt(self._flush)
        self._count()

    def _flush(self) -> None:
        until = monotonic() + TURNS_S
        for turn in range(TURNS_MAX):
            if turn and monotonic() > until:
                break
            if not self._send():
                self._wait_writable()
                return
            out = self.session.outgoing(SEND_BYTES)
            if out:
                self._out.extend(out)
                extents = [it for it in out if type(it) not in PLAIN]
                if extents:
                    self._extents += len(extents)
                    self._extent_bytes += sum(map(len, extents))
                size = sum(map(len, out))
                self.unsent += size
                self._queued += size
            elif not self._feed_again():
                self._settle()
                return
        self._server.turn.soon(self.look)  # goes on when the others had theirs

    def _feed_again(self) -> bool:
        """Whether something was left that the session takes now, its answers being out."""
        if self._own is None or self._begin == self._end or self.session.closed is not None:
            return False
        return self._feed(self._own)

    def _send(self) -> bool:
        """Whether all that was to be sent is sent."""
        out = self._out
        while out:
            try:
                if self._extents:
                    sent = self._send_before_extent() or self._send_extent()
                elif len(out) == 1:  # half a microsecond less
                    sent = self._sock.send(out[0])
                else:
                    sent = self._sock.sendmsg(
                        out if len(out) <= BUFFERS_MAX else list(islice(out, BUFFERS_MAX))
                    )
                self.heard_at = self._turn.now()
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                self.close(_reason(error))
                return True
            self.unsent -= sent
            if self._shared:
                self._share_less()
            while out and sent >= len(out[0]):
                sent -= len(out[0])
                self._done_with(out.popleft())
            if sent:
                out[0] = memoryview(out[0])[sent:]
        return True

    def _send_before_extent(self) -> int:
        """Send the buffers before the first extent, which follows; how many bytes were sent."""
        plain = [*takewhile(lambda it: type(it) in PLAIN, islice(self._out, BUFFERS_MAX))]
        return self._sock.sendmsg(plain, (), socket.MSG_MORE) if plain else 0

    def _send_extent(self) -> int:
        """Have the kernel send from the file; 0, for what was sent is off the extent already."""
        extent = self._out[0]
        sent = os.sendfile(self._sock.fileno(), extent.fileno(), extent.position, len(extent))
        if not sent:
            raise OSError(errno.EIO, "a segment is shorter than it was")
        extent.sent(sent)
        self.unsent -= sent
        self._extent_bytes -= sent
        return 0

    def _done_with(self, it: Buffer) -> None:
        if self._extents and not isinstance(it, PLAIN):
            self._extents -= 1
            it.release()

    def _share_less(self) -> None:
        """Let go of the pushed chunks that are sent."""
        sent = self._queued - self.unsent
        while self._shared and self._shared[0][0] <= sent:
            _, chunk = self._shared.popleft()
            self._shared_bytes -= len(chunk)
            self._server.budget.unshare(chunk)

    def _count(self) -> None:
        """Have it known what is held for this peer."""
        if self.gone:
            return
        room = self._touched if self._own is not None else 0
        out = max(self.unsent - self._extent_bytes - self._shared_bytes, 0)
        own = room + out + BUFFER_BYTES * len(self._out) + self.session.held_bytes
        missing = max(self.session.wants - (self._end - self._begin), 0)
        self._account.hold(own, self._shared_bytes, missing)

    def _wait_writable(self) -> None:
        if self.gone:
            return
        self._stop_reading()
        self._writing = True
        self._loop.add_writer(self._sock.fileno(), self._writable)
        self._set_timer()  # a session may lose patience

    def _writable(self) -> None:
        began = monotonic()
        self._writing = False
        self._loop.remove_writer(self._sock.fileno())
        self._read()
        self.flush()
        self._turn.spent(began)

    def _settle(self) -> None:
        """Nothing is to be sent now: what comes next?"""
        if self.gone:
            return
        reason = self.session.closed
        if reason is not None or (self._ended and not self.session.busy):
            self.close(reason or "")
            return
        # A session that takes nothing, for it waits: its room is full once one message is there.
        room = self._own is None or self._end < len(self._own)
        if room:
            self._read()
        else:
            self._stop_reading()
        self._set_timer()

    # What the session asks of its link

    def wake(self) -> None:
        """As Link.wake."""
        self._server.turn.soon(self.look)

    def push(self, data: bytes) -> int:
        """As Link.push."""
        if self.gone:
            return 0
        sent = 0
        if not self._out:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self.close(_reason(error))
                return 0
            if sent == len(data):
                return 0
        self._out.append(memoryview(data)[sent:] if sent else data)
        self.unsent += len(data) - sent
        self._queued += len(data) - sent
        self._shared.append((self._queued, data))
        self._shared_bytes += len(data)
        self._server.budget.share(data)
        if not self._writing:
            self._wait_writable()
        self._count()
        return self.unsent

    # Time

    def _set_timer(self) -> None:
        """Timers that are too early are left: setting and cancelling costs more than waking."""
        deadline = self.session.deadline
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._turn.call_at(deadline, self._due)

    def _due(self) -> None:
        began = monotonic()
        self._timer = None
        self.look()
        self._turn.spent(began)

    def look(self) -> None:
        """Something may have happened, or become due."""
        if not self.gone:
            self._attempt(self.session.wake, self._turn.now())
            self.flush()
            if self._writing:
                self._set_timer()

    def finish(self) -> None:
        """Take nothing more; close when all is answered."""
        self._ended = True
        self._stop_reading()
        self._attempt(self.session.finish, self._turn.now())
        self.flush()

    def notice_error(self) -> None:
        """Close it where its peer is gone: libuv may have told of that while there was still
        something to be read, and does not tell again.
        """
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.close(_reason(OSError(error, os.strerror(error))))

    def forget_room(self) -> None:
        """Give back the buffer of a connection that has none of its bytes in it."""
        if self._begin == self._end and self._own is not None:
            self._own = None
            self._touched = self._begin = self._end = 0
            self._count()

    def go_on(self) -> None:
        """Be read from, unless it still has to wait for memory."""
        if self._account.must_wait():
            self._server.wait(self)
        elif not self._writing:
            self._settle()

    @property
    def holds_much(self) -> bool:
        return self._account.held_bytes > LITTLE_BYTES

    @property
    def idle(self) -> bool:
        """Whether only the peer can have anything come of this: it sends nothing, or reads not."""
        return self._writing or not self.session.busy

    def cut(self, reason: str) -> None:
        """As Link.cut."""
        self.close(reason)

    def close(self, reason: str) -> None:
        """At once. A reason, if any, is logged."""
        if self.gone:
            return
        self.gone = True
        self._stop_reading()
        if self._writing:
            self._loop.remove_writer(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
        while self._out:
            self._done_with(self._out.popleft())
        while self._shared:
            self._server.budget.unshare(self._shared.popleft()[1])
        self._account.close()
        self._own = None
        self._sock.close()
        self._server.forget(self)
        self.session.close()
        self._turn.soon(self._let_go)
        if reason:
            log.warning("%s: connection closed: %s", self.peer, reason)

    def _let_go(self) -> None:
        """Nobody asks for the session of a connection that is gone.

        Each has the other: the interpreter would find that out in a full collection alone.
        """
        del self.session


def _reason(error: OSError) -> str:
    """Nothing to tell when a peer just went away."""
    if isinstance(error, ConnectionError):
        return ""
    return error.strerror or str(error)


class Server:
    """Listening sockets, and the connections that came in through them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        budget: Budget,
        give_back: Callable[[], object] = lambda: None,
        connections_max: int = sys.maxsize,
    ) -> None:
        """``give_back``: have the system get memory that is free.

        ``connections_max``: of all doors, so that files of logs can still be opened.
        """
        self.loop = loop
        self.turn = turn
        self.budget = budget
        self._give_back = give_back
        self._connections_max = connections_max
        self._waiting: set[Connection] = set()  # for memory
        self._relief: asyncio.TimerHandle | None = None
        self._easing: asyncio.TimerHandle | None = None
        budget.pressed = self._pressed
        self.shared = bytearray(RECEIVE_BYTES)
        self._listening: list[Listening] = []
        self._connections: set[Connection] = set()
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        self._empty: asyncio.Event = asyncio.Event()
        turn.listener(self._hear_all)

    def listen(self, host: str, port: int, doorway: Doorway) -> tuple[str, int]:
        """Take connections; the address in use. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        listening = Listening(sock, doorway)
        self._listening.append(listening)
        self.loop.add_reader(sock.fileno(), self._accept, listening)
        found_host, found_port = sock.getsockname()[:2]
        return found_host, found_port

    def _accept(self, listening: Listening) -> None:
        began = monotonic()
        self._accept_all(listening)
        self.turn.spent(began)

    def _accept_all(self, listening: Listening) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, address = listening.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("can't take a connection: %s", error.strerror)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self.loop.remove_reader(listening.sock.fileno())
                    self.loop.call_later(ACCEPT_PAUSE_S, self._accept_again, listening)
                return
            self._take(sock, address, listening)

    def _accept_again(self, listening: Listening) -> None:
        if listening in self._listening:
            self.loop.add_reader(listening.sock.fileno(), self._accept, listening)

    def _take(self, sock: socket.socket, address: tuple[str, int], listening: Listening) -> None:
        peer = f"{address[0]}:{address[1]}"
        limits = listening.doorway.limits
        if listening.connections >= limits.connections_max:
            self._refuse(sock, peer, listening, f"{limits.setting} is {limits.connections_max}")
            return
        if len(self._connections) >= self._connections_max:
            why = f"no file descriptors for more than {self._connections_max}: raise ulimit -n"
            self._refuse(sock, peer, listening, why)
            return
        try:
            sock.setblocking(False)
            # Without it an answer in two parts waits for the peer's delayed acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, address[:2], listening)
        except OSError:  # gone already
            sock.close()
        else:
            self._connections.add(connection)
            listening.connections += 1

    def _refuse(self, sock: socket.socket, peer: str, listening: Listening, why: str) -> None:
        limits = listening.doorway.limits
        listening.refused += 1
        listening.why = why
        if listening.refused == 1:  # the others are told of together
            log.warning("%s: refused: %s", peer, why)
        with contextlib.suppress(OSError):  # it is one that nobody waits for
            sock.setblocking(False)
            sock.send(limits.refusal)
        sock.close()

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._connections.discard(connection)
        self._waiting.discard(connection)
        connection.listening.connections -= 1
        if not self._connections:
            self._empty.set()

    # Memory

    def wait(self, connection: Connection) -> None:
        """It is not read from before there is memory again."""
        self._waiting.add(connection)

    def _pressed(self) -> None:
        self.turn.soon(self._relieve)

    def _relieve(self) -> None:
        """Let go of what nobody needs; have wait, lose or go on who must or may."""
        budget = self.budget
        if self._relief is not None:
            self._relief.cancel()
            self._relief = None
        if budget.tight:
            for connection in list(self._connections):
                connection.forget_room()
                if connection.holds_much:
                    connection.notice_error()
        budget.relieve(self.turn.now())
        waiting, self._waiting = self._waiting, set()
        for connection in waiting:
            connection.go_on()
        if budget.tight or self._waiting:
            self._relief = self.loop.call_later(RELIEF_S, self._pressed)
        if budget.watched and self._easing is None:
            self._easing = self.loop.call_later(EASE_S, self._ease)

    def _ease(self) -> None:
        self._easing = None
        if self.budget.eased():
            self._give_back()
        if self.budget.watched:
            self._easing = self.loop.call_later(EASE_S, self._ease)

    def _sweep(self) -> None:
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        self.turn.when_heard(self._sweep_all)

    def _sweep_all(self) -> None:
        began, now = monotonic(), self.turn.now()
        for listening in self._listening:
            if listening.refused > 1:
                log.warning("%d connections refused: %s", listening.refused, listening.why)
            listening.refused = 0
        for connection in list(self._connections):
            silent = now - connection.heard_at
            if silent > SWEEP_S:
                connection.forget_room()
                connection.notice_error()
            if silent > connection.listening.doorway.limits.idle_s and connection.idle:
                connection.close("")
        self.turn.spent(began)

    def _hear_all(self) -> None:
        """After a gap: take what was sent meanwhile, before anyone is said to be silent."""
        for listening in self._listening:
            self._accept_all(listening)
        waiting = deque((connection, HEARD_OFTEN) for connection in self._connections)

        def some() -> None:
            for _ in range(min(len(waiting), HEARD_AT_ONCE)):
                connection, left = waiting.popleft()
                if connection.hear() and left > 1:
                    waiting.append((connection, left - 1))
            if waiting:
                self.turn.soon(some)
            else:
                self.turn.all_heard()

        some()

    async def stop(self, within_s: float) -> None:
        """Take nothing more, answer what is under way, close all: at the latest after so long."""
        for listening in self._listening:
            self.loop.remove_reader(listening.sock.fileno())
            listening.sock.close()
        self._listening.clear()
        self._empty.clear()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), within_s)
        for connection in list(self._connections):
            connection.close("still busy when the server stopped")
        self._sweeper.cancel()
        for timer in (self._relief, self._easing):
            if timer is not None:
                timer.cancel()
