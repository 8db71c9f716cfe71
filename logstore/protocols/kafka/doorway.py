"""Opens the Kafka door."""

from typing import Final

from logstore.access.refusals import Refusals
from logstore.protocols.house import House
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.objects import Objects
from logstore.protocols.session import Doorway, Limits, Link, Session

NAME: Final = "kafka"


def open(house: House) -> Doorway:
    """Open the Kafka door. Its limits do not change while it serves."""
    settings = house.settings
    topics = house.queue_topics
    door = KafkaDoor(
        topics,
        house.coordinator,
        settings,
        house.store_id,
        house.path,
        house.clock,
        house.work,
        house.slices,
        house.budget,
        access=house.access,
        logins=house.logins,
        tokens=house.tokens,
        objects=Objects(house.channels.keeps_history, topics.object_of),
        refusals=Refusals(house.stopwatch, house.audit),
        audit=house.audit,
        counts=house.figures.door(NAME),
        transactions_of=house.transactions_of,
        shares_of=house.shares_of,
    )
    advertised = _address(settings.kafka_advertised_address)
    secured = _address(settings.kafka_tls_advertised_address)

    def new_session(link: Link) -> Session:
        from logstore.protocols.kafka.session import KafkaSession  # a server may have no client

        told = (secured if link.secure else advertised) or link.address
        peer = link.peer_address
        return KafkaSession(
            door, link.wake, told, peer, link.certificate,
            secure=link.secure, cut=link.cut, number=link.id,
        )  # fmt: skip

    idle_s = settings.connections_max_idle_ms / 1000
    limits = Limits(settings.max_connections, idle_s)
    return Doorway(new_session, limits, NAME, door.counts, lambda session: session.about())


def _address(text: str) -> tuple[str, int] | None:
    """``host:port``; None for an empty text."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if text else None
