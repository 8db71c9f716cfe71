"""Decides which requests belong to RabbitMQ's API. Pure."""

from typing import Final

_PREFIX: Final = b"/api/"
_OURS: Final = b"/api/v1/"


def is_of(target: bytes) -> bool:
    """Whether it is RabbitMQ's, and not our own."""
    return target.startswith(_PREFIX) and not target.startswith(_OURS)


def tidied(target: bytes) -> bytes:
    """One of RabbitMQ's without a slash at the end of its path, which means nothing there."""
    if not is_of(target):
        return target
    path, mark, query = target.partition(b"?")
    return path.removesuffix(b"/") + mark + query
