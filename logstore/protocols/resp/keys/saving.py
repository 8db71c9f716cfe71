"""SAVE, BGSAVE and related commands: the reply waits until all changes of keys are on disk."""

from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.keys import rows
from logstore.protocols.resp.replies import OK, integer, simple
from logstore.protocols.resp.wrong import Wrong


def _sync(client: RespClient) -> None:
    """Wait for all changes to be synced, even under ``everysec``."""
    keys = client.door.keys
    keys.end_turn()
    for journal in keys.journals:
        if journal.log is not None and journal.log.done < journal.log.end:
            client.unsafe.add(journal.log, journal.log.end)
    keys.saved_ms = keys.clock()


def _save(client: RespClient, _: Sequence[bytes]) -> bytes:
    _sync(client)
    return OK


def _bgsave(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    if len(arguments) > 2 or (len(arguments) == 2 and arguments[1].lower() != b"schedule"):
        raise Wrong("syntax error")
    _sync(client)
    return simple(b"Background saving started")


def _rewrite(_: RespClient, __: Sequence[bytes]) -> bytes:
    return simple(b"Background append only file rewriting started")  # compaction is upkeep's


def _lastsave(client: RespClient, _: Sequence[bytes]) -> bytes:
    return integer(client.door.keys.saved_ms // 1000)


_SAVING: Final = ("@admin", "@slow", "@dangerous")
_ADMIN: Final = ("admin", "noscript", "no_async_loading")

COMMANDS: Final = (
    Command("save", 1, rows.says(_save), "Waits until all is on disk.", "1.0.0", "server",
            (*_ADMIN, "no_multi"), _SAVING),
    Command("bgsave", -1, rows.says(_bgsave), "The same.", "1.0.0", "server", _ADMIN, _SAVING),
    Command("bgrewriteaof", 1, rows.says(_rewrite), "Nothing: what is old is compacted by itself.",
            "1.0.0", "server", _ADMIN, _SAVING),
    Command("lastsave", 1, rows.says(_lastsave), "When all was on disk last.", "1.0.0", "server",
            ("loading", "stale", "fast"), ("@admin", "@fast", "@dangerous"),
            ("nondeterministic_output",)),
)  # fmt: skip
