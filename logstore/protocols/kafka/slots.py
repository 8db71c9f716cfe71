"""The slots of a connection's requests, in order: each is ready when its reply is."""

from collections.abc import Callable, Sequence
from typing import Protocol

from logstore.errors import LogstoreError
from logstore.protocols.kafka.door import InWorker, Later
from logstore.protocols.session import Buffer


class Slot(Protocol):
    """One request that was received."""

    deadline: float | None  # when it is ready at the latest

    @property
    def held_bytes(self) -> int:
        """Memory held until the answer is sent; constant unless the connection is held."""

    def ready(self, now: float) -> bool:
        """Whether ``body`` can be called."""

    def body(self) -> Sequence[Buffer] | None:
        """The answer without its header, taken once when it can be sent; None if no answer
        is sent.
        """

    def finish(self) -> None:
        """Become ready with the data so far."""


class Ready:
    """A reply that was ready immediately."""

    __slots__ = ("_body", "deadline", "held_bytes")

    def __init__(self, body: Buffer) -> None:
        self.deadline: float | None = None
        self.held_bytes = len(body)
        self._body = body

    def ready(self, now: float) -> bool:
        return True

    def body(self) -> Sequence[Buffer]:
        return (self._body,)

    def finish(self) -> None:
        pass


class Promised:
    """The reply of a ``Later``."""

    __slots__ = ("_begin", "_encode", "_later", "_request_bytes", "_response", "deadline")

    def __init__(
        self,
        later: Later,
        encode: Callable[[object], Buffer],
        request_bytes: int,
        begin: Callable[[InWorker], Later] | None = None,
    ) -> None:
        """``request_bytes``: bytes of the request that are kept until the answer exists.

        ``begin``: makes the answer's bytes in a worker, and wakes the client.
        """
        self.deadline: float | None = None
        self._request_bytes = request_bytes
        self._later = later
        self._encode = encode
        self._begin = begin
        self._response: object = None

    @property
    def held_bytes(self) -> int:
        answer = self._later.answer
        if answer is None:
            return self._request_bytes
        # An answer that is not encoded yet is small, or as large as its groups, which are counted
        # elsewhere.
        return len(answer) if isinstance(answer, bytearray) else self._request_bytes

    def ready(self, now: float) -> bool:
        if self._response is None and self._later.answer is not None:
            self._respond(self._later.answer)
        return self._response is not None

    def _respond(self, answer: object) -> None:
        then = self._later.then
        if then is not None and not isinstance(answer, LogstoreError):
            answer = then(answer)
        if isinstance(answer, InWorker):
            assert self._begin is not None
            self._later = self._begin(answer)
        else:
            self._response = answer

    def body(self) -> Sequence[Buffer]:
        if isinstance(self._response, LogstoreError):  # the job was to translate it
            raise self._response
        if isinstance(self._response, bytearray):
            return (self._response,)
        return (self._encode(self._response),)

    def finish(self) -> None:
        """Give up work that waits for other clients; work in another thread cannot be hurried."""
        self._later.give_up()


class Unfolding:
    """The slot of a request that takes long to decode; its real slot follows."""

    __slots__ = ("_error", "_finishing", "_given", "_request_bytes", "_slot", "_wake", "deadline")

    def __init__(self, wake: Callable[[], None], request_bytes: int) -> None:
        """``wake`` is called when the slot exists; until then ``request_bytes`` are kept."""
        self.deadline: float | None = None
        self._request_bytes = request_bytes
        self._wake = wake
        self._given = self._finishing = False
        self._slot: Slot | None = None
        self._error: LogstoreError | None = None

    @property
    def held_bytes(self) -> int:
        return self._request_bytes if self._slot is None else self._slot.held_bytes

    def give(self, outcome: Slot | LogstoreError | None) -> None:
        """Set the slot, or the error that ends the connection; None if there is no answer."""
        self._given = True
        if isinstance(outcome, LogstoreError):
            self._error = outcome
        else:
            self._slot = outcome
            if outcome is not None and self._finishing:
                outcome.finish()
        self._wake()

    def ready(self, now: float) -> bool:
        if not self._given or self._slot is None:
            return self._given
        is_ready = self._slot.ready(now)
        self.deadline = self._slot.deadline
        return is_ready

    def body(self) -> Sequence[Buffer] | None:
        if self._error is not None:
            raise self._error
        return None if self._slot is None else self._slot.body()

    def finish(self) -> None:
        self._finishing = True
        if self._slot is not None:
            self._slot.finish()
