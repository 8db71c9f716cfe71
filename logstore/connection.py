"""One socket and its session: bytes in, bytes out, in the loop's turns.

A socket is read into a buffer that all connections share; only a connection with half a message
keeps a buffer of its own, so an idle one costs next to nothing. A session's output is sent in one
call, however many buffers it has; output for many other sessions is pushed to each of them. If a
peer does not read, its connection is not read either until the peer reads again: it delays no other
connection.
"""

import asyncio
import errno
import fcntl
import logging
import math
import mmap
import os
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, islice, takewhile
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from logstore import portable
from logstore.addresses import plain
from logstore.budget import LITTLE_BYTES, Budget
from logstore.errors import LogstoreError
from logstore.log_facts import about
from logstore.protocols.session import About, Buffer, Doorway
from logstore.turn import Turn

if TYPE_CHECKING:
    from logstore.secured import Secured
    from logstore.subject import Certificate

RECEIVE_BYTES: Final = 256 << 10  # one read; larger gains nothing, smaller costs system calls
# Of one that has a larger buffer: others have their turn, and the budget is looked at each time.
READ_BYTES_MAX: Final = 512 << 10
SEND_BYTES: Final = 1 << 20  # asked of a session at once
EXTENT_BYTES: Final = 4 << 20  # of a file, in one call: it goes on as long as the peer reads
PROMPT_BYTES_MAX: Final = 64 << 10  # of one read, to be answered at once: some milliseconds of work
UNCOUNTED_BYTES: Final = 256  # of replies that wait for the disk: less than a connection takes
BUFFERS_MAX: Final = 1000  # of one call; the kernel takes 1024
OWN_ROOM_BYTES: Final = 64 << 10  # beyond the message that has begun: the next one has begun, too
BUFFER_BYTES: Final = 64  # of a buffer beside its bytes: many are short
TURNS_MAX: Final = 16  # of one connection, before others get theirs
TURNS_S: Final = 0.01  # that they take, if so many are long
PLAIN: Final = (bytes, bytearray, memoryview)  # what a Buffer is, unless it is an extent
# In place of a deque, which takes 600 bytes when it is empty: who puts something in makes one.
NOTHING: Final = cast("deque[Any]", ())
_numbers: Final = count(1)


class Host(Protocol):
    """What a connection needs of the server."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def turn(self) -> Turn: ...
    @property
    def budget(self) -> Budget: ...

    shared: bytearray  # what all sockets are read into; another one where a session keeps it

    def wait(self, connection: "Connection") -> None:
        """It is not read from before there is memory again."""

    def forget(self, connection: "Connection") -> None:
        """It is closed."""

    def tell_closed(self, connection: "Connection", reason: str) -> None:
        """Have it logged why one was closed."""


class Connection:
    """One socket and its session; to the session it is a ``Link``.

    Ten thousand idle connections are possible, so whatever only a busy one needs is created on
    demand.
    """

    __slots__ = (
        "__weakref__",
        "_account",
        "_begin",
        "_end",
        "_ended",
        "_extent_bytes",
        "_extents",
        "_host",
        "_let_be",
        "_loop",
        "_out",
        "_own",
        "_pipe",
        "_prompt",
        "_queued",
        "_reading",
        "_secured",
        "_shared",
        "_shared_bytes",
        "_sock",
        "_timer",
        "_timer_at",
        "_touched",
        "_turn",
        "_waits",
        "_writing",
        "address",
        "bytes_in",
        "doorway",
        "gone",
        "heard_at",
        "host",
        "id",
        "opened_at",
        "peer",
        "peer_address",
        "session",
        "unsent",
    )  # fmt: skip

    def __init__(
        self,
        host: Host,
        sock: socket.socket,
        peer: str,
        peer_address: tuple[str, int],
        doorway: Doorway,
        secured: "Secured | None" = None,
    ) -> None:
        """``secured``: its TLS, where it has come by that."""
        self.id = next(_numbers)  # of all in this process
        self.peer = peer
        self.peer_address = peer_address
        self.doorway = doorway
        self.opened_at = monotonic()
        self.bytes_in = 0
        self.host = "" if sock.family == socket.AF_UNIX else peer_address[0]  # as it is counted
        self.unsent = 0  # bytes that the peer has not taken, of those in _out
        self._host = host
        self._loop = host.loop
        self._turn = host.turn
        self._sock = sock
        self._secured = secured
        self._pipe: socket.socket | Secured = sock if secured is None else secured
        self._prompt = doorway.prompt if secured is None else None
        self._own: mmap.mmap | None = None  # holds what is left of a message, from _begin to _end
        self._begin = self._end = 0
        # Buffers, each told from an extent where it matters; NOTHING once all is sent.
        self._out: deque[Any] = NOTHING
        self._extents = 0  # of those in _out
        self._extent_bytes = 0  # unsent bytes that are in files, not in memory
        # Pushed chunks: where each ends of all. NOTHING once all is sent.
        self._shared: deque[tuple[int, bytes]] = NOTHING
        self._shared_bytes = 0
        self._queued = 0  # bytes that were ever to be sent
        self._touched = 0  # how far its own room was written to: so much of it is memory
        self._reading = self._writing = False
        self._waits = False  # for replies to what it was prompted to answer
        self._ended = False  # the peer sends nothing more
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.gone = False
        self._let_be = False
        self.heard_at = self._turn.now()
        at = sock.getsockname()
        self.address: tuple[str, int] = ("", 0) if isinstance(at, str) else (plain(at[0]), at[1])
        self._account = host.budget.open(self.close)
        if doorway.log.isEnabledFor(logging.INFO):
            facts = about(door=doorway.name, peer=peer, tls=secured is not None)
            doorway.log.info("%s: connected", peer, extra=facts)
        self.session = doorway.new_session(self)
        doorway.counts.opened += 1
        self._read()
        self._set_timer()  # a session may have patience with a peer that says nothing

    def _read(self) -> None:
        if not self._reading and not self._ended and not self.gone:
            self._reading = True
            self._loop.add_reader(self._sock.fileno(), self._readable)
            if self._secured is not None and self._secured.more:
                self._turn.soon(self._read_on)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    # Receiving

    def _read_on(self) -> None:
        """There may be more, of which the socket does not tell."""
        if self._reading:
            self._readable()

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
        own = self._own
        if own is None:
            shared = self._host.shared
            size = self._read_into(shared)
            if size is not None and not self._answered(shared, size):
                self._received(shared, size, len(shared))
            return
        if self._end == len(own):  # reading nothing would look like the end
            self._stop_reading()
            return
        if self._account.must_wait():
            self._stop_reading()
            self._host.wait(self)
            return
        with memoryview(own) as view, view[self._end : self._end + READ_BYTES_MAX] as room:
            size, filled = self._read_into(room), len(room)
        if size is not None:
            self._received(own, size, filled)

    def _read_into(self, room: bytearray | memoryview) -> int | None:
        """How much there was, 0 at the end; None: nothing just now, or never again."""
        try:
            size = self._pipe.recv_into(room)
        except (BlockingIOError, InterruptedError):
            if self._secured is not None:
                if self._secured.holding or self._secured.more:
                    self.flush()  # TLS has something to say by itself, or it is held for us
                if self._secured.more:
                    self._turn.soon(self._read_on)
            return None
        except OSError as error:
            self.close(_reason(error))
            return None
        self.heard_at = self._turn.now()
        return size

    def _answered(self, shared: bytearray, size: int) -> bool:
        """Whether the session has answered all that was read, and nothing else is to be done."""
        prompt = self._prompt
        if prompt is None or self._out or not 0 < size <= PROMPT_BYTES_MAX:
            return False
        with memoryview(shared) as view:
            data = bytes(view[:size])
        if not self._ask(prompt, data, self.heard_at):
            return False
        self.bytes_in += size
        return True

    def _ask(
        self, prompt: Callable[[Any, bytes, float], bytes | None], data: bytes, now: float
    ) -> bool:
        """As Doorway.prompt; whether the session has answered, or will."""
        try:
            reply = prompt(self.session, data, now)
        except Exception as error:  # noqa: BLE001  one session's fault must not be another's
            self._failed(error)
            return True
        if reply is None:
            self._waits = False
            return False
        self._waits = not reply
        if reply:
            self.heard_at = now
            self._start(reply)
            if self._out:
                self.flush()
            elif self._account.own_bytes:
                self._count()
        elif self.session.held_bytes > UNCOUNTED_BYTES:
            self._count()
        return True

    def _received(self, buffer: bytearray | mmap.mmap, size: int, filled: int) -> None:
        """Something has come, or the end; there was room for ``filled``."""
        if not size:
            self._ended = True
            self._stop_reading()
            self._attempt(self.session.finish, self.heard_at)
        else:
            if size == filled or (self._secured is not None and self._secured.more):
                # There may be more, and after it an error: libuv tells of that once, and then of
                # nothing any more, so that it would be missed.
                self._stop_reading()
                self._read()
            self._end += size
            self.bytes_in += size
            if buffer is self._own:
                self._touched = max(self._touched, self._end)
            self._attempt(self._feed, buffer, self.heard_at)
        self.flush()

    def _attempt(self, work: Callable[..., object], *given: object) -> None:
        """One session's fault must not be another's."""
        try:
            work(*given)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, LogstoreError):
            self.close(str(error))
        else:
            self.doorway.log.error("%s: a bug ended this connection", self.peer, exc_info=error)
            self.close("")

    def _feed(self, buffer: bytearray | mmap.mmap, now: float) -> bool:
        """Give the session what has arrived; keep what it leaves. Whether it took any."""
        with memoryview(buffer) as view, view[self._begin : self._end] as data:
            taken = self.session.receive(data, now)
        if self.gone:  # cut by its own session
            return False
        self._begin += taken
        left = self._end - self._begin
        if self.session.kept:
            self._hand_over(buffer, left)
        elif not left:
            self._begin = self._end = 0
            if self._touched > self._host.budget.room_bytes_max:
                self._own, self._touched = None, 0
        elif buffer is self._host.shared or self._end == len(buffer) or self._too_small():
            self._make_room(buffer, left)
        return taken > 0

    def _hand_over(self, buffer: bytearray | mmap.mmap, left: int) -> None:
        """The session has views of the buffer: what it has not taken goes on in another."""
        if buffer is self._own:
            self._own, self._touched = None, 0
        else:
            self._host.shared = bytearray(RECEIVE_BYTES)
        if left:
            self._make_room(buffer, left)
        else:
            self._begin = self._end = 0

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
            if (self._out or self._secured is not None) and not self._send(until):
                self._wait_writable()
                return
            if self._out:
                break
            out = self.session.outgoing(SEND_BYTES)
            if out:
                if len(out) == 1 and type(out[0]) is bytes:
                    self._start(out[0])
                    self.heard_at = self._turn.now()
                else:
                    self._queue(out)
            elif not self._feed_again():
                self._settle()
                return
        self._turn.soon(self.look)  # goes on when the others had theirs

    def _queue(self, out: Sequence[Any]) -> None:
        """These are to be sent, and nothing else is."""
        self._out = deque(out)
        size = 0
        for it in out:
            size += len(it)
            if type(it) not in PLAIN:
                self._extents += 1
                self._extent_bytes += len(it)
        self.unsent += size
        self._queued += size

    def _start(self, data: bytes) -> None:
        """Send this at once, where nothing else is to be sent; what is left is in ``_out`` then."""
        if self.gone:
            return
        try:
            sent = self._pipe.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.close(_reason(error))
            return
        self._queued += len(data)
        if sent < len(data):
            self.unsent = len(data) - sent
            self._out = deque((memoryview(data)[sent:] if sent else data,))

    def _feed_again(self) -> bool:
        """Whether something was left that the session takes now, its answers being out."""
        if self._own is None or self._begin == self._end or self.session.closed is not None:
            return False
        return self._feed(self._own, self._turn.now())

    def _send(self, until: float) -> bool:
        """Whether the peer takes what is to be sent: all of it, or as much as there is time for."""
        out, first = self._out, True
        while out:
            if not first and monotonic() > until:
                return True
            first = False
            try:
                if self._extents:
                    sent = self._send_near_extent()
                elif len(out) == 1:  # half a microsecond less
                    sent = self._pipe.send(out[0])
                else:
                    sent = self._pipe.sendmsg(
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
                it = out.popleft()
                sent -= len(it)
                if self._extents:
                    self._done_with(it)
            if sent:
                out[0] = memoryview(out[0])[sent:]
        self._out = NOTHING
        return self._secured is None or self._drain(self._secured)

    def _drain(self, secured: "Secured") -> bool:
        """Send what TLS has to say by itself; as ``_send``."""
        try:
            return secured.drain()
        except OSError as error:
            self.close(_reason(error))
            return True

    def _send_near_extent(self) -> int:
        """Send the buffers before the first extent, or of that; how many bytes of buffers."""
        plain = [*takewhile(lambda it: type(it) in PLAIN, islice(self._out, BUFFERS_MAX))]
        if plain:
            return self._pipe.sendmsg(plain, (), portable.MSG_MORE)
        self._send_extent()
        return 0  # what was sent is off the extent already

    def _send_extent(self) -> None:
        """Have the kernel send from the file; with TLS it goes through memory."""
        extent = self._out[0]
        if self._secured is not None:
            sent = self._secured.send_from(extent)
        else:
            size = min(len(extent), EXTENT_BYTES)
            sent = portable.send_file(self._sock.fileno(), extent.fileno(), extent.position, size)
            if not sent:
                raise OSError(errno.EIO, "a segment is shorter than it was")
        extent.sent(sent)
        self.unsent -= sent
        self._extent_bytes -= sent

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
            self._host.budget.unshare(chunk)
        if not self._shared:
            self._shared = NOTHING

    def _count(self) -> None:
        """Have it known what is held for this peer."""
        if self.gone:
            return
        session = self.session
        own, missing = session.held_bytes, session.wants
        if self._out:
            own += max(self.unsent - self._extent_bytes - self._shared_bytes, 0)
            own += BUFFER_BYTES * len(self._out)
        if self._secured is not None:
            own += self._secured.held_bytes
        if self._own is not None:
            own += self._touched
            missing = max(missing - (self._end - self._begin), 0)
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

    @property
    def secure(self) -> bool:
        """As Link.secure."""
        return self._secured is not None

    @property
    def certificate(self) -> "Certificate | None":
        """As Link.certificate."""
        return None if self._secured is None else self._secured.certificate

    @property
    def unread(self) -> int:
        """As Link.unread."""
        if self.gone:
            return 0
        answer = fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def wake(self) -> None:
        """As Link.wake."""
        self._turn.soon(self.look)

    def push(self, data: bytes) -> int:
        """As Link.push."""
        if self.gone:
            return 0
        sent = 0
        if not self._out:
            try:
                sent = self._pipe.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self.close(_reason(error))
                return 0
            if sent == len(data):
                self._queued += sent
                return 0
        if not self._out:
            self._out = deque()
        self._out.append(memoryview(data)[sent:] if sent else data)
        self.unsent += len(data) - sent
        self._queued += len(data)
        if not self._shared:
            self._shared = deque()
        self._shared.append((self._queued, data))
        self._shared_bytes += len(data)
        self._host.budget.share(data)
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
        if self._waits and self._reading and self._own is None:
            assert self._prompt is not None
            if self._ask(self._prompt, b"", self._turn.now()):
                return
        if not self.gone:
            self._attempt(self.session.wake, self._turn.now())
            self.flush()
            if self._writing:
                self._set_timer()

    def finish(self) -> None:
        """The server stops: close when all is answered that was asked."""
        if self._hear_out():
            self.flush()
            return
        self._ended = True
        self._stop_reading()
        self._attempt(self.session.finish, self._turn.now())
        self.flush()

    def _hear_out(self) -> bool:
        """Whether its session ends it, and hears what the peer has to say until then."""
        try:
            return not self._ended and self.session.leave(self._turn.now())
        except Exception:
            self.doorway.log.exception("%s: a bug at the end of this connection", self.peer)
            return False

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
            self._host.wait(self)
        elif not self._writing:
            self._settle()

    @property
    def holds_much(self) -> bool:
        return self._account.held_bytes > LITTLE_BYTES

    @property
    def idle(self) -> bool:
        """Whether only the peer can have anything come of this: it sends nothing, or reads not."""
        return not self._let_be and (self._writing or not self.session.busy)

    def let_be(self) -> None:
        """As Link.let_be."""
        self._let_be = True

    def cut(self, reason: str) -> None:
        """As Link.cut."""
        self.close(reason)

    def close(self, reason: str) -> None:
        """At once. A reason, if any, is logged."""
        if self.gone:
            return
        if not reason:
            self._tell_gone()
        self.gone = True
        self._tally(reason)
        self._stop_reading()
        if self._writing:
            self._loop.remove_writer(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
        while self._out:
            self._done_with(self._out.popleft())
        while self._shared:
            self._host.budget.unshare(self._shared.popleft()[1])
        self._account.close()
        self._own = None
        if self._secured is not None:
            self._secured.close()
        self._sock.close()
        self._host.forget(self)
        self.session.close()
        self._turn.soon(self._let_go)
        if reason:
            self._host.tell_closed(self, reason)

    def _tell_gone(self) -> None:
        """That it is over, with no fault: for who wants to know of each."""
        log = self.doorway.log
        if not log.isEnabledFor(logging.INFO):
            return
        facts: dict[str, object] = {
            "door": self.door, "peer": self.peer, "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out, "seconds": round(monotonic() - self.opened_at, 1),
        }  # fmt: skip
        try:
            its = self.about()
        except Exception:  # it must end nevertheless
            log.exception("%s: a bug in what is told of a connection", self.peer)
        else:
            facts |= {"user": its.user, "client": its.client, "software": its.software}
        log.info(
            "%s: disconnected after %.1f s: %d bytes in, %d bytes out",
            self.peer, facts["seconds"], self.bytes_in, self.bytes_out, extra=about(**facts),
        )  # fmt: skip

    def _tally(self, reason: str) -> None:
        counts = self.doorway.counts
        counts.closed += 1
        counts.bytes_in += self.bytes_in
        counts.bytes_out += self.bytes_out
        if reason and self.unsent:
            counts.slow += 1

    # What is known of it

    @property
    def bytes_out(self) -> int:
        """Bytes that were sent; with TLS, as they were before."""
        return self._queued - self.unsent

    @property
    def door(self) -> str:
        """By which it has come, or is to be counted."""
        return self.doorway.name

    def about(self) -> About:
        """What its session knows of its client; it is not gone."""
        return self.doorway.about(self.session)

    def end(self, reason: str) -> None:
        """Somebody wants it to end; a reason is logged, and told to its client where it can be."""
        end = self.doorway.end
        if end is None or self._writing:  # a client that does not read is told nothing
            self.close(reason)
        elif not self.gone:
            self._attempt(end, self.session, reason)
            self.flush()

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
