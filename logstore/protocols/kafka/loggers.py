"""The levels of the program's loggers for Kafka's tools (KIP-412), until the process ends."""

import logging
from collections.abc import Collection, Mapping
from typing import Final

from logstore.config import nearest
from logstore.errors import InvalidSetting, Refused
from logstore.settings import LOG_PARTS

ROOT: Final = "root"  # of all parts that have no level of their own
LEVELS: Final = {
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.DEBUG,
}
_NAMES: Final = (ROOT, *LOG_PARTS)


def _logger(name: str) -> logging.Logger:
    return logging.getLogger("logstore" if name == ROOT else f"logstore.{name}")


def levels() -> dict[str, str]:
    """The effective level of each logger, in Kafka's words."""
    return {name: _word(_logger(name).getEffectiveLevel()) for name in _NAMES}


def _word(level: int) -> str:
    return next((word for word, least in LEVELS.items() if level >= least), "TRACE")


def change(settings: Mapping[str, str], reset: Collection[str], *, validate_only: bool) -> None:
    """Set levels; loggers in ``reset`` inherit the root's level again. Raises Refused,
    InvalidSetting.
    """
    for name in (*settings, *reset):
        if name not in _NAMES:
            raise Refused(f"there is no logger {name[:50]!r}{nearest(name[:50], _NAMES)}")
    for name, word in settings.items():
        if word not in LEVELS:
            raise InvalidSetting(f"{name}={word[:20]}: must be one of {', '.join(LEVELS)}")
    if ROOT in reset:
        raise Refused(f"the level of {ROOT} can be set, and not deleted")
    if validate_only:
        return
    for name, word in settings.items():
        _logger(name).setLevel(LEVELS[word])
    for name in reset:
        _logger(name).setLevel(logging.NOTSET)
