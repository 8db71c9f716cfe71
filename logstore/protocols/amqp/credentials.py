"""The credentials that a client sends by PLAIN (RFC 4616), AMQPLAIN or EXTERNAL. Pure."""

from typing import Final, NamedTuple

from logstore.amqp import fields
from logstore.amqp.fields import data
from logstore.amqp.replies import ACCESS_REFUSED, COMMAND_INVALID, Refusal
from logstore.protocols.rabbit_login import EXTERNAL

PLAIN: Final = "PLAIN"
AMQPLAIN: Final = "AMQPLAIN"


class Credentials(NamedTuple):
    """A name and a password as sent. Never shown: see ``__repr__``."""

    name: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(...)"


class Offer(NamedTuple):
    """The mechanism that a client uses to log in, and its credentials."""

    mechanism: str
    credentials: Credentials | None  # None: there are none, or none that can be read


def offer_of(mechanism: str, response: bytes, *, external: bool) -> Offer:
    """The login in a StartOk. ``external``: that mechanism was offered. Raises Refusal."""
    if mechanism == PLAIN:
        return Offer(mechanism, _plain(response))
    if mechanism == AMQPLAIN:
        return Offer(mechanism, _amqplain(response))
    if mechanism == EXTERNAL and external:
        return Offer(mechanism, None)  # the response is ignored, as in RabbitMQ
    raise Refusal(COMMAND_INVALID, f"unknown authentication mechanism '{mechanism}'")


def login_refused(mechanism: str) -> Refusal:
    """The refusal of a login, which does not reveal its reason."""
    return Refusal(
        ACCESS_REFUSED,
        f"Login was refused using authentication mechanism {mechanism}. "
        f"For details see the broker logfile.",
    )


def _plain(response: bytes) -> Credentials | None:
    """Decode PLAIN, without an authorization identity, which RabbitMQ also refuses."""
    parts = response.split(b"\0")
    return Credentials(*parts[1:]) if len(parts) == 3 and not parts[0] else None


def _amqplain(response: bytes) -> Credentials | None:
    """Decode AMQPLAIN: a table without its length."""
    try:
        found, _ = fields.read_table(fields.longstr(response), 0)
    except Refusal:
        return None
    login, password = found.get("LOGIN"), found.get("PASSWORD")
    if not isinstance(login, str) or not isinstance(password, str):
        return None
    return Credentials(data(login), data(password))
