"""``logstore exchange publish``: its options, and what they come to."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from .command import INPUT
from .ends import say, tell
from .line_options import File, HeaderField, InputFormat, Progress, field, input_format
from .line_options import header as header_option
from .misnamed import Instead
from .options import HERE, Data
from .produce import chooser, wanted_of
from .queueing import Vhost, queues_of
from .show import counted

if TYPE_CHECKING:
    from .lines import Wanted
    from .queue_site import QueueSink

PUBLISHING = Instead(queue="publish to it with `logstore exchange publish '' --key {}`")


def publish(
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", show_default=False)],
    file: File = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message",
            metavar="TEXT",
            rich_help_panel=INPUT,
            help="Publish this text instead of input lines.",
        ),
    ] = None,
    format_: Annotated[InputFormat, input_format("body")] = InputFormat.AUTO,
    key: Annotated[
        str | None, typer.Option("--key", help="The routing key for every message.")
    ] = None,
    key_field: Annotated[str | None, field("--key-field", "the routing key")] = None,
    value_field: Annotated[
        str | None, field("--value-field", "the message's body", "the whole line")
    ] = None,
    header: Annotated[list[str] | None, header_option("message")] = None,
    header_field: HeaderField = None,
    property_: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            metavar="NAME=VALUE",
            rich_help_panel=INPUT,
            help="A property of every message, such as priority=5, expiration=90s,"
            " content_type=text/plain, message_id or reply_to; may be repeated.",
        ),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error",
            metavar="stop|skip",
            help="The action for a line that is not a message: stop, or skip and count the line.",
        ),
    ] = "stop",
    progress: Progress = None,
    vhost: Vhost = "/",
    data: Data = HERE,
) -> None:
    """Publish each input line as one message.

    Exits with 0 only after every message is on disk. The default exchange has the empty name '';
    its routing key is the name of a queue.

    $ logstore exchange publish events --key mail.new --message hello
    $ logstore exchange publish events --key-field kind --property priority=5 < events.jsonl
    """
    from .intake import Input, Intake, Skipped
    from .lines import LineInput
    from .progress import progress_for
    from .publishing import properties_option
    from .stop import Stop

    if on_error not in ("stop", "skip"):
        raise typer.BadParameter(f"{on_error!r}: must be stop or skip", param_hint="'--on-error'")
    properties = properties_option(property_)
    wanted = wanted_of(key_field, None, value_field, header, header_field, key)
    choose = chooser(format_, wanted)
    keyless = "" if key or key_field is not None else " with key ''"
    if message is not None and (file is not None or wanted.fields):
        raise typer.BadParameter(
            "--message replaces the input: leave out FILE and options about its fields"
        )
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        source = None if message is not None else stack.enter_context(Input(file, stop))
        site = stack.enter_context(queues_of(data, vhost, stop=stop, instead=PUBLISHING))
        sink = site.sink(exchange, properties)
        if source is None:
            assert message is not None
            _publish_one(sink, message, wanted)
            tell(
                f"published {counted(sink.acknowledged, 'message')} to {exchange or 'queues'}"
                f"{keyless}"
            )
        else:
            Intake(
                source, LineInput(choose), sink, topic=exchange or "queues",
                progress=progress_for(progress, source.size, "message", typed=source.typed),
                did="published", noun="message", policies="skip",
                bad_lines=None if on_error == "stop" else Skipped(rows=format_ == "csv"),
            ).run()  # fmt: skip
        if sink.unrouted:
            say(f"{counted(sink.unrouted, 'message')}{keyless} reached no queue")


def _publish_one(sink: "QueueSink", body: str, wanted: "Wanted") -> None:
    import os

    from logstore.records.record import Message

    sink.send_many([Message(os.fsencode(body), wanted.key, wanted.headers)])
    sink.flush()
