"""Reads keys for a client; its reply waits if it has read changes that are not safe yet."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.keys.keys import Keys
from logstore.broker.keys.keyspace import Keyspace
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.requests import as_integer
from logstore.protocols.resp.wrong import NOT_OWNED, Wrong, wrong_type

BAD_INTEGER: Final = "value is not an integer or out of range"


def keyspace(client: RespClient, database: int | None = None) -> Keyspace:
    """The selected or another database. Raises Wrong if another node serves it."""
    number = client.database if database is None else database
    keys = client.door.keys
    if keys.elsewhere:
        check_served(keys, number)
    return keys.databases[number]


def check_served(keys: Keys, database: int) -> None:
    """Raises Wrong."""
    why = keys.elsewhere.get(database)
    if why is not None:
        raise Wrong(why, NOT_OWNED)


def look(client: RespClient, key: bytes, database: int | None = None) -> object | None:
    """The value of a key, or None; counts no hit or miss. Raises Wrong as ``keyspace``."""
    number = client.database if database is None else database
    keys = client.door.keys
    if keys.elsewhere:
        check_served(keys, number)
    unsafe = keys.journals[number].unsafe_since(key)
    if unsafe:
        client.depend(keys.journals[number], unsafe)
    return keys.databases[number].find(key)


def seen(client: RespClient, key: bytes) -> object | None:
    """The value of a key that is read; counts a hit or a miss. Raises Wrong as ``keyspace``."""
    value = look(client, key)
    space = keyspace(client)
    if value is None:
        space.misses += 1
        if space.told is not None:
            space.told(space.number, key, "keymiss")
    else:
        space.hits += 1
        if space.touch is not None and not client.no_touch:
            space.touch(space, key)
    return value


def all_seen(client: RespClient) -> Keyspace:
    """The database, for a command that reads all of it. Raises Wrong as ``keyspace``."""
    space = keyspace(client)
    journal = client.door.keys.journals[client.database]
    if journal.unsafe:
        client.depend(journal, journal.unsafe)
    return space


def string(client: RespClient, key: bytes) -> bytes | None:
    """The string at a key that is read. Raises Wrong."""
    return _string(seen(client, key))


def string_there(client: RespClient, key: bytes) -> bytes | None:
    """The string at a key that is to be changed. Raises Wrong."""
    return _string(look(client, key))


def _string(value: object | None) -> bytes | None:
    if value is not None and type(value) is not bytes:
        raise wrong_type()
    return value


def integer_of(text: bytes, wrong: str = BAD_INTEGER) -> int:
    """Parse a 64-bit number. Raises Wrong."""
    number = as_integer(text)
    if number is None:
        raise Wrong(wrong)
    return number


def small_integer_of(text: bytes) -> int:
    """Parse a number in the range of C's int. Raises Wrong."""
    number = as_integer(text)
    if number is None or not -(2**31) <= number < 2**31:
        raise Wrong(BAD_INTEGER)
    return number


def database_of(text: bytes, count: int) -> int:
    """Parse a database's number. Raises Wrong."""
    number = small_integer_of(text)
    if not 0 <= number < count:
        raise Wrong("DB index is out of range")
    return number


def words(arguments: Sequence[bytes]) -> list[bytes]:
    """The options in upper case."""
    return [it.upper() for it in arguments]
