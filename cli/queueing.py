"""What ``exchange`` and ``queue`` share: the store that has the queues, and a few options."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import INPUT
from .ends import CommandFailed
from .options import DataDir, pairs
from .show import as_line

if TYPE_CHECKING:
    from logstore.broker.queues.handles import Queue, QueueBinding
    from logstore.store import Store

Arguments = Annotated[
    list[str] | None,
    typer.Option(
        "--argument",
        metavar="NAME=VALUE",
        rich_help_panel=INPUT,
        help="An argument of AMQP, such as x-max-priority=5; a value is JSON or else a text; may be"
        " repeated.",
    ),
]
Key = Annotated[
    str, typer.Option("--key", metavar="KEY", rich_help_panel=INPUT, help="The binding's key.")
]
ToExchange = Annotated[
    bool,
    typer.Option(
        "--to-exchange", rich_help_panel=INPUT, help="DESTINATION is an exchange, not a queue."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


@contextmanager
def queues_of(data: DataDir, *, create: bool = False) -> "Iterator[Store]":
    """The store, in this process alone. Raises CommandFailed where another one has it."""
    from logstore.errors import StoreLocked

    try:
        opened = data.open("write", create=create)
        store = opened.__enter__()
    except StoreLocked as error:
        from logstore.doors import AMQP

        address = data.endpoint(AMQP)
        if address is None:
            raise
        raise CommandFailed(
            f"{data}: a server has its queues: use an AMQP client at {address}, or stop the server"
        ) from error
    with _closing(opened):
        yield store


def queue_handle(store: "Store", name: str) -> "Queue":
    """A handle on a queue; whether there is one, its first use says."""
    from logstore.broker.queues.handles import Queue

    return Queue(name, store.internals().queues())


@contextmanager
def _closing(opened: Any) -> Iterator[None]:  # noqa: ANN401  a context that was entered
    try:
        yield
    except BaseException as error:
        opened.__exit__(type(error), error, error.__traceback__)
        raise
    opened.__exit__(None, None, None)


def argument_option(texts: Sequence[str] | None) -> dict[str, object]:
    """``x-max-priority=5`` and so on, as a table."""
    return {name: _value(text) for name, text in pairs(texts, "--argument").items()}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def confirm(what: str, *, yes: bool) -> None:
    """Ask, unless it was said already. Raises Abort; a usage error where nobody is there."""
    import sys

    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter(f"say --yes to {what}: there is nobody to ask")
    typer.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)


def arguments_text(arguments: "dict[str, Any]") -> str | None:
    return as_line(shown(arguments)) if arguments else None


def shown(value: Any) -> Any:  # noqa: ANN401  what a table holds
    """A value of a table in JSON's terms."""
    from base64 import b64encode
    from decimal import Decimal

    if isinstance(value, dict):
        return {name: shown(it) for name, it in value.items()}
    if isinstance(value, list):
        return [shown(it) for it in value]
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value


def binding_object(binding: "QueueBinding") -> dict[str, object]:
    """A binding, for JSON."""
    return {
        "exchange": shown(binding.source),
        "destination": shown(binding.destination),
        "kind": binding.kind,
        "key": shown(binding.key),
        "arguments": shown(binding.arguments),
    }
