"""The server's HTTP API, asked by the standard library: through its socket, or by a URL."""

import http.client
import json
import os
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

BASE: Final = "/api/v1"
ANSWER_S: Final = 30.0
ROWS: Final = 500
ERRORS: Final = 400


class ApiRefused(Exception):
    """The message is the server's own."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status = status


class Api:
    """A connection for each request: few are asked."""

    def __init__(
        self,
        connect: Callable[[], http.client.HTTPConnection],
        base: str,
        headers: Mapping[str, str],
    ) -> None:
        self._connect = connect
        self._base = base
        self._headers = {"X-Logstore": "1", **headers}  # without it nothing may be changed

    def get(self, *path: str, **query: object) -> Any:  # noqa: ANN401  JSON
        """``get("queues", "mail", vhost="/")``. Raises ApiRefused, OSError, as the others do."""
        return self.ask("GET", path, query)

    def put(self, *path: str, value: object = None, **query: object) -> Any:  # noqa: ANN401
        return self.ask("PUT", path, query, value)

    def post(self, *path: str, value: object = None, **query: object) -> Any:  # noqa: ANN401
        return self.ask("POST", path, query, value)

    def delete(self, *path: str, **query: object) -> Any:  # noqa: ANN401
        return self.ask("DELETE", path, query)

    def rows(self, *path: str, **query: object) -> list[Any]:
        """All rows of a list."""
        return list(self._rows(path, query))

    def _rows(self, path: tuple[str, ...], query: Mapping[str, object]) -> Iterator[Any]:
        number, pages = 0, 1
        while number < pages:
            number += 1
            found = self.ask("GET", path, {**query, "page": number, "page_size": ROWS})
            pages = found["pages"]
            yield from found["items"]

    def ask(
        self, method: str, path: tuple[str, ...], query: Mapping[str, object], value: object = None
    ) -> Any:  # noqa: ANN401
        """One request."""
        target = "/".join([self._base, *(quote(it, safe="") for it in path)])
        if query:
            target += "?" + urlencode(query)
        body = None if value is None else json.dumps(value)
        connection = self._connect()
        try:
            connection.request(method, target, body, self._headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= ERRORS:
            raise ApiRefused(answer.status, _sentence(data))
        return json.loads(data) if data else None


def _sentence(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace")


class _SocketConnection(http.client.HTTPConnection):
    """Through the socket of a data directory, however long its path is."""

    def __init__(self, data: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._data = data

    def connect(self) -> None:
        from logstore import portable  # not before a server is asked

        folder = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(ANSWER_S)
            with portable.socket_path(folder, f"{self._data}/api.sock") as path:
                self.sock.connect(path)
        finally:
            os.close(folder)


def by_socket(data: Path) -> Api:
    """Of the server of this data directory, as its owner."""
    return Api(lambda: _SocketConnection(data), BASE, {})


def by_url(url: str) -> Api:
    """``http://[user:password@]host:port[/prefix]``. Raises ValueError."""
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ValueError(
            f"LOGSTORE_TEST_URL={url}: must be http://HOST:PORT of a server's HTTP door"
        )
    host, kind, headers = parts.hostname, kinds[parts.scheme], {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
    base = parts.path.rstrip("/") + BASE
    return Api(lambda: kind(host, parts.port, timeout=ANSWER_S), base, headers)
