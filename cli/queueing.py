"""What ``exchange`` and ``queue`` share: how the queues are reached, and a few options."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .command import CONNECTION, INPUT
from .ends import say
from .misnamed import GENERAL, Instead, naming_what_exists
from .options import DataDir, pairs
from .show import as_line

if TYPE_CHECKING:
    from .queue_site import BindingFacts, QueueSite
    from .stop import Stop

JSON_OR_TEXT: Final = "A value that is not JSON is text; may be repeated."
BindingArguments = Annotated[
    list[str] | None,
    typer.Option(
        "--argument",
        metavar="NAME=VALUE",
        rich_help_panel=INPUT,
        help="An argument of the binding: a header to match, or x-match=any, of a headers exchange."
        f" {JSON_OR_TEXT}",
    ),
]
Key = Annotated[
    str, typer.Option("--key", metavar="KEY", rich_help_panel=INPUT, help="The binding's key.")
]
ToExchange = Annotated[
    bool,
    typer.Option(
        "--to-exchange",
        rich_help_panel=INPUT,
        help="Take DESTINATION as the name of an exchange, not of a queue.",
    ),
]
Vhost = Annotated[
    str,
    typer.Option(
        "--vhost",
        metavar="VHOST",
        rich_help_panel=CONNECTION,
        help="The virtual host of the exchanges and queues.",
    ),
]
# Limits of queues that are told in milliseconds, as policies call them.
LIMITS_MS: Final = frozenset({
    "message-ttl", "expires", "consumer-timeout", "delayed-retry-min", "delayed-retry-max",
    "retention-ms", "cache-ttl",
})  # fmt: skip
Yes = Annotated[bool, typer.Option("--yes", help="Proceed without asking for confirmation.")]


@contextmanager
def queues_of(
    data: DataDir,
    vhost: str,
    *,
    create: bool = False,
    stop: "Stop | None" = None,
    instead: Instead = GENERAL,
) -> "Iterator[QueueSite]":
    """The queues of the directory, in this process or in the server that has it open.

    ``stop``: notes signals, if given. ``instead``: the hint for a name of another kind of object.
    Raises StoreLocked if another program has the directory open, CommandFailed if its server has no
    open door.
    """
    from logstore.errors import StoreLocked

    with ExitStack() as stack:
        try:
            store = stack.enter_context(data.open("write", create=create))
        except StoreLocked as error:
            locked = error
        else:
            from .local_queues import LocalQueues

            if data.login is not None and data.login.asked and data.login.user:
                from .login_options import wrong

                raise wrong(f"a login needs a server: no server has {data} open", "--user")

            here = LocalQueues(store.internals().queues().within(vhost), store)
            stack.enter_context(naming_what_exists(here, instead))
            yield here
            return
        if locked.owner is None or not locked.owner.endpoints:  # no server
            raise locked
        from logstore.doors import AMQP
        from logstore.server_socket import ServerSocket

        from .served.line import Line
        from .served.queues import ServedQueues
        from .stop import Stop

        def open_line() -> Line:
            address = data.endpoint(AMQP)
            if address is None:
                raise data.no_door(AMQP, locked)
            stopping = stop or stack.enter_context(Stop())
            line = Line(address, vhost, stopping, data.own_login())
            return stack.enter_context(closing(line))

        there = ServedQueues(open_line, ServerSocket(str(data.path)), vhost)
        stack.enter_context(naming_what_exists(there, instead))
        yield there


def argument_option(texts: Sequence[str] | None) -> dict[str, object]:
    """Arguments such as ``x-max-priority=5`` as a table. Invalid values are usage errors."""
    from logstore.broker.queues.given import table as checked

    found = {name: value_of(name, text) for name, text in pairs(texts, "--argument").items()}
    try:
        return checked(found, "arguments")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--argument'") from None


def queue_arguments(texts: Sequence[str] | None) -> dict[str, object]:
    """As ``argument_option``, for a queue: durations and sizes must be valid, too."""
    from logstore.amounts import examples

    found = argument_option(texts)
    for name, value in found.items():
        unit = _unit_of(name) if name.startswith("x-") else None
        if unit is not None and isinstance(value, str):
            raise typer.BadParameter(
                f"{name}={value}: must be a number of {unit}, or an amount such as"
                f" {examples(unit)}",
                param_hint="'--argument'",
            )
    return found


def warn_of_unknown(queue: str, arguments: "Mapping[str, object]") -> None:
    """Warn of arguments that no queue has, which AMQP permits."""
    from logstore.broker.queues.limits import CHECKS
    from logstore.config import nearest

    known = [it.decode() for it in CHECKS]
    for name in arguments:
        if name not in known:
            say(
                f"queue {queue}: unknown argument {name}{nearest(name, known)}; it has no effect",
                "warning",
            )


def _unit_of(name: str) -> str | None:
    """The unit of a limit: bytes or ms; None if it has none."""
    name = name.removeprefix("x-")
    return "bytes" if name.endswith("-bytes") else "ms" if name in LIMITS_MS else None


def value_of(name: str, text: str) -> Any:  # noqa: ANN401  what JSON holds
    """The value of JSON, otherwise the text; for a limit in bytes or ms also ``10MB``, ``7d``.

    ``name``: a policy's setting, or the corresponding argument of a queue.
    """
    from logstore.amounts import amount

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        unit = _unit_of(name)
        number = None if unit is None else amount(text, unit)
        return text if number is None else number


def confirm(what: str) -> None:
    """Ask for confirmation. Raises Abort; a usage error without a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter(
            f"use --yes to {what}: no confirmation can be asked for without a terminal"
        )
    typer.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)


def arguments_text(arguments: "Mapping[str, Any]") -> str | None:
    return as_line(shown(arguments)) if arguments else None


def yes_or_no(fact: bool) -> str:
    return "yes" if fact else "no"


def shown(value: Any) -> Any:  # noqa: ANN401  what a table holds
    """A value of a table as JSON."""
    from base64 import b64encode
    from decimal import Decimal
    from math import isfinite

    if isinstance(value, dict):
        return {shown(name): shown(it) for name, it in value.items()}
    if isinstance(value, list):
        return [shown(it) for it in value]
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else str(float(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value


def binding_object(binding: "BindingFacts") -> dict[str, object]:
    """A binding as a JSON object."""
    return {
        "exchange": shown(binding.source),
        "destination": shown(binding.destination),
        "kind": binding.kind,
        "key": shown(binding.key),
        "arguments": shown(binding.arguments),
    }
