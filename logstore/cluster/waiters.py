"""How another thread waits for what is begun in the loop's."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from logstore.errors import Closed, Failed, LogstoreError


class Waiters:
    """``WaitFor`` of one loop, in whose thread it is made."""

    def __init__(self, call_soon: Callable[[Callable[[], object]], object]) -> None:
        """``call_soon`` has something called in the loop's thread, from any."""
        self._call_soon = call_soon
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._waited_for: set[Future[Any]] | None = set()  # None: it is closed

    def may_wait(self) -> bool:
        """Whether this thread may: it is not the loop's."""
        return threading.get_ident() != self._thread

    def __call__(self, begin: Callable[[Callable[[Any], None]], None]) -> Any:  # noqa: ANN401
        """What comes of it. Raises LogstoreError where that is one; Closed; Failed in the loop's
        thread, which would wait for itself.
        """
        if not self.may_wait():
            raise Failed("it has to be asked of the cluster first: try again")
        future: Future[Any] = Future()
        with self._lock:
            if self._waited_for is None:
                raise Closed("this process is stopping")
            self._waited_for.add(future)

        def tell(found: Any) -> None:  # noqa: ANN401
            if not future.done():
                future.set_result(found)

        try:
            self._call_soon(lambda: begin(tell))
            found = future.result()
        finally:
            with self._lock:
                if self._waited_for is not None:
                    self._waited_for.discard(future)
        if isinstance(found, LogstoreError):
            raise found
        return found

    def close(self) -> None:
        """Whoever waits is told so. In the loop's thread."""
        with self._lock:
            waited_for, self._waited_for = self._waited_for or set(), None
        for future in waited_for:
            if not future.done():
                future.set_result(Closed("this process is stopping"))
