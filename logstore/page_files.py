"""The page's own files: read at the first request, and kept in memory with a tag of their contents.

A path is looked up among the names of these files, so it can lead to no other file.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

DIRECTORY: Final = os.path.join(os.path.dirname(__file__), "page")
TAG_CHARACTERS: Final = 32
COMPRESSED: Final = frozenset({".html", ".css", ".js", ".svg", ".json", ".txt"})
KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file, as it is sent."""

    kind: str
    data: bytes
    packed: bytes  # by gzip; b"" where that is no shorter
    tag: str  # another one for other data


Files = Mapping[bytes, File]  # by the paths below the page's
# Runs the first in another thread, then the second, with what it gave, in the sessions' own.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]


class PageFiles:
    """The files of one door."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        self._directory = directory
        self._files: Files | None = None
        self._waiting: list[Callable[[Files], None]] = []

    def when_read(self, work: Work, then: Callable[[Files], None]) -> None:
        """``then`` gets them: now, or once a worker has read them."""
        if self._files is not None:
            then(self._files)
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            work(lambda: read(self._directory), self._read)

    def _read(self, found: object) -> None:
        files = found if isinstance(found, dict) else {}
        if files:  # else it is tried again
            self._files = files
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(files)


def read(directory: str) -> dict[bytes, File]:
    """All files there whose kind is known. In a worker. Raises OSError."""
    found = {}
    for place, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(place, name)
            kind = KINDS.get(os.path.splitext(name)[1])
            if kind is not None:
                with open(path, "rb") as file:
                    relative = os.path.relpath(path, directory).replace(os.sep, "/")
                    found[relative.encode()] = as_sent(kind, file.read(), name)
    return found


def as_sent(kind: str, data: bytes, name: str) -> File:
    """A file with what is known of its bytes."""
    packed = b""
    if os.path.splitext(name)[1] in COMPRESSED:
        import gzip  # in a worker, once

        packed = gzip.compress(data, mtime=0)
    tag = sha256(data).hexdigest()[:TAG_CHARACTERS]
    return File(kind, data, packed if len(packed) < len(data) else b"", tag)
