"""SUBSCRIBE and related commands, PUBLISH, PUBSUB."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.broker.channel import Channels
from logstore.broker.roster import Roster
from logstore.errors import InvalidName, LogstoreError
from logstore.patterns import Pattern
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, help_of, table
from logstore.protocols.resp.denials import refuse_lost
from logstore.protocols.resp.opening import NAMES_AT_ONCE
from logstore.protocols.resp.replies import bulk, integer
from logstore.slices import AT_ONCE, Steps, parts

HELP: Final = [
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>], SHARDCHANNELS [<pattern>]",
    "    Channels that someone listens to by name.",
    "NUMSUB [<channel> ...], SHARDNUMSUB [<channel> ...]",
    "    How many listen to these by name.",
    "NUMPAT",
    "    How many patterns there are.",
]
NAME_UNITS: Final = 2  # one that comes or goes
PATTERN_UNITS: Final = 20  # one that is compiled
NAME_BYTES_A_UNIT: Final = 32  # of it
LISTENING: Final = ("pubsub", "noscript", "loading", "stale")


class Kind(NamedTuple):
    """One of the three kinds of subscription."""

    begin: Callable[[Channels, RespClient, bytes], None]
    end: Callable[[Channels, RespClient, bytes], None]
    roster: Callable[[Channels], Roster]
    counted: Callable[[Channels], tuple[Roster, ...]]  # the counts in a confirmation
    units: int = NAME_UNITS  # of work, to begin one


NAMES: Final = Kind(
    Channels.subscribe,
    Channels.unsubscribe,
    lambda channels: channels.names,
    lambda channels: (channels.names, channels.patterns),
)
PATTERNS: Final = Kind(
    Channels.subscribe_pattern,
    Channels.unsubscribe_pattern,
    lambda channels: channels.patterns,
    lambda channels: (channels.names, channels.patterns),
    PATTERN_UNITS,
)
SHARDS: Final = Kind(
    Channels.subscribe_apart,
    Channels.unsubscribe_apart,
    lambda channels: channels.apart,
    lambda channels: (channels.apart,),
)


def _confirm(client: RespClient, word: bytes, name: bytes | None, kind: Kind) -> None:
    count = client.subscriptions(*kind.counted(client.door.channels))
    shown = client.null() if name is None else bulk(name)
    client.push([bulk(word), shown, integer(count)])


def _opened(client: RespClient, names: Sequence[bytes]) -> Steps:
    """Open the histories, which may be slow; already done for a short request."""
    channels = client.door.channels
    needed = channels.unopened([(name, True) for name in names])
    if needed and not client.in_transaction:
        yield lambda go_on: client.door.work(partial(channels.open_histories, needed), go_on)


def _subscribe(kind: Kind) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        word = arguments[0].lower()
        if kind is SHARDS and client.in_transaction:  # Redis 7 lets only the others be there
            client.fail("SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
            return
        channels = client.door.channels
        for number, name in enumerate(arguments[1:]):
            if kind is NAMES and channels.keeps and number % NAMES_AT_ONCE == 0:
                yield from _opened(client, arguments[1 + number : 1 + number + NAMES_AT_ONCE])
            if not client.permits.may_hear(name, pattern=kind is PATTERNS):
                refuse_lost(client)  # others were served meanwhile, and took the right away
                return
            try:
                kind.begin(client.door.channels, client, name)
            except LogstoreError as error:
                client.fail(str(error))
                yield NAME_UNITS
                continue
            client.subscribed = True
            _confirm(client, word, name, kind)
            yield kind.units + len(name) // NAME_BYTES_A_UNIT

    return run


def _unsubscribe(kind: Kind) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        channels, word = client.door.channels, arguments[0].lower()
        names = arguments[1:] or kind.roster(channels).names(client)
        for name in names:
            kind.end(channels, client, name)
            _confirm(client, word, name, kind)
            yield NAME_UNITS
        if not names:
            _confirm(client, word, None, kind)
        client.subscribed = channels.listens(client)

    return run


def _publish(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    if client.door.channels.is_quick(arguments[1]):
        _publish_now(client, arguments)
        return None
    return _publish_when_found(client, arguments)


def _publish_when_found(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    yield from client.door.channels.searching(arguments[1])
    if client.permits.may_publish(arguments[1]):
        _publish_now(client, arguments)
    else:
        refuse_lost(client)


def _publish_now(client: RespClient, arguments: Sequence[bytes]) -> None:
    channels = client.door.channels
    receivers = channels.publish(arguments[1], arguments[2], client.unsafe)
    client.door.totals.messages_in += 1
    if client.subscribed:
        channels.flush()  # its own messages precede the reply
        channels.catch_up(client)
    client.say(integer(receivers))


def _spublish(client: RespClient, arguments: Sequence[bytes]) -> None:
    channels = client.door.channels
    receivers = channels.publish_apart(arguments[1], arguments[2])
    client.door.totals.messages_in += 1
    if client.subscribed:
        channels.flush()
        channels.catch_up(client)
    client.say(integer(receivers))


def _written(count: int, written: Sequence[bytes]) -> bytes:
    """An array of encoded items. A part is made per turn: joining a million items takes 40 ms."""
    return b"".join((b"*%d\r\n" % count, *written))


def _seen(client: RespClient, names: Sequence[bytes]) -> Sequence[bytes]:
    """The names that the client may know."""
    permits = client.permits
    return names if permits.free else [name for name in names if permits.may_see(name)]


def _channels(which: Callable[[Channels], Roster]) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        if len(arguments) > 3:
            shown = arguments[1].decode("latin-1")
            client.fail(
                f"unknown subcommand or wrong number of arguments for '{shown}'. Try PUBSUB HELP."
            )
            return
        found = list(which(client.door.channels))
        pattern: Pattern | None = None
        if len(arguments) == 3:
            try:
                pattern = Pattern(arguments[2])
            except InvalidName as error:
                client.fail(str(error))
                return
        count, written = 0, []
        for seen in parts(found, AT_ONCE):
            some = _seen(client, seen)
            matching = list(some) if pattern is None else []
            if pattern is None:
                yield len(seen)
            else:
                for name in some:
                    if (yield from pattern.matching(name)):
                        matching.append(name)
            count += len(matching)
            written.append(b"".join(map(bulk, matching)))
        client.say(_written(count, written))

    return run


def _counts(which: Callable[[Channels], Roster]) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        roster = which(client.door.channels)
        names = arguments[2:]
        written = []
        for some in parts(names, AT_ONCE):
            seen = set(_seen(client, some))
            counts = [bulk(name) + integer(roster.count(name) * (name in seen)) for name in some]
            written.append(b"".join(counts))
            yield len(some)
        client.say(_written(2 * len(names), written))

    return run


def _pattern_count(client: RespClient, _: Sequence[bytes]) -> None:
    client.say(integer(len(client.door.channels.patterns)))


def _listening(
    name: str, arity: int, kind: Kind, summary: str, since: str, keys: tuple[int, int, int]
) -> Command:
    run = (_unsubscribe if "unsubscribe" in name else _subscribe)(kind)
    return Command(
        name, arity, run, summary, since, "pubsub", LISTENING, ("@pubsub", "@slow"),
        keys=keys, while_subscribed=True, many=True,
    )  # fmt: skip


def _asking(name: str, arity: int, run: Run, summary: str, since: str) -> Command:
    flags = ("pubsub", "loading", "stale")
    return Command(
        f"pubsub|{name}",
        arity,
        run,
        summary,
        since,
        "pubsub",
        flags,
        ("@pubsub", "@slow"),
        many=True,
    )


_NO_KEYS: Final = (0, 0, 0)
_ALL_KEYS: Final = (1, -1, 1)
_PUBLISHING: Final = ("pubsub", "loading", "stale", "fast")

COMMANDS: Final = (
    _listening("subscribe", -2, NAMES, "Listens to channels.", "2.0.0", _NO_KEYS),
    _listening("unsubscribe", -1, NAMES, "Ends listening to channels.", "2.0.0", _NO_KEYS),
    _listening("psubscribe", -2, PATTERNS, "Listens by patterns.", "2.0.0", _NO_KEYS),
    _listening("punsubscribe", -1, PATTERNS, "Ends listening by patterns.", "2.0.0", _NO_KEYS),
    _listening("ssubscribe", -2, SHARDS, "Listens to sharded channels.", "7.0.0", _ALL_KEYS),
    _listening("sunsubscribe", -1, SHARDS, "Ends that.", "7.0.0", _ALL_KEYS),
    Command(
        "publish", 3, _publish, "Sends a message to whoever listens to the channel.", "2.0.0",
        "pubsub", _PUBLISHING, ("@pubsub", "@fast"), publishes=True,
    ),
    Command(
        "spublish", 3, _spublish, "Sends a message to a sharded channel.", "7.0.0",
        "pubsub", _PUBLISHING, ("@pubsub", "@fast"), keys=(1, 1, 1), publishes=True,
    ),
    Command(
        "pubsub", -2, None, "Who listens to what.", "2.8.0", "pubsub", (),
        subcommands=table(
            _asking("channels", -2, _channels(lambda it: it.names),
                    "Channels that someone listens to by name.", "2.8.0"),
            _asking("numsub", -2, _counts(lambda it: it.names),
                    "How many listen to these channels by name.", "2.8.0"),
            _asking("numpat", 2, _pattern_count, "How many patterns there are.", "2.8.0"),
            _asking("shardchannels", -2, _channels(lambda it: it.apart),
                    "Sharded channels that someone listens to.", "7.0.0"),
            _asking("shardnumsub", -2, _counts(lambda it: it.apart),
                    "How many listen to these sharded channels.", "7.0.0"),
            Command("pubsub|help", 2, help_of(*HELP), "What subcommands there are.", "6.2.0",
                    "pubsub"),
        ),
    ),
)  # fmt: skip
