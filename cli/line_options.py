"""Options of commands that read lines: ``produce``, and ``exchange publish``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import INPUT


class InputFormat(StrEnum):
    """What a line of input is."""

    AUTO = "auto"
    RAW = "raw"
    JSON = "json"
    CSV = "csv"


File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The input; defaults to standard input.")
]
Progress = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show progress; defaults to yes if standard error is a terminal.",
    ),
]
HeaderField = Annotated[
    list[str] | None,
    typer.Option(
        "--header-field", metavar="FIELD", help="A field to send as a header; may be repeated."
    ),
]


class ProducedFormat(StrEnum):
    """The same, of records alone."""

    AUTO = InputFormat.AUTO.value
    RAW = InputFormat.RAW.value
    JSON = InputFormat.JSON.value
    CSV = InputFormat.CSV.value
    RECORD = "record"


def input_format(noun: str, more: str = "") -> Any:  # noqa: ANN401  typer's own
    """The option ``--format``; ``noun``: a line becomes its body. ``more``: text on other
    formats.
    """
    return typer.Option(
        "--format",
        rich_help_panel=INPUT,
        help=f"The format of the input. raw: each line is a {noun}, unchanged, with any carriage"
        " return; json: each line is an object; csv: the first row names the columns, each further"
        f" row becomes an object; {more}auto: raw or json, by the first line.",
    )


def field(option: str, what: str, default: str = "") -> Any:  # noqa: ANN401
    """An option that names the input's field for this part."""
    or_else = f"; defaults to {default}" if default else ""
    return typer.Option(option, metavar="FIELD", help=f"The field that holds {what}{or_else}.")


def header(noun: str) -> Any:  # noqa: ANN401
    """The option ``--header``, for every ``noun``."""
    return typer.Option(
        "--header", metavar="NAME=VALUE", help=f"A header for every {noun}; may be repeated."
    )
