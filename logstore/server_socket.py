"""Requests to the process that writes a data directory, through its socket, one at a time.

A refusal, or the lack of such a process, is raised as one of the library's own errors.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from logstore import errors
from logstore.amqp.fields import data
from logstore.errors import BrokenProtocol, Failed, LogstoreError, NoneOfThatName, Refused
from logstore.http.bodies import decode, encode
from logstore.http.client_end import ClientEnd
from logstore.storage.disk import Disk, failure
from logstore.storage.names import DESK

API: Final = "/api/v1"
ANSWER_S: Final = 60.0  # that a process may take for an answer which is no job's
ROWS: Final = 500  # of a list, asked for at once
_READ_BYTES: Final = 65_536
_NOT_FOUND: Final = 404
_ERRORS: Final = 400  # and above: the answer says why not
_MACHINE: Final = 500  # and above: it is not the request's fault

Path = tuple[str, ...]
Query = Mapping[str, object]


class ServerSocket:
    """The socket of one directory. A connection lasts for one request."""

    def __init__(self, directory: str, disk: Disk | None = None) -> None:
        self._path = os.path.join(directory, DESK)
        self._disk = Disk() if disk is None else disk

    def get(self, *path: str, **query: object) -> Any:  # noqa: ANN401  what JSON holds
        """``get("queues", "mail", vhost="/")``: the value that is answered.

        Raises NoneOfThatName, Refused, Failed.
        """
        return self.ask("GET", path, query)

    def content(self, *path: str, **query: object) -> bytes:
        """The same where the answer is no JSON. Raises as ``get``."""
        return b"".join(self._pieces("GET", path, query, b"", ANSWER_S))

    def put(self, *path: str, value: object = None, **query: object) -> Any:  # noqa: ANN401
        """As ``get``; ``value``: what is to be there."""
        return self.ask("PUT", path, query, value)

    def post(self, *path: str, value: object) -> Any:  # noqa: ANN401
        """As ``put``."""
        return self.ask("POST", path, {}, value)

    def delete(self, *path: str, value: object = None, **query: object) -> Any:  # noqa: ANN401
        """As ``get``; ``value``: what of it is to go."""
        return self.ask("DELETE", path, query, value)

    def rows(self, *path: str, **query: object) -> Iterator[Any]:
        """All rows of a list, which is asked for page by page. Raises as ``get``."""
        number, pages = 0, 1
        while number < pages:
            number += 1
            found = self.get(*path, **query, page=number, page_size=ROWS)
            pages = found["pages"]
            yield from found["items"]

    def ask(self, method: str, path: Path, query: Query, value: object = None) -> Any:  # noqa: ANN401
        """One request. Raises as ``get``."""
        given = b"" if value is None else encode(value)
        body = b"".join(self._pieces(method, path, query, given, ANSWER_S))
        try:
            return decode(body) if body else None
        except ValueError as error:
            raise Failed(f"{self._path}: the answer is not JSON: {error}") from None

    def lines(self, *path: str, value: object) -> Iterator[bytes]:
        """Post this value, and have the answer line by line, for as long as it takes.

        Raises as ``get``.
        """
        rest = b""
        for piece in self._pieces("POST", path, {}, encode(value), None):
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole

    def _pieces(
        self, method: str, path: Path, query: Query, body: bytes, timeout_s: float | None
    ) -> Iterator[bytes]:
        """What is answered, as it comes."""
        end, refused = ClientEnd(), b""
        request = end.ask(method, target_of(path, query), body)
        with self._connected() as connection:
            connection.settimeout(timeout_s)
            try:
                connection.sendall(request)
                while not end.ended:
                    for piece in end.take(connection.recv(_READ_BYTES)):
                        if end.status >= _ERRORS:
                            refused += piece
                        else:
                            yield piece
            except TimeoutError:
                raise Failed(f"{self._path}: no reply within {timeout_s:.0f} s") from None
            except (OSError, BrokenProtocol) as error:
                reason = "the process that writes it ended meanwhile, or does not answer"
                raise Failed(f"{self._path}: {reason}: {error}: try again") from None
        if end.status >= _ERRORS:
            raise _refused(end.status, refused)

    def _connected(self) -> socket.socket:
        try:
            return self._disk.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            reason = "no process that writes this store answers at this socket"
            raise Failed(f"{self._path}: {reason}: start one with `logstore serve`") from None
        except OSError as error:
            raise failure(error, "ask the process that writes this store", self._path) from None


def target_of(path: Path, query: Query) -> str:
    """``("queues", "a/b")`` -> ``/api/v1/queues/a%2Fb``; names that are no UTF-8 are kept.

    A list in the query is a parameter that is given more than once.
    """
    found = "/".join([API, *(quote(data(it), safe="") for it in path)])
    texts = [
        (name, data(str(one)))
        for name, it in query.items() if it is not None
        for one in (it if isinstance(it, list) else [it])
    ]  # fmt: skip
    return f"{found}?{urlencode(texts)}" if texts else found


def _refused(status: int, body: bytes) -> LogstoreError:
    """What was said, as the error that it was there, if this is one of the library's."""
    try:
        said = decode(body)
        sentence, kind = str(said["error"]), str(said.get("kind", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Failed(f"the process that writes the store refuses with status {status}")
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, LogstoreError):
        return known(sentence)
    if status == _NOT_FOUND:
        return NoneOfThatName(sentence)
    return Failed(sentence) if status >= _MACHINE else Refused(sentence)
