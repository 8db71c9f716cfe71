"""PING, ECHO, SELECT, QUIT, RESET, and MULTI with EXEC and DISCARD."""

from collections.abc import Generator, Sequence
from typing import Final

from logstore.access.redis_grants import COMMAND
from logstore.access.resources import CHANNEL, KEY
from logstore.errors import LogstoreError
from logstore.protocols.resp import replies
from logstore.protocols.resp.client import Queued, RespClient
from logstore.protocols.resp.command import Command, is_about_keys
from logstore.protocols.resp.denials import NO_LOGIN, tell
from logstore.protocols.resp.keys.rows import AT_ONCE, alone, not_held_up
from logstore.protocols.resp.onlookers.party import Watch
from logstore.protocols.resp.relaying import is_elsewhere, relayed_transaction
from logstore.protocols.resp.replies import OK, PONG, bulk
from logstore.slices import Steps, in_one_go

CHANGED: Final = (
    "ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
    "This command is no longer allowed for the following reason: "
)
REASONS: Final = {
    COMMAND: "no permission to execute the command or subcommand",
    KEY: "no permission to touch the specified keys",
    CHANNEL: "no permission to access one of the channels used as arguments",
}
REFUSAL_UNITS: Final = 20  # of work: it is told to several


def _ping(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) > 2:
        client.fail("wrong number of arguments for 'ping' command")
    elif client.subscribed and client.version == 2:
        text = arguments[1] if len(arguments) == 2 else b""
        client.say(replies.array([bulk(b"pong"), bulk(text)]))
    else:
        client.say(PONG if len(arguments) == 1 else bulk(arguments[1]))


def _echo(client: RespClient, arguments: Sequence[bytes]) -> None:
    client.say(bulk(arguments[1]))


def _quit(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(OK)
    client.closed = ""


def _reset(client: RespClient, _: Sequence[bytes]) -> Steps:
    yield from client.reset()
    client.say(b"+RESET\r\n")


def _multi(client: RespClient, _: Sequence[bytes]) -> None:
    if client.queue is not None:
        client.fail("MULTI calls can not be nested")
        return
    client.queue, client.queued_under = [], client.under
    client.say(OK)


def _discard(client: RespClient, _: Sequence[bytes]) -> None:
    if client.queue is None:
        client.fail("DISCARD without MULTI")
        return
    client.forget_queue()
    client.say(OK)


def _exec(client: RespClient, _: Sequence[bytes]) -> Steps | None:
    if client.queue is None:
        client.fail("EXEC without MULTI")
        return None
    watch = client.watch
    if watch is None:
        return _executed(client, client.queue, outdated=False)
    if len(watch.places) > AT_ONCE:
        return _looked(client, client.queue, watch)
    in_one_go(client.door.onlookers.expiring(watch))
    return _executed(client, client.queue, outdated=watch.outdated)


def _looked(client: RespClient, queue: Sequence[Queued], watch: Watch) -> Steps:
    """Run EXEC; nothing changes keys between the check of watched keys and the queued commands."""

    def steps() -> Steps:
        yield from client.door.onlookers.expiring(watch)
        gone = client.watch is not watch  # and its keys are watched no more
        yield from _executed(client, queue, outdated=watch.outdated or gone) or ()

    yield from not_held_up(client)
    yield from alone(client, steps())


def _executed(client: RespClient, queue: Sequence[Queued], *, outdated: bool) -> Steps | None:
    failed, keyed = client.queue_failed, client.queue_keyed
    client.forget_queue()
    if failed:
        client.refuse("EXECABORT", "Transaction discarded because of previous errors.")
        return None
    if outdated:
        client.say(replies.null_array(client.version))
        return None
    if keyed and is_elsewhere(client):
        return relayed_transaction(client, queue)
    steps = _all_queued(client, queue)
    if keyed:
        return alone(client, steps)
    return steps


def _all_queued(client: RespClient, queue: Sequence[Queued]) -> Steps:
    client.say(b"*%d\r\n" % len(queue))
    client.in_transaction = True
    bytes_max = client.door.budget.request_bytes_max
    size = 0
    for queued in queue:
        before = len(client.out)
        if client.cut_off and not is_about_keys(queued.command):
            continue  # the client is gone; commands on keys are still completed
        try:
            if not (yield from _still_allowed(client, queued)):
                continue
            if client.tracking is not None and not client.cut_off:
                client.door.onlookers.remember(client, queued.command, queued.arguments)
            steps = queued.run(client, queued.arguments)
            if steps is not None:
                yield from steps
        except LogstoreError as error:
            client.tell(error)
        client.note_stirred()
        yield 1
        size += sum(map(len, client.out[before:]))
        if size > bytes_max and not client.cut_off:
            client.cut(
                f"a transaction whose replies are over {bytes_max} bytes: half of "
                f"memory.clients.max.bytes"
            )
    client.in_transaction = False


def _still_allowed(client: RespClient, queued: Queued) -> Generator[int, None, bool]:
    """Whether the command is still allowed: rules may have changed, even in this transaction."""
    if not client.known:
        client.refuse("NOAUTH", NO_LOGIN)
        return False
    if client.asked_already:
        return True
    refusal = yield from client.permits.asking(queued.command, queued.arguments)
    if refusal is None:
        return True
    tell(client, refusal)
    yield REFUSAL_UNITS
    client.refuse("NOPERM", CHANGED + REASONS[refusal.kind])
    return False


_FAST: Final = ("noscript", "loading", "stale", "fast", "no_auth", "allow_busy")
_CONNECTION: Final = ("@fast", "@connection")
_TRANSACTION: Final = ("@fast", "@transaction")
_PLAIN: Final = ("loading", "stale", "fast")

COMMANDS: Final = (
    Command("ping", -1, _ping, "Asks whether the server is there.", "1.0.0", "connection",
            ("fast",), _CONNECTION,
            ("request_policy:all_shards", "response_policy:all_succeeded"),
            while_subscribed=True),
    Command("echo", 2, _echo, "Gives the text back.", "1.0.0", "connection", _PLAIN, _CONNECTION),
    Command("quit", -1, _quit, "Ends the connection.", "1.0.0", "connection", _FAST, _CONNECTION,
            while_subscribed=True, at_once=True),
    Command("reset", 1, _reset, "Makes the connection as if it were new.", "6.2.0", "connection",
            _FAST, _CONNECTION, while_subscribed=True, at_once=True),
    Command("multi", 1, _multi, "Begins a transaction.", "1.2.0", "transactions",
            ("noscript", "loading", "stale", "fast", "allow_busy"), _TRANSACTION, at_once=True),
    Command("exec", 1, _exec, "Carries out what was queued.", "1.2.0", "transactions",
            ("noscript", "loading", "stale", "skip_slowlog"), ("@slow", "@transaction"),
            at_once=True),
    Command("discard", 1, _discard, "Forgets what was queued.", "2.0.0", "transactions",
            ("noscript", "loading", "stale", "fast", "allow_busy"), _TRANSACTION, at_once=True),
)  # fmt: skip
