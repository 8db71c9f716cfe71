"""The desk: where the process that writes a store takes jobs from others.

A socket in the data directory. Who can't open the store for writing, since a process has it
already, connects, sends a ``Job`` as one line of JSON, and is answered with lines: how far it is,
what became of each log, and the end.
"""

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from logstore.errors import Failed, LogstoreError
from logstore.storage.disk import Disk, refusal
from logstore.storage.names import DESK
from logstore.upkeep.jobs import Job, Outcome, Progress, Retained, Rewritten, Tell
from logstore.upkeep.work import Broke, Ended

_REQUEST_BYTES_MAX: Final = 1 << 20  # names of some thousand topics
_READ_BYTES: Final = 4096
# Who connects and says nothing, or reads nothing, holds up the next job no longer.
_PATIENCE_S: Final = 5.0

_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(Job).decode
_decode_answer = msgspec.json.Decoder(Retained | Rewritten | Progress | Broke | Ended).decode


class Desk:
    """Takes jobs, one at a time. ``wait`` belongs to one thread, ``close`` to any."""

    def __init__(self, disk: Disk, directory: str) -> None:
        """Who holds the store's lock may. Raises OSError where there can be no socket."""
        self._disk = disk
        self._path = os.path.join(directory, DESK)
        self._listening = disk.listen(self._path)
        self._over = os.eventfd(0, os.EFD_CLOEXEC)

    def wait(self, timeout_s: float | None) -> "Request | None":
        """The next job; None after the time, or once ``close`` was called."""
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._over, select.POLLIN)
        ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
        if not ready or any(fd == self._over for fd, _ in ready):
            return None
        connection, _ = self._listening.accept()
        return Request(connection)

    def close(self) -> None:
        """Have ``wait`` return; then ``remove``."""
        os.eventfd_write(self._over, 1)

    def remove(self) -> None:
        """Nobody waits any more."""
        self._listening.close()
        os.close(self._over)
        with suppress(OSError):  # of no meaning without a listener
            self._disk.remove(self._path)


class Request:
    """One who asks."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE_S)
        self._connection = connection

    def serve(self, run: Callable[[Job, Tell], Iterator[Outcome]]) -> None:
        """Do the job and answer; it is done to its end even when the other has gone."""
        with self._connection:
            line = _line(self._connection)
            if line is None:
                return
            try:
                for outcome in run(_decode_job(line), self._say):
                    self._say(outcome)
            except msgspec.DecodeError as error:
                self._say(Broke.by(Failed(f"not a job: {error}")))
            except LogstoreError as error:
                self._say(Broke.by(error))
            else:
                self._say(Ended())

    def _say(self, what: Outcome | Progress | Broke | Ended) -> None:
        with suppress(OSError):  # who asked has gone
            self._connection.sendall(_encode(what) + b"\n")


def ask(disk: Disk, directory: str, job: Job, tell: Tell) -> Iterator[Outcome]:
    """Have the process that writes this store do a job.

    Raises what the job raises there; Failed where nobody takes jobs, or dies over one.
    """
    path = os.path.join(directory, DESK)
    try:
        connection = disk.connect(path)
    except OSError as error:
        raise refusal(error, f"hand over {job.name}", path) from None
    ended = False
    with connection, connection.makefile("rb") as lines:
        connection.sendall(_encode(job) + b"\n")
        for line in lines:
            answer = _decode_answer(line)
            if isinstance(answer, Broke):
                raise answer.error()
            if isinstance(answer, Progress):
                tell(answer)
            elif isinstance(answer, Ended):
                ended = True
            else:
                yield answer
    if not ended:
        raise Failed(
            f"{directory}: the process that writes it ended during {job.name}: run it again"
        )


def _line(connection: socket.socket) -> bytes | None:
    """The first line that the other sends; None if none comes in time or size."""
    data = b""
    with suppress(OSError):
        while len(data) <= _REQUEST_BYTES_MAX:
            more = connection.recv(_READ_BYTES)
            data += more
            if b"\n" in data:
                return data.partition(b"\n")[0]
            if not more:
                break
    return None
