"""Members of the space of topics: a session, or a shared group."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from logstore.broker.history import Kept
from logstore.broker.listeners import Chunk, Form

if TYPE_CHECKING:  # with messages of QoS 0 alone there are no queues
    from logstore.broker.queues.queue import Queue


class Grant(NamedTuple):
    """The options of a subscription besides its filter."""

    qos: int = 0  # the highest that its messages are sent with
    no_local: bool = False
    retain_as_published: bool = False
    id: int = 0  # the subscription identifier; 0: none was given


class Member(Protocol):
    """A member of the space, which owns its subscriptions. Compared by identity.

    ``Space.changed`` is called before any of these attributes changes.
    """

    @property
    def live(self) -> bool:
        """Whether a client is connected that gets messages of QoS 0."""

    @property
    def shared(self) -> bool:
        """Whether the member is a group, whose queue gets messages of QoS 0 too."""

    @property
    def queue(self) -> "Queue | None":
        """The queue for messages to be acknowledged, if the member has a grant of QoS 1 or 2.

        It is in the virtual host ``/``. None: the member has none, and gets all messages with QoS
        0.
        """

    def form_of(self, *, retain_as_published: bool, ids: tuple[int, ...]) -> Form:
        """Return the format of messages of QoS 0 for this member; equal formats are one object.

        ``ids``: the subscription identifiers, ascending, each once.
        """

    def deliver(self, chunk: Chunk) -> None:
        """As ``Subscriber.deliver``, for a live member only. Messages above its limits
        are dropped.
        """

    def deliver_kept(self, chunk: Chunk, kept: Kept) -> None:
        """As ``Subscriber.deliver_kept``; never called, since members read no histories."""
