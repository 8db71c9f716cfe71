"""Sends commands on keys to the node that serves them, for a client of this node.

A relayed request consists of a head (``Asked``), the user's name, and commands as Redis clients
write them: those of a transaction before its EXEC, whose replies are discarded, and the command
whose reply is the answer.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from logstore.errors import BrokenProtocol, LogstoreError, NotOwned
from logstore.names import KEYS_DATABASES
from logstore.protocols.resp.client import Away, Queued, RespClient
from logstore.protocols.resp.command import Command, found, is_about_keys
from logstore.protocols.resp.replies import Version
from logstore.protocols.resp.wrong import NOT_OWNED, Wrong
from logstore.slices import GoOn, Steps, Wait

FORMAT: Final = 1
BYTES_MAX: Final = 64 << 20  # in one request: the other node accepts no more
_VERSIONS: Final[dict[int, Version]] = {2: 2, 3: 3}
_HEAD: Final = Struct(">BBBHI")  # format, RESP's version, database, size of the user, of the first
# Commands that a transaction on keys may also contain: they mean the same at any node.
ANYWHERE: Final = frozenset({"ping", "echo", "time", "publish", "spublish"})
FLUSH_ALL: Final = "flushall"  # concerns all databases, not only the selected one
NO_COPIES: Final = "CLIENT TRACKING is served by the node that serves the database"
NOT_IN_IT: Final = "can't be in a transaction about keys that another node serves"


class Asked(NamedTuple):
    """What the other node is to do."""

    version: Version
    database: int
    user: str
    before: bytes  # requests whose replies are dropped
    last: bytes  # the request

    def written(self) -> bytes:
        """The encoded request."""
        user = self.user.encode()
        head = _HEAD.pack(FORMAT, self.version, self.database, len(user), len(self.before))
        return b"".join((head, user, self.before, self.last))


def read(content: bytes) -> Asked:
    """Decode a request of another node. Raises BrokenProtocol."""
    if len(content) < _HEAD.size:
        raise BrokenProtocol("commands from another node are cut off")
    form, number, database, user_bytes, before_bytes = _HEAD.unpack_from(content)
    version = _VERSIONS.get(number)
    before_at = _HEAD.size + user_bytes
    last_at = before_at + before_bytes
    if form != FORMAT or version is None or last_at >= len(content):
        raise BrokenProtocol(f"commands from another node in format {form}, known is {FORMAT}")
    if database >= KEYS_DATABASES:
        raise BrokenProtocol(f"commands from another node about database {database}")
    user = content[_HEAD.size : before_at].decode("utf-8", "replace")
    return Asked(version, database, user, content[before_at:last_at], content[last_at:])


def written(request: Sequence[bytes]) -> bytes:
    """Encode a request as clients do."""
    parts = [b"*%d\r\n" % len(request)]
    for word in request:
        parts += b"$%d\r\n" % len(word), word, b"\r\n"
    return b"".join(parts)


def is_elsewhere(client: RespClient) -> bool:
    """Whether another node serves the client's database."""
    return client.database in client.door.keys.elsewhere and not client.relayed


def goes_away(client: RespClient, command: Command) -> bool:
    """Whether another node carries out the whole command."""
    return is_elsewhere(client) and is_about_keys(command) and command.name != FLUSH_ALL


def flush_elsewhere(client: RespClient) -> Steps:
    """Flush the databases that other nodes serve. Raises Wrong."""
    for database in sorted(client.door.keys.elsewhere):
        yield from _asking(client, (), (b"FLUSHDB",), database=database, says=False)


def relayed(client: RespClient, request: Sequence[bytes]) -> Steps:
    """Have the other node carry out one command. Raises Wrong."""
    command = found(request)
    return _asking(client, (), request, blocks=command is not None and "blocking" in command.flags)


def relayed_transaction(client: RespClient, queue: Sequence[Queued]) -> Steps:
    """Have the other node carry out EXEC with the queued commands. Raises Wrong."""
    for it in queue:
        command = found(it.arguments)
        if command is None or not _may_go(command):
            name = it.arguments[0].decode("utf-8", "backslashreplace")
            raise Wrong(f"Transaction discarded because of: {name} {NOT_IN_IT}", "EXECABORT")
    return _asking(client, [(b"MULTI",), *(it.arguments for it in queue)], (b"EXEC",))


def _may_go(command: Command) -> bool:
    return is_about_keys(command) or command.name in ANYWHERE


def _asking(
    client: RespClient,
    before: Iterable[Sequence[bytes]],
    last: Sequence[bytes],
    *,
    blocks: bool = False,
    database: int | None = None,
    says: bool = True,
) -> Steps:
    """``database``: used instead of the client's. ``says``: the result is the client's reply."""
    number = client.database if database is None else database
    if client.tracking is not None:
        raise Wrong(NO_COPIES, NOT_OWNED)
    ask = client.door.keys.ask_owner
    if ask is None:
        raise Wrong(client.door.keys.elsewhere[number], NOT_OWNED)
    user = client.permits.who.user
    content = Asked(
        client.version, number, user, b"".join(map(written, before)), written(last)
    ).written()
    if len(content) > BYTES_MAX:  # more than a message of the link may have would end that
        raise Wrong(f"at most {BYTES_MAX} bytes can be asked of the node that serves the database")

    def begin(go_on: GoOn) -> None:
        client.away = Away(ask(number, content, go_on), blocks)

    return _answered(client, begin, says=says)


def _answered(client: RespClient, begin: Wait, *, says: bool) -> Steps:
    try:
        answer = yield begin
    except NotOwned as error:
        raise Wrong(str(error), NOT_OWNED) from None
    except LogstoreError as error:
        raise Wrong(f"it is not known whether another node has done it: {error}") from None
    finally:
        client.away = None
    if says:
        client.say(answer)
    elif answer.startswith(b"-"):
        code, _, text = answer[1:].strip().partition(b" ")
        raise Wrong(text, code.decode())
