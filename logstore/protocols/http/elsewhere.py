"""Runs lookups and actions for a reply in another thread, because they may wait for the disk."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from logstore.errors import LogstoreError
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

_T = TypeVar("_T")


def elsewhere(
    door: HttpDoor,
    call: Call,
    job: Callable[[], _T],
    then: Callable[[_T], object],
    *,
    always: bool = False,
) -> None:
    """``then`` gets what ``job`` makes, unless nobody waits for it by then.

    ``always``: it gets that in any case, since it tells others what was done, too. An error of
    either is the answer.
    """

    def done(found: _T | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif always or not call.over:
            call.attempt(partial(then, found))

    door.work(partial(_or_error, job), done)


def _or_error(job: Callable[[], _T]) -> _T | LogstoreError:
    try:
        return job()
    except LogstoreError as error:
        return error
