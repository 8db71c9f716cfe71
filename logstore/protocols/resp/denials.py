"""Reports a refusal to a connection: its error reply, and entries in the logs."""

from typing import Final

from logstore.access.redis_grants import COMMAND
from logstore.access.refusals import NAME_SHOWN
from logstore.access.resources import KEY
from logstore.protocols.resp.acl_log import MULTI, TOPLEVEL
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.line import line
from logstore.protocols.resp.permits import Refusal

NO_LOGIN: Final = "Authentication required."


def text(user: str, refusal: Refusal, *, whole: bool = False) -> bytes:
    """The refusal in Redis's words, without the code; ``whole``: with the name that is not
    allowed.
    """
    who = user.encode()
    if refusal.kind == COMMAND:
        return b"User %b has no permissions to run the '%b' command" % (who, refusal.object)
    what = b"key" if refusal.kind == KEY else b"channel"
    if whole:
        return b"User %b has no permissions to access the '%b' %b" % (who, refusal.object, what)
    return b"No permissions to access a " + what


def refuse_lost(client: RespClient) -> None:
    """Refuse a command that lost its right while it ran."""
    client.refuse("NOPERM", "No permissions to access a channel")


def log(client: RespClient, reason: str, object: bytes, user: bytes | None = None) -> None:
    """Add an entry to ACL LOG and to the counts of INFO."""
    denied = client.door.counts.denied
    denied[reason] = denied.get(reason, 0) + 1
    context = MULTI if client.queue is not None or client.in_transaction else TOPLEVEL
    client.door.acl_log.add(
        reason,
        context,
        object,
        client.user.encode() if user is None else user,
        line(client, client.now).rstrip("\n"),
        client.door.clock(),
    )


def tell(client: RespClient, refusal: Refusal) -> None:
    """Report the refusal in the client's ACL log and in the server's log."""
    log(client, refusal.kind, refusal.object)
    refusals = client.door.refusals
    if refusals is not None:
        name = refusal.object[:NAME_SHOWN].decode(errors="backslashreplace")
        why = client.permits.why(refusal)
        refusals.tell(client.permits.who, refusal.operation, refusal.kind, name, why)
