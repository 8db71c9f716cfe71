"""The station of an exchange of type x-channel: its messages are published to a channel.

Subscribers receive the bodies. If the channel keeps a history, a worker opens its log first;
messages that arrive meanwhile are parked.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.station import Intake, Parcel
from logstore.broker.queues.station_home import StationHome
from logstore.broker.routing.targets import target_of_exchange
from logstore.broker.unsafe import Unsafe
from logstore.errors import Failed, LogstoreError


class _Parked(NamedTuple):
    payloads: Sequence[bytes]
    waiting: Waiting
    size: int


class ChannelStation:
    """The ``Station`` of one such exchange."""

    def __init__(self, home: StationHome) -> None:
        self.gone = False
        self.channel = target_of_exchange(home.facts)
        self._channels = home.surroundings.channels
        self._work = home.surroundings.work
        self._tell_parked = home.vhost.logs.parked
        self._parked: list[_Parked] = []

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As Station.take."""
        payloads = [bytes(it) for it in parcel.bodies]
        if intake.held is not None:
            intake.lasting.update(range(len(payloads)))  # it goes with what else is committed
            intake.held.before(partial(self._go, payloads), sum(map(len, payloads)))
            return
        error = self._publish(payloads, intake.waiting)
        if error is not None:
            intake.refuse(range(len(payloads)), error)

    def _go(self, payloads: Sequence[bytes], waiting: Waiting) -> None:
        waiting.failed = waiting.failed or self._publish(payloads, waiting)

    def _publish(self, payloads: Sequence[bytes], waiting: Waiting) -> LogstoreError | None:
        channels = self._channels
        if channels is None or self._work is None:
            return Failed(f"channel {self.channel!r}: this process has no channels")
        with channels.lock:
            needed = channels.unopened([(self.channel, True)])
        if not needed and not self._parked:
            return self._publish_now(payloads, waiting)
        size = sum(map(len, payloads))
        waiting.park()
        self._tell_parked(size)
        self._parked.append(_Parked(payloads, waiting, size))
        if len(self._parked) == 1:
            self._work(partial(channels.open_histories, needed), self._opened)
        return None

    def _opened(self, _: object) -> None:
        """Publish the parked messages. If a log could not be opened, its publishers get
        the error.
        """
        parked, self._parked = self._parked, []
        for payloads, waiting, size in parked:
            self._tell_parked(-size)
            waiting.unparked(None, 0, self._publish_now(payloads, waiting))

    def _publish_now(self, payloads: Sequence[bytes], waiting: Waiting) -> LogstoreError | None:
        channels, unsafe = self._channels, Unsafe()
        assert channels is not None
        try:
            with channels.lock:
                channels.put(channels.route(self.channel), payloads, unsafe)
                channels.settle_elsewhere()
        except LogstoreError as error:
            return error
        for log in unsafe:
            waiting.appended(log, unsafe.mark(log))
            log.sync_soon()
        return None

    def drop(self) -> None:
        """As Station.drop."""
        self.gone = True
