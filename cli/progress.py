"""How far a long command is: a bar on a terminal, a line now and then elsewhere, or nothing."""

import sys
import time
from typing import TYPE_CHECKING

from .ends import say
from .show import counted, size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

# Often enough to be seen moving, seldom enough not to be felt.
EVERY_S = 0.1
LINE_EVERY_S = 1.0


class Progress:
    """Nothing is shown; the others differ in how they show it."""

    every_s = float("inf")

    def __init__(self) -> None:
        self._next = time.monotonic() + self.every_s

    def update(self, bytes_done: int, count: int) -> None:
        """Update the progress; cheap enough to call for every chunk."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.every_s
            self.show(bytes_done, count)

    def expect(self, bytes_total: int) -> None:
        """Set the total amount of work."""

    def show(self, bytes_done: int, count: int) -> None:
        """Show the progress now."""

    def hide(self) -> None:
        """Clear the progress for another line; the next update appears below the line."""

    def close(self) -> None:
        """Restore the terminal."""
        self.hide()


class Lines(Progress):
    """A line on stderr now and then, for logs."""

    every_s = LINE_EVERY_S

    def __init__(self, noun: str = "record", did: str = "acknowledged") -> None:
        super().__init__()
        self._noun, self._did = noun, did

    def show(self, bytes_done: int, count: int) -> None:
        say(f"{counted(count, self._noun)} {self._did}, {size(bytes_done)} read")


class Bar(Progress):
    """A bar on the terminal. Imports rich."""

    every_s = EVERY_S

    def __init__(
        self, bytes_total: int | None, noun: str = "record", did: str = "acknowledged"
    ) -> None:
        super().__init__()
        self._total = bytes_total
        self._noun, self._did = noun, did
        self._bar: RichProgress | None = None
        self._task: TaskID

    def expect(self, bytes_total: int) -> None:
        self._total = bytes_total

    def show(self, bytes_done: int, count: int) -> None:
        if self._bar is None:  # a short run needs no bar, and does not wait for rich either
            self._begin()
        assert self._bar is not None
        said = f"{counted(count, self._noun)} {self._did}"
        self._bar.update(self._task, completed=bytes_done, total=self._total, said=said)
        self._bar.refresh()

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            auto_refresh=False,  # no thread: it would fight for the interpreter
            transient=True,
        )
        self._task = self._bar.add_task("", total=self._total, said="")
        self._bar.start()

    def hide(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def is_watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def progress_for(
    wanted: bool | None,
    bytes_total: int | None,
    noun: str = "record",
    did: str = "acknowledged",
    *,
    typed: bool = False,
) -> Progress:
    """``wanted``: None shows progress only on a terminal. ``noun``: the counted unit.

    ``typed``: a person types the input, over which a bar would be drawn.
    """
    watched = is_watched()
    if wanted is False or (wanted is None and (typed or not watched)):
        return Progress()
    return Bar(bytes_total, noun, did) if watched else Lines(noun, did)
