"""The route that describes all routes: an OpenAPI document, built once by a worker."""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.errors import LogstoreError
from logstore.http.asks import OPEN
from logstore.http.bodies import JSON, whole
from logstore.http.routes import Route
from logstore.protocols.http import openapi
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.opened import Handler
from logstore.version import VERSION

API: Final = "/api/v1"


def document(routes: Sequence[Route[Handler]]) -> bytes:
    """In a worker."""
    from logstore.protocols.http.native.answers import ANSWERS  # many classes, which few ask for

    told = [
        row._replace(gives=ANSWERS.get(f"{row.method} {row.path.removeprefix(API)}", row.gives))
        if row.path.startswith(API) else row
        for row in routes
    ]  # fmt: skip
    return whole(openapi.document(told, VERSION))


def route(routes: Callable[[], Sequence[Route[Handler]]]) -> Route[Handler]:
    """``routes``: all of them, with this one."""
    known: list[bytes] = []

    def described(door: HttpDoor, call: Call) -> None:
        def made(found: bytes | LogstoreError) -> None:
            if isinstance(found, LogstoreError):
                raise found
            known[:] = [found]
            call.content(200, found, JSON)

        if known:
            made(known[0])
        else:
            door.work(lambda: document(routes()), lambda found: call.attempt(lambda: made(found)))

    return Route("GET", "/openapi.json", described, "This API, as an OpenAPI document.", OPEN)
