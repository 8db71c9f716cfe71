"""What several commands take: the data directory, its configuration, and a few words.

``--data`` may stand before or after the command's name and its group's; the last one counts.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from logstore.config import Config
    from logstore.store import Store

    from .formats import Renderer
    from .place import Start

# Read below the context, which nested commands share.
_DATA = "logstore.data"
_CONFIG_FILE = "logstore.config_file"


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where the store is, or is to be, and the file that configures it."""

    path: Path
    config_file: Path | None = None  # None: the directory's own

    def __str__(self) -> str:
        return str(self.path)

    def config(self) -> "Config":
        """Raises UnknownSetting, InvalidSetting."""
        from logstore.config import Config
        from logstore.storage.names import CONFIG

        return Config.load(self.config_file or self.path / CONFIG, os.environ)

    @contextmanager
    def open(
        self,
        mode: Literal["read", "write"],
        *,
        create: bool = False,
        config: "Config | None" = None,
    ) -> Iterator["Store"]:
        """The store, closed at the end of the ``with`` block."""
        from logstore.errors import LogstoreError
        from logstore.store import open_store

        store = open_store(self.path, mode, create=create, config=config or self.config())
        try:
            yield store
        except BaseException:
            with suppress(LogstoreError):  # what went wrong first says more
                store.close()
            raise
        store.close()


HERE = DataDir(Path("logstore-data"))


def _parse_data(text: str | DataDir) -> DataDir:
    return text if isinstance(text, DataDir) else DataDir(Path(text))


def _nearest(ctx: typer.Context, param: typer.CallbackParam, value: DataDir) -> DataDir:
    source = ctx.get_parameter_source(param.name or "")
    if source is not None and source.name == "COMMANDLINE":
        ctx.meta[_DATA] = value
    found: DataDir = ctx.meta.get(_DATA, value)
    return replace(found, config_file=ctx.meta.get(_CONFIG_FILE))


def _remember_config_file(ctx: typer.Context, value: Path | None) -> Path | None:
    ctx.meta[_CONFIG_FILE] = value
    return value


Data = Annotated[
    DataDir,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="LOGSTORE_DATA",
        parser=_parse_data,
        callback=_nearest,
        help="The data directory.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config-file",
        metavar="FILE",
        envvar="LOGSTORE_CONFIG",
        exists=True,
        dir_okay=False,
        is_eager=True,  # --data's callback looks for it
        callback=_remember_config_file,
        help="The configuration; else DIR/logstore.toml if it is there.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON for machines.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="NAME=VALUE", help="A topic setting; may be repeated."),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="raw (values alone), json, hex, or a template such as '{partition} {offset} {key}"
        " {value}'; fields: topic partition offset timestamp timestamp_ms key value headers.",
    ),
]


def pairs(texts: Sequence[str] | None, option: str) -> Mapping[str, str]:
    """``["a=1", "b=2"]`` as a mapping. A text without ``=`` or a name twice is a usage error."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=f"'{option}'")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=f"'{option}'")
        found[name] = value
    return found


def moment_option(text: str | None, option: str) -> int | None:
    """A time as milliseconds. Anything else is a usage error."""
    from .times import moment_ms

    try:
        return None if text is None else moment_ms(text, now_ms())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from None


def place_option(text: str, option: str) -> "Start":
    """``earliest``, ``latest``, an offset or a time. Anything else is a usage error."""
    from .place import place

    try:
        return place(text, now_ms())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from None


def format_option(text: str) -> "Renderer":
    """A format's function from records to lines. An unknown format is a usage error."""
    from .formats import renderer

    try:
        return renderer(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--format'") from None


def now_ms() -> int:
    return time.time_ns() // 1_000_000
