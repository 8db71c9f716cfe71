"""Opens the MQTT door."""

import math
from typing import TYPE_CHECKING, Final

from logstore.access.refusals import Refusals
from logstore.protocols.first import Code
from logstore.protocols.house import House
from logstore.protocols.session import Doorway, Limits, Link, Session

if TYPE_CHECKING:
    from logstore.protocols.mqtt.door import MqttDoor

NAME: Final = "mqtt"


def open(house: House) -> Doorway:
    """Open the MQTT door. Its limits do not change while it serves."""
    made: list[MqttDoor] = []

    def new_session(link: Link) -> Session:
        from logstore.protocols.mqtt.session import MqttSession

        if not made:
            made.append(_door(house))
        return MqttSession(made[0], link)

    code = Code(house.work, _load, new_session)
    house.figures.alarms[NAME] = lambda: made[0].alarm.reason if made else ""
    # A subscriber may be silent for ever; keep alive detects a lost one.
    limits = Limits(house.settings.max_connections, math.inf)
    return Doorway(
        code.session, limits, NAME, house.figures.door(NAME), lambda session: session.about(),
        lambda session, reason: session.end_by(reason),
    )  # fmt: skip


def _load() -> None:
    """Import the modules of MQTT when the first client connects, since a server may have none."""
    import logstore.protocols.mqtt.session
    import logstore.protocols.rabbit_alarm  # noqa: F401  in a worker, not in a turn


def _door(house: House) -> "MqttDoor":
    from logstore.protocols.mqtt.door import MqttDoor, MqttLimits
    from logstore.protocols.rabbit_alarm import DiskAlarm, free_bytes

    settings = house.settings
    return MqttDoor(
        house.mqtt_of,
        MqttLimits(
            min(settings.mqtt_max_packet_size, house.budget.request_bytes_max),
            settings.mqtt_slow_bytes,
            settings.mqtt_receive_maximum,
        ),
        house.clock,
        house.stopwatch,
        house.slices,
        house.access,
        house.logins,
        Refusals(house.stopwatch, house.audit),
        house.audit,
        insecure=settings.listen_insecure,
        alarm=DiskAlarm(
            house.queues_of, lambda: free_bytes(house.topics), settings.queue_disk_free_bytes,
            lambda: None,
        ),
        counts=house.figures.mqtt,
        totals=house.figures.door(NAME),
    )  # fmt: skip
