"""Tells clients with cached values that these are no longer valid."""

from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.onlookers.party import Party, Tracking
from logstore.protocols.resp.onlookers.tracked import Tracked
from logstore.protocols.resp.replies import NULL, array, bulk, bulks, integer, push

CHANNEL: Final = b"__redis__:invalidate"  # where a RESP2 connection hears of it


def notice(
    client: Party, tracking: Tracking, keys: Sequence[bytes] | None
) -> tuple[Party, bytes] | None:
    """The client to notify that this client's copies of the keys are void, and the message.

    ``keys`` None means all keys. Returns None if no one is to be notified.
    """
    void = NULL[client.version] if keys is None else bulks(keys)
    listener = client
    if tracking.redirect:
        found = client.everyone.get(tracking.redirect)
        if found is None:
            tracking.broken = True
            items = [bulk(b"tracking-redir-broken"), integer(tracking.redirect)]
            return (client, push(items, 3)) if client.version == 3 else None
        listener = found
    if listener.version == 3:
        return listener, push([bulk(b"invalidate"), void], 3)
    if listener is not client and listener.subscribed:
        # Redis encodes null in the tracking client's version, whichever client receives it.
        return listener, array([bulk(b"message"), bulk(CHANNEL), void])
    return None


def send(told: tuple[Party, bytes] | None, by: Party | None) -> None:
    """Send a notice; ``by``, the client that made the change, receives it after its own reply."""
    if told is None:
        return
    listener, text = told
    if listener is by:
        listener.notices.append(text)
    else:
        listener.deliver(text)


def tell_changed(tracked: Tracked, by: Party | None) -> None:
    """Notify all clients whose copies are void."""
    for client, keys in tracked.take_read().items():
        if client.tracking is not None:
            send(notice(client, client.tracking, list(keys)), by)
    for client, some in tracked.take_begun():
        if client.tracking is not None:
            send(notice(client, client.tracking, some), by)
