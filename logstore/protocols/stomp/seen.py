"""A connection, and its one channel to the queues, as other parts of the server see them."""

from typing import Final

from logstore.protocols.amqp_clients import Client, ClientChannel
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.phase import OPEN
from logstore.stomp.beats import Beats

DOOR: Final = "stomp"


def client(of: StompClient, beats: Beats) -> Client | None:
    """As Connected.seen."""
    if of.phase not in OPEN or of.entry is None:
        return None
    link = of.link
    return Client(
        of.connection, of.permits.user, of.vhost_name,
        "blocked" if of.outbox.blocked else "running", link.address, link.peer_address,
        link.secure, of.entry.who.mechanism, channel_max=1, frame_max=0,
        heartbeat_s=round(beats.expects), properties={"product": "STOMP client"}, channels=1,
        unsent=of.out_bytes + link.unsent, door=DOOR, protocol=f"STOMP {of.version}",
    )  # fmt: skip


def channel(of: StompClient) -> ClientChannel:
    """As Connected.seen_channels has it."""
    held = of.transactions.values()
    return ClientChannel(
        number=1, name=of.name, state="running", consumers=len(of.subscriptions), confirms=True,
        transactional=bool(of.transactions), prefetch=0, prefetch_all=0, unacked=len(of.unacked),
        unconfirmed=of.receipts.unconfirmed, uncommitted=sum(len(it.run) for it in held),
        acks_uncommitted=sum(len(it.settlements) for it in held),
    )  # fmt: skip
