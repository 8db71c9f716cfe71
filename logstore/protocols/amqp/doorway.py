"""Opens the RabbitMQ door."""

import math
from typing import Final

from logstore.access.refusals import Refusals
from logstore.protocols.amqp.door import AmqpDoor
from logstore.protocols.house import House
from logstore.protocols.rabbit_alarm import free_bytes
from logstore.protocols.session import Doorway, Limits, Link, Session

NAME: Final = "amqp"


def open(house: House) -> Doorway:
    """Open the AMQP door. Its limits do not change while it serves."""
    settings = house.settings
    door = AmqpDoor(
        house.queues_of,
        settings.amqp_server_version,
        house.store_id,
        min(settings.amqp_max_message_size, house.budget.request_bytes_max),
        free_bytes=lambda: free_bytes(house.topics),
        free_bytes_min=settings.queue_disk_free_bytes,
        stopwatch=house.stopwatch,
        slices=house.slices,
        access=house.access,
        logins=house.logins,
        refusals=Refusals(house.stopwatch, house.audit),
        audit=house.audit,
        insecure=settings.listen_insecure,
        counts=house.figures.amqp,
    )

    house.amqp_clients.come_from(lambda: door.sessions)

    def new_session(link: Link) -> Session:
        from logstore.protocols.amqp.session import AmqpSession  # a server may have no client

        return AmqpSession(door, link)

    # A consumer may be silent for ever; heartbeats detect a lost one.
    limits = Limits(settings.max_connections, math.inf)
    counts = house.figures.door(NAME)
    house.figures.alarms[NAME] = lambda: door.blocked
    return Doorway(
        new_session, limits, NAME, counts, lambda session: session.about(),
        lambda session, reason: session.end_by(reason),
    )  # fmt: skip
