"""Access of commands to collections: looks them up under their keys and reports changes."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from random import Random
from typing import Final, TypeVar

from logstore.broker.keys.collection import Before, Collection, some_of
from logstore.broker.keys.keyspace import Keyspace
from logstore.broker.keys.levels import Level
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.keys.look import keyspace, look, seen
from logstore.protocols.resp.wrong import wrong_type

CHANCE: Final = Random()  # what members are taken by chance

Kind = TypeVar("Kind", bound=Collection)


def _as(value: object | None, kind: type[Kind]) -> Kind | None:
    if value is None or type(value) is kind:
        return value
    raise wrong_type()


def see(client: RespClient, key: bytes, kind: type[Kind]) -> Kind | None:
    """The collection at a key that is read. Raises Wrong if the value has another type."""
    return _as(seen(client, key), kind)


def find(client: RespClient, key: bytes, kind: type[Kind]) -> Kind | None:
    """The collection at a key that is to be changed. Raises Wrong if the value has another type."""
    return _as(look(client, key), kind)


def make(client: RespClient, key: bytes, kind: type[Kind]) -> Kind:
    """As ``find``, or a new collection, which exists once ``wrote`` is called."""
    found = find(client, key, kind)
    return kind() if found is None else found


def first_of(
    client: RespClient, keys: Sequence[bytes], kind: type[Kind]
) -> Generator[int, None, tuple[bytes, Kind | None]]:
    """The first key with a collection, which is to be changed. Raises Wrong."""
    for some in some_of(keys):
        for key in some:
            found = find(client, key, kind)
            if found is not None:
                return key, found
        yield len(some)
    return b"", None


def wrote(client: RespClient, key: bytes, value: Collection, event: str) -> None:
    """Note that the collection was changed or created; removes the key of an empty one."""
    space = keyspace(client)
    if space.values.get(key) is not value:
        _keep(space, key, value)
        space.put(key, value, None, event)
        return
    grown, value.counted_bytes = value.held_bytes - value.counted_bytes, value.held_bytes
    undo: Callable[[], object] | None = None
    if space.levels.of(key) is Level.NONE:
        value.before = {}
    elif value.covered is not value.before:
        value.covered = value.before
        undo = partial(_take_back, space, value, value.before)
    space.touched(key, event, grown, undo)
    if not len(value):
        space.remove(key)


def store(client: RespClient, key: bytes, value: Collection, event: str) -> None:
    """Replace the value of the key; an empty collection removes the key."""
    space = keyspace(client)
    look(client, key)
    if len(value):
        _keep(space, key, value)
        space.put(key, value, None, event)
    else:
        space.remove(key)


def _keep(space: Keyspace, key: bytes, value: Collection) -> None:
    if space.levels.of(key) is Level.NONE:
        value.before = {}
    value.put()


def _take_back(space: Keyspace, value: Collection, before: Before) -> None:
    value.take_back(before)
    grown, value.counted_bytes = value.held_bytes - value.counted_bytes, value.held_bytes
    space.contents.bytes += grown
