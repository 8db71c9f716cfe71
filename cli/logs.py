"""What is logged while a command runs, as lines on standard error that no peer can break out of.

A server's lines are for people (text) or for machines (JSON): one line a fact, with what it is
about in fields of their own.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from logstore.log_facts import of as facts_of
from logstore.printable import printable, printable_lines

from . import ends

LINE: Final = "logstore: %(message)s"
DATED: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ROOT: Final = "logstore"  # of all loggers of ours
SAID: Final = "logstore: "  # prefix of a command's lines; not in JSON
TEXT: Final = "text"
JSON: Final = "json"


class Printable(logging.Formatter):
    """Escapes what cannot be printed, also in a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """The escaped line, so that a peer's name cannot begin another line."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The escaped line, with a traceback if there is one."""
        return printable_lines(super().format(record))


class AsJson(logging.Formatter):
    """One object a line: time (UTC), level, part, message, what it is about, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as ASCII JSON, safe for terminals and for readers of bytes."""
        fields: dict[str, Any] = _fields(
            record.created, record.levelname.lower(), record.name, record.getMessage()
        )
        for name, value in facts_of(record).items():
            fields.setdefault(name, value)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _line(fields)


def _fields(at_s: float, level: str, name: str, message: str) -> dict[str, Any]:
    seconds, ms = divmod(round(at_s * 1000), 1000)
    return {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ms:03d}Z",
        "level": level,
        "part": name.removeprefix(f"{ROOT}."),
        "message": message,
    }


def _line(fields: dict[str, Any]) -> str:
    return json.dumps({name: _shown(value) for name, value in fields.items()})


def _shown(value: object) -> object:
    """The value without invalid UTF-8, which not every JSON reader accepts."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_shown(it) for it in value]
    return str(value).encode(errors="backslashreplace").decode()


def show_warnings() -> None:
    """Format warnings like the commands' own lines, unless logging is configured."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Printable(LINE))


class _Held(logging.Handler):
    """Keeps what is logged before it is known how that is to look."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class ServerLog:
    """The log of a server; until ``show`` is called, what comes is kept."""

    def __init__(self, form: str = TEXT) -> None:
        """``form``: of held-back lines, if no other is chosen."""
        self._form = form
        self._held: _Held | None = _Held()
        logging.getLogger().addHandler(self._held)

    def end(self) -> None:
        """Show held-back lines, unless that was done."""
        if self._held is not None:
            self.show(self._form)

    def show(self, form: str, level: str = "warning", levels: Sequence[str] = ()) -> None:
        """As settings.py has them. Shows what was kept, too."""
        assert self._held is not None, "it is shown once"
        held, self._held = self._held, None
        root = logging.getLogger()
        root.removeHandler(held)
        handler = logging.StreamHandler()
        handler.setFormatter(AsJson() if form == JSON else Printable(DATED))
        root.addHandler(handler)
        if form == JSON:
            ends.look_like(_said)
        logging.getLogger(ROOT).setLevel(level.upper())
        for one in levels:
            part, _, its_level = one.partition("=")
            logging.getLogger(f"{ROOT}.{part}").setLevel(its_level.upper())
        for record in held.records:
            if logging.getLogger(record.name).isEnabledFor(record.levelno):
                handler.handle(record)


def _said(level: str, text: str) -> str:
    """A line of a command in the form of the log's lines."""
    return _line(_fields(time.time(), level, "serve", text.removeprefix(SAID)))


@contextmanager
def server_log(form: str = TEXT) -> Iterator[ServerLog]:
    """The log of this process. Held-back lines are shown at the end in any case."""
    log = ServerLog(form)
    try:
        yield log
    finally:
        log.end()
