"""A connection and its channels as other parts of the server see them."""

from typing import Protocol

from logstore.protocols.amqp.carrier import Carrier
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.handshake import Handshake
from logstore.protocols.amqp.phase import Phase
from logstore.protocols.amqp_clients import Client, ClientChannel
from logstore.protocols.rabbit_login import Admitted


class Seen(Carrier, Protocol):
    """One connection, as ``amqp_clients`` lists it."""

    phase: Phase
    handshake: Handshake
    entry: Admitted | None
    channels: dict[int, AmqpChannel]


def client(of: Seen) -> Client | None:
    """As Connected.seen."""
    if of.phase is not Phase.RUNNING:
        return None
    assert of.entry is not None
    shake, link = of.handshake, of.link
    return Client(
        of.name, of.permits.user, of.vhost_name, "blocked" if of.told_blocked else "running",
        link.address, link.peer_address, link.secure, of.entry.who.mechanism, shake.channel_max,
        shake.frame_max, shake.heartbeat_s, shake.client_properties, len(of.channels),
        of.out_bytes + link.unsent,
    )  # fmt: skip


def channels(of: Seen) -> list[ClientChannel]:
    """As Connected.seen_channels."""
    return [_channel(it) for _, it in sorted(of.channels.items())]


def _channel(it: AmqpChannel) -> ClientChannel:
    held, confirms = it.transaction, it.confirms
    return ClientChannel(
        it.number, it.name, "closing" if it.closing else "running", len(it.subscriptions),
        confirms is not None, held is not None, it.prefetch, it.limit, len(it.unacked),
        0 if confirms is None else confirms.unconfirmed,
        0 if held is None else len(held.run),
        0 if held is None else len(held.settlements),
    )  # fmt: skip
