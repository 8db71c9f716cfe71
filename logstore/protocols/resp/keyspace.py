"""Commands that Redis has for any server, and what of keys waits for its turn."""

from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, KeyFlags
from logstore.protocols.resp.replies import OK, array, bulk, integer


def _always(reply: bytes) -> Run:
    def run(client: RespClient, _: Sequence[bytes]) -> None:
        client.say(reply)

    return run


def _watch(client: RespClient, _: Sequence[bytes]) -> None:
    if client.queue is not None:
        client.fail("WATCH inside MULTI is not allowed")
    else:
        client.say(OK)


def _time(client: RespClient, _: Sequence[bytes]) -> None:
    seconds, milliseconds = divmod(client.door.clock(), 1000)
    client.say(array([bulk(b"%d" % seconds), bulk(b"%d" % (milliseconds * 1000))]))


_RO: Final[KeyFlags] = (("RO",),)

COMMANDS: Final = (
    Command("watch", -2, _watch, "Taken; no key ever changes here.", "2.2.0", "transactions",
            ("noscript", "loading", "stale", "fast", "allow_busy"), ("@fast", "@transaction"),
            keys=(1, -1, 1), key_flags=_RO, at_once=True, many=True),
    Command("unwatch", 1, _always(OK), "Taken; nothing is watched.", "2.2.0", "transactions",
            ("noscript", "loading", "stale", "fast", "allow_busy"), ("@fast", "@transaction")),
    Command("time", 1, _time, "What time it is here.", "2.6.0", "server",
            ("loading", "stale", "fast"), ("@fast",), ("nondeterministic_output",)),
    Command("role", 1, _always(array([bulk(b"master"), integer(0), array([])])),
            "A server without replicas.", "2.8.12", "server",
            ("noscript", "loading", "stale", "fast"), ("@admin", "@fast", "@dangerous")),
)  # fmt: skip
