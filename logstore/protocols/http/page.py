"""Sends the page's files to browsers; a file that the browser already has is not sent again."""

from collections.abc import Mapping
from typing import Final

from logstore.http.asks import OPEN
from logstore.http.routes import Route, no_such_path
from logstore.page_files import File, Files
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.opened import Handler
from logstore.protocols.http.replies.headers import PAGE_POLICY

INDEX: Final = b"index.html"


def served(door: HttpDoor, call: Call) -> None:
    """A file of the page; a browser that has it is told that it is the same."""
    wanted = call.names["path"] or INDEX

    def found(files: Files) -> None:
        file = files.get(wanted)
        if file is None:
            raise no_such_path(call.head.target)
        _send(call, file)

    door.page.when_read(door.work, lambda files: call.attempt(lambda: found(files)))


def _send(call: Call, file: File) -> None:
    packed = bool(file.packed) and "gzip" in accepted(call.headers)
    tag = f'"{file.tag}{"-gzip" if packed else ""}"'
    headers = [
        ("etag", tag),
        ("cache-control", "no-cache"),  # kept, and asked for anew each time
        ("vary", "accept-encoding"),
        ("content-security-policy", PAGE_POLICY),
        ("cross-origin-opener-policy", "same-origin"),
    ]
    if is_known(call.headers, tag):
        call.content(304, b"", file.kind, headers)
        return
    if packed:
        headers.append(("content-encoding", "gzip"))
    call.content(200, file.packed if packed else file.data, file.kind, headers)


def accepted(headers: Mapping[str, str]) -> set[str]:
    """The encodings that one may send (RFC 9110, 12.5.3)."""
    found = set()
    for part in headers.get("accept-encoding", "").split(","):
        name, _, weight = part.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            found.add(name.strip().lower())
    return found


def is_known(headers: Mapping[str, str], tag: str) -> bool:
    """Whether the client has what has this tag (RFC 9110, 13.1.2)."""
    known = [it.strip().removeprefix("W/") for it in headers.get("if-none-match", "").split(",")]
    return tag in known or known == ["*"]


ROUTE: Final[Route[Handler]] = Route("GET", "/{path}", served, "The page and its files.", OPEN)
