"""Changes settings in the configuration file, and leaves the rest of the file as it is."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from logstore import portable
from logstore.config import Config, flatten, text_of
from logstore.errors import Failed, Refused

_HEADER: Final = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?")
_NAME: Final = r"""(?:[\w-]+|"[^"\\]*"|'[^']*')"""
# ``name = value  # comment``, of values that stand on one line.
_LINE: Final = re.compile(
    rf"""(\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=\s*)"""
    r"""("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'#\[{{][^#]*?)(\s*(?:#.*)?)""",
    re.ASCII,
)


def keep(file: Path, wanted: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """Have the store's settings so from the next start on; the names of those that changed.

    What a person wrote stays as it is: a setting is changed where it stands, or added before the
    first table. Raises InvalidSetting, UnknownSetting, Failed; Refused where something else than
    the file would decide, or its lines are too odd to be changed.
    """
    config, changes = Config.load(file, environment), {}
    for name, text in wanted.items():
        chosen = config.chosen(name)
        if text_of(chosen.value) == text:
            continue
        if chosen.source.startswith(("environment", "file of")):
            raise Refused(
                f"{name} is set by the {chosen.source}, not by {file}: change it in the"
                f" {chosen.source}"
            )
        changes[name] = Config({name: (text, str(file))}).chosen(name).value
    if changes:
        try:
            before = file.read_text("utf-8")
        except FileNotFoundError:
            before = ""
        except OSError as error:
            raise Failed(f"{file}: can't be read: {error.strerror}") from None
        _replace(file, edited(before, changes, str(file)))
    return list(changes)


def edited(text: str, changes: Mapping[str, object], file: str) -> str:
    """The same TOML with these values. Raises Refused where that can't be done line by line."""
    written = {name: _toml(value) for name, value in changes.items()}
    lines: list[str] = []
    first: int | None = None  # table's line
    table, found = "", set[str]()
    for line in text.splitlines():
        header, assigned = _HEADER.fullmatch(line), _LINE.fullmatch(line)
        if header is not None:
            table = _plain(header[1]) + "."
            first = len(lines) if first is None else first
        elif assigned is not None and (name := table + _plain(assigned[2])) in written:
            found.add(name)
            line = f"{assigned[1]}{written[name]}{assigned[4]}"
        lines.append(line)
    # A quoted name is one word: it gets in the way of no table.
    added = [f'"{name}" = {value}' for name, value in written.items() if name not in found]
    if first is None:
        lines += added
    elif added:
        lines[first:first] = [*added, ""]
    after = "\n".join([*lines, ""])
    before = dict(flatten(tomllib.loads(text)))
    expected = before | {name: text_of(value) for name, value in changes.items()}
    if _read(after) != expected or before.keys() & (written.keys() - found):
        raise Refused(
            f"{file}: the file can't be changed by this command: set {', '.join(changes)} in it"
            " by hand"
        )
    return after


def _plain(name: str) -> str:
    return ".".join(it.strip().strip("\"'") for it in name.split("."))


def _toml(value: object) -> str:
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def _read(text: str) -> dict[str, str] | None:
    try:
        return dict(flatten(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return None


def _replace(file: Path, text: str) -> None:
    """As a whole or not at all, whatever comes between. Raises Failed."""
    beside = file.with_name(f"{file.name}.new")
    try:
        with open(beside, "w", encoding="utf-8") as new:
            if file.exists():
                os.fchmod(new.fileno(), file.stat().st_mode & 0o7777)
            new.write(text)
            new.flush()
            portable.sync_whole(new.fileno())
        os.replace(beside, file)
        portable.sync_directory(file.parent)
    except OSError as error:
        with suppress(OSError):  # what went wrong is told
            beside.unlink(missing_ok=True)
        raise Failed(f"{file}: can't be written: {error.strerror}") from None
