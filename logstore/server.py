"""Listening sockets and their connections. Knows the event loop.

One budget bounds the memory of all connections: when little is left, connections that hold much are
not read, or are closed.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from struct import Struct
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from logstore import platforms
from logstore.access.quotas import Turned
from logstore.addresses import plain
from logstore.budget import Budget
from logstore.connection import RECEIVE_BYTES, Connection
from logstore.log_facts import about
from logstore.printable import printable
from logstore.protocols.session import Doorway
from logstore.turn import Turn

if TYPE_CHECKING:  # they take their time to import, and many servers have no TLS
    from logstore.handshakes import Handshakes, Tls
    from logstore.secured import Secured

BACKLOG: Final = 1024
ACCEPTS_AT_ONCE: Final = 64
ACCEPT_PAUSE_S: Final = 0.1  # after the process has run out of file descriptors, or of patience
LOCAL_MORE: Final = 16  # connections of this machine's owner: a crowd must not keep him out
SWEEP_S: Final = 10.0
RELIEF_S: Final = 0.1  # while somebody has to wait for memory
EASE_S: Final = 1.0  # that less is held, before it is given back
TURNED_MAX: Final = 256  # connections that are kept waiting: each takes a file descriptor
TURNED_S_MAX: Final = 60.0
CLOSED_TOLD_MAX: Final = 100  # of connections that are closed for a reason, between two sweeps
REASON_SHOWN: Final = 500  # characters of it: a peer that has not logged in may have chosen them
HEARD_AT_ONCE: Final = 64  # connections that are read after a gap, before others have their turn
HEARD_OFTEN: Final = 16  # each of them, if it has so much to say: a heartbeat is behind little

_CREDENTIALS: Final = Struct("3i")  # of a process, its user and its group

log = logging.getLogger("logstore.server")


@dataclass(eq=False, slots=True)
class Listening:
    """One door's listening socket, with the connections that came through it."""

    sock: socket.socket
    doorway: Doorway
    tls: "Tls | None" = None
    connections: int = 0  # with those whose handshake is not done
    refused: int = 0  # since the last sweep
    why: str = ""  # the last of these was


class Gate(Protocol):
    """Counts connections by address, and refuses excess ones (``Quotas``)."""

    def arrived(self, host: str, now: float) -> Turned | None:
        """One from there: None, and it counts until ``left``; or why it is not taken."""

    def left(self, host: str) -> None: ...


class Open:
    """A ``Gate`` that accepts everyone."""

    def arrived(self, host: str, now: float) -> Turned | None:
        return None

    def left(self, host: str) -> None: ...


class Server:
    """Listening sockets, and the connections that came in through them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        budget: Budget,
        give_back: Callable[[], object] = lambda: None,
        connections_max: int = sys.maxsize,
        gate: Gate | None = None,
    ) -> None:
        """``give_back``: have the system get memory that is free.

        ``connections_max``: of all doors, so that files of logs can still be opened.
        """
        self.loop = loop
        self.turn = turn
        self.budget = budget
        self._give_back = give_back
        self._connections_max = connections_max
        self._gate = gate or Open()
        self._turned: dict[socket.socket, asyncio.TimerHandle] = {}  # that wait to be closed
        self._waiting: set[Connection] = set()  # for memory
        self._relief: asyncio.TimerHandle | None = None
        self._easing: asyncio.TimerHandle | None = None
        budget.pressed = self._pressed
        self.shared = bytearray(RECEIVE_BYTES)
        self._listening: list[Listening] = []
        self._connections: dict[Connection, Listening] = {}
        self._closed = 0  # for a reason, since the last sweep
        self._handshakes: Handshakes | None = None  # there is a door with TLS
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        self._empty: asyncio.Event = asyncio.Event()
        turn.listener(self._hear_all)

    def listen(
        self, host: str, port: int, doorway: Doorway, tls: "Tls | None" = None
    ) -> tuple[str, int]:
        """Take connections, with TLS or without; the address in use. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        self.listen_at(sock, doorway, tls)
        found_host, found_port = sock.getsockname()[:2]
        return found_host, found_port

    def listen_at(self, sock: socket.socket, doorway: Doorway, tls: "Tls | None" = None) -> None:
        """Take connections from a socket that listens already; it is the server's from now on."""
        if tls is not None and self._handshakes is None:
            from logstore.handshakes import Handshakes

            self._handshakes = Handshakes(self.loop, self.turn)
        sock.setblocking(False)
        listening = Listening(sock, doorway, tls)
        self._listening.append(listening)
        self.loop.add_reader(sock.fileno(), self._accept, listening)

    def _accept(self, listening: Listening) -> None:
        began = monotonic()
        self._accept_all(listening)
        self.turn.spent(began)

    def _accept_all(self, listening: Listening) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if listening.tls is not None and not self._may_shake_hands(listening):
                return
            try:
                sock, address = listening.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("can't take a connection: %s", error.strerror)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause(listening)
                return
            self._take(sock, address, listening)

    def _may_shake_hands(self, listening: Listening) -> bool:
        assert self._handshakes is not None
        if self._handshakes.behind:  # and goes on in this turn
            return False
        if self._handshakes.full:
            self._pause(listening)
            return False
        return True

    def _pause(self, listening: Listening) -> None:
        """Accept nobody for a moment: those who wait are told of all the time."""
        self.loop.remove_reader(listening.sock.fileno())
        self.loop.call_later(ACCEPT_PAUSE_S, self._accept_again, listening)

    def _accept_again(self, listening: Listening) -> None:
        if listening in self._listening:
            self.loop.add_reader(listening.sock.fileno(), self._accept, listening)

    def _take(self, sock: socket.socket, address: Any, listening: Listening) -> None:  # noqa: ANN401
        local = sock.family == socket.AF_UNIX
        host = "" if local else plain(address[0])
        peer = _process(sock) if local else f"{host}:{address[1]}"
        limits = listening.doorway.limits
        if self.count(listening.doorway) >= limits.connections_max:
            self._refuse(sock, peer, listening, f"{limits.setting} is {limits.connections_max}")
            return
        there = sum(it.connections for it in self._listening)
        if there >= self._connections_max + (LOCAL_MORE if local else 0):
            why = f"no file descriptors for more than {self._connections_max}: raise ulimit -n"
            self._refuse(sock, peer, listening, why)
            return
        if self._turned and there + len(self._turned) >= self._connections_max:
            self._close_turned(next(iter(self._turned)))  # its descriptor is needed
        turned = None if local else self._gate.arrived(host, self.turn.now())
        if turned is not None:
            self._turn_away(sock, peer, listening, turned)
            return
        try:
            sock.setblocking(False)
            if limits.sent_bytes_max:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.sent_bytes_max)
            if not local:
                # Else an answer in two parts waits for the peer's delayed acknowledgement.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # gone already
            sock.close()
            self._gone(listening, host, counted=False)
            return
        place = (peer, 0) if local else (host, address[1])
        listening.connections += 1
        enter = partial(self._enter, sock, peer, place, listening)
        if self._handshakes is None or listening.tls is None:
            enter(None)
        else:
            refuse = partial(self._kept_out, peer, host, listening)
            self._handshakes.begin(sock, peer, listening.tls, enter, refuse)

    def count(self, doorway: Doorway) -> int:
        """The connections that have come in by a door."""
        return sum(it.connections for it in self._listening if it.doorway is doorway)

    def _enter(
        self,
        sock: socket.socket,
        peer: str,
        place: tuple[str, int],
        listening: Listening,
        secured: "Secured | None",
    ) -> None:
        try:
            connection = Connection(self, sock, peer, place, listening.doorway, secured)
        except Exception as error:
            if not isinstance(error, OSError):  # it is gone already
                listening.doorway.log.exception(
                    "%s: a bug ended a connection before its first word", peer
                )
            local = sock.family == socket.AF_UNIX
            sock.close()
            self._gone(listening, "" if local else place[0])
        else:
            self._connections[connection] = listening

    def _gone(self, listening: Listening, host: str, *, counted: bool = True) -> None:
        """``host``: "" for a process of this machine; ``counted``: among the door's, too."""
        listening.connections -= counted
        if host:
            self._gate.left(host)

    def _turn_away(
        self, sock: socket.socket, peer: str, listening: Listening, turned: Turned
    ) -> None:
        """KIP-612: whoever comes too often is kept waiting, unheard, and then closed."""
        if not turned.after_s or len(self._turned) >= TURNED_MAX:
            self._refuse(sock, peer, listening, turned.why)
            return
        self._tell_refused(peer, listening, turned.why)
        handle = self.loop.call_later(min(turned.after_s, TURNED_S_MAX), self._close_turned, sock)
        self._turned[sock] = handle

    def _close_turned(self, sock: socket.socket) -> None:
        self._turned.pop(sock).cancel()
        sock.close()

    def _kept_out(self, peer: str, host: str, listening: Listening, why: str) -> None:
        """Its handshake has failed."""
        self._gone(listening, host)
        if why:
            self._tell_refused(peer, listening, why)

    def _refuse(self, sock: socket.socket, peer: str, listening: Listening, why: str) -> None:
        self._tell_refused(peer, listening, why)
        if listening.tls is None:  # else these bytes would be no TLS
            with contextlib.suppress(OSError):  # it is one that nobody waits for
                sock.setblocking(False)
                sock.send(listening.doorway.limits.refusal)
        sock.close()

    @staticmethod
    def _tell_refused(peer: str, listening: Listening, why: str) -> None:
        listening.doorway.counts.refused += 1
        listening.refused += 1
        listening.why = why
        if listening.refused == 1:  # the others are told of together
            doorway = listening.doorway
            facts = about(door=doorway.name, peer=peer, reason=why)
            doorway.log.warning("%s: refused: %s", peer, why, extra=facts)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._waiting.discard(connection)
        self._gone(self._connections.pop(connection), connection.host)
        if not self._connections:
            self._empty.set()

    def tell_closed(self, connection: Connection, reason: str) -> None:
        """As Host.tell_closed: some of those whose peers come and are ended as fast as they can."""
        self._closed += 1
        if self._closed <= CLOSED_TOLD_MAX:
            peer, why = connection.peer, printable(reason[:REASON_SHOWN])
            facts = about(door=connection.door, peer=peer, reason=why)
            connection.doorway.log.warning("%s: connection closed: %s", peer, why, extra=facts)

    # Those that there are

    def connections(self) -> list[Connection]:
        """All that came in and are not gone, in that order."""
        return list(self._connections)

    def connection(self, number: int) -> Connection | None:
        """The one with this number."""
        return next((it for it in self._connections if it.id == number), None)

    def doorways(self) -> list[Doorway]:
        """The doors that are open."""
        return list({id(it.doorway): it.doorway for it in self._listening}.values())

    def close(self, number: int, reason: str) -> bool:
        """End the connection with this number; whether there is one."""
        found = self.connection(number)
        if found is not None:
            found.end(reason)
        return found is not None

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
                door = listening.doorway
                facts = about(door=door.name, count=listening.refused, reason=listening.why)
                door.log.warning(
                    "%d connections refused: %s", listening.refused, listening.why, extra=facts
                )
            listening.refused = 0
        if self._closed > CLOSED_TOLD_MAX:
            log.warning("%d more connections closed", self._closed - CLOSED_TOLD_MAX)
        self._closed = 0
        for connection, listening in list(self._connections.items()):
            silent = now - connection.heard_at
            if silent > SWEEP_S:
                connection.forget_room()
                connection.notice_error()
            if silent > listening.doorway.limits.idle_s and connection.idle:
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
        if self._handshakes is not None:
            self._handshakes.stop()
        for sock, handle in self._turned.items():
            handle.cancel()
            sock.close()
        self._turned.clear()
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


def _process(sock: socket.socket) -> str:
    """Who is at the other end of a Unix socket, for people."""
    if not platforms.SO_PEERCRED.there:
        return "a process of this machine"
    length = _CREDENTIALS.size
    pid, _, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, length))
    return f"pid {pid}"
