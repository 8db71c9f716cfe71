"""The child process that does the heavy part of upkeep, and the parent's side of it.

A thread would compete with the parent's threads for the interpreter lock, so the work is done in a
child process of low priority. They exchange lines of JSON: the child receives a ``Work`` and
reports each ``Step``; after a ``Cleaned`` step it waits for an empty line. When the parent dies,
the child's input ends, and the child exits. It removes its unfinished files, which nothing refers
to; the next recovery removes any that remain.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from logstore.errors import Closed, Failed, LogstoreError
from logstore.storage.directory import LocalDirectory
from logstore.storage.disk import Disk, failure
from logstore.storage.whole_segment import remove_segment
from logstore.upkeep.compaction import compacted
from logstore.upkeep.pace import Pace
from logstore.upkeep.recompression import merged_runs, recompressed
from logstore.upkeep.sealed import Sealed
from logstore.upkeep.thinning import thinned_out
from logstore.upkeep.trial import Trial, tried
from logstore.upkeep.work import (
    Broke,
    Cleaned,
    Compacting,
    Ended,
    Merging,
    Recompressing,
    Step,
    Thinning,
    Trying,
    Work,
    Worker,
)

_PROGRAM: Final = "from logstore.upkeep.child import main; main({}, {})"
_NICENESS: Final = 19  # the lowest priority: it gets what others leave

_encode = msgspec.json.Encoder().encode
_decode_work = msgspec.json.Decoder(Work).decode
_decode_step = msgspec.json.Decoder(Step | Broke | Ended).decode


def steps(work: Work, disk: Disk, pace: Pace) -> Iterator[Step]:
    """Do the work in this process. Raises Damaged, Failed."""
    sealed = Sealed(work.place, disk, pace)
    try:
        match work:
            case Compacting():
                yield from compacted(work, sealed)
            case Thinning():
                yield from thinned_out(work, sealed)
            case Recompressing():
                yield from recompressed(work, sealed)
            case Merging():
                yield from merged_runs(work, sealed)
            case Trying():
                yield from tried(work, Trial(work, disk, pace))
    except OSError as error:
        raise failure(error, "rewrite a segment", error.filename or sealed.directory) from None


class Here:
    """A worker in the calling process, for dry runs and for stores with a disk of their own."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def steps(self, work: Work) -> Iterator[Step]:
        """As Worker.steps."""
        return steps(work, self._disk, Pace(work.place.bytes_per_second))

    def stop(self) -> None:
        """As Worker.stop, but the work is completed first."""

    def close(self) -> None:
        """As Worker.close."""


def worker_for(directory: LocalDirectory) -> Worker:
    """A child process if there are writers to leave undisturbed and the disk is the real one."""
    disk = directory.disk
    return Child(disk) if directory.writes and type(disk) is Disk else Here(disk)


class Child:
    """A worker that runs in a child process, started at its first use."""

    def __init__(self, disk: Disk) -> None:
        """The child uses this disk's anchors."""
        self._disk = disk
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def steps(self, work: Work) -> Iterator[Step]:
        """As Worker.steps. Raises Closed when ``stop`` was called meanwhile."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _put(process.stdin, _encode(work))
            while True:
                line = process.stdout.readline()
                if not line:
                    raise self._death(process)
                step = _decode_step(line)
                if isinstance(step, Ended):
                    return
                if isinstance(step, Broke):
                    raise step.error()
                yield step
                if isinstance(step, Cleaned):
                    _put(process.stdin, b"")
        except BrokenPipeError:
            raise self._death(process) from None
        except GeneratorExit:  # whoever asked has given up: what is under way is of no use
            self._end()
            raise

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._closed:
                raise Closed("upkeep: the store is closed")
            if self._process is None:
                self._process = _start(self._disk.anchors())
            return self._process

    def _death(self, process: "subprocess.Popen[bytes]") -> LogstoreError:
        code = process.wait()
        self._end()
        if self._closed:
            return Closed("upkeep: the store is closed")
        return Failed(
            f"the upkeep process (pid {process.pid}) ended with {code}; what it was writing is of "
            f"no meaning, nothing is lost: run it again"
        )

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what was meant for it is of no use any more
                        pipe.close()

    def stop(self) -> None:
        """As Worker.stop."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """As Worker.close."""
        self._end()


def _start(anchors: Mapping[str, int]) -> "subprocess.Popen[bytes]":
    """Raises Failed."""
    package = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([package, known] if known else [package])
    }
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(os.getpid(), ascii(dict(anchors)))],
            pass_fds=[*anchors.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the owner, who ends it in order
        )
    except OSError as error:
        raise Failed(
            f"{sys.executable}: can't start the upkeep process: {error.strerror}"
        ) from None


def _put(pipe: IO[bytes], line: bytes) -> None:
    pipe.write(line + b"\n")
    pipe.flush()


def main(owner: int, anchors: Mapping[str, int]) -> None:
    """The child's main function: one work after another, until its input or its parent ends.

    ``anchors``: as Disk.anchors returns them; these descriptors are also open here.
    """
    os.nice(_NICENESS)
    disk = Disk()
    disk.adopt(anchors)
    # Not buffered: what can't be said any more must not be tried again at the end.
    with suppress(BrokenPipeError), open(1, "wb", buffering=0, closefd=False) as tell:
        for line in iter(sys.stdin.buffer.readline, b""):
            # What it was told may have lain in the pipe since before the owner died: by now the
            # directory may have another one, whose recovery is over.
            _check(owner)
            _serve(_decode_work(line), disk, tell, owner)


def _check(owner: int) -> None:
    if os.getppid() != owner:
        raise BrokenPipeError


def _serve(work: Work, disk: Disk, tell: IO[bytes], owner: int) -> None:
    """Raises BrokenPipeError when the parent has ended."""
    try:
        for step in steps(work, disk, Pace(work.place.bytes_per_second)):
            _say(step, disk, tell, owner)
            if isinstance(step, Cleaned) and not sys.stdin.buffer.readline():
                raise BrokenPipeError  # nothing is removed: recovery may be about to swap it in
            _check(owner)
    except LogstoreError as error:
        _put(tell, _encode(Broke.by(error)))
    else:
        _put(tell, _encode(Ended()))


def _say(step: Step, disk: Disk, tell: IO[bytes], owner: int) -> None:
    """Raises BrokenPipeError when the parent no longer reads."""
    try:
        _check(owner)
        _put(tell, _encode(step))
    except BrokenPipeError:
        if isinstance(step, Cleaned):
            remove_segment(disk, step.stem)
        raise
