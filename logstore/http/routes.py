"""Routes as data: the handler of each method and path; and the parsing of a request's target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from logstore.config import nearest
from logstore.http.asks import Ask
from logstore.http.bodies import JSON
from logstore.http.faults import BAD_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, Fault

PATH_SHOWN: Final = 300  # characters
SEGMENTS_MAX: Final = 32
PARAMETERS_MAX: Final = 100
BODY_BYTES_MAX: Final = 1 << 20  # names of some ten thousand topics

_H = TypeVar("_H")

ANY: Final = ("*",)  # the query of a route that ignores the parameters which it does not know


class Route(NamedTuple, Generic[_H]):
    """One row of a table of routes."""

    method: str
    path: str  # {name} stands for one segment, of any bytes, percent-encoded where need be
    handler: _H
    summary: str  # one line, for people
    asks: Ask
    query: tuple[str, ...] = ()  # the parameters that it takes
    takes: type | None = None  # what its body is read as
    gives: Any = None  # the type of its answer
    kind: str = JSON  # of the answer, or of most
    body_bytes_max: int = BODY_BYTES_MAX
    lists: tuple[str, ...] = ()  # parameters that may be given more than once


@dataclass(frozen=True, slots=True)
class Target:
    """Path and query, decoded; names are any bytes."""

    segments: tuple[bytes, ...]
    query: Mapping[str, Sequence[bytes]]  # all values of each parameter


class Found(NamedTuple, Generic[_H]):
    """The route of a request, with the names in its path."""

    route: Route[_H]
    names: Mapping[str, bytes]  # what stands in the path for the names in its pattern
    query: Mapping[str, bytes]
    many: Mapping[str, Sequence[bytes]] = MappingProxyType({})  # of those in ``lists``


def target_of(raw: bytes) -> Target:
    """Raises Fault."""
    if raw.lower().startswith((b"http://", b"https://")):  # RFC 9112, 3.2.2
        _, _, rest = raw.partition(b"://")
        raw = b"/" + rest.partition(b"/")[2]
    path, _, query = raw.partition(b"?")
    if path.count(b"/") > SEGMENTS_MAX:
        raise no_such_path(raw)
    if query.count(b"&") > PARAMETERS_MAX:
        raise Fault(BAD_REQUEST, f"at most {PARAMETERS_MAX} parameters are allowed")
    segments = tuple(map(unquote_to_bytes, path.split(b"/")))
    found: dict[str, list[bytes]] = {}
    for part in query.split(b"&") if query else ():
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        text = unquote_to_bytes(name).decode("utf-8", "backslashreplace")
        found.setdefault(text, []).append(unquote_to_bytes(value))
    return Target(segments, found)


class Router(Generic[_H]):
    """A table of routes, compiled for look-ups."""

    def __init__(self, routes: Sequence[Route[_H]], otherwise: Route[_H] | None = None) -> None:
        """``otherwise``: gets what no row matches, with its ``path``, whatever its query."""
        self.routes = routes
        self._otherwise = otherwise
        # By how many segments a path has; of two that match, one with a literal segment where the
        # other has a name comes first.
        self._by_length: dict[int, list[tuple[Sequence[bytes], Route[_H]]]] = {}
        for route in routes:
            parts = [part.encode() for part in route.path.split("/")]
            self._by_length.setdefault(len(parts), []).append((parts, route))
        for rows in self._by_length.values():
            rows.sort(key=lambda row: [part.startswith(b"{") for part in row[0]])

    def find(self, method: str, raw: bytes) -> Found[_H]:
        """The route of a request; HEAD is a GET whose answer has no body. Raises Fault."""
        target = target_of(raw)
        there = self._there(target)
        if not there:
            if self._otherwise is None or method not in ("GET", "HEAD"):
                raise no_such_path(raw)
            return Found(self._otherwise, {"path": b"/".join(target.segments[1:])}, {})
        return _of_method(there, method, target)

    def methods(self, raw: bytes) -> list[str]:
        """Those of a path. Raises Fault."""
        there = self._there(target_of(raw))
        if not there:
            raise no_such_path(raw)
        return [*_methods([route for route, _ in there]), "OPTIONS"]

    def _there(self, target: Target) -> "Sequence[_There[_H]]":
        return [
            (route, names)
            for parts, route in self._by_length.get(len(target.segments), ())
            if (names := _match(parts, target.segments)) is not None
        ]


def no_such_path(raw: bytes) -> Fault:
    """What is answered to a target that leads nowhere."""
    path = raw.partition(b"?")[0].decode("ascii", "backslashreplace")
    return Fault(NOT_FOUND, f"no such path: {path[:PATH_SHOWN]}")


_There = tuple[Route[_H], Mapping[str, bytes]]


def _methods(routes: Sequence[Route[_H]]) -> list[str]:
    methods = {route.method for route in routes}
    return sorted(methods) + ["HEAD"] * ("GET" in methods)


def _of_method(there: Sequence[_There[_H]], method: str, target: Target) -> Found[_H]:
    """Raises Fault."""
    wanted = "GET" if method == "HEAD" else method
    for route, names in there:
        if route.method == wanted:
            for name, values in target.query.items() if route.query != ANY else ():
                if name not in route.query:
                    raise Fault(BAD_REQUEST, _unknown(name, route.query))
                if len(values) > 1 and name not in route.lists:
                    raise Fault(BAD_REQUEST, f"parameter {name!r} is given twice")
            query = {name: values[0] for name, values in target.query.items()}
            many = {name: target.query[name] for name in route.lists if name in target.query}
            return Found(route, names, query, many)
    allow = ", ".join(_methods([route for route, _ in there]))
    raise Fault(METHOD_NOT_ALLOWED, f"{method} is not for this path, but {allow}", allow)


def _unknown(name: str, known: Sequence[str]) -> str:
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return f"no parameter {name!r} of this path{nearest(name, known)}; {takes}"


def _match(parts: Sequence[bytes], segments: Sequence[bytes]) -> dict[str, bytes] | None:
    """Of as many segments."""
    names: dict[str, bytes] = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith(b"{"):
            names[part[1:-1].decode()] = segment
        elif part != segment:
            return None
    return names
