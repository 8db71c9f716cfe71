"""What is logged while a command runs, as lines on standard error that no peer can break out of."""

import logging
from typing import Final

from logstore.printable import printable, printable_lines

LINE: Final = "logstore: %(message)s"
DATED: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Printable(logging.Formatter):
    """Escapes what cannot be printed, also in a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """The line itself: a peer's name must not begin another one."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback that may follow it."""
        return printable_lines(super().format(record))


def show_warnings() -> None:
    """Show warnings as the commands' own lines look, unless logging is set up already."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Printable(LINE))


def show_dated() -> None:
    """Show warnings as a server does: with the time, and where they come from."""
    handler = logging.StreamHandler()
    handler.setFormatter(Printable(DATED))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
