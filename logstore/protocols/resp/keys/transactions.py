"""WATCH and UNWATCH: a transaction is aborted if a watched key has changed."""

from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.keys.look import look
from logstore.protocols.resp.keys.rows import AT_ONCE
from logstore.protocols.resp.replies import OK
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps


def _watch(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    if client.queue is not None:
        raise Wrong("WATCH inside MULTI is not allowed")
    steps = _watching(client, arguments[1:])
    if len(arguments) > AT_ONCE:
        return steps
    for _ in steps:
        pass
    return None


def _watching(client: RespClient, keys: Sequence[bytes]) -> Steps:
    onlookers = client.door.onlookers
    for key in keys:
        onlookers.watch(client, key, there=look(client, key) is not None)
        yield 1
    client.say(OK)


def _unwatch(client: RespClient, _: Sequence[bytes]) -> None:
    client.door.onlookers.unwatch(client)
    client.say(OK)


_FLAGS: Final = ("noscript", "loading", "stale", "fast", "allow_busy")

COMMANDS: Final = (
    Command("watch", -2, _watch, "Gives up the next transaction if a key changes before.",
            "2.2.0", "transactions", _FLAGS, ("@fast", "@transaction"), keys=(1, -1, 1),
            key_flags=(("RO",),), at_once=True, many=True),
    Command("unwatch", 1, _unwatch, "Watches no keys any more.", "2.2.0", "transactions", _FLAGS,
            ("@fast", "@transaction")),
)  # fmt: skip
