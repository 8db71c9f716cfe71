"""CHANNEL.READ: reads the past of a channel with a history. Redis has no such command."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from logstore.broker.history import PULL_BYTES, History, Past
from logstore.errors import LogstoreError
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.command import Command
from logstore.protocols.resp.denials import refuse_lost
from logstore.protocols.resp.replies import array, entry
from logstore.protocols.resp.requests import as_integer
from logstore.records.record import Record
from logstore.slices import Steps

COUNT_DEFAULT: Final = 1000
COUNT_MAX: Final = 100_000
WORDS_MIN: Final = 4  # CHANNEL.READ name FROM place; with fewer, all of them are shown


def _start(text: bytes) -> int | datetime | None:
    """An offset, -N for the last N records, or an ISO 8601 time, in UTC if it has no zone."""
    number = as_integer(text)
    if number is not None:
        return number
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _options(words: Sequence[bytes]) -> tuple[int, bool] | None:
    """COUNT and FOLLOW; None if the options are invalid."""
    count, follow, at = COUNT_DEFAULT, False, 0
    while at < len(words):
        word = words[at].upper()
        if word == b"FOLLOW":
            follow = True
            at += 1
        elif word == b"COUNT" and at + 1 < len(words):
            number = as_integer(words[at + 1])
            if number is None or not 1 <= number <= COUNT_MAX:
                return None
            count = number
            at += 2
        else:
            return None
    return count, follow


def _past(history: History, at: int, count: int) -> Past:
    """Up to ``count`` records, about a megabyte: a log may need several reads to return them."""
    records: list[Record] = []
    size = 0
    while len(records) < count and size < PULL_BYTES:
        try:
            past = history.read(at, PULL_BYTES - size, count - len(records), wait=True)
        except LogstoreError:
            if records:
                break
            raise
        at = past.end
        if not past.records:
            break
        records += past.records
        size += sum(it.content_bytes for it in past.records)
    return Past(records, at)


def _read(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    options = _options(arguments[4:])
    if len(arguments) < WORDS_MIN or arguments[2].upper() != b"FROM" or options is None:
        client.fail(
            f"syntax error: CHANNEL.READ name FROM offset|time|-N [COUNT 1..{COUNT_MAX}] [FOLLOW]"
        )
        return
    name, where = arguments[1], arguments[3]
    start = _start(where)
    if start is None:
        client.fail("FROM takes an offset, a time such as 2026-01-31T12:00:00Z, or -N")
        return
    history = client.door.channels.history(name)
    if history is None:
        client.refuse(
            "NOHISTORY", "this channel keeps no history: see [[channel]] in logstore.toml"
        )
        return
    count, follow = options

    def read() -> tuple[bytes, int] | LogstoreError:
        """Read up to a hundred thousand records; called in a worker."""
        try:
            past = _past(history, history.place(start), count)
        except LogstoreError as error:
            return error
        return array([array(entry(record)) for record in past.records]), past.end

    reply, end = yield lambda go_on: client.door.work(read, go_on)
    if not client.permits.may_hear(name):
        refuse_lost(client)
        return
    client.say(reply)
    if follow:
        client.follow(history, end)


COMMANDS: Final = (
    Command(
        "channel.read", -2, _read, "The past of a channel that keeps a history.", "7.2.0", "pubsub",
        ("pubsub", "loading", "stale"), ("@pubsub", "@slow"),
    ),
)  # fmt: skip
