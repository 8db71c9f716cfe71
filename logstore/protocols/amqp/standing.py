"""The user of a connection: identified at login, checked again when users or rules change."""

from typing import Protocol

from logstore.access.audit import LOGIN, REFUSED
from logstore.access.identity import Identity
from logstore.access.logins import Login
from logstore.access.resources import QUEUE, READ
from logstore.amqp import methods
from logstore.amqp.fields import data
from logstore.amqp.methods import Method
from logstore.amqp.replies import CONNECTION_FORCED, NOT_ALLOWED, Refusal
from logstore.printable import printable
from logstore.protocols.amqp.carrier import Carrier
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.credentials import login_refused
from logstore.protocols.amqp.handshake import Handshake
from logstore.protocols.amqp.login import DOOR, log_in
from logstore.protocols.amqp.phase import ENDING, Phase
from logstore.protocols.amqp.subscription import AmqpSubscription
from logstore.protocols.rabbit_asks import of_stream
from logstore.protocols.rabbit_login import EXTERNAL, Admitted, TurnedAway
from logstore.protocols.rabbit_permits import Ask


class Asked(Carrier, Protocol):
    """The connection whose user is identified."""

    phase: Phase
    handshake: Handshake
    entry: Admitted | None
    is_out: bool  # its user was deleted
    channels: dict[int, AmqpChannel]

    def send(self, method: Method) -> None: ...
    def begin_check(self) -> None: ...
    def end_check(self) -> None: ...
    def refuse(self, refusal: Refusal, delay_s: float, reason: str) -> None: ...


def check_login(of: Asked) -> None:
    """Check the login of a StartOk; later frames wait for the result."""
    offer = of.handshake.offer
    assert offer is not None

    def known(came: Admitted | TurnedAway) -> None:
        if of.phase is Phase.HANDSHAKE:  # unless it has ended meanwhile
            _logged_in(of, offer.mechanism, came)

    of.begin_check()
    log_in(of.door, of.link, offer, known)


def _logged_in(of: Asked, mechanism: str, came: Admitted | TurnedAway) -> None:
    if isinstance(came, Admitted) and not of.door.access.knows(came.who):
        came = TurnedAway(came.user, 0.0)  # the user was deleted meanwhile
    if isinstance(came, TurnedAway):
        tried = Identity(came.user, of.link.peer_address[0], mechanism, DOOR)
        of.door.audit.tell(LOGIN, tried, outcome=REFUSED)
        reason = f"{mechanism} login refused: user '{printable(came.user)}'"
        of.refuse(login_refused(mechanism), came.delay_s, reason)
    else:
        of.door.audit.tell(LOGIN, came.who)
        of.entry = came
        of.send(of.handshake.accept())
        of.end_check()


def check_secret(of: Asked, secret: bytes) -> None:
    """Check the client's new password for its present user (RabbitMQ's extension)."""
    entry = of.entry
    assert entry is not None
    who = entry.who
    if not who.user or who.mechanism == EXTERNAL:  # there is no secret that could be wrong
        of.send(methods.ConnectionUpdateSecretOk())
        return

    def known(login: Login) -> None:
        if of.phase in ENDING:
            return
        if login.user == who.user:
            of.send(methods.ConnectionUpdateSecretOk())
            of.end_check()
        else:
            of.door.audit.tell(LOGIN, who, "with a new secret", REFUSED)
            refusal = Refusal(NOT_ALLOWED, "New secret was refused by one of the backends")
            of.refuse(refusal, login.delay_s, f"a wrong new secret of user '{entry.user}'")

    of.begin_check()
    of.door.logins.check(data(who.user), secret, who.host, known)


def look_again(of: Asked) -> None:
    """Apply changed users or rules: end what the client may no longer do."""
    if of.entry is None or of.phase in ENDING:
        return
    if of.is_out:
        refusal = Refusal(CONNECTION_FORCED, gone(of.entry))
        of.fail(refusal, (0, 0))
        if of.link.unsent:  # which the client may no longer receive
            of.link.cut(str(refusal))
            return
    for channel in list(of.channels.values()):
        for subscription in list(channel.subscriptions.values()):
            _look_at_consumer(of, channel, subscription)
    of.link.wake()


def gone(entry: Admitted) -> str:
    """The error for a client whose login is no longer valid."""
    if entry.who.user:
        return f"user '{entry.user}' is deleted"
    return "there are users now: log in as one of them"


def _look_at_consumer(of: Asked, channel: AmqpChannel, subscription: AmqpSubscription) -> None:
    """Cancel the consumer if the client may no longer read the queue; unacknowledged messages stay
    out.
    """
    name = subscription.queue.facts.name
    ask = Ask(READ, QUEUE, name)
    forbidden = [it for it in of_stream(of.vhost, READ, name) if of.permits.is_forbidden(it)]
    if of.permits.may(ask) and not forbidden:
        return
    if channel.subscriptions.pop(subscription.tag, None) is None:
        return
    ask = Ask(*forbidden[0]) if forbidden else ask
    subscription.queue.unsubscribe(subscription)
    if of.may_cancel:
        channel.cancelled(subscription.tag)
    else:
        channel.end_by_itself(of.permits.refusal(ask))
