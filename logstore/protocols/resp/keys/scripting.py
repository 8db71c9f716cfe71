"""EVAL, EVALSHA and SCRIPT: runs known scripts, and refuses all others.

A script calls ordinary commands, which are executed for its client immediately and as a unit: no
one sees a half-executed script, and the disk has all of its changes or none.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from logstore.protocols.resp.client import REPLY_ON, RespClient, Run
from logstore.protocols.resp.command import EVERY, Command, help_of, table
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.keys.rows import in_parts
from logstore.protocols.resp.keys.scanning import matching_keys
from logstore.protocols.resp.replies import OK, array, bulk, integer
from logstore.protocols.resp.scripts.known import Known
from logstore.protocols.resp.scripts.values import (
    Failed,
    Given,
    Value,
    argument,
    parsed,
    parsing,
    replied,
    replying,
)
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

SHA_BYTES: Final = 40
NO_SCRIPT: Final = "No matching script. Please use EVAL."
HELP: Final = [
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXISTS <sha1> [<sha1> ...]",
    "    Which of these EVALSHA knows.",
    "FLUSH [ASYNC|SYNC]",
    "    Forgets them.",
    "LOAD <script>",
    "    Has EVALSHA know a script, one of those that this server knows.",
]


class Calling:
    """A ``Call`` for one client."""

    def __init__(self, client: RespClient, *, changes: bool) -> None:
        self._client = client
        self._changes = changes  # whether it may: not of EVAL_RO

    def __call__(self, name: str, *words: Value) -> Value:
        arguments = [name.encode(), *map(argument, words)]
        return parsed(self._run(self._allowed(arguments), arguments))[0]

    def in_parts(self, name: str, *words: Value) -> Generator[int, None, Value]:
        """As ``Call.in_parts``."""
        client, arguments = self._client, [name.encode(), *map(argument, words)]
        command = self._allowed(arguments)
        assert command.run is not None
        out: list[bytes] = []
        with self._apart(out):
            steps = command.run(client, arguments)
        while steps is not None:
            with self._apart(out):
                try:
                    units = next(steps)
                except StopIteration:
                    break
            assert isinstance(units, int), "nothing waits within a script"
            yield units
        return (yield from parsing(b"".join(out)))

    def keys(self, pattern: Value) -> Generator[int, None, list[bytes]]:
        """As ``Call.keys``."""
        text = argument(pattern)
        self._allowed([b"keys", text])
        try:
            found = yield from matching_keys(self._client, text)
        except Wrong as wrong:
            raise _failed(wrong) from None
        return found

    def _allowed(self, arguments: Sequence[bytes]) -> Command:
        """Raises Failed."""
        command = EVERY[arguments[0]]
        if not self._changes and "write" in command.flags:
            raise Failed(b"ERR Write commands are not allowed from read-only scripts.")
        client = self._client
        refusal = client.permits.refusal(command, arguments)
        if refusal is not None:
            raise Failed(b"NOPERM The user executing the script can't run this command or access "
                         b"its keys")  # fmt: skip
        if not command.takes(len(arguments)) or command.run is None:
            raise Failed(b"ERR Wrong number of args calling Redis command from script")
        return command

    def _run(self, command: Command, arguments: Sequence[bytes]) -> bytes:
        """The command's reply, in RESP2."""
        assert command.run is not None
        out: list[bytes] = []
        with self._apart(out):
            for step in command.run(self._client, arguments) or ():
                assert isinstance(step, int), "nothing waits within a script"
        return b"".join(out)

    @contextmanager
    def _apart(self, out: list[bytes]) -> Iterator[None]:
        """Collect the client's replies in ``out``, in RESP2. Raises Failed."""
        client = self._client
        before, version, replying = client.out, client.version, client.replying
        client.out, client.version, client.replying = out, 2, REPLY_ON
        try:
            yield
            assert client.out is out
        except Wrong as wrong:
            raise _failed(wrong) from None
        finally:
            client.out, client.version, client.replying = before, version, replying


def _failed(wrong: Wrong) -> Failed:
    text = wrong.text if isinstance(wrong.text, bytes) else wrong.text.encode()
    return Failed(wrong.code.encode() + b" " + text)


def _split(arguments: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """The arguments KEYS and ARGV. Raises Wrong."""
    count = integer_of(arguments[2])
    if count > len(arguments) - 3:
        raise Wrong("Number of keys can't be greater than number of args")
    if count < 0:
        raise Wrong("Number of keys can't be negative")
    return Given(arguments[3 : 3 + count]), Given(arguments[3 + count :])


def _run(client: RespClient, known: Known, arguments: Sequence[bytes], sha: bytes) -> Steps | None:
    keys, args = _split(arguments)
    call = Calling(client, changes=not arguments[0].lower().endswith(b"_ro"))
    within, client.in_transaction = client.in_transaction, True
    try:
        value = known.run(call, keys, args)
        if isinstance(value, Generator):
            steps = _to_the_end(client, value, sha)
            return in_parts(lambda *_: steps)(client, arguments)
        client.say(replied(value, client.version))
    except Failed as failed:
        raise _wrong(failed, sha) from None
    finally:
        client.in_transaction = within
    return None


def _to_the_end(client: RespClient, steps: Generator[int, None, Value], sha: bytes) -> Steps:
    try:
        value = yield from steps
    except Failed as failed:
        raise _wrong(failed, sha) from None
    client.say((yield from replying(value, client.version)))


def _wrong(failed: Failed, sha: bytes) -> Wrong:
    """The error in Redis 7's form, followed by the script's SHA-1."""
    code, _, text = failed.text.partition(b" ")
    if not text:
        return Wrong(code, "ERR")
    return Wrong(text + b" script: " + sha, code.decode("latin-1"))


def _eval(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    _split(arguments)
    sha, known = client.door.scripts.load(arguments[1])
    return _run(client, known, arguments, sha)


def _eval_sha(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    _split(arguments)
    sha = arguments[1]
    known = client.door.scripts.find(sha) if len(sha) == SHA_BYTES else None
    if known is None:
        raise Wrong(NO_SCRIPT, "NOSCRIPT")
    return _run(client, known, arguments, sha.lower())


def _load(client: RespClient, arguments: Sequence[bytes]) -> None:
    client.say(bulk(client.door.scripts.load(arguments[2])[0]))


def _exist(client: RespClient, arguments: Sequence[bytes]) -> None:
    scripts = client.door.scripts
    client.say(array([integer(int(sha in scripts)) for sha in arguments[2:]]))


def _flush(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) > 3 or (
        len(arguments) == 3 and arguments[2].lower() not in (b"async", b"sync")
    ):
        raise Wrong("SCRIPT FLUSH only support SYNC|ASYNC option")
    client.door.scripts.forget()
    client.say(OK)


def _kill(_: RespClient, __: Sequence[bytes]) -> None:
    raise Wrong("No scripts in execution right now.", "NOTBUSY")


_FLAGS: Final = ("noscript", "stale", "skip_monitor", "no_mandatory_keys", "movablekeys")
_CHANGE: Final = (("RW", "access", "update"),)
_LOOK: Final = (("RO", "access"),)


def _evaluates(name: str, run: Run, summary: str, since: str) -> Command:
    reads = name.endswith("_ro")
    flags = (*_FLAGS[:-1], "readonly", "movablekeys") if reads else _FLAGS
    return Command(
        name, -3, run, summary, since, "scripting",
        flags, ("@slow", "@scripting"), key_flags=_LOOK if reads else _CHANGE, numkeys=2,
        publishes=not reads, many=True,
    )  # fmt: skip


def _script(
    name: str, arity: int, run: Run, summary: str, since: str, tips: tuple[str, ...] = ()
) -> Command:
    return Command(
        f"script|{name}", arity, run, summary, since, "scripting",
        ("noscript",), ("@slow", "@scripting"), tips,
    )  # fmt: skip


_SHARDS: Final = "request_policy:all_shards"
_NODES: Final = "request_policy:all_nodes"

COMMANDS: Final = (
    _evaluates("eval", _eval, "Runs a script that is known here.", "2.6.0"),
    _evaluates("evalsha", _eval_sha, "The same by its SHA-1.", "2.6.0"),
    _evaluates("eval_ro", _eval, "Runs a script that only reads.", "7.0.0"),
    _evaluates("evalsha_ro", _eval_sha, "The same by its SHA-1.", "7.0.0"),
    Command(
        "script", -2, None, "Scripts that are known by their SHA-1.", "2.6.0", "scripting", (),
        subcommands=table(
            _script("load", 3, _load, "Has EVALSHA know a script.", "2.6.0",
                    (_NODES, "response_policy:all_succeeded")),
            _script("exists", -3, _exist, "Which of these EVALSHA knows.", "2.6.0",
                    (_SHARDS, "response_policy:agg_logical_and")),
            _script("flush", -2, _flush, "Forgets them.", "2.6.0",
                    (_NODES, "response_policy:all_succeeded")),
            _script("kill", 2, _kill, "No script runs for long here.", "2.6.0",
                    (_SHARDS, "response_policy:one_succeeded")),
            Command("script|help", 2, help_of(*HELP), "What subcommands there are.", "5.0.0",
                    "scripting", ("loading", "stale"), ("@slow", "@scripting")),
        ),
    ),
)  # fmt: skip
