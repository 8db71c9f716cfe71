"""Server-Sent Events as bytes (WHATWG HTML, 9.2)."""

import re
from typing import Final

EVENTS: Final = "text/event-stream"
RETRY: Final = b"retry: 2000\n\n"  # ms before a browser comes again that has lost the connection
KEEP_ALIVE: Final = b":\n\n"  # a comment

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


def event(data: bytes, name: str = "", id: str = "") -> bytes:
    """One event: ``data`` of any lines, in UTF-8; ``name``: "" is ``message``.

    ``id`` is what the browser says as Last-Event-ID when it comes again. Raises ValueError for a
    name or an id that is not in one line.
    """
    head = b""
    for field, text in ((b"id", id), (b"event", name)):
        if text:
            value = text.encode()
            if _LINE_END.search(value) or b"\0" in value:
                raise ValueError(f"not in one line: {text[:50]!r}")
            head += b"%b: %b\n" % (field, value)
    lines = b"".join(b"data: %b\n" % it for it in _LINE_END.split(data))
    return b"%b%b\n" % (head, lines)
