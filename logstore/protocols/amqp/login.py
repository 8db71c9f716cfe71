"""Checks a client's identity by the mechanism that it has chosen."""

from typing import Final

from logstore.protocols.amqp.credentials import Credentials, Offer
from logstore.protocols.rabbit_login import (
    EXTERNAL,
    Gate,
    Then,
    Way,
    by_certificate,
    by_password,
)
from logstore.protocols.session import Link

DOOR: Final = "amqp"

NOTHING: Final = Credentials(b"", b"")  # of an unreadable response: no user has these


def log_in(gate: Gate, link: Link, offer: Offer, then: Then) -> None:
    """Log in; ``then`` is called with the result, now or in a later turn."""
    way = Way(DOOR, offer.mechanism)
    if offer.mechanism == EXTERNAL:
        then(by_certificate(gate, link, way))
    else:
        given = offer.credentials or NOTHING
        by_password(gate, link, way, given.name, given.password, then)
