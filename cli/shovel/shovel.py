"""Moves messages until it is done, over connections that may be lost and are made again."""

import time
from contextlib import suppress
from typing import Final, NamedTuple

from logstore.errors import Failed, LogstoreError, Refused

from ..ends import CommandFailed, Stopped, say
from ..progress import Progress
from ..served.line import Line
from ..show import counted
from ..stop import Stop
from .moving import STEP_S, Moving, Route
from .place import Place

RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)  # then 30 again; a moved message restarts the delays
EMPTY_S: Final = 0.2  # of silence, before the source is asked whether it is empty
WELL_S: Final = 2.0  # without message or refusal: there is nothing to come
FINISH_S: Final = 5.0  # after a signal, for messages under way


class Wanted(NamedTuple):
    """What is asked for."""

    route: Route
    prefetch: int
    most: int | None  # messages
    follow: bool  # wait for more when the source is empty
    give_up_s: float | None  # without a server, or room there; None: never


class Shovel:
    """From one place to another."""

    def __init__(
        self, source: Place, target: Place, wanted: Wanted, stop: Stop, progress: Progress
    ) -> None:
        self.moved = 0
        self.moved_bytes = 0
        self._source, self._target = source, target
        self._wanted = wanted
        self._stop = stop
        self._progress = progress
        self._met = False  # both sides were there
        self._failures = 0  # in a row
        self._since = time.monotonic()  # when it was well last
        self._came = self._since  # when there was something to move last

    def run(self) -> None:
        """Shovel until done. Raises Stopped, CommandFailed, Failed, Refused."""
        while True:
            try:
                self._once()
                return
            except Failed as error:
                if not (self._met or self._wanted.follow):
                    raise
                self._again(error)

    def _again(self, error: Failed) -> None:
        """Wait a little before another attempt, or give up."""
        give_up_s, gone_s = self._wanted.give_up_s, time.monotonic() - self._since
        if give_up_s is not None and gone_s >= give_up_s:
            raise error
        wait_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        if give_up_s is not None:
            wait_s = min(wait_s, max(give_up_s - gone_s, 0.1))
        self._failures += 1
        self._progress.hide()
        say(f"logstore: {error}; trying again in {wait_s:g} s")
        self._stop.sleep(wait_s)

    def _once(self) -> None:
        """Shovel until done, or until a connection fails."""
        source = self._source.open(self._stop)
        try:
            target = self._target.open(self._stop)
            try:
                self._move(source, target)
            finally:
                target.close()
        finally:
            source.close()  # its acknowledgements arrive first

    def _move(self, source: Line, target: Line) -> None:
        wanted, before, began = self._wanted, (self.moved, self.moved_bytes), time.monotonic()
        self._came = began
        most = None if wanted.most is None else wanted.most - self.moved
        moving = Moving(
            source, target, wanted.route, self._stop,
            user=target.user, prefetch=wanted.prefetch,
        )  # fmt: skip
        try:
            moving.begin(most)
            self._met = True
            while not self._stop.asked:
                moving.step(most, EMPTY_S if moving.quiet and not wanted.follow else STEP_S)
                if not moving.quiet or self.moved < before[0] + moving.moved:
                    self._came = time.monotonic()
                self._count(moving, before)
                if moving.moved or (moving.quiet and time.monotonic() - began > WELL_S):
                    self._failures, self._since = 0, time.monotonic()
                if most is not None and moving.moved >= most:
                    return
                if moving.quiet and not wanted.follow and self._is_empty(moving, source):
                    return
            with suppress(LogstoreError):  # unconfirmed messages stay at the source
                moving.finish(FINISH_S)
            self._stop.check()
        finally:
            self._count(moving, before)

    def _is_empty(self, moving: Moving, source: Line) -> bool:
        ready = moving.ready(source, self._wanted.route.queue)
        if ready and moving.quiet:
            self._check_that_they_come(ready)
        return not ready and moving.quiet

    def _check_that_they_come(self, ready: int) -> None:
        """Check that messages arrive. Raises Refused.

        A stream keeps all its messages, and a queue may serve a single active consumer only.
        """
        give_up_s = self._wanted.give_up_s
        if give_up_s is not None and time.monotonic() - self._came >= max(give_up_s, WELL_S):
            raise Refused(
                f"{self._source}: queue {self._wanted.route.queue!r} delivers nothing, although"
                f" {counted(ready, 'message')} are ready: it is a stream, whose messages stay,"
                " or it serves another consumer"
            )

    def _count(self, moving: Moving, before: tuple[int, int]) -> None:
        self.moved, self.moved_bytes = before[0] + moving.moved, before[1] + moving.moved_bytes
        self._progress.update(self.moved_bytes, self.moved)


def moved(shovel: Shovel, wanted: Wanted, source: Place, target: Place, seconds: float) -> str:
    """A report of the result, for people."""
    to = wanted.route.exchange and f"exchange {wanted.route.exchange}"
    to = to or (f"queue {wanted.route.key}" if wanted.route.key else "the default exchange")
    return (
        f"moved {counted(shovel.moved, 'message')} from queue {wanted.route.queue} at {source} to "
        f"{to} at {target} in {seconds:.2f} s"
    )


def shovelled(source: Place, target: Place, wanted: Wanted, stop: Stop, progress: Progress) -> None:
    """Shovel, and report the result in any case."""
    shovel = Shovel(source, target, wanted, stop, progress)
    began = time.monotonic()

    def done() -> str:
        return moved(shovel, wanted, source, target, time.monotonic() - began)

    try:
        shovel.run()
    except Stopped:
        progress.close()
        say(f"logstore: stopped: {done()}")
        raise
    except (LogstoreError, CommandFailed) as error:
        progress.close()
        raise CommandFailed(f"{error}; {done()}") from error
    progress.close()
    say(done())
