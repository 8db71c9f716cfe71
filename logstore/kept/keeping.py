"""A change of stored facts that is to become durable."""

from collections.abc import Callable, Collection

from logstore.errors import LogstoreError
from logstore.log import TopicPartition

# Calls back once this node has read what other nodes have written, or with why it cannot know.
ReadOn = Callable[[Callable[[LogstoreError | None], None]], object]


class Keeping:
    """A change that is becoming durable. Used in the thread that requested it."""

    __slots__ = ("_then", "done", "error", "refused")

    def __init__(self) -> None:
        self.done = False  # durable, or never will be
        self.error: LogstoreError | None = None  # why nothing of it was kept
        self.refused: Collection[TopicPartition] = ()  # offsets left out: their topic is gone
        self._then: Callable[[Keeping], None] | None = None

    def then(self, call: Callable[["Keeping"], None]) -> None:
        """Call this once the change is done; immediately if it is. Changes end in their order."""
        assert self._then is None
        if self.done:
            call(self)
        else:
            self._then = call

    def finish(self, error: LogstoreError | None, refused: Collection[TopicPartition] = ()) -> None:
        """Report the result; called once, by the storage."""
        assert not self.done
        self.done, self.error, self.refused = True, error, refused
        if self._then is not None:
            self._then(self)
