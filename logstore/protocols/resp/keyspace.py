"""TIME and ROLE, which concern no key."""

from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.replies import array, bulk, integer


def _always(reply: bytes) -> Run:
    def run(client: RespClient, _: Sequence[bytes]) -> None:
        client.say(reply)

    return run


def _time(client: RespClient, _: Sequence[bytes]) -> None:
    seconds, milliseconds = divmod(client.door.clock(), 1000)
    client.say(array([bulk(b"%d" % seconds), bulk(b"%d" % (milliseconds * 1000))]))


COMMANDS: Final = (
    Command("time", 1, _time, "What time it is here.", "2.6.0", "server",
            ("loading", "stale", "fast"), ("@fast",), ("nondeterministic_output",)),
    Command("role", 1, _always(array([bulk(b"master"), integer(0), array([])])),
            "A server without replicas.", "2.8.12", "server",
            ("noscript", "loading", "stale", "fast"), ("@admin", "@fast", "@dangerous")),
)  # fmt: skip
