"""Builds asyncio methods from the library's methods, by a table.

They have the same names, parameters and docstrings, and run in a worker.
"""

from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import wraps
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from logstore.aio.ground import Ground
from logstore.aio.outlasting import Outlasting
from logstore.aio.workers import Workers

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Behind_co = TypeVar("_Behind_co", covariant=True)


class Face(Generic[_Behind_co]):
    """An object of the asyncio library: the object behind it, and the workers."""

    def __init__(self, behind: _Behind_co, ground: Ground) -> None:
        self._behind = behind
        self._ground = ground

    def __repr__(self) -> str:
        return f"<aio {self._behind!r}>"

    @property
    def behind(self) -> _Behind_co:
        """The library's synchronous object. Raises Closed; Refused in another event loop."""
        self._ground.checked()
        return self._behind

    @property
    def workers(self) -> Workers:
        """Workers for calls that take milliseconds."""
        return self._ground.workers

    @property
    def slow(self) -> Workers:
        """Workers for calls that may take minutes."""
        return self._ground.slow


def awaited(
    method: Callable[Concatenate[_Behind_co, _P], _T],
) -> Callable[Concatenate[Face[_Behind_co], _P], Coroutine[Any, Any, _T]]:
    """An asynchronous form of the method, run by a worker."""

    @wraps(method)
    async def call(face: Face[_Behind_co], /, *args: _P.args, **given: _P.kwargs) -> _T:
        behind = face.behind
        return await face.workers.run(lambda: method(behind, *args, **given))

    return call


def streamed(
    method: Callable[Concatenate[_Behind_co, _P], Iterator[_T]],
) -> "Callable[Concatenate[Face[_Behind_co], _P], Stream[_T]]":
    """An asynchronous form of a method that yields items: a worker fetches each one."""

    @wraps(method)
    def call(face: Face[_Behind_co], /, *args: _P.args, **given: _P.kwargs) -> Stream[_T]:
        behind = face.behind
        return Stream(lambda: method(behind, *args, **given), face.slow)

    return call


class Opened(Generic[_T]):
    """An object that may be awaited to open it; otherwise its first use opens it."""

    def __await__(self) -> Generator[Any, None, _T]:
        return self._opened().__await__()

    async def _opened(self) -> _T:
        raise NotImplementedError


_END: Final = object()


class Stream(Opened["Stream[_T]"], Generic[_T]):
    """Objects that arrive one after another; ``async for`` fetches each on demand.

    A task that is cancelled meanwhile loses none: the next call returns it. Awaiting the stream
    reports invalid arguments immediately.
    """

    def __init__(self, make: Callable[[], Iterator[_T]], workers: Workers) -> None:
        self._make = make
        self._iterator: Iterator[_T] | None = None
        self._step: Outlasting[Any] = Outlasting(workers)

    async def _opened(self) -> "Stream[_T]":
        await self._step.anew(self._begin)
        return self

    def _begin(self) -> Iterator[_T]:
        if self._iterator is None:
            self._iterator = iter(self._make())
        return self._iterator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        found: _T = await self._step.next(self._next)
        if found is _END:
            raise StopAsyncIteration
        return found

    def _next(self) -> Any:  # noqa: ANN401  what there is, or _END
        return next(self._begin(), _END)
