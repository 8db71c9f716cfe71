"""Opens or creates, in a worker, the histories that a request needs before it is executed."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from logstore.broker.channel import Needed
from logstore.protocols.resp.client import RespClient
from logstore.slices import in_one_go

# Positions of channels in a request, and whether missing histories are created.
_NAMED: Final = {
    b"publish": (slice(1, 2), True),
    b"subscribe": (slice(1, None), True),
    b"channel.read": (slice(1, 2), False),
}


NAMES_AT_ONCE: Final = 100  # of a request, opened before it begins


class Opening:
    """The opening for one connection, which reads nothing more meanwhile."""

    __slots__ = ("_client", "_tried", "under_way")

    def __init__(self, client: RespClient) -> None:
        self.under_way = False
        self._client = client
        self._tried = False  # for the request that comes next

    def first(self, request: Sequence[bytes]) -> bool:
        """Whether the request must wait; it is passed again when the client is woken.

        An error on opening is reported when the request is carried out.
        """
        if self.under_way:
            return True
        tried, self._tried = self._tried, False
        channels = self._client.door.channels
        if tried or not channels.keeps:
            return False
        verb = request[0].lower()
        if len(request) > NAMES_AT_ONCE and verb in _NAMED:
            return False  # each is opened when its turn comes
        if self._client.queue is not None and verb != b"exec":
            return False  # it is carried out later, if at all
        needed = channels.unopened(self._needed(request))
        if verb == b"psubscribe":
            needed += channels.all_unopened()
        if not needed:
            return False
        self.under_way = True
        self._client.door.work(partial(channels.open_histories, needed), self._opened)
        self._tried = self.under_way  # otherwise it is done already
        return self.under_way

    def _opened(self, _: object) -> None:
        self.under_way = False
        self._client.link.wake()

    def _needed(self, request: Sequence[bytes]) -> Iterator[Needed]:
        verb = request[0].lower()
        if verb == b"exec":
            client = self._client
            permits = client.permits
            for queued in client.queue or ():
                asking = permits.asking(queued.command, queued.arguments)
                if client.asked_already or in_one_go(asking) is None:
                    yield from self._needed(queued.arguments)
        elif verb in _NAMED:
            where, make = _NAMED[verb]
            for name in request[where]:
                yield name, make
