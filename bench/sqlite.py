"""The SQLite side: a table of records, in WAL mode with a sync at every commit."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

BUSY_SECONDS = 60  # a writer waits for the lock at least as long as a round lasts
INSERT = "INSERT INTO records (key, value) VALUES (?, ?)"


def connect(path: Path, *, shared: bool = False) -> sqlite3.Connection:
    """A connection with autocommit except after BEGIN; durable: WAL, synchronous=FULL."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=not shared
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, key BLOB, value BLOB)"
    )
    return connection


def insert_one(connection: sqlite3.Connection, pair: tuple[bytes, bytes]) -> None:
    """One record in its own transaction."""
    connection.execute(INSERT, pair)


def insert_many(connection: sqlite3.Connection, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Insert all pairs in one transaction."""
    connection.execute("BEGIN")
    connection.executemany(INSERT, pairs)
    connection.execute("COMMIT")


def files(path: Path) -> list[Path]:
    """The database and the files that SQLite keeps beside it."""
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]
