"""After a change of users or rules: ends connections and subscriptions that are now forbidden."""

from collections.abc import Mapping, Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.door import RespDoor
from logstore.slices import Steps

AT_ONCE: Final = 5000  # subscriptions, at a microsecond each; of more, others have their turn


def review(door: RespDoor, everyone: Mapping[int, RespClient]) -> None:
    """Apply changed rules to all clients at once, and check their subscriptions in steps."""
    clients = list(everyone.values())
    with door.channels.lock:
        for client in clients:
            client.look_anew()
    door.slices.begin(_listening(door, clients), lambda _: None, AT_ONCE)


def _listening(door: RespDoor, clients: Sequence[RespClient]) -> Steps:
    for client in clients:
        if client.permits.free or client.cut_off:
            continue
        steps = client.listening()
        while True:
            with door.channels.lock:
                done = client.cut_off or next(steps, None) is None
            if done:
                break
            yield 1
        yield 1
