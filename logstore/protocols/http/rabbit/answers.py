"""Replies without content: success, or the reason of a failure."""

from collections.abc import Callable
from typing import Final

from logstore.errors import LogstoreError
from logstore.http.faults import NO_CONTENT
from logstore.http.server_end import Headers
from logstore.protocols.http.call import Call

__all__ = ["CREATED", "NO_CONTENT", "done", "then"]

CREATED: Final = 201


def then(call: Call, go_on: Callable[[object], object]) -> Callable[[object], None]:
    """What is to be told of the end: an error is the answer, with anything else it goes on."""

    def told(result: object) -> None:
        if isinstance(result, LogstoreError):
            call.fail(result)
        else:
            call.attempt(lambda: go_on(result))

    return told


def done(call: Call, status: int = NO_CONTENT, headers: Headers = ()) -> Callable[[object], None]:
    """The same, where nothing is to be said of it."""
    return then(call, lambda _: call.done(status, headers))
