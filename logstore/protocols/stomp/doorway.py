"""Opens the STOMP door."""

import math
from typing import Final

from logstore.access.refusals import Refusals
from logstore.protocols.first import Code
from logstore.protocols.house import House
from logstore.protocols.rabbit_alarm import free_bytes
from logstore.protocols.session import Doorway, Limits, Link, Session
from logstore.protocols.stomp.door import StompDoor

NAME: Final = "stomp"
LINE_END: Final = b"\n"


def open(house: House) -> Doorway:
    """Open the STOMP door. Its limits do not change while it serves."""
    settings, counts = house.settings, house.figures.door(NAME)
    door = StompDoor(
        house.queues_of,
        f"RabbitMQ/{settings.amqp_server_version}",
        min(settings.amqp_max_message_size, house.budget.request_bytes_max),
        line_end=LINE_END if settings.stomp_trailing_lf else b"",
        free_bytes=lambda: free_bytes(house.topics),
        free_bytes_min=settings.queue_disk_free_bytes,
        stopwatch=house.stopwatch,
        slices=house.slices,
        access=house.access,
        logins=house.logins,
        refusals=Refusals(house.stopwatch, house.audit),
        audit=house.audit,
        insecure=settings.listen_insecure,
        counts=house.figures.stomp,
        traffic=counts,
    )

    house.amqp_clients.come_from(lambda: door.sessions)

    def made(link: Link) -> Session:
        from logstore.protocols.stomp.session import StompSession

        return StompSession(door, link)

    code = Code(house.work, _load, made)
    # A subscriber may be silent for ever; heart-beats detect a lost one.
    limits = Limits(settings.max_connections, math.inf)
    house.figures.alarms[NAME] = lambda: door.alarm.reason
    return Doorway(
        code.session, limits, NAME, counts, lambda session: session.about(),
        lambda session, reason: session.end_by(reason),
    )  # fmt: skip


def _load() -> None:
    """Import the modules of STOMP when the first client connects, since a server may have none."""
    import logstore.protocols.stomp.session  # noqa: F401  in a worker, not in a turn
