"""CONFIG: the settings that Redis clients read; a few can be changed while the server runs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.access import audit
from logstore.broker.keys.eviction import SAMPLES
from logstore.broker.keys.keys import DATABASES
from logstore.broker.keys.levels import IN_REDIS, OF_REDIS
from logstore.errors import InvalidName, LogstoreError
from logstore.patterns import Pattern
from logstore.protocols.resp.acl_log import ENTRIES_MAX
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, help_of, table
from logstore.protocols.resp.door import RespDoor, Unread, memory
from logstore.protocols.resp.replies import OK, bulk, mapping
from logstore.protocols.resp.requests import as_integer
from logstore.settings import KEYS_POLICIES
from logstore.slices import Steps

BULK_BYTES_MIN: Final = 1 << 20
BULK_BYTES_MOST: Final = 1 << 30  # as a request on the whole
CLIENTS_MOST: Final = 2**32 - 1
CLASSES: Final = ("normal", "slave", "replica", "pubsub")

HELP: Final = [
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> ...",
    "    Settings whose names match, and their values.",
    "SET <name> <value> [<name> <value> ...]",
    "    Changes settings until the server stops, or for good with REWRITE.",
    "RESETSTAT",
    "    Sets the counters of INFO back.",
    "REWRITE",
    "    Writes what was changed to the configuration file.",
]


class Setting(NamedTuple):
    """``change`` applies a new value, or says why it cannot; None: the setting is fixed.

    ``kept_as``: the name of the equivalent setting of the store, if there is one.
    """

    value: Callable[[RespDoor], str]
    change: Callable[[RespDoor, str], str | None] | None = None
    kept_as: str = ""


def _set_clients(door: RespDoor, text: str) -> str | None:
    number = as_integer(text.encode())
    if number is None:
        return "argument couldn't be parsed into an integer"
    if not 1 <= number <= CLIENTS_MOST:
        return f"argument must be between 1 and {CLIENTS_MOST} inclusive"
    door.limits.crowd.connections_max = number
    return None


def _set_bulk(door: RespDoor, text: str) -> str | None:
    size = memory(text)
    if size is None:
        return "argument must be a memory value"
    if not BULK_BYTES_MIN <= size <= BULK_BYTES_MOST:
        return f"argument must be between {BULK_BYTES_MIN} and {BULK_BYTES_MOST} inclusive"
    door.limits.bulk_bytes_max = size
    return None


def _set_unread(door: RespDoor, text: str) -> str | None:
    limits, words = door.limits, text.split()
    if not words or len(words) % 4:
        return "Wrong number of arguments in buffer limit configuration."
    found = limits.pubsub
    for at in range(0, len(words), 4):
        if words[at].lower() not in CLASSES:
            return "Invalid client class specified in buffer limit configuration."
        unread = Unread.parse(" ".join(words[at + 1 : at + 4]))
        if unread is None:
            return "Error in hard, soft or soft_seconds setting in buffer limit configuration."
        if words[at].lower() == "pubsub":
            found = unread
    limits.pubsub = found
    return None


def _set_sync(door: RespDoor, text: str) -> str | None:
    level = OF_REDIS.get(text.lower())
    if level is None:
        return f"argument(s) must be one of the following: {', '.join(IN_REDIS.values())}"
    door.keys.levels.default = level
    return None


def _subscribers_unread(door: RespDoor) -> str:
    limit = door.limits.pubsub
    return f"{limit.hard} {limit.soft} {limit.soft_s}"


def _unread(door: RespDoor) -> str:
    # Input of other clients is not read while they do not read, so they need no limit.
    return f"normal 0 0 0 slave 0 0 0 pubsub {_subscribers_unread(door)}"


def _set_memory(door: RespDoor, text: str) -> str | None:
    size = memory(text)
    if size is None:
        return "argument must be a memory value"
    door.keys.eviction.limit(size, door.keys.eviction.policy)
    return None


def _set_policy(door: RespDoor, text: str) -> str | None:
    policy = text.lower()
    if policy not in KEYS_POLICIES:
        return f"argument(s) must be one of the following: {', '.join(KEYS_POLICIES)}"
    door.keys.eviction.limit(door.keys.eviction.bytes_max, policy)
    return None


def _set_notices(door: RespDoor, text: str) -> str | None:
    if not door.onlookers.notices.ask(text):
        return "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
    door.onlookers.look()
    return None


def _fixed(value: str) -> Setting:
    return Setting(lambda _: value)


SETTINGS: Final = {
    "acl-pubsub-default": _fixed("resetchannels"),
    "aclfile": _fixed(""),
    "acllog-max-len": _fixed(str(ENTRIES_MAX)),
    "appendfsync": Setting(lambda door: IN_REDIS[door.keys.levels.default], _set_sync,
                           "resp.appendfsync"),
    "appendonly": _fixed("yes"),
    "client-output-buffer-limit": Setting(_unread, _set_unread, "resp.client.output.buffer.limit"),
    "databases": _fixed(str(DATABASES)),
    "maxclients": Setting(lambda door: str(door.limits.crowd.connections_max), _set_clients,
                          "resp.maxclients"),
    "maxmemory": Setting(lambda door: str(door.keys.eviction.bytes_max), _set_memory,
                         "resp.maxmemory.bytes"),
    "maxmemory-clients": Setting(lambda door: str(door.budget.bytes_max)),
    "maxmemory-policy": Setting(lambda door: door.keys.eviction.policy, _set_policy,
                                "resp.maxmemory.policy"),
    "maxmemory-samples": _fixed(str(SAMPLES)),
    "notify-keyspace-events": Setting(lambda door: door.onlookers.notices.text, _set_notices,
                                      "resp.notify.keyspace.events"),
    "proto-max-bulk-len": Setting(lambda door: str(door.limits.bulk_bytes_max), _set_bulk,
                                  "resp.proto.max.bulk.len"),
    "protected-mode": Setting(lambda door: "yes" if door.protected else "no"),
    "requirepass": _fixed(""),  # it is never shown: ACL SETUSER default >PASSWORD sets it
    "save": _fixed(""),
    "tcp-keepalive": _fixed("0"),
    "timeout": _fixed("0"),
}  # fmt: skip
# The store's settings for Redis's values that differ.
KEPT: Final[dict[str, Callable[[RespDoor], str]]] = {
    "client-output-buffer-limit": _subscribers_unread,
}


def _get(client: RespClient, arguments: Sequence[bytes]) -> None:
    found: dict[bytes, bytes] = {}
    for asked in arguments[2:]:
        try:
            pattern = Pattern(asked, any_case=True)
        except InvalidName as error:
            client.fail(str(error))
            return
        # Without a pattern's signs it is a name, and given back as it was written.
        plain = asked.decode("latin-1").lower() in SETTINGS
        for name, setting in SETTINGS.items():
            if pattern.matches(name.encode()):
                shown = asked if plain else name.encode()
                found[shown] = bulk(setting.value(client.door).encode())
    client.say(mapping(found, client.version))


def _set(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) % 2:
        client.fail("wrong number of arguments for 'config|set' command")
        return
    texts = [it.decode("latin-1") for it in arguments[2:]]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    for name, _ in pairs:
        if name.lower() not in SETTINGS:
            client.fail(
                f"Unknown option or number of arguments for CONFIG SET - '{name}'".encode("latin-1")
            )
            return
    seen: set[str] = set()
    door = client.door
    before = [(name, SETTINGS[name.lower()].value(door)) for name, _ in pairs]
    for at, (name, value) in enumerate(pairs):
        reason = "duplicate parameter" if name.lower() in seen else _change(door, name, value)
        seen.add(name.lower())
        if reason is not None:
            for changed, was in before[:at]:
                _change(door, changed, was)
            client.fail(
                f"CONFIG SET failed (possibly related to argument '{name}') - {reason}".encode(
                    "latin-1"
                )
            )
            return
    door.changed_settings |= seen
    given = ", ".join(f"{name.lower()}={value}" for name, value in pairs)
    client.door.audit.tell(audit.SETTINGS, client.permits.who, f"of Redis clients: {given}")
    client.say(OK)


def _change(door: RespDoor, name: str, value: str) -> str | None:
    change = SETTINGS[name.lower()].change
    return "can't set immutable config" if change is None else change(door, value)


def _reset_counts(client: RespClient, _: Sequence[bytes]) -> None:
    client.door.set_back()
    client.door.facts.turns.forget_longest()
    client.say(OK)


def _rewrite(client: RespClient, _: Sequence[bytes]) -> Steps:
    door = client.door
    wanted = {
        setting.kept_as: KEPT.get(name, setting.value)(door)
        for name, setting in SETTINGS.items()
        if setting.kept_as and name in door.changed_settings
    }
    try:
        written = yield partial(door.work, partial(_write, door, wanted))
    except LogstoreError as error:
        client.fail(f"Rewriting config file: {error}")
        return
    given = ", ".join(f"{name}={wanted[name]}" for name in written)
    if given:
        door.audit.tell(audit.SETTINGS, client.permits.who, f"for good: {given}")
    client.say(OK)


def _write(door: RespDoor, wanted: dict[str, str]) -> list[str] | LogstoreError:
    """Write settings; called in a worker."""
    try:
        return door.keep_settings(wanted)
    except LogstoreError as error:
        return error


def _sub(name: str, arity: int, run: Run, summary: str, since: str) -> Command:
    return Command(
        f"config|{name}", arity, run, summary, since, "server",
        ("admin", "noscript", "loading", "stale"), ("@admin", "@slow", "@dangerous"),
    )  # fmt: skip


COMMANDS: Final = (
    Command(
        "config", -2, None, "Settings.", "2.0.0", "server", (),
        subcommands=table(
            _sub("get", -3, _get, "Settings and their values.", "2.0.0"),
            _sub("set", -4, _set, "Changes settings.", "2.0.0"),
            _sub("resetstat", 2, _reset_counts, "Sets counters back.", "2.0.0"),
            _sub("rewrite", 2, _rewrite, "Keeps what was changed.", "2.8.0"),
            Command("config|help", 2, help_of(*HELP), "What subcommands there are.", "5.0.0",
                    "server"),
        ),
    ),
)  # fmt: skip
