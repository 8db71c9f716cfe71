"""The desk: the Unix socket at which a writing process receives requests from this machine.

The socket lies in the data directory, and whoever may open it may use it; its protocol is HTTP. A
server borrows the socket and handles the connections itself, with many more routes, and passes jobs
on. In any other process, the upkeep thread replies, to one connection at a time and one request for
each.
"""

import os
import select
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from logstore.http.reply import Reply
from logstore.storage.disk import Disk
from logstore.storage.names import DESK, OLD_DESK
from logstore.upkeep.order import Facts, Order

if TYPE_CHECKING:
    from logstore.upkeep.visit import Visit

NEWS_BYTES: Final = 4096  # each says the same: look


class Desk:
    """Serves visitors one after another. ``wait`` belongs to one thread; the rest is for any
    thread.
    """

    def __init__(self, disk: Disk, directory: str, facts: Facts = dict) -> None:
        """Created by the holder of the store's lock. ``facts``: about this process, for people.

        Raises OSError if the socket cannot be created.
        """
        self._disk = disk
        self._facts = facts
        self._path = os.path.join(directory, DESK)
        self._listening = disk.listen(self._path)
        self._news, self._tells = os.pipe()
        os.set_blocking(self._tells, False)
        self._lent = self._over = False
        self._orders: deque[Order] = deque()
        with suppress(OSError):  # an earlier version's, which was killed
            disk.remove(os.path.join(directory, OLD_DESK))

    def wait(self, timeout_s: float | None) -> "Order | Visit | None":
        """The next visitor; None after the time, or if there is other news."""
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        if not self._lent:
            poll.register(self._listening, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]
        if self._news in ready:
            os.read(self._news, NEWS_BYTES)
        if self._over:
            return None
        if self._orders:
            if len(self._orders) > 1:
                self._tell()
            return self._orders.popleft()
        if self._lent or self._listening.fileno() not in ready:  # it was lent while this waited
            return None
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:  # it was lent meanwhile
            return None
        from logstore.upkeep.visit import Visit  # with the library for HTTP: few are ever asked

        return Visit(connection, self._facts)

    def lend(self) -> socket.socket:
        """The socket, for a server that accepts connections until ``take_back``."""
        lent = self._listening.dup()
        self._lent = True
        self._tell()
        return lent

    def take_back(self) -> None:
        """The server's copy is closed, and no one else accepts connections."""
        self._lent = False
        self._tell()

    def order(self, body: bytes, reply: Reply) -> None:
        """Add a job for another process."""
        self._orders.append(Order(body, reply))
        self._tell()

    def _tell(self) -> None:
        with suppress(BlockingIOError):  # it is full of news that nobody has heard yet
            os.write(self._tells, b".")

    def close(self) -> None:
        """Make ``wait`` return; call ``remove`` afterwards."""
        self._over = True
        self._tell()

    def remove(self) -> None:
        """Remove the socket, when no thread waits any more."""
        self._listening.close()
        os.close(self._news)
        os.close(self._tells)
        with suppress(OSError):  # of no meaning without a listener
            self._disk.remove(self._path)
