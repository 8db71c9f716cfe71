"""Routes that use queues: the queues are opened at the first request."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from logstore.errors import LogstoreError
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

Handler = Callable[[HttpDoor, Call], None]


def opened_first(handler: Handler) -> Handler:
    """One that has ``call.queues``."""

    def begin(door: HttpDoor, call: Call) -> None:
        def opened(found: "Queues | LogstoreError") -> None:
            if isinstance(found, LogstoreError):
                raise found
            call.queues = found
            handler(door, call)

        door.queues_of.when_open(lambda found: call.attempt(lambda: opened(found)))

    return begin
