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
    """Wait for a result: an error is sent as the reply; otherwise continue."""

    def told(result: object) -> None:
        if isinstance(result, LogstoreError):
            call.fail(result)
        else:
            call.attempt(lambda: go_on(result))

    return told


def done(call: Call, status: int = NO_CONTENT, headers: Headers = ()) -> Callable[[object], None]:
    """As ``then``, with a reply without content."""
    return then(call, lambda _: call.done(status, headers))
