"""The table of exchange types that have stations, with the functions that create these."""

from collections.abc import Mapping
from typing import Final

from logstore.broker.deduplication.headers import ONCE
from logstore.broker.queues.station import Station
from logstore.broker.queues.station_home import StationHome, StationMaker
from logstore.broker.routing.delayed_exchange import DELAYED
from logstore.broker.routing.targets import TO_CHANNEL, TO_TOPIC


def _delayed(home: StationHome) -> Station:
    from logstore.broker.queues.delayed import DelayedStation

    return DelayedStation(home)


def _once(home: StationHome) -> Station:
    from logstore.broker.queues.once_station import OnceStation

    return OnceStation(home)


def _to_topic(home: StationHome) -> Station:
    from logstore.broker.queues.topic_station import TopicStation

    return TopicStation(home)


def _to_channel(home: StationHome) -> Station:
    from logstore.broker.queues.channel_station import ChannelStation

    return ChannelStation(home)


# By the type's name. Each imports what it needs when the first is made.
MAKERS: Final[Mapping[str, StationMaker]] = {
    DELAYED: _delayed,
    ONCE: _once,
    TO_CHANNEL: _to_channel,
    TO_TOPIC: _to_topic,
}
KEEPING: Final = frozenset({DELAYED, ONCE})  # messages, or ids of them
